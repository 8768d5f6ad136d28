package ir

import "time"

// Protocol is how a listener or cluster speaks.
type Protocol string

// The protocols of this version. HTTP, HTTP2 and GRPC say what the application speaks: between proxies all of them ride HTTP/2,
// and a client may speak either version to its own proxy.
const (
	HTTP  Protocol = "http"
	HTTP2 Protocol = "http2"
	GRPC  Protocol = "grpc"
	TCP   Protocol = "tcp"
)

// IsHTTP tells whether requests are told apart.
func (p Protocol) IsHTTP() bool { return p == HTTP || p == HTTP2 || p == GRPC }

// Listener is one address on which the proxy accepts.
type Listener struct {
	// Name is "inbound|<port name>" or "outbound|<service>|<port>"; it is in stats, /listeners and the access log.
	Name     string   `json:"name"`
	Address  string   `json:"address"` // IP
	Port     uint32   `json:"port"`
	Protocol Protocol `json:"protocol"`

	// Service and ServicePort are whose traffic this is: the proxy's own service for an inbound, the destination for an
	// outbound. PortName is the inbound's or the service port's name.
	Service     string `json:"service"`
	ServicePort uint32 `json:"servicePort"`
	PortName    string `json:"portName"`

	// TLS is set on inbounds: who must prove what. Nil on outbounds, which the application reaches on loopback in clear.
	TLS *InboundTLS `json:"tls,omitempty"`
	// Permission is set on inbounds; empty lists deny everything. Nil on outbounds.
	Permission *Permission `json:"permission,omitempty"`

	// Routes of an HTTP listener, first match wins. Resolve fills one that takes all.
	Routes []*Route `json:"routes,omitempty"`
	// Cluster of a TCP listener.
	Cluster string `json:"cluster,omitempty"`

	Timeouts ListenerTimeouts `json:"timeouts"`
}

// InboundTLS is mutual TLS on an inbound. Certificates and bundles are found by name: see secret.go.
type InboundTLS struct {
	Mode TLSMode `json:"mode"`
	// MinVersion and MaxVersion are "TLS12" or "TLS13"; empty is TLS13.
	MinVersion string `json:"minVersion,omitempty"`
	MaxVersion string `json:"maxVersion,omitempty"`
}

// TLSMode is MeshTLS's word.
type TLSMode string

// Strict closes plaintext; Permissive takes both, and a plaintext caller is anonymous.
const (
	Strict     TLSMode = "Strict"
	Permissive TLSMode = "Permissive"
)

// ListenerTimeouts are those of the downstream side. Zero is off.
type ListenerTimeouts struct {
	Idle           time.Duration `json:"idle,omitempty"`           // connection without a request (HTTP) or bytes (TCP)
	StreamIdle     time.Duration `json:"streamIdle,omitempty"`     // request without progress
	RequestHeaders time.Duration `json:"requestHeaders,omitempty"` // first byte of a request to the end of its headers
	MaxConnection  time.Duration `json:"maxConnection,omitempty"`  // age at which a connection is drained
}
