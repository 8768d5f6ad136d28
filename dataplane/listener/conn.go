package listener

import (
	"context"
	"math"
	"net"
	"runtime/debug"
	"sync"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/filter"
	"github.com/hauberk-mesh/hauberk/dataplane/http"
	"github.com/hauberk-mesh/hauberk/dataplane/tcp"
	"github.com/hauberk-mesh/hauberk/internal/sock"
)

// conn is one accepted connection, as long as it is open.
type conn struct {
	l   *Listener
	raw net.Conn

	facts      facts
	terminated bool // its TLS ends here
	http       bool
	info       *filter.Conn
	limited    string // the connection limit in which it is counted; empty: none. Guarded by the listener's lock

	web *http.Conn // of a chain that is HTTP

	mu     sync.Mutex // guards below
	place  sock.Place // where it is parked; see park.go
	drain  func()     // what is to be done when a drain begins; nil: nothing
	judge  func() *filter.Verdict
	denied *filter.Verdict
}

// handle serves one connection from its first byte to its end.
func (l *Listener) handle(ctx context.Context, c *conn) {
	l.run(c, func() (parked bool) {
		// serve has a frame of its own, and a connection that waits for its client's first bytes no stack for it.
		if spec := l.o.Source(); spec != nil && c.inspect(spec) == nil {
			parked = c.serve(ctx, spec)
		}
		return parked
	})
}

// run does what is to be done for a connection until it has ended or is parked.
func (l *Listener) run(c *conn, serve func() (parked bool)) {
	raw, parked := c.raw, false
	defer func() {
		if !parked {
			_ = raw.Close()
			l.remove(c)
			l.running.Done()
		}
	}()
	if l.o.OnPanic != nil {
		defer func() {
			if v := recover(); v != nil {
				l.n.panics.Add(1)
				sock.Reset(raw) // what was sent so far is not all there is
				l.o.OnPanic(v, debug.Stack())
			}
		}()
	}
	parked = serve()
}

// serve chooses the chain and serves the connection as that says.
func (c *conn) serve(ctx context.Context, spec *Spec) (parked bool) {
	l := c.l
	chain := spec.choose(&c.facts)
	if chain == nil {
		l.n.noChain.Add(1)
		sock.Reset(c.raw)
		return false
	}
	if !l.enter(c, chain.Limit) {
		c.turnAway(chain.Limit)
		return false
	}
	served, err := c.handshake(ctx, chain)
	if err != nil {
		return false
	}
	c.describe(served)
	if chain.HTTP != nil {
		c.http = true
		return c.serveHTTP(ctx, served)
	}
	c.serveTCP(ctx, served)
	return false
}

// turnAway ends a connection that is one too many. It is kept waiting, without being served, so that a client that comes back
// at once does not do so as fast as it can.
func (c *conn) turnAway(limit *ConnectionLimit) {
	if limit.Delay > 0 {
		_ = c.raw.SetReadDeadline(time.Now().Add(limit.Delay))
		_ = sock.WaitBuffered(c.raw, math.MaxInt32) // until the deadline, or its end
	}
	sock.Reset(c.raw)
}

// describe fills in what filters and records see. Names that TLS was asked for are known from the hello where it ends
// elsewhere, and from the handshake where it ends here.
func (c *conn) describe(served net.Conn) {
	c.info = filter.NewConn(served)
	c.info.Local, c.info.Remote = c.facts.local, c.facts.remote
	if c.info.SNI == "" {
		c.info.SNI = c.facts.serverName
	}
}

// again is the chain that a connection which was accepted earlier has now, or nil if it would not be accepted as it is.
func (c *conn) again(spec *Spec) *Chain {
	chain := spec.choose(&c.facts)
	if chain == nil || (chain.TLS != nil) != c.terminated || (chain.HTTP != nil) != c.http {
		return nil
	}
	return chain
}

func (c *conn) serveHTTP(ctx context.Context, served net.Conn) (parked bool) {
	c.web = &http.Conn{
		Conn: served, Info: c.info, Listener: c.l.Name, Recorder: c.l.o.Recorder,
		Chain: func() (*http.Spec, bool) {
			spec := c.l.o.Source()
			if spec == nil {
				return nil, true
			}
			if chain := c.again(spec); chain != nil {
				return chain.HTTP, false
			}
			return nil, false
		},
		Draining: c.l.draining.Load,
		OnDrain:  c.onDrain,
		Watch:    c.watchExchanges,
		OnPanic:  c.l.onPanic(),
		Park:     c.park,
	}
	return http.Serve(ctx, c.web)
}

func (c *conn) serveTCP(ctx context.Context, served net.Conn) {
	c.onDrain(nil) // it goes on
	now := func() *Chain {
		if spec := c.l.o.Source(); spec != nil {
			return c.again(spec)
		}
		return nil
	}
	// Registered before the chain is looked up for the last time: a change in between is then seen by one of the two.
	c.watch(func() *filter.Verdict {
		if c.l.o.Source() == nil {
			return nil // the listener goes; its connections are drained
		}
		chain := now()
		if chain == nil {
			return &filter.Verdict{Refuse: true, Flags: "UAEX", Details: "filter_chain_gone", Reason: "permission_denied"}
		}
		return filter.RunNetwork(chain.Network, c.info).Final
	})
	chain := now()
	if chain == nil {
		sock.Reset(c.raw)
		return
	}
	tcp.Serve(ctx, &tcp.Conn{
		Conn: served, Info: c.info, Listener: c.l.Name, Recorder: c.l.o.Recorder, Network: chain.Network,
		Denied: func() *filter.Verdict { return c.watch(nil) },
	}, chain.TCP)
}

// onDrain says what is to be done when a drain begins, and does it if one has begun.
func (c *conn) onDrain(f func()) {
	c.mu.Lock()
	c.drain = f
	c.mu.Unlock()
	if f != nil && c.l.draining.Load() {
		f()
	}
}

// wakeIdle tells the connection that a drain has begun.
func (c *conn) wakeIdle() {
	c.mu.Lock()
	f := c.drain
	c.mu.Unlock()
	if f != nil {
		f()
	}
}

// hurry bounds the wait for a connection's first bytes.
func (c *conn) hurry() { _ = c.raw.SetReadDeadline(time.Now().Add(http.DrainIdle)) }

// watchExchanges registers what judges a connection's exchanges, which end by themselves if they are refused.
func (c *conn) watchExchanges(judge func()) {
	c.watch(func() *filter.Verdict {
		judge()
		return nil
	})
}

// watch registers a judge, or ends that and returns the verdict that ended the connection.
func (c *conn) watch(judge func() *filter.Verdict) *filter.Verdict {
	c.mu.Lock()
	c.judge = judge
	denied := c.denied
	c.mu.Unlock()
	if judge != nil {
		c.rejudge()
	}
	return denied
}

func (c *conn) rejudge() {
	c.mu.Lock()
	judge := c.judge
	c.mu.Unlock()
	if judge == nil {
		return
	}
	v := judge()
	if v == nil || !v.Refuse {
		return
	}
	c.mu.Lock()
	still := c.judge != nil
	if still && c.denied == nil {
		c.denied = v
	}
	c.mu.Unlock()
	if still {
		sock.Reset(c.raw)
	}
}
