package listener

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
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

	kind       Match // MatchTLS or MatchPlaintext: how it began
	terminated bool  // its TLS ends here
	http       bool
	info       *filter.Conn

	mu     sync.Mutex // guards below
	busy   bool
	judge  func() *filter.Verdict
	denied *filter.Verdict
}

// handle serves one connection from its first byte to its end.
func (l *Listener) handle(ctx context.Context, c *conn) {
	raw := c.raw
	defer l.remove(c)
	defer raw.Close()
	if l.o.OnPanic != nil {
		defer func() {
			if v := recover(); v != nil {
				l.n.panics.Add(1)
				sock.Reset(raw) // what was sent so far is not all there is
				l.o.OnPanic(v, debug.Stack())
			}
		}()
	}
	spec := l.o.Source()
	if spec == nil {
		return
	}
	if err := c.sniff(spec); err != nil {
		return
	}
	chain := c.choose(spec)
	if chain == nil {
		l.n.noChain.Add(1)
		sock.Reset(raw)
		return
	}
	served, err := c.handshake(ctx, chain)
	if err != nil {
		return
	}
	c.info = filter.NewConn(served)
	if chain.HTTP != nil {
		c.http = true
		c.serveHTTP(ctx, served)
		return
	}
	c.serveTCP(ctx, served)
}

// sniff finds out how the connection begins, if a chain depends on it. Nothing is consumed.
func (c *conn) sniff(spec *Spec) error {
	wanted := spec.Sniff
	for _, chain := range spec.Chains {
		wanted = wanted || chain.Match != MatchAny
	}
	if !wanted {
		return nil
	}
	limit := spec.SniffTimeout
	if limit == 0 {
		limit = patience(spec)
	}
	if limit > 0 {
		_ = c.raw.SetReadDeadline(time.Now().Add(limit))
	}
	var first [6]byte
	n, err := sock.Peek(c.raw, first[:])
	_ = c.raw.SetReadDeadline(time.Time{})
	switch {
	case err == nil:
		c.kind = MatchPlaintext
		if beginsTLS(first[:n]) {
			c.kind = MatchTLS
		}
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded) && spec.PlaintextOnSniffIdle:
		c.kind = MatchPlaintext // one of the protocols in which the server speaks first
		return nil
	}
	return err
}

// patience is how long a client may be silent where silence decides nothing: as long as between two requests.
func patience(spec *Spec) time.Duration {
	for _, chain := range spec.Chains {
		if chain.HTTP != nil {
			return chain.HTTP.IdleTimeout
		}
		if chain.TCP != nil {
			return chain.TCP.IdleTimeout
		}
	}
	return 0
}

// beginsTLS tells whether b is, or may become, a TLS record with a ClientHello (RFC 8446 sections 5.1 and 4): type 22,
// version 3.x, two bytes of length, message 1. A shorter beginning that fits counts: taking plaintext for TLS ends in a
// failed handshake, the other way round would hand a caller's handshake to an application.
func beginsTLS(b []byte) bool {
	for i, c := range b {
		switch i {
		case 0:
			if c != 22 {
				return false
			}
		case 1:
			if c != 3 {
				return false
			}
		case 5:
			if c != 1 {
				return false
			}
		}
	}
	return len(b) > 0
}

// choose is the first chain that fits how the connection began.
func (c *conn) choose(spec *Spec) *Chain {
	for _, chain := range spec.Chains {
		if chain.Match == MatchAny || chain.Match == c.kind {
			return chain
		}
	}
	return nil
}

// again is the chain that a connection which was accepted earlier has now, or nil if it would not be accepted as it is.
func (c *conn) again(spec *Spec) *Chain {
	chain := c.choose(spec)
	if chain == nil || (chain.TLS != nil) != c.terminated || (chain.HTTP != nil) != c.http {
		return nil
	}
	return chain
}

func (c *conn) handshake(ctx context.Context, chain *Chain) (net.Conn, error) {
	if chain.TLS == nil {
		if c.kind == MatchAny {
			c.kind = MatchPlaintext
		}
		return c.raw, nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.l.o.HandshakeTimeout)
	defer cancel()
	t := tls.Server(c.raw, chain.TLS)
	if err := t.HandshakeContext(ctx); err != nil {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			err = fmt.Errorf("not done after %s", c.l.o.HandshakeTimeout)
		}
		c.l.n.handshake.Add(1)
		if c.l.o.OnHandshakeError != nil {
			c.l.o.OnHandshakeError(filter.AddrPort(c.raw.RemoteAddr()), err)
		}
		return nil, err
	}
	c.kind, c.terminated = MatchTLS, true
	return t, nil
}

func (c *conn) serveHTTP(ctx context.Context, served net.Conn) {
	http.Serve(ctx, &http.Conn{
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
		Busy:     c.setBusy,
		Watch:    c.watch,
	})
}

func (c *conn) serveTCP(ctx context.Context, served net.Conn) {
	c.setBusy(true)
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

func (c *conn) setBusy(busy bool) {
	c.mu.Lock()
	c.busy = busy
	c.mu.Unlock()
}

// wakeIdle bounds the wait of a connection that has no request. One that has sets its own deadlines, under the same lock
// that says so.
func (c *conn) wakeIdle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.busy {
		_ = c.raw.SetReadDeadline(time.Now().Add(http.DrainIdle))
	}
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
