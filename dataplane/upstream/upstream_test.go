package upstream

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hauberk-mesh/hauberk/internal/leak"
	"github.com/hauberk-mesh/hauberk/internal/memconn"
)

func TestMain(m *testing.M) { leak.Main(m) }

// servers accept on addresses in memory and keep what they accept.
type servers struct {
	memconn.Network
	accepted chan net.Conn
}

func newServers(t *testing.T, addrs ...string) *servers {
	s := &servers{accepted: make(chan net.Conn, 100)}
	for _, a := range addrs {
		l, err := s.Listen(a)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				s.accepted <- c
			}
		}()
		t.Cleanup(func() { l.Close(); <-done })
	}
	return s
}

func spec(addrs ...string) Spec {
	s := Spec{Name: "c", Service: "s", Protocol: HTTP1}
	for _, a := range addrs {
		s.Endpoints = append(s.Endpoints, EndpointSpec{Addr: netip.MustParseAddrPort(a)})
	}
	return s
}

func connect(t *testing.T, c *Cluster, e *Endpoint) *Conn {
	t.Helper()
	s, err := c.Open(context.Background(), e, false)
	if err != nil {
		t.Fatal(err)
	}
	return s.Conn
}

func TestPool(t *testing.T) {
	s := newServers(t, "10.0.0.1:80")
	c := Build(nil, spec("10.0.0.1:80"), Deps{Dial: s.Dial})
	defer c.Release()
	e := c.Pick(nil)
	a, b := connect(t, c, e), connect(t, c, e)
	theirsA, theirsB := <-s.accepted, <-s.accepted
	c.keep(a)
	c.keep(b)
	if got := connect(t, c, e); got != b || !got.Reused {
		t.Error("not the one that was used last")
	}
	_ = theirsA.Close()
	if got := connect(t, c, e); got == a {
		t.Error("a dead one was handed out")
	} else {
		got.Close()
	}
	c.keep(b)
	_, _ = theirsB.Write([]byte("HTTP/1.1 408 unasked\r\n\r\n"))
	if got := connect(t, c, e); got == b {
		t.Error("one with unread bytes was handed out")
	} else {
		got.Close()
	}
	if st := c.Endpoints()[0]; st.ConnectionsActive != 0 || st.ConnectionsTotal != 4 {
		t.Errorf("%+v", st)
	}
}

// A connection takes no further request once the leaf has ended with which its server proved who it is.
func TestServerLeafEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServers(t, "10.0.0.1:80")
		c := Build(nil, spec("10.0.0.1:80"), Deps{Dial: s.Dial})
		e := c.Pick(nil)
		a := connect(t, c, e)
		a.expires = time.Now().Add(time.Minute)
		c.keep(a)
		if got := connect(t, c, e); got != a {
			t.Error("while the leaf lives the connection is not used again")
		}
		c.keep(a)
		time.Sleep(time.Minute + time.Second)
		if got := connect(t, c, e); got == a {
			t.Error("the connection outlives the leaf")
		} else {
			got.Close()
		}
		c.Release()
	})
}

func TestIdleTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServers(t, "10.0.0.1:80")
		sp := spec("10.0.0.1:80")
		sp.IdleTimeout = 10 * time.Second
		c := Build(nil, sp, Deps{Dial: s.Dial})
		e := c.Pick(nil)
		a, b := connect(t, c, e), connect(t, c, e)
		c.keep(a)
		time.Sleep(4 * time.Second)
		c.keep(b)
		for _, want := range []int64{2, 2, 1, 1, 0} { // after 8, 12 (9 is between), 16 ... seconds in steps of 2 from 6
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if got := c.Endpoints()[0].ConnectionsIdle; got != want {
				t.Errorf("%s: %d idle, want %d", time.Now().Format("05"), got, want)
			}
		}
		c.Release()
	})
}

// A new idle timeout holds for the connections that are kept from before as well.
func TestIdleTimeoutThatChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServers(t, "10.0.0.1:80")
		long := spec("10.0.0.1:80")
		long.IdleTimeout = time.Hour
		c := Build(nil, long, Deps{Dial: s.Dial})
		e := c.Pick(nil)
		a, b := connect(t, c, e), connect(t, c, e)
		c.keep(a)
		short := long
		short.IdleTimeout = 10 * time.Second
		next := Build(c, short, Deps{Dial: s.Dial})
		c.Release()
		next.keep(b)
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if n := next.Endpoints()[0].ConnectionsIdle; n != 0 {
			t.Errorf("%d are idle for longer than they may be", n)
		}
		next.Release()
	})
}

// What stays the same over a change of configuration keeps its connections and health; what goes is drained.
func TestBuildReuses(t *testing.T) {
	s := newServers(t, "10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80")
	old := Build(nil, spec("10.0.0.1:80", "10.0.0.2:80"), Deps{Dial: s.Dial})
	stays, goes := old.members()[0].Endpoint, old.members()[1].Endpoint
	a, b, inUse := connect(t, old, stays), connect(t, old, goes), connect(t, old, goes)
	old.keep(a)
	old.keep(b)
	next := Build(old, spec("10.0.0.3:80", "10.0.0.1:80", "10.0.0.1:80"), Deps{Dial: s.Dial})
	if next.Size() != 2 || next.members()[1].Endpoint != stays {
		t.Fatalf("%+v", next.members())
	}
	// A configuration that is given up leaves the one in force alone.
	staged := Build(old, spec("10.0.0.9:80"), Deps{Dial: s.Dial})
	staged.Release()
	if old.Endpoints()[0].ConnectionsIdle != 1 || old.Endpoints()[1].ConnectionsIdle != 1 {
		t.Error("giving up a staged cluster touched the one in force")
	}
	old.Release()
	if got := connect(t, next, stays); got != a {
		t.Error("its connection was lost")
	}
	if goes.status().ConnectionsIdle != 0 || !b.closed.Load() || inUse.closed.Load() {
		t.Error("idle connections close, those in use do not")
	}
	old.keep(inUse)
	if !inUse.closed.Load() {
		t.Error("a connection was kept to an endpoint that is gone")
	}
	a.Close()
	tls := spec("10.0.0.1:80")
	tls.TLS = &TLS{Key: "other peers"}
	if Build(next, tls, Deps{}).members()[0].Endpoint == stays {
		t.Error("an endpoint was taken over though other peers are trusted")
	}
	next.Release()
	if e := Build(next, spec("10.0.0.1:80"), Deps{}).members()[0].Endpoint; e == stays {
		t.Error("a retired endpoint was taken over")
	}
}

func TestHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServers(t, "10.0.0.1:80", "10.0.0.2:80")
		var broken atomic.Bool
		var told []bool
		sp := spec("10.0.0.1:80", "10.0.0.2:80")
		c := Build(nil, sp, Deps{
			Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
				if broken.Load() && addr == "10.0.0.1:80" {
					return nil, syscall.ECONNREFUSED
				}
				return s.Dial(ctx, network, addr)
			},
			OnHealth: func(_, _ string, up bool, _ string) { told = append(told, up) },
		})
		bad, good := c.members()[0].Endpoint, c.members()[1].Endpoint
		broken.Store(true)
		var ce *ConnectError
		if _, err := c.Open(context.Background(), bad, false); !errors.As(err, &ce) || !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatal(err)
		}
		for range 10 {
			if c.Pick(nil) != good {
				t.Fatal("picked the dead one")
			}
		}
		if c.Pick([]*Endpoint{good}) != bad || c.Pick([]*Endpoint{good, bad}) != nil {
			t.Error("the dead one is better than none, and none is none")
		}
		if !c.Ready() || c.Endpoints()[0].Reason == "" {
			t.Error("not as it should be")
		}
		time.Sleep(time.Minute)
		broken.Store(false)
		time.Sleep(DefaultProbeInterval)
		synctest.Wait()
		if bad.Down() || len(told) != 2 || told[0] || !told[1] {
			t.Error("it does not come back", told)
		}
		// An answer in the normal course of things ends the search, and the prober with it.
		c.MarkDown(good, "test")
		c.MarkUp(good)
		// A retired endpoint is left alone: nothing is leaked.
		broken.Store(true)
		_, _ = c.Open(context.Background(), bad, true)
		c.Release()
		c.MarkDown(good, "too late")
		if good.Down() {
			t.Error("a retired endpoint was marked")
		}
	})
}

func TestConnectTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := Build(nil, spec("10.0.0.1:80"), Deps{Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}})
		began := time.Now()
		_, err := c.Open(context.Background(), c.Pick(nil), false)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != DefaultConnectTimeout {
			t.Error(err, time.Since(began))
		}
		c.Release()
	})
}

// A probe that was configured wrongly and never passes ends with its configuration.
func TestProbeThatChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServers(t, "10.0.0.1:80")
		asked := make(chan string, 1000)
		served := make(chan struct{})
		go func() {
			defer close(served)
			for c := range s.accepted {
				r, err := http.ReadRequest(bufio.NewReader(c))
				if err == nil {
					asked <- r.URL.Path
					status := map[bool]int{true: 200, false: 404}[r.URL.Path == "/right"]
					fmt.Fprintf(c, "HTTP/1.1 %d x\r\nContent-Length: 0\r\n\r\n", status)
				}
				_ = c.Close()
			}
		}()
		wrong := spec("10.0.0.1:80")
		wrong.Probe = Probe{Kind: ProbeHTTP, Path: "/wrong"}
		c := Build(nil, wrong, Deps{Dial: s.Dial})
		c.MarkDown(c.Pick(nil), "test")
		time.Sleep(time.Minute)
		right := wrong
		right.Probe.Path = "/right"
		next := Build(c, right, Deps{Dial: s.Dial})
		c.Release()
		time.Sleep(time.Minute)
		if next.Endpoints()[0].Down {
			t.Error("it is still asked in the old way")
		}
		next.Release()
		synctest.Wait()
		close(s.accepted)
		<-served
	})
}

// What this process has run out of says nothing about an endpoint.
func TestOwnShortageIsNobodysFault(t *testing.T) {
	c := Build(nil, spec("10.0.0.1:80"), Deps{Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Err: os.NewSyscallError("socket", syscall.EMFILE)}
	}})
	defer c.Release()
	e := c.Pick(nil)
	if _, err := c.Open(context.Background(), e, false); !errors.Is(err, syscall.EMFILE) || e.Down() {
		t.Errorf("%v; down: %t", err, e.Down())
	}
}
