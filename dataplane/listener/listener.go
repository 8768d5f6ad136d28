// Package listener accepts connections and hands each to the chain that serves it: sniff, choose, shake hands, serve.
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

	"github.com/hauberk-mesh/hauberk/dataplane/filter"
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

	HandshakeTimeout time.Duration // 0: DefaultHandshakeTimeout

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
	HandshakeErrors, NoChain, AcceptErrors, Panics int64
}

// Listener accepts on one address. It is safe for concurrent use.
type Listener struct {
	o     Options
	bound netip.AddrPort

	draining atomic.Bool
	n        struct{ accepted, handshake, noChain, accept, panics atomic.Int64 }

	accepting sync.WaitGroup // the accept loop

	mu     sync.Mutex // guards below
	conns  map[*conn]struct{}
	closed bool          // no longer accepting
	cutAll bool          // connections that are added now are cut at once
	empty  chan struct{} // closed when, draining, the last connection has ended
}

// New makes a listener; Serve runs it.
func New(o Options) *Listener {
	if o.HandshakeTimeout <= 0 {
		o.HandshakeTimeout = DefaultHandshakeTimeout
	}
	return &Listener{o: o, bound: filter.AddrPort(o.Listener.Addr()), conns: map[*conn]struct{}{}, empty: make(chan struct{})}
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
	return Stats{Accepted: l.n.accepted.Load(), Active: active, HandshakeErrors: l.n.handshake.Load(),
		NoChain: l.n.noChain.Load(), AcceptErrors: l.n.accept.Load(), Panics: l.n.panics.Load()}
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
	var running sync.WaitGroup
	defer running.Wait()
	defer l.accepting.Done()
	pause := time.Duration(0)
	for {
		raw, err := l.o.Listener.Accept()
		if err == nil {
			pause = 0
			if c := l.add(raw); c != nil {
				running.Go(func() { l.handle(ctx, c) })
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
	l.closed = true
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
	}
}

func (l *Listener) add(raw net.Conn) *conn {
	l.n.accepted.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cutAll {
		sock.Reset(raw)
		return nil
	}
	c := &conn{l: l, raw: raw}
	l.conns[c] = struct{}{}
	return c
}

func (l *Listener) remove(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
	if len(l.conns) == 0 && l.draining.Load() {
		select {
		case <-l.empty:
		default:
			close(l.empty)
		}
	}
}
