package report

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/hauberk-mesh/hauberk/controlplane/identity"
	"github.com/hauberk-mesh/hauberk/internal/latency"
	reportv1 "github.com/hauberk-mesh/hauberk/wire/report/v1"
)

const (
	// MaxWindow is the longest time that a windowed query can look back.
	MaxWindow = time.Minute
	slotWidth = 5 * time.Second
	slots     = int(MaxWindow/slotWidth) + 1 // one more, since the present one is never full

	// maxEdges bounds a mesh. Beyond it the edges that were silent for forgetAfter make room, and what finds none is
	// counted under overflowName.
	maxEdges     = 4000
	forgetAfter  = 10 * time.Minute
	overflowName = "overflow"
	// maxName bounds a name or SPIFFE ID that a proxy tells.
	maxName = 2048
)

// Edge is one service that calls another.
type Edge struct {
	Source        string  `json:"source"`
	Destination   string  `json:"destination"`
	SourceID      string  `json:"sourceID"`
	DestinationID string  `json:"destinationID"`
	TLSVersion    string  `json:"tlsVersion"` // TLSv1.3; empty is plaintext
	Protocol      string  `json:"protocol"`   // http or tcp
	Requests      uint64  `json:"requests"`   // connections, where the protocol is tcp
	Errors        uint64  `json:"errors"`     // 5xx and resets, without denied
	Denied        uint64  `json:"denied"`
	BytesIn       uint64  `json:"bytesIn"`  // from the caller
	BytesOut      uint64  `json:"bytesOut"` // to the caller
	RPS           float64 `json:"rps"`      // of the window; without one, of the last minute
	P50           float64 `json:"p50ms"`
	P90           float64 `json:"p90ms"`
	P99           float64 `json:"p99ms"`
}

// edgeKey tells edges apart, and the two sides of each.
type edgeKey struct {
	outbound                bool
	source, destination     string
	sourceID, destinationID string
	tlsVersion, protocol    string
}

// edge is what one side has told.
type edge struct {
	heard time.Time
	first time.Time
	total counts
	slots [slots]slot
}

// slot is slotWidth of time.
type slot struct {
	number int64 // since 1970, in slotWidths; an old number is an empty slot
	counts
}

type counts struct {
	requests, errors, denied, bytesIn, bytesOut uint64
	latency                                     latency.Histogram
}

func (c *counts) add(e *reportv1.Edge) {
	c.requests += e.Requests
	c.errors += e.Errors
	c.denied += e.Denied
	c.bytesIn += e.BytesIn
	c.bytesOut += e.BytesOut
	for bucket, n := range e.Latency.GetBuckets() {
		c.latency.Add(int(min(bucket, latency.Buckets)), n)
	}
}

func (c *counts) merge(o *counts) {
	c.requests += o.requests
	c.errors += o.errors
	c.denied += o.denied
	c.bytesIn += o.bytesIn
	c.bytesOut += o.bytesOut
	c.latency.Merge(&o.latency)
}

// vouched replaces what a proxy says about its own side by what its certificate says: no proxy reports in another's name.
func vouched(e *reportv1.Edge, peer identity.Peer) *reportv1.Edge {
	if e.Outbound {
		e.Source = peer.Service
		if e.SourceId != "" || e.TlsVersion != "" {
			e.SourceId = peer.SPIFFEID
		}
	} else {
		e.Destination = peer.Service
		if e.DestinationId != "" || e.TlsVersion != "" {
			e.DestinationId = peer.SPIFFEID
		}
	}
	return e
}

// count adds what one side tells. It is called with mu held.
func (m *mesh) count(now time.Time, e *reportv1.Edge) {
	cut := func(s string) string { return s[:min(len(s), maxName)] }
	k := edgeKey{
		outbound: e.Outbound, source: cut(e.Source), destination: cut(e.Destination), sourceID: cut(e.SourceId),
		destinationID: cut(e.DestinationId), tlsVersion: cut(e.TlsVersion), protocol: "http",
	}
	if e.Protocol == "tcp" {
		k.protocol = "tcp"
	}
	d := m.edges[k]
	if d == nil && len(m.edges) >= maxEdges {
		m.forgetSilent(now)
		if len(m.edges) >= maxEdges {
			k = edgeKey{outbound: k.outbound, source: overflowName, destination: overflowName, protocol: k.protocol}
			d = m.edges[k]
		}
	}
	if d == nil {
		d = &edge{first: now}
		m.edges[k] = d
	}
	d.heard = now
	d.total.add(e)
	number := now.UnixNano() / int64(slotWidth)
	s := &d.slots[number%int64(slots)]
	if s.number != number {
		*s = slot{number: number}
	}
	s.add(e)
}

func (m *mesh) forgetSilent(now time.Time) {
	for k, d := range m.edges {
		if now.Sub(d.heard) > forgetAfter {
			delete(m.edges, k)
		}
	}
}

// within sums the slots that are younger than window.
func (d *edge) within(now time.Time, window time.Duration) counts {
	var sum counts
	newest := now.UnixNano() / int64(slotWidth)
	oldest := now.Add(-window).UnixNano()/int64(slotWidth) + 1
	for i := range d.slots {
		if s := &d.slots[i]; s.number >= oldest && s.number <= newest {
			sum.merge(&s.counts)
		}
	}
	return sum
}

// joined is an edge made of what both sides told.
type joined struct {
	edgeKey
	counts
	recent              uint64 // requests of the window
	first               time.Time
	deniedByDestination uint64
}

// Edges are who talked to whom in a mesh, sorted by names: since the control plane started, or with a window (5 s to
// MaxWindow; more is MaxWindow) in that time, to the nearest 5 s. An edge is told by the caller's proxy; the callee's is
// believed where the caller has none, as for plaintext callers, and for what only it can know: who was denied.
func (s *Server) Edges(mesh string, window time.Duration) []Edge {
	m := s.known(mesh)
	if m == nil {
		return nil
	}
	now := time.Now()
	m.mu.Lock()
	told := m.told(now, window)
	m.mu.Unlock()

	over := MaxWindow
	if window > 0 {
		over = min(window, MaxWindow)
	}
	edges := []Edge{}
	for _, j := range join(told) {
		edges = append(edges, j.edge(now, over))
	}
	slices.SortFunc(edges, func(a, b Edge) int {
		return cmp.Or(
			cmp.Compare(a.Source, b.Source), cmp.Compare(a.Destination, b.Destination), cmp.Compare(a.Protocol, b.Protocol),
			cmp.Compare(a.SourceID, b.SourceID), cmp.Compare(a.DestinationID, b.DestinationID), cmp.Compare(a.TLSVersion, b.TLSVersion))
	})
	return edges
}

// told copies what was heard, so that joining needs no lock.
func (m *mesh) told(now time.Time, window time.Duration) []joined {
	var all []joined
	for k, d := range m.edges {
		over := MaxWindow
		if window > 0 {
			over = min(window, MaxWindow)
		}
		recent := d.within(now, over)
		j := joined{edgeKey: k, recent: recent.requests, first: d.first}
		if window > 0 {
			j.counts = recent
		} else {
			j.merge(&d.total)
		}
		if j.requests > 0 || j.denied > 0 {
			all = append(all, j)
		}
	}
	return all
}

func (j *joined) edge(now time.Time, over time.Duration) Edge {
	ms := func(q float64) float64 {
		return float64(j.latency.Quantile(q).Round(time.Microsecond)) / float64(time.Millisecond)
	}
	// An edge that is younger than the window has had less time.
	seconds := max(min(over, now.Sub(j.first)), time.Second).Seconds()
	return Edge{
		Source: j.source, Destination: j.destination, SourceID: j.sourceID, DestinationID: j.destinationID,
		TLSVersion: j.tlsVersion, Protocol: j.protocol,
		Requests: j.requests, Errors: j.errors, Denied: j.denied, BytesIn: j.bytesIn, BytesOut: j.bytesOut,
		RPS: math.Round(float64(j.recent)/seconds*100) / 100, P50: ms(0.50), P90: ms(0.90), P99: ms(0.99),
	}
}
