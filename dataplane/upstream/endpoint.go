package upstream

import (
	"context"
	"crypto/tls"
	"net/netip"
	"sync"
	"sync/atomic"
)

// Endpoint is one address: the connections kept to it, what is known of its health, and counters. It is shared by the
// clusters of successive configurations and safe for concurrent use.
type Endpoint struct {
	key  key
	addr string // for Dial and people

	down      atomic.Bool // read at each pick; changed under mu
	pool      pool
	muxes     muxes
	onlyHTTP1 atomic.Bool // what ALPN chose last, of Negotiated
	n         counters

	mu        sync.Mutex // guards below
	reason    string
	stopProbe context.CancelFunc // of the prober, while one runs
	holders   int                // clusters that have it
	gone      bool               // retired: nobody has had it any more
}

// key is what an endpoint can not change without being another one.
type key struct {
	addr     netip.AddrPort
	unix     string
	tls      string
	protocol Protocol
	sni      string // what is asked for in the handshake, where that is the endpoint's own name
	// probe, because whoever fell out by a probe that cannot pass must come back with one that can.
	probe Probe
}

type counters struct {
	cxActive, cxTotal, cxFailed atomic.Int64
	rqActive, rqTotal, rqErrors atomic.Int64
}

func (s *Spec) key(e EndpointSpec) key {
	k := key{addr: e.Addr, unix: e.Unix, protocol: s.Protocol, probe: s.Probe}
	if s.TLS != nil {
		k.tls = "tls " + s.TLS.Key
		if s.TLS.HostSNI {
			k.sni = e.name()
		}
	}
	return k
}

func newEndpoint(k key) *Endpoint {
	e := &Endpoint{key: k, addr: k.unix}
	if k.unix == "" {
		e.addr = k.addr.String()
	}
	return e
}

// Addr is the endpoint's address; zero for a socket path.
func (e *Endpoint) Addr() netip.AddrPort { return e.key.addr }

// String is the address as people write it.
func (e *Endpoint) String() string { return e.addr }

// Down tells whether the endpoint failed and has not answered since.
func (e *Endpoint) Down() bool { return e.down.Load() }

// Begin and End count a request that is made on the endpoint.
func (e *Endpoint) Begin() {
	e.n.rqActive.Add(1)
	e.n.rqTotal.Add(1)
}

// End is told whether the endpoint failed.
func (e *Endpoint) End(failed bool) {
	e.n.rqActive.Add(-1)
	if failed {
		e.n.rqErrors.Add(1)
	}
}

// named is config for this endpoint.
func (e *Endpoint) named(config *tls.Config) *tls.Config {
	if config == nil || e.key.sni == "" {
		return config
	}
	config = config.Clone()
	config.ServerName = e.key.sni
	return config
}

// hold notes that one cluster more has the endpoint. It fails if none had it any more: such a one is as good as closed.
func (e *Endpoint) hold() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.gone {
		return false
	}
	e.holders++
	return true
}

// drop ends a hold. After the last one idle connections close, those in use close when they are done, probing stops.
func (e *Endpoint) drop() {
	e.mu.Lock()
	if e.holders--; e.holders > 0 {
		e.mu.Unlock()
		return
	}
	e.gone = true
	if e.stopProbe != nil {
		e.stopProbe()
		e.stopProbe = nil
	}
	e.mu.Unlock()
	e.pool.close()
	e.muxes.close()
}

func (e *Endpoint) status() Status {
	e.mu.Lock()
	reason := e.reason
	e.mu.Unlock()
	s := Status{
		Address: e.addr, Down: e.Down(),
		ConnectionsActive: e.n.cxActive.Load(), ConnectionsIdle: int64(e.pool.size()),
		ConnectionsTotal: e.n.cxTotal.Load(), ConnectFailures: e.n.cxFailed.Load(),
		RequestsActive: e.n.rqActive.Load(), RequestsTotal: e.n.rqTotal.Load(), RequestErrors: e.n.rqErrors.Load(),
	}
	if s.Down {
		s.Reason = reason
	}
	return s
}
