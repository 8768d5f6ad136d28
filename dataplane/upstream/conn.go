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
)

// Conn is a connection to an endpoint. It belongs to one request at a time: who got it from Connect calls Close or Keep,
// once.
type Conn struct {
	net.Conn
	R *http1.Reader

	Endpoint   *Endpoint
	PeerID     string // what the handshake proved; empty without TLS
	TLSVersion uint16
	Local      netip.AddrPort
	Reused     bool // it has carried a request before

	epoch   uint64
	expires time.Time // of the server's leaf; zero without TLS
	since   time.Time // idle
	closed  atomic.Bool
}

// Connect gets a connection to e: one that is idle and still alive, unless fresh is set, or a new one with its TLS
// handshake done. A failure to get a new one is returned as *ConnectError, and marks the endpoint down if it may be the endpoint's.
func (c *Cluster) Connect(ctx context.Context, e *Endpoint, fresh bool) (*Conn, error) {
	if !fresh && c.spec.HTTP {
		if conn := e.pool.get(c.epoch()); conn != nil {
			return conn, nil
		}
	}
	conn, err := c.dial(ctx, e)
	if err != nil {
		e.n.cxFailed.Add(1)
		if ctx.Err() == nil && !ours(err) { // else it is the caller who gave up
			c.MarkDown(e, err.Error())
		}
		return nil, err
	}
	return conn, nil
}

// ours tells whether a failure to connect is about this process alone: it has run out of descriptors, ports or memory.
func ours(err error) bool {
	for _, e := range [...]error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// Keep returns a connection whose last message is complete to the idle ones of its endpoint.
func (c *Cluster) Keep(conn *Conn) {
	if !conn.R.Idle() || conn.epoch != c.epoch() || !conn.Endpoint.pool.put(conn, c.spec.IdleTimeout) {
		_ = conn.Close()
	}
}

// Close closes the connection.
func (conn *Conn) Close() error {
	if conn.closed.Swap(true) {
		return nil
	}
	conn.Endpoint.n.cxActive.Add(-1)
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

func (c *Cluster) dial(ctx context.Context, e *Endpoint) (*Conn, error) {
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
	conn := &Conn{Conn: raw, Endpoint: e, Local: filter.AddrPort(raw.LocalAddr()), epoch: epoch}
	if c.spec.TLS != nil {
		t := tls.Client(raw, c.spec.TLS.Config)
		if err := t.HandshakeContext(ctx); err != nil {
			_ = raw.Close()
			return nil, &ConnectError{Addr: e.addr, Handshake: true, Err: err}
		}
		cs := t.ConnectionState()
		conn.Conn, conn.PeerID, conn.TLSVersion = t, filter.PeerID(&cs), cs.Version
		if len(cs.PeerCertificates) > 0 {
			conn.expires = cs.PeerCertificates[0].NotAfter
		}
	}
	conn.R = http1.NewReader(conn.Conn)
	e.n.cxActive.Add(1)
	e.n.cxTotal.Add(1)
	return conn, nil
}
