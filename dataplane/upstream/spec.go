package upstream

import (
	"crypto/tls"
	"net/netip"
	"time"
)

// Spec describes a cluster. It is plain data that dataplane/config reads from the wire; Build turns it into a Cluster.
type Spec struct {
	Name string
	// Service is the destination as telemetry names it; empty for the application behind an inbound.
	Service   string
	HTTP      bool // speaks HTTP/1.1; otherwise opaque
	Endpoints []EndpointSpec

	ConnectTimeout time.Duration
	IdleTimeout    time.Duration // of a pooled connection; 0 is never

	// TLS is nil for plain endpoints.
	TLS *TLS

	Probe Probe
}

// EndpointSpec is one address. Unix is set instead of Addr for a socket path.
type EndpointSpec struct {
	Addr    netip.AddrPort
	Unix    string
	Unready bool   // the control plane has heard that its application does not answer
	Name    string // of the dataplane, for /clusters and decisions
}

// TLS is how connections to endpoints are secured. Config is used as it is; it verifies the peer by itself
// (dataplane/tls makes it) and gives the present client certificate by callback.
type TLS struct {
	Config *tls.Config
	// Key names everything that decides who is trusted and how: endpoints are reused over a change of configuration only
	// if it is equal. It is part of the pool key of DESIGN section 5.
	Key string
	// Epoch counts changes of the own SVID. A pooled connection made in an older epoch takes no further request.
	Epoch func() uint64
}

// Probe is how a failed endpoint is asked whether it answers again.
type Probe struct {
	Kind     ProbeKind
	Path     string        // ProbeHTTP
	Interval time.Duration // 0: 500ms
}

// ProbeKind says how to ask; see ir.ProbeKind for the meaning.
type ProbeKind uint8

// ProbeConnect connects and, with TLS, shakes hands. ProbeMesh sends "OPTIONS *" with probeHeader over the mesh.
const (
	ProbeConnect ProbeKind = iota
	ProbeMesh
	ProbeHTTP
)

// probeHeader marks the request by which a proxy asks another one whether the application behind it answers. The
// health_check filter of the inbound answers 200 or an unprocessed 503; it never reaches the application.
const probeHeader = "hauberk-probe"
