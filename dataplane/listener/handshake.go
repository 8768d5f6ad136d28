package listener

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/admission"
	"github.com/hauberk-mesh/hauberk/dataplane/tls"
	"github.com/hauberk-mesh/hauberk/internal/sock"
)

// handshake ends TLS here if the chain says so.
func (c *conn) handshake(ctx context.Context, chain *Chain) (net.Conn, error) {
	if chain.TLS == nil {
		return c.raw, nil
	}
	limit := chain.HandshakeTimeout
	if limit <= 0 {
		limit = c.l.o.HandshakeTimeout
	}
	t, err := c.shake(ctx, chain, limit)
	if err != nil {
		c.refused(err)
		return nil, err
	}
	c.l.n.shaken.Add(1)
	c.facts.transport, c.terminated = TLS, true
	return t, nil
}

// errSlow is a handshake that was not done in its time.
var errSlow = errors.New("not done")

// shake shakes hands in the turns that the gate gives it. It may queue for a turn for half of its time: later the client would
// have given up before the end.
func (c *conn) shake(ctx context.Context, chain *Chain, limit time.Duration) (*tls.Conn, error) {
	ticket, err := c.l.o.Handshakes.Begin(c.l.o.Name, c.facts.remote.Addr(), limit/2)
	if err != nil {
		return nil, err
	}
	defer ticket.End()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	t := tls.NewServer(c.raw, chain.TLS)
	if err = t.HandshakeInTurns(ctx, ticket); err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = fmt.Errorf("%w after %s", errSlow, limit)
	}
	return t, err
}

// refused counts a handshake that came to nothing. One that is over the bounds is reset: its client is to notice at once.
func (c *conn) refused(err error) {
	n, over := &c.l.n, new(admission.Refusal)
	switch {
	case errors.As(err, &over):
		n.bounded.Add(1)
		sock.Reset(c.raw)
	case errors.Is(err, errSlow):
		n.slow.Add(1)
		n.handshake.Add(1)
	default:
		n.handshake.Add(1)
	}
	if c.l.o.OnHandshakeError != nil {
		c.l.o.OnHandshakeError(c.facts.remote, err)
	}
}
