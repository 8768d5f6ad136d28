// Package ir is what the control plane has decided for one proxy, before anybody thinks of Envoy's messages: listeners,
// routes, clusters, endpoints, filters and secrets as small typed structs. Policies edit it, resolve makes it, xds/translate
// turns it into protobuf. It holds data and no behaviour, and it is pure: two equal worlds give two equal Proxies.
package ir

// Proxy is the whole configuration of one dataplane.
type Proxy struct {
	Mesh     string `json:"mesh"`
	Name     string `json:"name"` // of the Dataplane
	Zone     string `json:"zone"`
	Service  string `json:"service,omitempty"`  // label hauberk.io/service
	Workload string `json:"workload,omitempty"` // last part of the SPIFFE ID
	SPIFFEID string `json:"spiffeID"`           // its own identity
	// Labels of the Dataplane, for policies that select by them.
	Labels map[string]string `json:"labels,omitempty"`

	Inbounds  []*Listener `json:"inbounds,omitempty"`
	Outbounds []*Listener `json:"outbounds,omitempty"`
	// Clusters are all that a listener or route of this proxy names, sorted by name.
	Clusters []*Cluster `json:"clusters,omitempty"`

	// KeyProvider is where the proxy keeps the private keys that it makes. Empty: what it was started with.
	KeyProvider KeyProvider `json:"keyProvider,omitempty"`

	Trust   []TrustBundle `json:"trust,omitempty"`   // public bundles, sorted by trust domain
	Revoked []string      `json:"revoked,omitempty"` // SPIFFE IDs whose handshakes are refused, sorted
}

// KeyProvider is MeshTLS's word.
type KeyProvider string

// KeysBatched keeps keys outside of the Go heap and computes with several side by side, where the CPU can; KeysInMemory is Go's
// own code on the heap.
const (
	KeysBatched  KeyProvider = "batch"
	KeysInMemory KeyProvider = "memory"
)
