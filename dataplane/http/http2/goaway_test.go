package http2

import (
	"io"
	"net"
	"testing"
	"time"

	xhttp2 "golang.org/x/net/http2"
)

// TestGoAwayIsHeardOut: a client that leaves with an error, and says more, is read to its end. A server that just closed would
// reset the connection, and the client might lose what it has not read yet. h2spec found it (7/1).
func TestGoAwayIsHeardOut(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	served := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			err = NewServer(c, Options{}).Serve(func(*Stream) {})
		}
		served <- err
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	f := xhttp2.NewFramer(c, c)
	_, _ = io.WriteString(c, xhttp2.ClientPreface)
	_ = f.WriteSettings()
	_ = f.WriteGoAway(0, 0xff, nil)
	if _, err := io.Copy(io.Discard, c); err != nil {
		t.Fatalf("the server's end: %v", err)
	}
	for range 2 { // the first one would be answered by a reset, at which the second one fails
		if err := f.WritePing(false, [8]byte{}); err != nil {
			t.Errorf("the connection was reset: %v", err)
		}
	}
	_ = c.Close()
	<-served
}
