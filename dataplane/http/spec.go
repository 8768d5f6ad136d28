package http

import (
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/filter"
	"github.com/hauberk-mesh/hauberk/dataplane/http/http2"
	"github.com/hauberk-mesh/hauberk/dataplane/route"
	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
)

// Spec is one HTTP chain: all that the spine needs to serve a request. Immutable; a change of configuration makes a new one.
type Spec struct {
	Direction telemetry.Direction
	// Service is the own service (inbound) or the destination (outbound), for telemetry; OwnService is whose proxy this is.
	Service, OwnService string
	OwnID               func() string // present own SPIFFE ID

	Filters []filter.HTTP
	Routes  *route.Table

	NormalizePath  bool
	MergeSlashes   bool
	EscapedSlashes EscapedSlashes

	// Codec is what is spoken; HTTP2 are limits of HTTP/2.
	Codec Codec
	HTTP2 http2.Options
	// MaxHead bounds a request's head in bytes, MaxFields its number of fields; 0 leaves it to the codec. MaxRequests is how
	// many requests a connection may carry; 0 is any number.
	MaxHead, MaxFields int
	MaxRequests        int
	// HTTP10: HTTP/1.0 is served; otherwise it is answered 426. DefaultHost is the authority of a request of 1.0 without one.
	HTTP10      bool
	DefaultHost string
	// StripPort and StripDot are done to the authority before anything is decided (StripAuthority).
	StripPort PortStrip
	StripDot  bool
	// Underscores is what becomes of header fields with an underscore in the name: many applications take it for a hyphen.
	Underscores Underscores
	// Upgrades are the protocols that may be changed to, where the route does not say it itself.
	Upgrades Upgrades

	// A request ID is made where the caller brought none if GenerateRequestID; an outsider's own is kept if PreserveRequestID.
	GenerateRequestID, PreserveRequestID bool
	// RequestIDInResponse sends the ID back with every response.
	RequestIDInResponse bool
	// AppendForwardedFor adds the caller's address to x-forwarded-for.
	AppendForwardedFor bool
	// Edge: the caller is an outsider (use_remote_address). x-forwarded-proto is made anew from the connection, and what only
	// a proxy inside may say (x-envoy-internal and the other fields of x-envoy-) is taken out.
	Edge bool

	IdleTimeout    time.Duration // between requests
	StreamIdle     time.Duration // without progress in a request
	RequestHeaders time.Duration // to read a request's head
	RequestTime    time.Duration // to read a whole request; 0: no limit. 408 where no response has begun
	MaxConnection  time.Duration
	// Drain is how long streams may still begin after the first GOAWAY; 0: the codec's choice.
	Drain time.Duration
	// CloseDelay is how long a closed connection waits for the peer's end, so that what was sent last is not lost by a reset;
	// 0: the default of 1 s; negative: not at all.
	CloseDelay time.Duration

	// AccessLog takes each record beside the proxy's own; nil: nobody.
	AccessLog telemetry.Recorder
	// OverloadShed tells whether new requests are to be refused, so that memory does not run out; nil: never.
	OverloadShed func() bool
	// OverloadClose tells whether connections of HTTP/1 are to end with their response, for the same reason; nil: never.
	OverloadClose func() bool
}

// Codec is which versions of HTTP a chain speaks.
type Codec uint8

// Auto takes what ALPN chose and, without ALPN, what the client begins with. HTTP1 and HTTP2 take nothing else.
const (
	Auto Codec = iota
	HTTP1
	HTTP2
)

// Upgrades are protocols to which a connection or stream may change.
type Upgrades struct{ WebSocket, Connect bool }

// EscapedSlashes is path_with_escaped_slashes_action.
type EscapedSlashes uint8

// What to do with %2F and %5C in a path. Where they are unescaped and redirected, EscapedSlash tells of which path, before
// Normalise, and the client is sent a 307 to what Normalise made of it.
const (
	KeepEscapedSlashes EscapedSlashes = iota
	RejectEscapedSlashes
	UnescapeAndForward
	UnescapeAndRedirect
)

// PortStrip says when the port is taken off an authority.
type PortStrip uint8

// StripMatching takes it off where it is the listener's own.
const (
	KeepPort PortStrip = iota
	StripMatching
	StripAny
)

// Underscores is headers_with_underscores_action.
type Underscores uint8

// RejectUnderscores answers 400 (a stream of HTTP/2 is reset), DropUnderscores takes the field out.
const (
	AllowUnderscores Underscores = iota
	RejectUnderscores
	DropUnderscores
)
