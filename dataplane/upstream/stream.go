package upstream

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/hauberk-mesh/hauberk/dataplane/http/http1"
	"github.com/hauberk-mesh/hauberk/dataplane/http/http2"
	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
)

// Stream is one HTTP exchange with an endpoint, in whatever version. The zero value is none. Who got it from Open calls Close
// once.
type Stream struct {
	message.Client
	*Conn // that carries it; of HTTP/2 others' exchanges too

	h2      *http2.Stream
	mux     *mux
	heavy   uint32 // 1: see Heavy; atomic
	again   bool   // the connection has carried exchanges before
	private bool   // the connection ends with it
}

// Open begins an exchange with e: on a connection that is there, unless fresh is set, or on a new one. A failure to get a
// connection is returned as *ConnectError, and marks the endpoint down if it may be the endpoint's.
func (c *Cluster) Open(ctx context.Context, e *Endpoint, fresh bool) (Stream, error) {
	if c.SpeaksForCallers() {
		return c.openPrivate(ctx, e)
	}
	if c.shares(e) {
		return c.openShared(ctx, e)
	}
	return c.openAlone(ctx, e, fresh)
}

// Kept begins an exchange with e on a connection that is there, if there is one that takes it.
func (c *Cluster) Kept(e *Endpoint) (Stream, bool) {
	if c.SpeaksForCallers() {
		return Stream{}, false
	}
	if c.shares(e) {
		e.muxes.mu.Lock()
		defer e.muxes.mu.Unlock()
		return e.muxes.take(c, false)
	}
	if conn := e.pool.get(c); conn != nil {
		return conn.stream(c), true
	}
	return Stream{}, false
}

// shares tells whether exchanges with e share connections, as far as is known: whether it speaks HTTP/2.
func (c *Cluster) shares(e *Endpoint) bool {
	return c.spec.Protocol == HTTP2 || c.spec.Protocol == Negotiated && !e.onlyHTTP1.Load()
}

// openAlone begins an exchange of HTTP/1.1.
func (c *Cluster) openAlone(ctx context.Context, e *Endpoint, fresh bool) (Stream, error) {
	if !fresh {
		if conn := e.pool.get(c); conn != nil {
			return conn.stream(c), nil
		}
	}
	conn, err := c.newConn(ctx, e)
	if err != nil {
		return Stream{}, err
	}
	if conn.protocol == "h2" { // the server has changed its mind since
		_ = conn.Close()
		e.onlyHTTP1.Store(false)
		return c.openShared(ctx, e)
	}
	return conn.stream(c), nil
}

// newConn makes a connection for HTTP, as far as the circuit breakers let it. Waiting is to make a connection: nobody queues
// for one of somebody else's.
func (c *Cluster) newConn(ctx context.Context, e *Endpoint) (*Conn, error) {
	if !c.AcquirePending() {
		return nil, &ConnectError{Addr: e.addr, Err: ErrOverflow}
	}
	defer c.ReleasePending()
	if !c.AcquireConnection() {
		if e.n.cxActive.Load() > 0 {
			return nil, &ConnectError{Addr: e.addr, Err: ErrOverflow}
		}
		c.ForceConnection()
	}
	return c.connect(ctx, e, c.httpTLS())
}

// stream begins the next exchange of a connection of HTTP/1.1.
func (conn *Conn) stream(c *Cluster) Stream {
	if conn.h1 == nil {
		conn.h1 = http1.NewClient(conn.Conn)
	}
	conn.h1.Limit(http1.Limits{Fields: int(c.spec.MaxFields)})
	conn.requests++
	return Stream{Client: conn.h1, Conn: conn, again: conn.Reused}
}

// IsOpen tells whether there is an exchange.
func (s *Stream) IsOpen() bool { return s.Client != nil }

// Fresh tells whether the server has said nothing yet on this connection, not even that it accepts our certificate.
func (s *Stream) Fresh() bool { return s.h2 == nil && !s.again }

// Stale tells, of an exchange that has failed, whether it was the connection that ended, and had carried others before.
func (s *Stream) Stale() bool { return s.again && (s.h2 == nil || s.mux.h2.Err() != nil) }

// Closing tells whether the connection takes no further exchange, since the server said so or it has ended.
func (s *Stream) Closing() bool {
	if s.h2 == nil {
		return false
	}
	select {
	case <-s.mux.h2.Done():
		return true
	default:
		return false
	}
}

// Heavy says that so much content moves that the exchange shall have its connection to itself: no new ones come to it.
func (s *Stream) Heavy() {
	if s.mux != nil && atomic.CompareAndSwapUint32(&s.heavy, 0, 1) { // both directions may say so at once
		s.mux.heavy.Add(1)
	}
}

// Close ends the exchange. complete: both messages were sent and read to their end; the connection is then kept where its
// protocol allows that. Otherwise the exchange is aborted.
func (s *Stream) Close(c *Cluster, complete bool) {
	client, conn, h2, m, private := s.Client, s.Conn, s.h2, s.mux, s.private
	if s.heavy != 0 {
		m.heavy.Add(-1)
	}
	*s = Stream{}
	switch {
	case h2 != nil:
		if !complete {
			h2.Abort()
		}
		h2.Release()
		if private {
			m.h2.Drain()
		}
	case complete && !private && conn.h1.Reusable():
		c.keep(conn)
	default:
		client.Abort()
		_ = conn.Close()
	}
}

// keep returns a connection whose last exchange is complete to the idle ones of its endpoint.
func (c *Cluster) keep(conn *Conn) {
	if conn.epoch != c.epoch() || !conn.Endpoint.pool.put(conn, c.spec.IdleTimeout) {
		_ = conn.Close()
	}
}

// Overflow tells whether an error is that of a circuit breaker.
func Overflow(err error) bool { return errors.Is(err, ErrOverflow) }

// ProbeKind is how a failed endpoint is asked whether it answers again.
func (c *Cluster) ProbeKind() ProbeKind { return c.spec.Probe.Kind }

// OriginalDst is set where the endpoint is where the caller wanted to go.
func (c *Cluster) OriginalDst() *OriginalDst { return c.spec.OriginalDst }
