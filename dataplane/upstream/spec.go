package upstream

import (
	"crypto/tls"
	"net"
	"net/netip"
	"time"
)

// Spec describes a cluster. It is plain data that dataplane/config reads from the wire; Build turns it into a Cluster.
type Spec struct {
	Name string
	// Service is the destination as telemetry names it; empty for the application behind an inbound.
	Service   string
	Protocol  Protocol
	HTTP2     HTTP2Options // where HTTP/2 is spoken
	Endpoints []EndpointSpec

	ConnectTimeout time.Duration
	IdleTimeout    time.Duration // of a pooled connection; 0 is never
	// MaxConnection is how long a pooled connection takes new requests; 0 is for ever.
	MaxConnection time.Duration
	// MaxRequestsPerConnection is after how many requests a connection takes no more; 0 is never.
	MaxRequestsPerConnection uint32
	MaxFields                uint32 // header fields of a response; 0 leaves it to the codec

	// Limits are the circuit breakers; nil has none.
	Limits *Limits
	// DNS is set where endpoints are names that are resolved again and again.
	DNS *DNS
	// OriginalDst is set where the endpoint is where the caller wanted to go; there are no Endpoints then.
	OriginalDst *OriginalDst
	// ProxyProtocol is the version of the PROXY header that each connection begins with, before TLS: 0 (none), 1 or 2. Such a
	// connection speaks for one caller.
	ProxyProtocol int
	// KeepAlive is for the connections' sockets; nil leaves it to Dial.
	KeepAlive *net.KeepAliveConfig

	// TLS is nil for plain endpoints.
	TLS *TLS

	Probe Probe
}

// HTTP tells whether the cluster says how it speaks HTTP. One that does not still speaks HTTP/1.1 with who asks it for HTTP.
func (s *Spec) HTTP() bool { return s.Protocol != Opaque }

// Protocol is what a cluster's endpoints speak.
type Protocol uint8

// Opaque clusters say nothing of it: TCP passes as it is, and a request goes by HTTP/1.1. Negotiated is what ALPN chose,
// HTTP/1.1 without it. TCP that is sent to a cluster that speaks HTTP passes as it is too, on connections of its own.
const (
	Opaque Protocol = iota
	HTTP1
	HTTP2
	Negotiated
)

// HTTP2Options are limits of an HTTP/2 connection to an endpoint. A zero leaves it to the codec's default.
type HTTP2Options struct {
	MaxStreams   uint32        // at once on one connection, beside what the endpoint allows
	StreamWindow uint32        // bytes that we let a stream's sender be ahead at first,
	MaxWindow    uint32        // and at most
	Ping         time.Duration // keepalive after so long; 0: none
	PingTimeout  time.Duration
}

// Limits are thresholds of a circuit breaker. A zero admits nothing; NoLimit everything.
type Limits struct {
	Connections uint32 // to all endpoints together
	Pending     uint32 // requests that wait for a connection
	Requests    uint32 // at once
	Retries     uint32 // at once
}

// NoLimit is a threshold that nothing reaches.
const NoLimit = 1<<32 - 1

// DNS is how names are resolved: again and again, in the background.
type DNS struct {
	Refresh time.Duration // 0: DefaultRefresh
	Jitter  time.Duration // up to so much later
	// Retry is when to ask again after a failure, doubled for each further one up to MaxRetry. 0: Refresh.
	Retry, MaxRetry time.Duration
	Family          Family
	// Single takes one address of a name, and keeps it for as long as the name has it: LOGICAL_DNS.
	Single bool
}

// Family says which addresses of a name are taken.
type Family uint8

// Auto takes IPv6 addresses and, where there are none, IPv4 ones; V4Preferred the other way round.
const (
	Auto Family = iota
	V4Only
	V6Only
	V4Preferred
	AllFamilies
)

// OriginalDst is how the address is found to which a request or connection goes on.
type OriginalDst struct {
	Header string // names the request header with the address, which comes before the connection's own destination; "" none
	Port   uint16 // instead of that of the address; 0 keeps it
	// Forget is how long an address is remembered, with its connections, that nobody uses; 0: DefaultForget.
	Forget time.Duration
}

// name is what the endpoint is called, if it has a name.
func (e *EndpointSpec) name() string {
	if e.Hostname != "" {
		return e.Hostname
	}
	return e.Host
}

// EndpointSpec is one address. Unix is set instead of Addr for a socket path, Host beside Addr's port for a name.
type EndpointSpec struct {
	Addr     netip.AddrPort
	Unix     string
	Host     string // to resolve: only with Spec.DNS
	Hostname string // what the endpoint is called, where that matters (SNI); beside Host
	Weight   uint32 // share of the turns, beside the others' weights; 0 is 1
	Unready  bool   // the control plane has heard that its application does not answer
	Name     string // of the dataplane, for /clusters and decisions
}

// TLS is how connections to endpoints are secured. Config is used as it is; it verifies the peer by itself
// (dataplane/tls makes it) and gives the present client certificate by callback.
type TLS struct {
	Config *tls.Config
	// Opaque is for opaque TCP, which must not offer HTTP by ALPN; nil: Config.
	Opaque *tls.Config
	// HostSNI: the name that is asked for (SNI) is the endpoint's own, where it has one.
	HostSNI bool
	// Unverified: whatever the peer says of itself proves nothing.
	Unverified bool
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
