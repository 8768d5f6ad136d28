// Package filter is the contract between the engine and the elements of a filter chain. A policy that is a chain element
// implements it in policy/<name>/filter; policy/all/filters lists the factories, and cli hands that list to the proxy.
//
// Parse is apart from Build, and Build may return nil: a filter that has nothing to do is not in the chain at all.
package filter

import (
	"net/netip"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
)

// Conn is what is known of a downstream connection once its handshake is done. It is immutable.
type Conn struct {
	Local, Remote netip.AddrPort
	TLSVersion    uint16 // 0: plaintext
	// PeerID is the SPIFFE ID that the handshake proved; empty is an anonymous caller.
	PeerID string
	// PeerExpires is when the peer's leaf ends; zero without a peer.
	PeerExpires time.Time
	SNI         string
}

// HTTP is a filter of an HTTP chain. One instance serves all requests of the chain at once: it must not change.
type HTTP interface {
	// Request judges a request before it is routed upstream; the path is normalised. Nil lets it pass.
	Request(c *Conn, r *message.Request) *Verdict
}

// Network is a filter of a connection. It is asked once after the handshake, and again for open connections after a
// change of configuration.
type Network interface {
	Connection(c *Conn) *Verdict
}

// Verdict is a filter's word on a request or connection. Values are built once with the chain where possible, so that a
// refusal costs no allocation; they must not be changed by who receives them.
type Verdict struct {
	// Refuse ends the request with Status (a connection is reset). If neither this nor Answer is set, the verdict is only
	// noted, and the chain goes on: Rule let the request pass, or, with Shadow, would have refused it.
	Refuse bool
	Shadow bool
	// Answer ends the request with Status and no error: the filter has answered by itself, as a health check does.
	Answer bool
	Status int

	Flags   string // response flags, see telemetry.Record
	Reason  string // stable reason code, sent to the caller
	Details string // %RESPONSE_CODE_DETAILS%
	Policy  string // never sent to the caller
	Rule    string
	// Unprocessed marks the answer so that the caller's proxy may try elsewhere.
	Unprocessed bool
}

// Env is what a filter may ask of the proxy that it runs in. All functions are safe for concurrent use and do not block.
type Env struct {
	// ClusterReady tells whether a cluster has an endpoint that answered last time.
	ClusterReady func(cluster string) bool
}

// Factory makes filters from the wire. Exactly one of HTTP and Network is set.
type Factory struct {
	// TypeURL is of the protobuf message that configures the filter: "type.googleapis.com/envoy...v3.RBAC".
	TypeURL string
	// HTTP and Network read the message (its bytes, so that this package needs no protobuf), refuse what they do not
	// honour with the field's path, and return the filter; nil if it has nothing to do.
	HTTP    func(config []byte, env Env) (HTTP, error)
	Network func(config []byte, env Env) (Network, error)
}
