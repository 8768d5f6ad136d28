package sock_test

import (
	"errors"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/hauberk-mesh/hauberk/internal/memconn"
	"github.com/hauberk-mesh/hauberk/internal/sock"
)

type guest chan struct{}

func (g guest) Wake() { g <- struct{}{} }

func (g guest) woken(t *testing.T, when string) {
	t.Helper()
	select {
	case <-g:
	case <-time.After(10 * time.Second):
		t.Fatalf("not woken: %s", when)
	}
}

func (g guest) asleep(t *testing.T, when string) {
	t.Helper()
	select {
	case <-g:
		t.Fatalf("woken: %s", when)
	default:
	}
}

func park(t *testing.T, l *sock.Lot, c net.Conn, until time.Time, g guest) sock.Place {
	t.Helper()
	p, err := l.Park(c, until, g)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestLotWakes(t *testing.T) {
	for name, do := range map[string]func(l *sock.Lot, p sock.Place, c, peer net.Conn){
		"bytes":        func(_ *sock.Lot, _ sock.Place, _, peer net.Conn) { _, _ = peer.Write([]byte("x")) },
		"the end":      func(_ *sock.Lot, _ sock.Place, _, peer net.Conn) { _ = peer.Close() },
		"a half-close": func(_ *sock.Lot, _ sock.Place, _, peer net.Conn) { _ = peer.(*net.TCPConn).CloseWrite() },
		"a reset":      func(_ *sock.Lot, _ sock.Place, _, peer net.Conn) { sock.Reset(peer) },
		"Wake":         func(l *sock.Lot, p sock.Place, _, _ net.Conn) { l.Wake(p) },
		"Close":        func(l *sock.Lot, _ sock.Place, _, _ net.Conn) { l.Close() },
		"own Close, then Wake": func(l *sock.Lot, p sock.Place, c, _ net.Conn) {
			_ = c.Close()
			l.Wake(p)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, peer := tcpPair(t)
			defer c.Close()
			defer peer.Close()
			l, g := &sock.Lot{}, make(guest, 1)
			defer l.Close()
			p := park(t, l, c, time.Time{}, g)
			g.asleep(t, "nothing has happened")
			do(l, p, c, peer)
			g.woken(t, name)
			l.Wake(p) // it has left
			if _, err := peer.Write([]byte("y")); err == nil {
				g.asleep(t, "it has left")
			}
		})
	}
}

// TestLotLosesNothing: what came before the connection was parked wakes it as well, again and again, and one that was woken
// otherwise is not woken by what comes then.
func TestLotLosesNothing(t *testing.T) {
	c, peer := tcpPair(t)
	defer c.Close()
	defer peer.Close()
	l, g := &sock.Lot{}, make(guest, 1)
	defer l.Close()
	for range 100 {
		if _, err := peer.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		park(t, l, c, time.Time{}, g)
		g.woken(t, "bytes were there")
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		p := park(t, l, c, time.Time{}, g)
		l.Wake(p)
		g.woken(t, "Wake")
	}
	other, otherPeer := tcpPair(t)
	defer other.Close()
	defer otherPeer.Close()
	h := make(guest, 1)
	park(t, l, other, time.Time{}, h) // into the slot that c has left
	if _, err := peer.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := otherPeer.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	h.woken(t, "its own bytes")
	g.asleep(t, "it has left")
}

func TestLotTime(t *testing.T) {
	l := &sock.Lot{}
	defer l.Close()
	var guests []guest
	began := time.Now()
	for _, d := range []time.Duration{time.Hour, 20 * time.Millisecond, 10 * time.Millisecond, 0} {
		c, peer := tcpPair(t)
		defer c.Close()
		defer peer.Close()
		g, until := make(guest, 1), time.Time{}
		if d > 0 {
			until = began.Add(d)
		}
		park(t, l, c, until, g)
		guests = append(guests, g)
	}
	guests[2].woken(t, "its time is over")
	guests[1].woken(t, "its time is over")
	if time.Since(began) < 20*time.Millisecond {
		t.Error("woken before its time")
	}
	guests[0].asleep(t, "an hour is not over")
	guests[3].asleep(t, "it has all the time")
	l.Close()
	guests[0].woken(t, "closed")
	guests[3].woken(t, "closed")
}

func TestLotRefuses(t *testing.T) {
	l := &sock.Lot{}
	a := &net.TCPAddr{}
	mem, _ := memconn.Pair(a, a)
	if _, err := l.Park(mem, time.Time{}, make(guest)); err != sock.ErrNotSupported {
		t.Errorf("in memory: %v", err)
	}
	c, peer := tcpPair(t)
	defer peer.Close()
	_ = c.Close()
	if _, err := l.Park(c, time.Time{}, make(guest)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a closed connection: %v", err)
	}
	l.Close()
	l.Close()
	if _, err := l.Park(peer, time.Time{}, make(guest)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a closed lot: %v", err)
	}
	l.Wake(sock.Place{})
}

// TestLotIsSmall: parked connections have no goroutines, and little else.
func TestLotIsSmall(t *testing.T) {
	l, g := &sock.Lot{}, make(guest, 1)
	defer l.Close()
	var conns []net.Conn
	for range 100 {
		c, peer := tcpPair(t)
		defer c.Close()
		defer peer.Close()
		conns = append(conns, c)
	}
	before := runtime.NumGoroutine()
	for _, c := range conns {
		park(t, l, c, time.Time{}, make(guest, 1))
	}
	if n := l.Len(); n != len(conns) {
		t.Errorf("%d are parked, want %d", n, len(conns))
	}
	if n := runtime.NumGoroutine(); n > before+1 {
		t.Errorf("%d goroutines more", n-before)
	}
	l.Wake(park(t, l, conns[0], time.Time{}, g)) // while it is parked already: the later place counts
	g.woken(t, "Wake")
}
