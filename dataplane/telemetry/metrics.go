package telemetry

import (
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Limits of a proxy's series. Beyond them counts go to series whose names say "overflow".
const (
	maxSeries   = 2000
	maxRefusals = 200
)

// Metrics counts requests and connections under Istio's names and labels. It is a Recorder; package prometheus shows it.
type Metrics struct {
	http     *table[Labels, HTTPSeries]
	tcp      *table[Labels, TCPSeries]
	refusals *table[Refusal, Counter]
	denied   [2]Counter // by Direction: envoy_rbac_denied
	shadow   [2]Counter
}

// Labels are what a series of istio_* is told apart by. Workload, app and service are one name in a mesh of hosts.
type Labels struct {
	Direction               Direction
	Source, Destination     string // services; empty is unknown
	SourceID, DestinationID string // SPIFFE IDs; empty is unknown
	Protocol                string // http, grpc or tcp
	Status                  int
	// GRPC is set where GRPCStatus, which may be 0, has a meaning.
	GRPC       bool
	GRPCStatus int
	Flags      string // "-" is none
	// Mutual is set where a handshake proved both sides, Plain where there was none. Neither: nothing is known, as of a
	// connection that was never made.
	Mutual, Plain bool
}

// Refusal is what refusals are counted by. It names no caller: metrics must not grow with who is refused.
type Refusal struct{ Reason, Policy string }

// Counter counts.
type Counter struct{ n atomic.Uint64 }

// Value is the present count.
func (c *Counter) Value() uint64 { return c.n.Load() }

// HTTPSeries is all that is counted of requests that share their labels.
type HTTPSeries struct {
	Requests      Counter
	Duration      Histogram // milliseconds
	RequestBytes  Histogram
	ResponseBytes Histogram
}

// TCPSeries is all that is counted of connections that share their labels.
type TCPSeries struct {
	Opened, Closed Counter
	Sent, Received Counter // bytes; sent to, and received from the caller
}

// Bounds are the upper ends of a Histogram's buckets: those of Envoy, so that dashboards made for it fit.
var Bounds = [...]float64{0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, 300000, 600000, 1800000, 3600000}

// Histogram counts values in Envoy's buckets.
type Histogram struct {
	buckets [len(Bounds) + 1]atomic.Uint64 // the last holds what is above all bounds
	sum     atomic.Uint64                  // bits of a float64
}

func (h *Histogram) observe(v float64) {
	i, _ := slices.BinarySearch(Bounds[:], v) // the first bound that is not below v
	h.buckets[i].Add(1)
	for {
		old := h.sum.Load()
		if h.sum.CompareAndSwap(old, math.Float64bits(math.Float64frombits(old)+v)) {
			return
		}
	}
}

// Read returns count and sum of all values, and the count of values up to each of Bounds.
func (h *Histogram) Read() (count uint64, sum float64, upTo [len(Bounds)]uint64) {
	for i := range Bounds {
		count += h.buckets[i].Load()
		upTo[i] = count
	}
	return count + h.buckets[len(Bounds)].Load(), math.Float64frombits(h.sum.Load()), upTo
}

// NewMetrics returns metrics without series.
func NewMetrics() *Metrics {
	return &Metrics{
		http: newTable[Labels, HTTPSeries](maxSeries, Labels.clone, Labels.overflow),
		tcp:  newTable[Labels, TCPSeries](maxSeries, Labels.clone, Labels.overflow),
		refusals: newTable[Refusal, Counter](maxRefusals,
			func(k Refusal) Refusal { return Refusal{strings.Clone(k.Reason), strings.Clone(k.Policy)} },
			func(Refusal) Refusal { return Refusal{overflowName, overflowName} }),
	}
}

func (l Labels) clone() Labels {
	l.Source, l.Destination = strings.Clone(l.Source), strings.Clone(l.Destination)
	l.SourceID, l.DestinationID = strings.Clone(l.SourceID), strings.Clone(l.DestinationID)
	l.Flags = strings.Clone(l.Flags)
	return l
}

func (l Labels) overflow() Labels {
	return Labels{
		Direction: l.Direction, Source: overflowName, Destination: overflowName, Protocol: l.Protocol, Flags: overflowName,
	}
}

func labelsOf(r *Record) Labels {
	l := Labels{
		Direction: r.Direction, Source: r.SourceService, Destination: r.DestinationService,
		SourceID: r.SourceID, DestinationID: r.DestinationID, Protocol: requestProtocol(r), Status: r.Status, Flags: r.Flags,
		Mutual: r.TLSVersion != 0 && r.SourceID != "" && r.DestinationID != "",
	}
	if l.Flags == "" {
		l.Flags = "-"
	}
	l.GRPCStatus, l.GRPC = grpcStatus(r)
	// The caller's proxy knows nothing of a hop that it never made; the callee's proxy stands at the end of it.
	l.Plain = r.TLSVersion == 0 && (r.Direction == Inbound || r.UpstreamHost.IsValid() && r.TransportFailure == "")
	return l
}

// Opened counts a connection.
func (m *Metrics) Opened(r *Record) {
	m.tcp.get(labelsOf(r)).Opened.n.Add(1)
}

// Record counts a request or the end of a connection.
func (m *Metrics) Record(r *Record) {
	l := labelsOf(r)
	if isTCP(r) {
		s := m.tcp.get(l)
		s.Closed.n.Add(1)
		s.Sent.n.Add(count(r.BytesOut))
		s.Received.n.Add(count(r.BytesIn))
	} else {
		s := m.http.get(l)
		s.Requests.n.Add(1)
		s.Duration.observe(float64(r.Duration) / float64(time.Millisecond))
		s.RequestBytes.observe(float64(r.BytesIn))
		s.ResponseBytes.observe(float64(r.BytesOut))
	}
	if r.Reason != "" {
		m.refusals.get(Refusal{r.Reason, r.Policy}).n.Add(1)
	}
	if r.Reason == reasonPermissionDenied {
		m.denied[r.Direction&1].n.Add(1)
	}
	if r.ShadowRule != "" {
		m.shadow[r.Direction&1].n.Add(1)
	}
}

// HTTP are all series of requests. Read only.
func (m *Metrics) HTTP() map[Labels]*HTTPSeries { return m.http.all() }

// TCP are all series of connections. Read only.
func (m *Metrics) TCP() map[Labels]*TCPSeries { return m.tcp.all() }

// Refused are all counts of refusals. Read only.
func (m *Metrics) Refused() map[Refusal]*Counter { return m.refusals.all() }

// Denied counts refusals by a permission.
func (m *Metrics) Denied(d Direction) uint64 { return m.denied[d&1].Value() }

// ShadowDenied counts requests that a shadow rule would have refused.
func (m *Metrics) ShadowDenied(d Direction) uint64 { return m.shadow[d&1].Value() }

var _ Recorder = (*Metrics)(nil)
