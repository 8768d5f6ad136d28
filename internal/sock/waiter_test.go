package sock

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
)

// A socket tells of a reset once. Whoever waits first and reads then must hear of it all the same: without that, content that
// ends with its connection would look whole.
func TestWaitingTellsOfAReset(t *testing.T) {
	for name, wait := range map[string]func(net.Conn) func() error{
		"waiter": func(c net.Conn) func() error { return NewWaiter(c).WaitReadable },
		"once":   func(c net.Conn) func() error { return func() error { return WaitReadable(c) } },
	} {
		t.Run(name, func(t *testing.T) { tellsOfAReset(t, wait) })
	}
}

func tellsOfAReset(t *testing.T, of func(net.Conn) func() error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	peer, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(peer, "half"); err != nil {
		t.Fatal(err)
	}
	wait := of(c)
	if err := wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	if err := peer.(*net.TCPConn).SetLinger(0); err != nil { // so that Close sends a reset
		t.Fatal(err)
	}
	if err := peer.Close(); err != nil {
		t.Fatal(err)
	}
	err = wait()
	if err == nil {
		_, err = c.Read(make([]byte, 1)) // the reset came while it waited
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a connection that was reset: %v", err)
	}
}
