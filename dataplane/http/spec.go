package http

import (
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/filter"
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

	IdleTimeout    time.Duration // between requests
	StreamIdle     time.Duration // without progress in a request
	RequestHeaders time.Duration // to read a request's head
	MaxConnection  time.Duration
}

// EscapedSlashes is path_with_escaped_slashes_action.
type EscapedSlashes uint8

// What to do with %2F and %5C in a path.
const (
	KeepEscapedSlashes EscapedSlashes = iota
	RejectEscapedSlashes
)
