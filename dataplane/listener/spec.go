package listener

import (
	"crypto/tls"
	"net/netip"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/filter"
	"github.com/hauberk-mesh/hauberk/dataplane/http"
	"github.com/hauberk-mesh/hauberk/dataplane/tcp"
	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
)

// Spec describes one listener. Immutable. The running Listener asks its Source for the present Spec at each connection
// and at each request, so that a swap of the whole configuration is one store of one pointer.
type Spec struct {
	Name      string
	Addr      netip.AddrPort
	Direction telemetry.Direction
	// Sniff looks for a TLS ClientHello before a chain is chosen (the tls_inspector listener filter).
	Sniff bool
	// SniffTimeout is how long silence is waited for; then SniffElse decides: continue as plaintext, or close.
	SniffTimeout         time.Duration
	PlaintextOnSniffIdle bool

	// Chains in order; the first whose Match fits serves the connection. None fits: the connection is closed, and counted.
	Chains []*Chain
}

// Chain is what serves a connection. Exactly one of HTTP and TCP is set.
type Chain struct {
	Name  string
	Match Match
	// TLS terminates with this configuration; nil is plaintext. It verifies the peer by itself.
	TLS     *tls.Config
	Network []filter.Network
	HTTP    *http.Spec
	TCP     *tcp.Spec
}

// Match is filter_chain_match, as far as this version honours it.
type Match uint8

// MatchAny fits every connection, MatchTLS those that began with a ClientHello, MatchPlaintext the others.
const (
	MatchAny Match = iota
	MatchTLS
	MatchPlaintext
)

// Source gives the present Spec of a listener; nil once it is gone. One load of the proxy's configuration pointer.
type Source func() *Spec
