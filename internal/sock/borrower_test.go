package sock_test

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/hauberk-mesh/hauberk/internal/memconn"
	"github.com/hauberk-mesh/hauberk/internal/sock"
)

// TestBorrower: buffers are out only from when bytes have come until the caller gives them back.
func TestBorrower(t *testing.T) {
	for name, pair := range map[string]func(*testing.T) (net.Conn, net.Conn){
		"TCP": tcpPair,
		"memory": func(*testing.T) (net.Conn, net.Conn) {
			a := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}
			x, y := memconn.Pair(a, a)
			return x, y
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, peer := pair(t)
			defer c.Close()
			out := 0
			b := sock.NewBorrower(c, func() []byte { out++; return make([]byte, 4) }, func([]byte) { out-- })

			_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
			if buf, n, err := b.Read(); buf != nil || n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("nothing there: %q, %d, %v", buf, n, err)
			}
			_ = c.SetReadDeadline(time.Time{})
			if out != 0 {
				t.Errorf("%d buffers are out after a deadline", out)
			}
			if _, err := peer.Write([]byte("abcdef")); err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{"abcd", "ef"} {
				if buf, n, err := b.Read(); string(buf[:n]) != want || err != nil || out != 1 {
					t.Errorf("got %q, %v, %d buffers out; want %q", buf[:n], err, out, want)
				}
				out--
			}
			_ = peer.Close()
			if buf, _, err := b.Read(); buf != nil || err != io.EOF || out != 0 {
				t.Errorf("at the end: %q, %v, %d buffers out", buf, err, out)
			}
			_ = c.Close()
			if buf, _, err := b.Read(); buf != nil || err == nil || out != 0 {
				t.Errorf("closed: %q, %v, %d buffers out", buf, err, out)
			}
		})
	}
}

func tcpPair(t *testing.T) (net.Conn, net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return a, b
}
