package sock

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// directPair is both ends of a TCP connection, made cheaper.
func directPair(t *testing.T) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return Direct(a), Direct(b)
}

// What is written arrives, whole or in pieces, however much more it is than the kernel takes at once.
func TestDirect(t *testing.T) {
	a, b := directPair(t)
	if _, ok := a.(*direct); !ok {
		t.Fatalf("%T", a)
	}
	r := rand.New(rand.NewPCG(1, 2))
	want := make([]byte, 20<<20)
	for i := range want {
		want[i] = byte(r.Uint32())
	}
	go func() {
		for rest := want; len(rest) > 0; {
			var pieces [][]byte
			for range 1 + r.IntN(40) {
				n := min(len(rest), r.IntN(64<<10))
				pieces, rest = append(pieces, rest[:n]), rest[n:]
			}
			if err := WriteAll(a, pieces); err != nil {
				t.Error(err)
			}
			n := min(len(rest), r.IntN(1<<20))
			if k, err := a.Write(rest[:n]); k != n || err != nil {
				t.Errorf("%d of %d, %v", k, n, err)
			}
			rest = rest[n:]
		}
		_ = a.(*direct).CloseWrite()
	}()
	got, err := io.ReadAll(b)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes of %d, %v", len(got), len(want), err)
	}
}

// Deadlines, resets and closing are told as package net tells them.
func TestDirectErrors(t *testing.T) {
	a, b := directPair(t)
	_ = a.SetReadDeadline(time.Unix(1, 0))
	if n, err := a.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("past deadline: %d, %v", n, err)
	}
	_ = a.SetReadDeadline(time.Time{})
	Reset(b)
	if n, err := a.Read(make([]byte, 1)); n != 0 || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("reset: %d, %v", n, err)
	}
	if _, err := a.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("write after a reset: %v", err)
	}
	if err := WriteAll(a, [][]byte{[]byte("x"), []byte("y")}); err == nil {
		t.Error("pieces after a reset")
	}
	_ = a.Close()
	if _, err := a.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	if _, err := a.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// A message back and forth allocates nothing.
func TestDirectAllocations(t *testing.T) {
	a, b := directPair(t)
	buf := make([]byte, 64)
	if n := testing.AllocsPerRun(100, func() {
		_, _ = a.Write(buf)
		_, _ = b.Read(buf)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
