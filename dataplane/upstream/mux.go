package upstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/http/http2"
)

// muxes are an endpoint's connections of HTTP/2. Exchanges go to the first that takes them, so that many share one connection
// and their frames one system call; the next connection is made when that one is full.
type muxes struct {
	mu     sync.Mutex // guards all below
	list   []*mux
	dial   *dialing // nil: nobody is at it
	closed bool
}

// mux is one connection of HTTP/2.
type mux struct {
	*Conn
	h2    *http2.ClientConn
	heavy atomic.Int32 // exchanges that want it to themselves
	busy  bool         // used since idle looked last; guarded by muxes.mu
	idle  *time.Timer
	spent atomic.Bool // its time is over: set by a timer, so that a request need not look at the clock
	end   *time.Timer
}

// dialing is a connection that is being made, by one for all that wait.
type dialing struct {
	done   chan struct{}
	err    error
	gaveUp bool // whoever made it, on account of his own time
}

// openShared begins an exchange of HTTP/2, or of HTTP/1.1 where the server chose that.
func (c *Cluster) openShared(ctx context.Context, e *Endpoint) (Stream, error) {
	p := &e.muxes
	for {
		p.mu.Lock()
		if s, ok := p.take(c, false); ok {
			p.mu.Unlock()
			return s, nil
		}
		d := p.dial
		if d == nil {
			d = &dialing{done: make(chan struct{})}
			p.dial = d
			p.mu.Unlock()
			s, err := c.dialShared(ctx, e, d)
			return c.orCrowd(e, s, err)
		}
		p.mu.Unlock()
		if !c.AcquirePending() {
			return Stream{}, &ConnectError{Addr: e.addr, Err: ErrOverflow}
		}
		select {
		case <-d.done:
			c.ReleasePending()
		case <-ctx.Done():
			c.ReleasePending()
			return Stream{}, &ConnectError{Addr: e.addr, Err: ctx.Err()}
		}
		if d.gaveUp {
			continue
		}
		if d.err != nil {
			return c.orCrowd(e, Stream{}, d.err)
		}
		if e.onlyHTTP1.Load() {
			return c.openAlone(ctx, e, false)
		}
	}
}

// orCrowd goes to a connection with something heavy on it where a circuit breaker allows no other one.
func (c *Cluster) orCrowd(e *Endpoint, s Stream, err error) (Stream, error) {
	if !Overflow(err) {
		return s, err
	}
	e.muxes.mu.Lock()
	defer e.muxes.mu.Unlock()
	if s, ok := e.muxes.take(c, true); ok {
		return s, nil
	}
	return s, err
}

// take begins an exchange on the first connection that takes one; crowd: also beside something heavy. Those that never will
// again are drained.
func (p *muxes) take(c *Cluster, crowd bool) (Stream, bool) {
	for i := 0; i < len(p.list); {
		m := p.list[i]
		if m.spent.Load() || m.epoch != c.epoch() || m.full(c) {
			p.drop(i)
			m.h2.Drain()
			continue
		}
		if m.heavy.Load() > 0 && !crowd {
			i++
			continue
		}
		s, err := m.h2.Open()
		switch {
		case err == nil:
			m.busy = true
			m.requests++
			return Stream{Client: s, Conn: m.Conn, h2: s, mux: m, again: true}, true
		case errors.Is(err, http2.ErrBusy):
			i++
		default:
			p.drop(i)
		}
	}
	return Stream{}, false
}

// forget takes out a connection that is dead.
func (p *muxes) forget(m *mux) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.list, m); i >= 0 {
		p.drop(i)
	}
}

func (p *muxes) drop(i int) {
	p.list[i].stopTimers()
	p.list = slices.Delete(p.list, i, i+1)
}

// dialShared makes a connection for all who wait for d, and begins an exchange on it.
func (c *Cluster) dialShared(ctx context.Context, e *Endpoint, d *dialing) (s Stream, err error) {
	var m *mux
	defer func() {
		d.err, d.gaveUp = err, err != nil && ctx.Err() != nil
		e.muxes.mu.Lock()
		e.muxes.dial = nil
		if m != nil && err == nil && !e.muxes.closed {
			e.muxes.list = append(e.muxes.list, m)
			m.watchIdle(e, c.spec.IdleTimeout)
			m.watchAge(c.spec.MaxConnection)
		} else if m != nil {
			m.h2.Drain()
		}
		e.muxes.mu.Unlock()
		close(d.done)
	}()
	conn, err := c.newConn(ctx, e)
	if err != nil {
		return s, err
	}
	if !c.speaksHTTP2(conn) {
		e.onlyHTTP1.Store(true)
		return conn.stream(c), nil
	}
	if m, err = c.newMux(ctx, conn); err != nil {
		e.n.cxFailed.Add(1)
		if ctx.Err() == nil { // else it is the caller who gave up
			c.MarkDown(e, err.Error())
		}
		return s, err
	}
	stream, err := m.h2.Open()
	if err != nil {
		return s, &ConnectError{Addr: e.addr, Handshake: true, Err: err}
	}
	m.busy, m.requests = true, 1
	return Stream{Client: stream, Conn: conn, h2: stream, mux: m}, nil
}

// speaksHTTP2 tells which version a connection is for.
func (c *Cluster) speaksHTTP2(conn *Conn) bool {
	return c.spec.Protocol == HTTP2 || c.spec.Protocol == Negotiated && conn.protocol == "h2"
}

// meshPing is after how long a silent connection to another proxy is asked whether it lives, and how long the answer may take:
// behind a cable that was pulled, requests would go on to share a dead connection until TCP gives up after a quarter of an
// hour. Servers of others are not asked: gRPC's take it for abuse.
const meshPing = 4 * time.Second

// newMux agrees on HTTP/2 on a new connection: it waits for the server's settings, which prove that it has accepted our
// certificate too. In TLS 1.3 a client's handshake ends before the server has judged it (RFC 8446 section 4.4.2.4).
func (c *Cluster) newMux(ctx context.Context, conn *Conn) (*mux, error) {
	fail := func(err error) (*mux, error) {
		_ = conn.Close()
		return nil, &ConnectError{Addr: conn.Endpoint.addr, Handshake: true, Err: err}
	}
	if c.spec.TLS != nil && conn.protocol != "h2" {
		return fail(fmt.Errorf("the server did not agree on HTTP/2 (ALPN %q)", conn.protocol))
	}
	m := &mux{Conn: conn}
	o := c.spec.HTTP2
	if o.Ping == 0 && conn.PeerID != "" {
		o.Ping, o.PingTimeout = meshPing, meshPing
	}
	h2, err := http2.NewClient(conn.Conn, http2.Options{
		MaxStreams: o.MaxStreams, StreamWindow: o.StreamWindow, MaxWindow: o.MaxWindow, Ping: o.Ping, PingTimeout: o.PingTimeout, ExtendedConnect: true,
		MaxFields: int(c.spec.MaxFields), OnClose: func() {
			_ = conn.Close()
			conn.Endpoint.muxes.forget(m)
		},
	})
	if err != nil {
		return fail(err)
	}
	ctx, cancel := context.WithTimeout(ctx, c.spec.ConnectTimeout)
	defer cancel()
	if err := h2.Ready(ctx); err != nil {
		_ = h2.Close()
		return fail(err)
	}
	m.h2 = h2
	return m, nil
}

// watchIdle closes the connection when nothing was opened on it for a whole timeout: it looks once in each, so that a request
// pays nothing for it.
func (m *mux) watchIdle(e *Endpoint, timeout time.Duration) {
	if timeout <= 0 {
		return
	}
	p := &e.muxes
	m.idle = time.AfterFunc(timeout, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if m.busy || m.h2.Streams() > 0 {
			m.busy = false
			m.idle.Reset(timeout)
			return
		}
		if i := slices.Index(p.list, m); i >= 0 {
			p.drop(i)
		}
		m.h2.Drain()
	})
}

// watchAge ends the connection's use when the server's leaf ends, or when it is as old as the configuration wants.
func (m *mux) watchAge(most time.Duration) {
	left := time.Duration(0)
	if !m.expires.IsZero() {
		left = max(time.Until(m.expires), 1)
	}
	if most > 0 && (left == 0 || most < left) {
		left = most
	}
	if left > 0 {
		m.end = time.AfterFunc(left, func() { m.spent.Store(true) })
	}
}

func (m *mux) stopTimers() {
	for _, t := range [...]*time.Timer{m.idle, m.end} {
		if t != nil {
			t.Stop()
		}
	}
}

// close drains all: exchanges go on to their end.
func (p *muxes) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for len(p.list) > 0 {
		m := p.list[0]
		p.drop(0)
		m.h2.Drain()
	}
}
