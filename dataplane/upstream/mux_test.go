package upstream

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
	"github.com/hauberk-mesh/hauberk/internal/memconn"
)

const muxAddr = "10.0.0.1:80"

// muxFixture is a cluster in front of a server of HTTP/2 that answers everything, in memory.
type muxFixture struct {
	*Cluster
	e     *Endpoint
	dials atomic.Int32
	hold  chan struct{} // not nil: dials wait for it
	stop  func()
}

func newMuxFixture(t *testing.T, edit func(*Spec)) *muxFixture {
	f := &muxFixture{}
	var n memconn.Network
	ln, err := n.Listen(muxAddr)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Protocols: new(http.Protocols), Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hang" {
			<-r.Context().Done()
		}
	})}
	s.Protocols.SetUnencryptedHTTP2(true)
	s.Protocols.SetHTTP1(true)
	go func() { _ = s.Serve(ln) }()
	sp := spec(muxAddr)
	sp.Protocol = HTTP2
	if edit != nil {
		edit(&sp)
	}
	f.Cluster = Build(nil, sp, Deps{Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		f.dials.Add(1)
		if f.hold != nil {
			select {
			case <-f.hold:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		return n.Dial(ctx, network, addr)
	}})
	f.e = f.Pick(nil)
	f.stop = func() {
		f.Release()
		_ = s.Close()
		_ = ln.Close()
	}
	return f
}

// get makes one exchange and ends it.
func (f *muxFixture) get(t *testing.T, ctx context.Context) error {
	s, err := f.Open(ctx, f.e, false)
	if err != nil {
		return err
	}
	err = exchange(&s, "/")
	s.Close(f.Cluster, err == nil && s.Done())
	return err
}

func exchange(s *Stream, path string) error {
	q := &message.Request{Method: "GET", Scheme: "http", Authority: "h", Path: path, Length: message.Absent}
	if err := s.Request(q, true); err != nil {
		return err
	}
	if err := s.Flush(); err != nil {
		return err
	}
	var m message.Response
	if err := s.Response(&m); err != nil {
		return err
	}
	for !s.Done() {
		if err := s.Await(); err != nil {
			return err
		}
		s.Take(s.Available())
	}
	return nil
}

// All who need a connection at the same time wait for one dial.
func TestMuxDialsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newMuxFixture(t, nil)
		f.hold = make(chan struct{})
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if err := f.get(t, context.Background()); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		close(f.hold)
		wg.Wait()
		if f.dials.Load() != 1 || f.Endpoints()[0].ConnectionsActive != 1 {
			t.Errorf("%d dials, %+v", f.dials.Load(), f.Endpoints()[0])
		}
		f.stop()
	})
}

// Who dials for all and gives up on account of his own time fails alone: the next one goes on, and nobody blames the endpoint.
func TestMuxDialerGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newMuxFixture(t, func(s *Spec) { s.ConnectTimeout = time.Minute })
		f.hold = make(chan struct{})
		hasty, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		failed := make(chan error, 1)
		go func() { failed <- f.get(t, hasty) }()
		synctest.Wait()
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				if err := f.get(t, context.Background()); err != nil {
					t.Error(err)
				}
			})
		}
		if err := <-failed; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		time.Sleep(time.Second)
		if f.e.Down() {
			t.Error("the endpoint is blamed")
		}
		close(f.hold)
		wg.Wait()
		if f.dials.Load() != 2 {
			t.Errorf("%d dials", f.dials.Load())
		}
		f.stop()
	})
}

// A connection on which nothing was opened for the idle time, once or twice over, is closed; a long exchange keeps it.
func TestMuxIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newMuxFixture(t, func(s *Spec) { s.IdleTimeout = 10 * time.Second })
		long, err := f.Open(context.Background(), f.e, false)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- exchange(&long, "/hang") }()
		for range 5 {
			time.Sleep(7 * time.Second)
			if err := f.get(t, context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		active := func() int64 { return f.Endpoints()[0].ConnectionsActive }
		if active() != 1 || f.dials.Load() != 1 {
			t.Errorf("%d open of %d", active(), f.dials.Load())
		}
		long.Abort()
		<-done
		long.Close(f.Cluster, false)
		time.Sleep(22 * time.Second)
		if active() != 0 || kept(f.e) != 0 {
			t.Errorf("%d open, %d kept", active(), kept(f.e))
		}
		f.stop()
	})
}

// A connection carries as many requests, and lives as long, as the configuration wants.
func TestMuxIsWorn(t *testing.T) {
	for name, edit := range map[string]func(*Spec){
		"requests": func(s *Spec) { s.MaxRequestsPerConnection = 3 },
		"age":      func(s *Spec) { s.MaxConnection = 2500 * time.Millisecond },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newMuxFixture(t, edit)
				for range 12 {
					if err := f.get(t, context.Background()); err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Second)
				}
				time.Sleep(2 * time.Second)
				if got := f.dials.Load(); got != 4 {
					t.Errorf("%d connections", got)
				}
				if got := f.Endpoints()[0].ConnectionsActive; got != 1 {
					t.Errorf("%d are open", got)
				}
				f.stop()
			})
		})
	}
}

// An endpoint that goes lets its exchanges end, and then its connections.
func TestMuxOfAReleasedCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newMuxFixture(t, nil)
		s, err := f.Open(context.Background(), f.e, false)
		if err != nil {
			t.Fatal(err)
		}
		f.Release()
		time.Sleep(10 * time.Second)
		if f.e.n.cxActive.Load() != 1 {
			t.Error("closed under an exchange")
		}
		if err := exchange(&s, "/"); err != nil {
			t.Error(err)
		}
		s.Close(f.Cluster, true)
		time.Sleep(2 * time.Second)
		if got := f.e.n.cxActive.Load(); got != 0 {
			t.Errorf("%d connections are open", got)
		}
		// Who has picked it before may still open an exchange, which keeps nothing.
		if err := f.get(t, context.Background()); err != nil {
			t.Error(err)
		}
		time.Sleep(2 * time.Second)
		if got := f.e.n.cxActive.Load(); got != 0 || kept(f.e) != 0 {
			t.Errorf("%d connections are open", got)
		}
		f.stop()
	})
}

// Both directions of an exchange may find at the same moment that it is heavy; it counts once.
func TestMuxHeavyCountsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newMuxFixture(t, nil)
		s, err := f.Open(context.Background(), f.e, false)
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				for range 100 {
					s.Heavy()
				}
			})
		}
		wg.Wait()
		m := s.mux
		if got := m.heavy.Load(); got != 1 {
			t.Errorf("heavy %d times", got)
		}
		if _, ok := f.Kept(f.e); ok {
			t.Error("others come to it")
		}
		s.Close(f.Cluster, false)
		if got := m.heavy.Load(); got != 0 {
			t.Errorf("heavy %d times afterwards", got)
		}
		f.stop()
	})
}

// kept is how many connections of HTTP/2 an endpoint has for further exchanges.
func kept(e *Endpoint) int {
	e.muxes.mu.Lock()
	defer e.muxes.mu.Unlock()
	return len(e.muxes.list)
}
