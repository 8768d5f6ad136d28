package telemetry

import (
	"net/netip"
	"strings"
	"sync/atomic"
	"time"
)

// Decision is what was decided on one request or connection: the part of a Record that outlives it.
type Decision struct {
	Time                                 time.Time
	Duration                             time.Duration
	Outbound                             bool
	RequestID                            string
	Source, Destination                  string
	SourceID, DestinationID              string
	Protocol, Method, Path               string
	Status                               int
	GRPCStatus                           int // NoGRPCStatus, or how a gRPC call ended
	Flags, Details, Reason, Policy, Rule string
	ShadowRule, Route, TransportFailure  string
	Upstream                             netip.AddrPort
	Attempts                             int
	TLSVersion                           uint16
}

// longest is what one string of a decision may take: a path may be long, and a ring must stay small.
const longest = 1024

// decisionOf copies r.
func decisionOf(r *Record) Decision {
	code, _ := grpcStatus(r)
	c := func(s string) string { return strings.Clone(s[:min(len(s), longest)]) }
	return Decision{
		Time: r.Start, Duration: r.Duration, Outbound: r.Direction == Outbound, RequestID: c(r.RequestID),
		Source: c(r.SourceService), Destination: c(r.DestinationService),
		SourceID: c(r.SourceID), DestinationID: c(r.DestinationID),
		Protocol: c(r.Protocol), Method: c(r.Method), Path: c(r.Path), Status: r.Status, GRPCStatus: code,
		Flags: c(r.Flags), Details: c(r.Details), Reason: c(r.Reason), Policy: c(r.Policy), Rule: c(r.Rule),
		ShadowRule: c(r.ShadowRule), Route: c(r.Route), TransportFailure: c(r.TransportFailure),
		Upstream: r.UpstreamHost, Attempts: r.Attempts, TLSVersion: r.TLSVersion,
	}
}

// Filter chooses decisions. Empty fields choose all.
type Filter struct {
	RequestID string
	Peer      string // service or SPIFFE ID on the other side
	Path      string // compared without the query unless it has one itself
	Method    string
	Refused   bool // only what the mesh refused, or would by a shadow rule
	Limit     int  // 0: 100
}

// Refusals hands refusals on as they occur. It never blocks: what nobody takes in time is dropped and counted.
// It is a Recorder.
type Refusals struct {
	c       chan Decision
	dropped atomic.Uint64
}

// NewRefusals returns a queue of n refusals.
func NewRefusals(n int) *Refusals { return &Refusals{c: make(chan Decision, n)} }

// C is where refusals come out.
func (q *Refusals) C() <-chan Decision { return q.c }

// TakeDropped returns how many refusals were dropped since it was last asked.
func (q *Refusals) TakeDropped() uint64 { return q.dropped.Swap(0) }

// Opened does nothing.
func (q *Refusals) Opened(*Record) {}

// Record queues r if the mesh refused it.
func (q *Refusals) Record(r *Record) {
	if r.Reason == "" {
		return
	}
	if len(q.c) == cap(q.c) { // a flood of refusals costs a comparison each, no copy
		q.dropped.Add(1)
		return
	}
	select {
	case q.c <- decisionOf(r):
	default:
		q.dropped.Add(1)
	}
}
