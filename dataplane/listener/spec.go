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
	Unix      string // path of a socket to listen on, in place of Addr; "@name" is in the abstract namespace
	UnixMode  uint32 // permissions of that socket; 0 leaves them to the umask
	Backlog   int    // connections that wait to be accepted; 0 is as many as the system allows
	Direction telemetry.Direction

	// MaxConnections is how many connections may be open at once; one more is reset. 0 is any number. The limit of the whole
	// proxy (Options.Overload) does not hold where IgnoreGlobalLimit is set.
	MaxConnections    int
	IgnoreGlobalLimit bool

	// OriginalDst asks the kernel where a redirected connection wanted to go; that is then its local address.
	OriginalDst bool
	// ProxyProtocol expects a PROXY header before anything else, and believes it. Nil: none is expected, and one that comes
	// all the same is the application's bytes.
	ProxyProtocol *ProxyProtocol
	// Sniff looks for a TLS ClientHello before a chain is chosen (the tls_inspector listener filter), SniffHTTP for HTTP in
	// what is no TLS (http_inspector).
	Sniff, SniffHTTP bool
	// SniffTimeout is how long all of that may take. Then PlaintextOnSniffIdle decides: continue with what is known, silence
	// being plaintext, or close.
	SniffTimeout         time.Duration
	PlaintextOnSniffIdle bool
	MaxHello             int // bytes of a ClientHello; 0: 64 KiB

	// Chains in any order; see Match for which of them serves a connection. Default does if none fits; nil: the connection is
	// reset, and counted.
	Chains  []*Chain
	Default *Chain
}

// ProxyProtocol says which PROXY headers are taken.
type ProxyProtocol struct {
	Optional bool // a connection without one is served too
	V1, V2   bool
}

// Chain is what serves a connection. Exactly one of HTTP and TCP is set.
type Chain struct {
	Name  string
	Match Match
	// TLS terminates with this configuration; nil is plaintext. It verifies the peer by itself.
	TLS *tls.Config
	// HandshakeTimeout bounds the handshake; 0: Options.HandshakeTimeout.
	HandshakeTimeout time.Duration
	// Limit is the connection_limit filter; nil: none.
	Limit   *ConnectionLimit
	Network []filter.Network
	HTTP    *http.Spec
	TCP     *tcp.Spec
}

// ConnectionLimit is how many connections a chain serves at once. One more is closed after Delay, without being served.
type ConnectionLimit struct {
	Key   string // names the chain's count, which outlives a change of configuration
	Max   int
	Delay time.Duration
}

// Source gives the present Spec of a listener; nil once it is gone. One load of the proxy's configuration pointer.
type Source func() *Spec
