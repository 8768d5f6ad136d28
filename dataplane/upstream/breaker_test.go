package upstream

import (
	"sync"
	"sync/atomic"
	"testing"
)

func TestBreaker(t *testing.T) {
	s := spec("10.0.0.1:80")
	s.Limits = &Limits{Connections: 1, Pending: 2, Requests: 3, Retries: 0}
	c := Build(nil, s, Deps{})
	for _, g := range []struct {
		name    string
		acquire func() bool
		release func()
		room    int
	}{
		{"connections", c.AcquireConnection, c.ReleaseConnection, 1},
		{"pending", c.AcquirePending, c.ReleasePending, 2},
		{"requests", c.AcquireRequest, c.ReleaseRequest, 3},
		{"retries", c.AcquireRetry, c.ReleaseRetry, 0},
	} {
		for range 2 { // what is given back can be had again
			got := 0
			for g.acquire() {
				got++
			}
			if got != g.room {
				t.Errorf("%s: room for %d, want %d", g.name, got, g.room)
			}
			for range got {
				g.release()
			}
		}
	}
	// What is in hand counts over a change of configuration, under the new limits.
	c.AcquireRequest()
	c.AcquireRequest()
	s.Limits = &Limits{Requests: 2}
	next := Build(c, s, Deps{})
	c.Release()
	if next.AcquireRequest() {
		t.Error("the new configuration has forgotten what is in hand")
	}
	c.ReleaseRequest()
	if !next.AcquireRequest() {
		t.Error("what the old one gave back is not there")
	}
	s.Limits = nil
	none := Build(next, s, Deps{})
	next.Release()
	defer none.Release()
	for range 10000 {
		if !none.AcquireRequest() {
			t.Fatal("without limits there is one")
		}
	}
}

func TestForcedConnectionCounts(t *testing.T) {
	s := spec("10.0.0.1:80")
	s.Limits = &Limits{Connections: 1}
	c := Build(nil, s, Deps{})
	defer c.Release()
	c.AcquireConnection()
	c.ForceConnection()
	c.ReleaseConnection()
	if c.AcquireConnection() {
		t.Error("one is still there")
	}
	c.ReleaseConnection()
	if !c.AcquireConnection() {
		t.Error("none is there")
	}
}

// However many ask at once, no more than the limit are in, and none is lost.
func TestBreakerRace(t *testing.T) {
	const limit = 7
	s := spec("10.0.0.1:80")
	s.Limits = &Limits{Requests: limit}
	c := Build(nil, s, Deps{})
	defer c.Release()
	var in, most atomic.Int64
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			for range 1000 {
				if !c.AcquireRequest() {
					continue
				}
				n := in.Add(1)
				for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				}
				in.Add(-1)
				c.ReleaseRequest()
			}
		})
	}
	wg.Wait()
	if most.Load() > limit {
		t.Errorf("%d at once", most.Load())
	}
	for i := range limit {
		if !c.AcquireRequest() {
			t.Errorf("room for %d is left", i)
		}
	}
}
