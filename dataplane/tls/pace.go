package tls

import (
	"context"
	"errors"
	"io"

	"github.com/hauberk-mesh/hauberk/internal/sock"
)

// Turns decide when a handshake may compute: package admission's Ticket.
type Turns interface {
	// Resume waits for a turn, and tells whether that took time. Its error ends the handshake.
	Resume(ctx context.Context) (queued bool, err error)
	// Yield ends the turn.
	Yield()
}

// HandshakeInTurns is HandshakeContext that computes only in its turns, and has none while it waits for the peer: the first
// begins with the peer's first byte, the next with what the peer answers.
func (c *Conn) HandshakeInTurns(ctx context.Context, turns Turns) error {
	c.records.paced = &paced{ctx: ctx, turns: turns}
	defer func() {
		c.records.paced = nil
		turns.Yield()
	}()
	return c.HandshakeContext(ctx)
}

// paced is what a handshake in turns does before each read.
type paced struct {
	ctx   context.Context
	turns Turns
	ran   bool // it has had a turn
	first [1]byte
}

// wait ends the turn, waits for the peer, holding no buffer, and for the next turn. What can't be looked into, neither a socket nor
// of memory, is waited for in the turn; no listener accepts such connections.
func (p *paced) wait(r *records) error {
	p.turns.Yield()
	if _, err := sock.Peek(r.Conn, p.first[:]); err != nil && !errors.Is(err, sock.ErrNotSupported) {
		return err // an end needs no turn
	}
	queued, err := p.turns.Resume(p.ctx)
	if err != nil {
		return err
	}
	// Who went away meanwhile is not worth a signature. A client that has had its answer may end its side with its first request.
	if queued && (sock.PeerReset(r.Conn) || !p.ran && sock.PeerClosed(r.Conn)) {
		return io.EOF
	}
	if !p.ran {
		roomyStack()
	}
	p.ran = true
	return nil
}
