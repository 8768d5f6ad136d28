package sock_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/hauberk-mesh/hauberk/internal/memconn"
	"github.com/hauberk-mesh/hauberk/internal/sock"
)

// pairs are connections of each kind, each with the end that writes.
func pairs(t *testing.T, f func(t *testing.T, w, r net.Conn)) {
	on := func(name string, l net.Listener, dial func() (net.Conn, error)) {
		t.Run(name, func(t *testing.T) {
			defer l.Close()
			w, err := dial()
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			r, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			_ = r.SetReadDeadline(time.Now().Add(20 * time.Second))
			f(t, w, r)
		})
	}
	listen := func(network, addr string) net.Listener {
		l, err := net.Listen(network, addr)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	tcp := listen("tcp", "127.0.0.1:0")
	on("tcp", tcp, func() (net.Conn, error) { return net.Dial("tcp", tcp.Addr().String()) })
	unix := listen("unix", filepath.Join(t.TempDir(), "s"))
	on("unix", unix, func() (net.Conn, error) { return net.Dial("unix", unix.Addr().String()) })
	var n memconn.Network
	mem, err := n.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	on("memory", mem, func() (net.Conn, error) { return n.Dial(context.Background(), "tcp", mem.Addr().String()) })
}

// Bytes that come one by one are all waited for, although nothing of them is ever taken.
func TestWaitBuffered(t *testing.T) {
	pairs(t, func(t *testing.T, w, r net.Conn) {
		data := bytes.Repeat([]byte("hauberk"), 300)
		go func() {
			size := 1
			if w.LocalAddr().Network() == "unix" { // one write is one buffer there, and the kernel holds 277 of them
				size = 16
			}
			for b := range slices.Chunk(data, size) {
				_, _ = w.Write(b)
			}
		}()
		buf := make([]byte, 4096)
		for _, n := range []int{1, 5, 6, 700, 1500, len(data)} {
			if err := sock.WaitBuffered(r, n); err != nil {
				t.Fatalf("%d: %v", n, err)
			}
			if got := sock.PeekNow(r, buf); got < n || !bytes.Equal(buf[:got], data[:got]) {
				t.Fatalf("%d of %d", got, n)
			}
		}
		got := make([]byte, len(data))
		if _, err := io.ReadFull(r, got); err != nil || !bytes.Equal(got, data) {
			t.Error("something was consumed", err)
		}
	})
}

func TestWaitBufferedAtTheEnd(t *testing.T) {
	pairs(t, func(t *testing.T, w, r net.Conn) {
		_, _ = w.Write([]byte("abc"))
		if err := sock.WaitBuffered(r, 3); err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() { defer close(done); _ = sock.CloseWrite(w) }() // while the other side waits, or before: the answer is the same
		if err := sock.WaitBuffered(r, 5); err != io.EOF || sock.PeekNow(r, make([]byte, 8)) != 3 {
			t.Error(err)
		}
		<-done
	})
}

// A deadline leaves what has come until then.
func TestWaitBufferedDeadline(t *testing.T) {
	pairs(t, func(t *testing.T, w, r net.Conn) {
		_, _ = w.Write([]byte("ab"))
		if err := sock.WaitBuffered(r, 2); err != nil {
			t.Fatal(err)
		}
		_ = r.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
		if err := sock.WaitBuffered(r, 3); !errors.Is(err, os.ErrDeadlineExceeded) || sock.PeekNow(r, make([]byte, 8)) != 2 {
			t.Error(err)
		}
	})
}

func TestWaitBufferedReset(t *testing.T) {
	pairs(t, func(t *testing.T, w, r net.Conn) {
		go sock.Reset(w)
		if err := sock.WaitBuffered(r, 3); err == nil {
			t.Error("a connection that was reset has bytes")
		}
	})
}

// What Linux lets a connection hold that nobody reads is more than a hello may be.
func TestWaitBufferedHoldsAHello(t *testing.T) {
	pairs(t, func(t *testing.T, w, r net.Conn) {
		const most = 60 << 10
		go func() { _, _ = w.Write(make([]byte, most)) }()
		if err := sock.WaitBuffered(r, most); err != nil {
			t.Error(err)
		}
	})
}
