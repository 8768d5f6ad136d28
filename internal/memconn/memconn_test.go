package memconn

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hauberk-mesh/hauberk/internal/leak"
	"github.com/hauberk-mesh/hauberk/internal/sock"
)

func TestMain(m *testing.M) { leak.Main(m) }

// onBoth runs a test on memory and on a socket: what is claimed is that they behave alike.
func onBoth(t *testing.T, f func(t *testing.T, client, server net.Conn)) {
	run := func(name string, l net.Listener, dial func(context.Context, string, string) (net.Conn, error)) {
		t.Run(name, func(t *testing.T) {
			defer l.Close()
			c, err := dial(context.Background(), "tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			s, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			f(t, c, s)
		})
	}
	var n Network
	mem, err := n.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	run("memory", mem, n.Dial)
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	run("socket", tcp, (&net.Dialer{}).DialContext)
}

func TestCopyAndHalfClose(t *testing.T) {
	onBoth(t, func(t *testing.T, c, s net.Conn) {
		data := bytes.Repeat([]byte("hauberk"), 100_000)
		go func() {
			_, _ = c.Write(data)
			_ = sock.CloseWrite(c)
		}()
		got, err := io.ReadAll(s)
		if err != nil || !bytes.Equal(got, data) {
			t.Fatal(len(got), err)
		}
		if !sock.PeerClosed(s) || sock.PeerClosed(c) {
			t.Error("who has closed?")
		}
		if _, err := s.Write([]byte("still open")); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 10)
		if _, err := io.ReadFull(c, buf); err != nil {
			t.Fatal(err)
		}
	})
}

func TestReset(t *testing.T) {
	onBoth(t, func(t *testing.T, c, s net.Conn) {
		sock.Reset(c)
		if _, err := s.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Error(err)
		}
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
}

func TestPeekAndAlive(t *testing.T) {
	onBoth(t, func(t *testing.T, c, s net.Conn) {
		w := sock.NewWaiter(c)
		if !sock.Alive(c) || !w.Alive() {
			t.Error("idle, and not alive")
		}
		_ = c.SetReadDeadline(time.Unix(1, 0))
		if err := sock.WaitReadable(c); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
		if err := w.WaitReadable(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
		if !w.Alive() {
			t.Error("a deadline that has passed is not the end")
		}
		_ = c.SetReadDeadline(time.Time{})
		_, _ = s.Write([]byte("abc"))
		if err := w.WaitReadable(); err != nil {
			t.Error(err)
		}
		var b [6]byte
		for range 2 {
			if n, err := sock.Peek(c, b[:]); string(b[:n]) != "abc" || err != nil {
				t.Errorf("%q %v", b[:n], err)
			}
		}
		if sock.Alive(c) || w.Alive() {
			t.Error("unread bytes, and alive")
		}
		if n, err := c.Read(b[:]); n != 3 || err != nil {
			t.Error(n, err)
		}
		_ = s.Close()
		if err := w.WaitReadable(); err != nil {
			t.Error(err)
		}
		if _, err := sock.Peek(c, b[:]); err != io.EOF {
			t.Error(err)
		}
		if sock.Alive(c) || w.Alive() || !sock.PeerClosed(c) {
			t.Error("closed, and alive")
		}
	})
}

// Writers wait for readers once the buffer is full, and deadlines hold in fake time.
func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := Pair(&net.TCPAddr{}, &net.TCPAddr{})
		began := time.Now()
		_ = a.SetWriteDeadline(began.Add(3 * time.Second))
		n, err := a.Write(make([]byte, 2*bufferSize))
		var ne net.Error
		if n != bufferSize || !errors.As(err, &ne) || !ne.Timeout() || time.Since(began) != 3*time.Second {
			t.Error(n, err, time.Since(began))
		}
		_ = a.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
		_ = a.SetReadDeadline(time.Time{}) // a passed deadline can be taken back
		go func() { time.Sleep(time.Hour); _, _ = b.Write([]byte("x")) }()
		if err := a.WaitReadable(); err != nil || time.Since(began) != time.Hour+4*time.Second {
			t.Error(err, time.Since(began))
		}
		// A deadline in another goroutine ends a read that is under way.
		go func() { time.Sleep(time.Second); _ = b.SetReadDeadline(time.Now()) }()
		if _, err := io.Copy(io.Discard, b); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
		a.Close()
		b.Close()
	})
}

func TestNetwork(t *testing.T) {
	var n Network
	if _, err := n.Dial(context.Background(), "tcp", "127.0.0.1:1"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Error(err)
	}
	l, err := n.Listen("127.0.0.1:80")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Listen("127.0.0.1:80"); !errors.Is(err, syscall.EADDRINUSE) {
		t.Error(err)
	}
	c, err := n.Dial(context.Background(), "tcp", "127.0.0.1:80")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close() // before it was accepted
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Error(err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	if _, err := n.Listen("127.0.0.1:80"); err != nil {
		t.Error(err)
	}
}
