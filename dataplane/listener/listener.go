// Package listener accepts connections and hands each to the chain that serves it: inspect, choose, shake hands, serve.
//
// It binds nothing (the socket is handed in) and holds no configuration: it asks its Source. What a connection then carries
// is the business of http and tcp. Start at New and Listener.Serve.
package listener

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/admission"
	"github.com/hauberk-mesh/hauberk/dataplane/filter"
	"github.com/hauberk-mesh/hauberk/dataplane/overload"
	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
	"github.com/hauberk-mesh/hauberk/internal/sock"
)

// DefaultHandshakeTimeout bounds a TLS handshake, from the connection's first byte on.
const DefaultHandshakeTimeout = 10 * time.Second

// Options are what a listener needs. The functions are called from many goroutines and must not block.
type Options struct {
	Name     string // for what is recorded once the Source has none
	Listener net.Listener
	Source   Source
	Recorder telemetry.Recorder

	HandshakeTimeout time.Duration // of chains that name none; 0: DefaultHandshakeTimeout
	// Handshakes bounds the TLS handshakes of all listeners of a process. Nil: this one has a gate of its own.
	Handshakes *admission.Gate

	// Overload says when to accept less, and counts the connections of all listeners. Nil: never.
	Overload *overload.Manager

	// OnHandshakeError is told of each TLS handshake that failed; the error says why, with the identity that was seen. Nil:
	// nobody.
	OnHandshakeError func(remote netip.AddrPort, err error)
	// OnAcceptError is told when accepting fails, as it does when file descriptors run out. Accepting goes on. Nil: nobody.
	OnAcceptError func(err error)
	// OnPanic is told of a bug that ended one connection. Nil: the panic is not caught.
	OnPanic func(v any, stack []byte)
}

// Stats count since the start.
type Stats struct {
	Accepted, Active                               int64
	Parked                                         int64 // of those active: HTTP/1 connections that wait without a goroutine
	Handshakes                                     int64 // that were done
	HandshakeErrors, NoChain, AcceptErrors, Panics int64
	HandshakeTimeouts                              int64 // of HandshakeErrors: not done in time
	HandshakesRefused                              int64 // beyond the bounds: see admission.Gate
	Malformed                                      int64 // a ClientHello or PROXY header that is none
	Limited, Overloaded                            int64 // turned away by a limit of their own, and by that of the proxy
}

// Listener accepts on one address. It is safe for concurrent use.
type Listener struct {
	o     Options
	bound netip.AddrPort

	draining atomic.Bool
	n        struct {
		accepted, shaken, handshake, slow, bounded, noChain, accept, panics, malformed, limited, overloaded atomic.Int64
	}
	stop chan struct{} // closed with closed

	accepting sync.WaitGroup // the accept loop
	running   sync.WaitGroup // connections, parked ones too
	lot       sock.Lot       // of those that are parked
	serving   context.Context

	mu     sync.Mutex // guards below
	conns  map[*conn]struct{}
	counts map[string]int // of connections under a chain's limit, by its key
	closed bool           // no longer accepting
	cutAll bool           // connections that are added now are cut at once
	empty  chan struct{}  // closed when, draining, the last connection has ended
}

// New makes a listener; Serve runs it.
func New(o Options) *Listener {
	if o.HandshakeTimeout <= 0 {
		o.HandshakeTimeout = DefaultHandshakeTimeout
	}
	if o.Handshakes == nil {
		o.Handshakes = admission.New(admission.Options{})
	}
	return &Listener{o: o, bound: filter.AddrPort(o.Listener.Addr()), conns: map[*conn]struct{}{}, counts: map[string]int{},
		empty: make(chan struct{}), stop: make(chan struct{})}
}

// Name is the name of what is configured at the address now, which may have been renamed since it was opened.
func (l *Listener) Name() string {
	if spec := l.o.Source(); spec != nil && spec.Name != "" {
		return spec.Name
	}
	return l.o.Name
}

// Addr is where it listens.
func (l *Listener) Addr() netip.AddrPort { return l.bound }

// Stats are the present counts.
func (l *Listener) Stats() Stats {
	l.mu.Lock()
	active := int64(len(l.conns))
	l.mu.Unlock()
	return Stats{Accepted: l.n.accepted.Load(), Active: active, Parked: int64(l.lot.Len()), Handshakes: l.n.shaken.Load(),
		HandshakeErrors: l.n.handshake.Load(), HandshakeTimeouts: l.n.slow.Load(), HandshakesRefused: l.n.bounded.Load(),
		NoChain: l.n.noChain.Load(), AcceptErrors: l.n.accept.Load(), Panics: l.n.panics.Load(),
		Malformed: l.n.malformed.Load(), Limited: l.n.limited.Load(), Overloaded: l.n.overloaded.Load()}
}

// Serve accepts until ctx is done or Drain is called, and returns when all connections have ended. When ctx is done those
// that are left are cut.
func (l *Listener) Serve(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		l.Close()
		l.cut()
	})
	defer stop()
	if !l.begin() {
		return nil
	}
	l.serving = ctx
	defer l.lot.Close()
	defer l.running.Wait()
	defer l.accepting.Done()
	pause := time.Duration(0)
	for {
		l.o.Overload.Accept(l.stop)
		raw, err := l.o.Listener.Accept()
		if err == nil {
			pause = 0
			if c := l.add(raw); c != nil {
				l.running.Add(1)
				go l.handle(ctx, c)
			}
			continue
		}
		if errors.Is(err, net.ErrClosed) || l.isClosed() {
			return nil
		}
		// EMFILE and its like pass when other connections end; giving up would take the service away for good.
		l.n.accept.Add(1)
		if l.o.OnAcceptError != nil {
			l.o.OnAcceptError(err)
		}
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// begin counts the accept loop, unless it was closed before: who closes then waits for what it has accepted.
func (l *Listener) begin() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.accepting.Add(1)
	}
	return !l.closed
}

// Drain stops accepting and lets connections end: responses carry connection: close, connections without a request close
// after a second (http.DrainIdle), opaque ones go on. It returns when all have ended; those that are left when ctx is done are cut, and
// its error is returned.
func (l *Listener) Drain(ctx context.Context) error {
	l.draining.Store(true)
	l.Close()
	l.accepting.Wait() // one that was just accepted counts
	for _, c := range l.open() {
		c.wakeIdle()
	}
	l.mu.Lock()
	done := len(l.conns) == 0
	l.mu.Unlock()
	if done {
		return nil
	}
	select {
	case <-l.empty:
		return nil
	case <-ctx.Done():
		l.cut()
		return ctx.Err()
	}
}

// Rejudge asks the filters of the present configuration about all open TCP and upgraded connections and resets those that
// are now refused. Call it after the swap: connections that come in meanwhile see the new configuration.
func (l *Listener) Rejudge() {
	for _, c := range l.open() {
		c.rejudge()
	}
}

func (l *Listener) open() []*conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	open := make([]*conn, 0, len(l.conns))
	for c := range l.conns {
		open = append(open, c)
	}
	return open
}

// Close stops accepting. Connections go on; Drain ends them.
func (l *Listener) Close() {
	l.mu.Lock()
	if !l.closed {
		l.closed = true
		close(l.stop)
	}
	l.mu.Unlock()
	_ = l.o.Listener.Close()
}

func (l *Listener) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

func (l *Listener) cut() {
	l.mu.Lock()
	l.cutAll = true
	l.mu.Unlock()
	for _, c := range l.open() {
		sock.Reset(c.raw)
		c.unpark()
	}
}

// onPanic is what is told of a bug that ended one stream; nil: such panics are not caught.
func (l *Listener) onPanic() func(any, []byte) {
	if l.o.OnPanic == nil {
		return nil
	}
	return func(v any, stack []byte) {
		l.n.panics.Add(1)
		l.o.OnPanic(v, stack)
	}
}

// add takes a connection in, or returns nil: there are too many already.
func (l *Listener) add(raw net.Conn) *conn {
	raw = sock.Direct(raw)
	l.n.accepted.Add(1)
	spec := l.o.Source()
	if spec == nil {
		spec = &Spec{}
	}
	if l.o.Overload.RejectConnection() || !l.o.Overload.Enter(spec.IgnoreGlobalLimit) {
		l.n.overloaded.Add(1)
		sock.Reset(raw)
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	full := spec.MaxConnections > 0 && len(l.conns) >= spec.MaxConnections
	if l.cutAll || full {
		if full {
			l.n.limited.Add(1)
		}
		l.o.Overload.Leave()
		sock.Reset(raw)
		return nil
	}
	c := &conn{l: l, raw: raw}
	c.drain = c.hurry
	l.conns[c] = struct{}{}
	return c
}

// enter counts a connection under its chain's limit; false: there are as many as may be.
func (l *Listener) enter(c *conn, limit *ConnectionLimit) bool {
	if limit == nil {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.counts[limit.Key] >= limit.Max {
		l.n.limited.Add(1)
		return false
	}
	l.counts[limit.Key]++
	c.limited = limit.Key
	return true
}

func (l *Listener) remove(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
	l.o.Overload.Leave()
	if c.limited != "" {
		if l.counts[c.limited]--; l.counts[c.limited] == 0 {
			delete(l.counts, c.limited)
		}
	}
	if len(l.conns) == 0 && l.draining.Load() {
		select {
		case <-l.empty:
		default:
			close(l.empty)
		}
	}
}
