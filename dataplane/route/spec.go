package route

import (
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
	"github.com/hauberk-mesh/hauberk/dataplane/upstream"
)

// Route is one entry of a virtual host: what matches and what is then done. Immutable once it is in a Table.
type Route struct {
	Name string
	// PathPrefix matches by segment; "/" takes all, and so does nothing.
	PathPrefix string
	// Match is what has to hold besides. Nil: nothing.
	Match *Match

	// One of these says what is done.
	Cluster  *upstream.Cluster
	Weighted []Weighted // a draw decides at each Match
	Redirect *Redirect
	Direct   *Direct

	PathRewrite *PathRewrite
	// HostRewrite is the authority that the upstream sees; empty keeps it.
	HostRewrite string
	// Original: a path or authority that was rewritten is told in x-envoy-original-path and x-envoy-original-host.
	Original bool
	// Request and Response are the edits of header fields, in the order in which they are made.
	Request, Response []Edit

	// ConnectTerminate: the content of a CONNECT goes to the endpoint as plain TCP; otherwise the CONNECT itself is sent on.
	ConnectTerminate bool
	// WebSocket and Connect say whether a request may change the protocol, where the route says so.
	WebSocket, Connect Switch

	RequestTimeout time.Duration // 0: off
	StreamIdle     time.Duration // 0: the chain's; negative: off
	MaxStream      time.Duration // 0: off; see Limit
	// GRPCTimeout: what a request says in grpc-timeout takes the place of MaxStream, up to GRPCTimeoutMax (0: whatever it says).
	GRPCTimeout    bool
	GRPCTimeoutMax time.Duration
	Retries        int // further attempts for requests that provably did nothing
}

// Weighted is one of several clusters of a route.
type Weighted struct {
	Weight  uint32
	Cluster *upstream.Cluster
	// Request and Response are the route's edits for requests that go there: they take the place of the route's own.
	Request, Response []Edit
	HostRewrite       string // empty: the route's
}

// Switch is a setting that a route may leave to its chain.
type Switch uint8

// Inherit leaves it to the chain.
const (
	Inherit Switch = iota
	On
	Off
)

// Or is the setting where the chain's is chain.
func (s Switch) Or(chain bool) bool { return s == On || s == Inherit && chain }

// Choose is where the request goes: Match has drawn among several. Nil: the route answers by itself.
func (r *Route) Choose() *upstream.Cluster { return r.Cluster }

// Limit is how long the exchange may take (0: no limit): MaxStream, or what the request's grpc-timeout says.
func (r *Route) Limit(q *message.Request) time.Duration {
	if !r.GRPCTimeout {
		return r.MaxStream
	}
	asked, ok := grpcTimeout(q.Header.Get("grpc-timeout"))
	switch {
	case !ok:
		return r.MaxStream
	case r.GRPCTimeoutMax > 0 && (asked == 0 || asked > r.GRPCTimeoutMax):
		return r.GRPCTimeoutMax
	}
	return asked
}

// grpcTimeout reads a timeout: at most eight digits and a unit.
func grpcTimeout(s string) (time.Duration, bool) {
	if len(s) < 2 || len(s) > 9 {
		return 0, false
	}
	var unit time.Duration
	switch s[len(s)-1] {
	case 'H':
		unit = time.Hour
	case 'M':
		unit = time.Minute
	case 'S':
		unit = time.Second
	case 'm':
		unit = time.Millisecond
	case 'u':
		unit = time.Microsecond
	case 'n':
		unit = time.Nanosecond
	default:
		return 0, false
	}
	n := time.Duration(0)
	for _, c := range []byte(s[:len(s)-1]) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + time.Duration(c-'0')
	}
	const longest = time.Duration(1<<63 - 1)
	if n > longest/unit {
		return longest, true
	}
	return n * unit, true
}
