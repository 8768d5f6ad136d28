package upstream

import (
	"context"
	"net"
	"net/netip"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/proxyprotocol"
)

// A connection that begins with a PROXY header speaks for one caller. It is made for one exchange and shared with nobody.

// callerKey is of the addresses in a context.
type callerKey struct{}

type caller struct{ src, dst netip.AddrPort }

// SpeaksForCallers tells whether connections begin with a PROXY header: who opens one says WithCaller.
func (c *Cluster) SpeaksForCallers() bool { return c.spec.ProxyProtocol != 0 }

// WithCaller says for whom a connection is made: the client's address, and the one that it has connected to.
func WithCaller(ctx context.Context, src, dst netip.AddrPort) context.Context {
	return context.WithValue(ctx, callerKey{}, caller{src, dst})
}

// introduce writes the PROXY header, if the cluster wants one. A connection for nobody (a probe) says so.
func (c *Cluster) introduce(ctx context.Context, conn net.Conn) error {
	if !c.SpeaksForCallers() {
		return nil
	}
	from, _ := ctx.Value(callerKey{}).(caller)
	if at, ok := ctx.Deadline(); ok {
		_ = conn.SetWriteDeadline(at)
		defer func() { _ = conn.SetWriteDeadline(time.Time{}) }()
	}
	_, err := conn.Write(proxyprotocol.Append(nil, c.spec.ProxyProtocol, from.src, from.dst))
	return err
}

// openPrivate begins an exchange on a connection of its own.
func (c *Cluster) openPrivate(ctx context.Context, e *Endpoint) (Stream, error) {
	conn, err := c.newConn(ctx, e)
	if err != nil {
		return Stream{}, err
	}
	if !c.speaksHTTP2(conn) {
		s := conn.stream(c)
		s.private = true
		return s, nil
	}
	m, err := c.newMux(ctx, conn)
	if err != nil {
		return Stream{}, err
	}
	stream, err := m.h2.Open()
	if err != nil {
		_ = m.h2.Close()
		return Stream{}, &ConnectError{Addr: e.addr, Handshake: true, Err: err}
	}
	return Stream{Client: stream, Conn: conn, h2: stream, mux: m, private: true}, nil
}
