package ir

import "time"

// Cluster is a set of endpoints that are used alike.
type Cluster struct {
	// Name is "outbound|<service>|<port>" or "inbound|<port name>" (the application).
	Name     string   `json:"name"`
	Protocol Protocol `json:"protocol"`

	// Service, ServicePort and PortName are the destination as users name it.
	Service     string `json:"service"`
	ServicePort uint32 `json:"servicePort"`
	PortName    string `json:"portName"`

	// TLS is set where the endpoints are proxies of the mesh. Nil: plain, as to the application.
	TLS *UpstreamTLS `json:"tls,omitempty"`

	// Endpoints are shared by all proxies that use the service port: equal pointer, equal content. Never change them
	// through a Proxy.
	Endpoints *Endpoints `json:"endpoints"`

	Timeouts ClusterTimeouts `json:"timeouts"`
	// Probe is how the proxy finds out that an endpoint which failed answers again.
	Probe Probe `json:"probe,omitempty"`
}

// UpstreamTLS is what the proxy asks of the other proxy.
type UpstreamTLS struct {
	// PeerIDs are the SPIFFE IDs one of which the server must prove, sorted. Empty: no peer is acceptable.
	PeerIDs []string `json:"peerIDs"`
	SNI     string   `json:"sni"`
}

// ClusterTimeouts are those of the upstream side. Zero is off.
type ClusterTimeouts struct {
	Connect time.Duration `json:"connect"`
	Idle    time.Duration `json:"idle,omitempty"`
}

// Probe asks an endpoint whether it answers. It is asked only after a failure, until it succeeds.
type Probe struct {
	Kind ProbeKind `json:"kind,omitempty"`
	// Path and Interval are the application's, from the inbound's probe. Interval zero is 1s.
	Path     string        `json:"path,omitempty"`
	Interval time.Duration `json:"interval,omitempty"`
}

// ProbeKind says how to ask.
type ProbeKind string

// ProbeConnect opens a connection (with its TLS handshake). ProbeMesh asks the other proxy, over mutual TLS, whether its
// application answers (see the health_check filter of an HTTP inbound). ProbeHTTP asks the application for Path.
const (
	ProbeConnect ProbeKind = "connect"
	ProbeMesh    ProbeKind = "mesh"
	ProbeHTTP    ProbeKind = "http"
)
