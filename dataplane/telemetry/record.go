// Package telemetry is what the proxy tells of each request and connection: metrics, access log, decision ring and the
// edge counters that go to the control plane. The engine fills one Record and hands it to a Recorder once.
//
// It is request-time code: no protobuf, no logging framework, and nothing here blocks a request.
package telemetry

import (
	"net/netip"
	"time"
)

// Direction is the side of the hop on which a proxy stands.
type Direction uint8

// Outbound is the caller's proxy (reporter "source"), Inbound the callee's (reporter "destination").
const (
	Outbound Direction = iota
	Inbound
)

// Recorder takes finished records. Record must not keep r: it is reused as soon as Record returns.
type Recorder interface {
	Record(r *Record)
	// Opened is called when a TCP connection begins to be proxied; Record follows when it ends.
	Opened(r *Record)
}

// NoGRPCStatus is the GRPCStatus of what is no gRPC call, or of one that ended without a status.
const NoGRPCStatus = -1

// Record is all that is known of one request (HTTP) or one connection (TCP).
type Record struct {
	Start     time.Time
	Duration  time.Duration // to the last byte sent downstream
	Direction Direction
	Listener  string // name
	Route     string
	Cluster   string

	Protocol string // "HTTP/2", "HTTP/1.1", "HTTP/1.0", "TCP"
	Method   string // the bytes of these four were checked by the codec
	Path     string // as forwarded, with the query
	// OriginalPath is as received, where normalising changed it.
	OriginalPath string
	Authority    string
	RequestID    string
	UserAgent    string
	ForwardedFor string

	Status int // sent downstream; 0 for TCP
	// GRPC: the request is a gRPC call. GRPCStatus is how it ended, a number from 0 to 16, or NoGRPCStatus.
	GRPC       bool
	GRPCStatus int
	// Flags are Envoy's response flags, comma separated; docs/access-log.md lists them. Empty is "-".
	Flags string
	// Details is Envoy's %RESPONSE_CODE_DETAILS%: "via_upstream", "rbac_access_denied_matched_policy[...]".
	Details string
	// Reason is the stable reason code of a response that the mesh made up (docs/reasons.md); empty otherwise.
	Reason string
	// Policy and Rule are what decided, where a policy did, for or against: "MeshTrafficPermission/allow-web" and
	// "MeshTrafficPermission/allow-web#rules[0].allow[1]". Both "default-deny" where nothing allowed.
	Policy, Rule string
	// ShadowRule is the allowWithShadowDeny entry that would deny.
	ShadowRule string
	// TransportFailure is why the last connect or handshake to an endpoint failed: %UPSTREAM_TRANSPORT_FAILURE_REASON%.
	TransportFailure string

	// SourceService is the caller's service: the proxy's own (outbound), or the workload in PeerID (inbound).
	SourceService      string
	DestinationService string
	// SourceID and DestinationID are what a handshake proved, and empty where none did.
	SourceID, DestinationID string
	TLSVersion              uint16 // of the hop between the proxies; 0 is plaintext

	DownstreamRemote netip.AddrPort
	DownstreamLocal  netip.AddrPort
	UpstreamHost     netip.AddrPort // last one tried
	UpstreamLocal    netip.AddrPort
	SNI              string

	Attempts     int // 1 is no retry
	Unprocessed  bool
	BytesIn      int64 // body bytes from downstream (TCP: bytes)
	BytesOut     int64 // body bytes to downstream
	UpstreamTime time.Duration
}
