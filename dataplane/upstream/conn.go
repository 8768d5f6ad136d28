package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/filter"
	"github.com/hauberk-mesh/hauberk/dataplane/http/http1"
	hauberktls "github.com/hauberk-mesh/hauberk/dataplane/tls"
	"github.com/hauberk-mesh/hauberk/internal/sock"
)

// Conn is a connection to an endpoint. Opaque TCP and HTTP/1.1 have it to themselves: who got it closes it or, in a Stream,
// gives it back. HTTP/2 shares it (mux.go).
type Conn struct {
	net.Conn

	Endpoint   *Endpoint
	PeerID     string // what the handshake proved; empty without TLS
	TLSVersion uint16
	Local      netip.AddrPort
	Reused     bool // it has carried a request before

	breaker  *breaker // that it is counted in; nil: in none
	h1       *http1.Client
	protocol string // that ALPN chose; empty without
	epoch    uint64
	requests uint32
	made     time.Time
	expires  time.Time // of the server's leaf; zero without TLS
	since    time.Time // idle
	closed   atomic.Bool
}

// Connect makes a connection to e for opaque TCP, with its TLS handshake done. A failure is returned as *ConnectError, and
// marks the endpoint down if it may be the endpoint's.
func (c *Cluster) Connect(ctx context.Context, e *Endpoint) (*Conn, error) {
	if !c.AcquireConnection() {
		return nil, &ConnectError{Addr: e.addr, Err: ErrOverflow}
	}
	return c.connect(ctx, e, c.opaqueTLS())
}

// ConnectHTTP is Connect with the TLS of HTTP, for who speaks HTTP by other means than a Stream.
func (c *Cluster) ConnectHTTP(ctx context.Context, e *Endpoint) (*Conn, error) {
	if !c.AcquireConnection() {
		return nil, &ConnectError{Addr: e.addr, Err: ErrOverflow}
	}
	return c.connect(ctx, e, c.httpTLS())
}

// connect makes a connection that has been counted, and gives its place back if there is none.
func (c *Cluster) connect(ctx context.Context, e *Endpoint, config *tls.Config) (*Conn, error) {
	conn, err := c.dial(ctx, e, config)
	if err == nil {
		conn.breaker = c.breaker
		return conn, nil
	}
	c.ReleaseConnection()
	e.n.cxFailed.Add(1)
	if ctx.Err() == nil && !ours(err) { // else it is the caller who gave up
		c.MarkDown(e, err.Error())
	}
	return nil, err
}

// ErrOverflow is in the chain of an error that says that a circuit breaker is open.
var ErrOverflow = errors.New("a circuit breaker's threshold is reached")

// ours tells whether a failure to connect is about this process alone: it has run out of descriptors, ports or memory.
func ours(err error) bool {
	for _, e := range [...]error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// Close closes the connection.
func (conn *Conn) Close() error {
	if conn.closed.Swap(true) {
		return nil
	}
	conn.Endpoint.n.cxActive.Add(-1)
	if conn.breaker != nil {
		conn.breaker.connections.leave()
	}
	return conn.Conn.Close()
}

// NetConn is what lies below, as for a TLS connection.
func (conn *Conn) NetConn() net.Conn { return conn.Conn }

// Proven tells whether the peer is a proxy of the mesh that proved its identity: only then are its own words believed.
func (conn *Conn) Proven() bool { return conn.PeerID != "" }

func (c *Cluster) epoch() uint64 {
	if c.spec.TLS == nil || c.spec.TLS.Epoch == nil {
		return 0
	}
	return c.spec.TLS.Epoch()
}

// ConnectError is why no connection could be had.
type ConnectError struct {
	Addr string
	// Handshake: the transport was there, TLS was not agreed.
	Handshake bool
	Err       error
}

func (e *ConnectError) Error() string {
	if e.Handshake {
		return fmt.Sprintf("TLS handshake with %s: %v", e.Addr, e.Err)
	}
	return fmt.Sprintf("connect to %s: %v", e.Addr, e.Err)
}

func (e *ConnectError) Unwrap() error { return e.Err }

// dial makes a connection and shakes hands. config is nil for plain endpoints.
func (c *Cluster) dial(ctx context.Context, e *Endpoint, config *tls.Config) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.spec.ConnectTimeout)
	defer cancel()
	network := "tcp"
	if e.key.unix != "" {
		network = "unix"
	}
	// Before the handshake: if the identity changes meanwhile, the connection counts as an old one.
	epoch := c.epoch()
	raw, err := c.deps.Dial(ctx, network, e.addr)
	if err != nil {
		return nil, &ConnectError{Addr: e.addr, Err: err}
	}
	raw = sock.Direct(raw)
	if err := c.introduce(ctx, raw); err != nil {
		_ = raw.Close()
		return nil, &ConnectError{Addr: e.addr, Err: fmt.Errorf("PROXY header: %w", err)}
	}
	conn := &Conn{Conn: raw, Endpoint: e, Local: filter.AddrPort(raw.LocalAddr()), epoch: epoch, made: time.Now()}
	if config = e.named(config); config != nil {
		t := hauberktls.NewClient(raw, config)
		if err := t.HandshakeContext(ctx); err != nil {
			_ = raw.Close()
			return nil, &ConnectError{Addr: e.addr, Handshake: true, Err: err}
		}
		cs := t.ConnectionState()
		conn.Conn, conn.TLSVersion, conn.protocol = t, cs.Version, cs.NegotiatedProtocol
		if len(cs.PeerCertificates) > 0 && !c.spec.TLS.Unverified {
			conn.PeerID = filter.PeerID(&cs)
			conn.expires = cs.PeerCertificates[0].NotAfter
		}
	}
	e.n.cxActive.Add(1)
	e.n.cxTotal.Add(1)
	return conn, nil
}

// httpTLS and opaqueTLS are how connections are secured; nil is not at all.
func (c *Cluster) httpTLS() *tls.Config {
	if c.spec.TLS == nil {
		return nil
	}
	return c.spec.TLS.Config
}

func (c *Cluster) opaqueTLS() *tls.Config {
	if c.spec.TLS != nil && c.spec.TLS.Opaque != nil {
		return c.spec.TLS.Opaque
	}
	return c.httpTLS()
}

// worn tells whether the connection takes no further request: its identity or its peer's is not the present one any more, or
// it has lived or served for as long as the configuration wants.
func (conn *Conn) worn(c *Cluster, now time.Time) bool {
	s := &c.spec
	return conn.epoch != c.epoch() || !conn.expires.IsZero() && now.After(conn.expires) ||
		s.MaxConnection > 0 && now.Sub(conn.made) >= s.MaxConnection || conn.full(c)
}

// full tells whether the connection has carried as many requests as it may.
func (conn *Conn) full(c *Cluster) bool {
	return c.spec.MaxRequestsPerConnection > 0 && conn.requests >= c.spec.MaxRequestsPerConnection
}
