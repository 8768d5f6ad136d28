package telemetry

import (
	"crypto/tls"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/hauberk-mesh/hauberk/internal/latency"
)

// reasonPermissionDenied is the reason code of a refusal by a permission: what edges count as denied.
const reasonPermissionDenied = "permission_denied"

// overflowName stands for all names beyond a limit.
const overflowName = "overflow"

// maxEdges is how many edges one proxy counts apart. Callers of one workload and its destinations are far fewer.
const maxEdges = 1000

// idleEdges is how many swaps an edge may be silent before its memory is given back.
const idleEdges = 300

// EdgeKey is who talks to whom, as one side of the hop has seen it.
type EdgeKey struct {
	Outbound                bool
	Source, Destination     string
	SourceID, DestinationID string
	TLSVersion              uint16
	Protocol                string // "http" or "tcp"
}

// EdgeCount is what happened on an edge since the last swap.
type EdgeCount struct {
	EdgeKey
	Requests, Errors, Denied uint64 // errors are 5xx, faults of gRPC calls and resets, without denied
	BytesIn, BytesOut        uint64
	Latency                  []BucketCount
}

// BucketCount is one bucket of a histogram, by the rule of package latency.
type BucketCount struct {
	Bucket uint32
	Count  uint64
}

// Edges counts who talks to whom. It is a Recorder.
type Edges struct {
	edges *table[EdgeKey, edge]

	mu    sync.Mutex // serialises Swap
	idle  map[EdgeKey]int
	dying map[EdgeKey]*edge // removed at the last swap, and perhaps still written by a Record that had found them before
}

type edge struct {
	requests, errors, denied atomic.Uint64
	bytesIn, bytesOut        atomic.Uint64
	latency                  [latency.Buckets]atomic.Uint64
}

// NewEdges returns counters without edges.
func NewEdges() *Edges {
	return &Edges{
		edges: newTable[EdgeKey, edge](maxEdges, EdgeKey.clone, func(k EdgeKey) EdgeKey {
			return EdgeKey{Outbound: k.Outbound, Source: overflowName, Destination: overflowName, Protocol: k.Protocol}
		}),
		idle: map[EdgeKey]int{},
	}
}

func (k EdgeKey) clone() EdgeKey {
	k.Source, k.Destination = strings.Clone(k.Source), strings.Clone(k.Destination)
	k.SourceID, k.DestinationID = strings.Clone(k.SourceID), strings.Clone(k.DestinationID)
	return k
}

// Opened counts nothing: an edge's connections are counted when they end.
func (e *Edges) Opened(*Record) {}

// Record counts one request or connection.
func (e *Edges) Record(r *Record) {
	c := e.edges.get(EdgeKey{
		Outbound: r.Direction == Outbound, Source: r.SourceService, Destination: r.DestinationService,
		SourceID: r.SourceID, DestinationID: r.DestinationID, TLSVersion: r.TLSVersion, Protocol: edgeProtocol(r),
	})
	c.requests.Add(1)
	switch {
	case r.Reason == reasonPermissionDenied:
		c.denied.Add(1)
	case isError(r):
		c.errors.Add(1)
	}
	c.bytesIn.Add(count(r.BytesIn))
	c.bytesOut.Add(count(r.BytesOut))
	c.latency[latency.Bucket(r.Duration)].Add(1)
}

// Swap returns what was counted since the last Swap and starts anew. Edges on which nothing happened are left out.
// Nothing is counted twice and nothing is lost; a request that ends meanwhile may be split over two swaps.
func (e *Edges) Swap() []EdgeCount {
	e.mu.Lock()
	defer e.mu.Unlock()
	var counts []EdgeCount
	for k, c := range e.dying {
		if n, some := c.swap(k); some {
			counts = append(counts, n)
		}
	}
	e.dying = nil
	var remove []EdgeKey
	all := e.edges.all()
	for k, c := range all {
		n, some := c.swap(k)
		if some {
			counts = append(counts, n)
			delete(e.idle, k)
			continue
		}
		if e.idle[k]++; e.idle[k] >= idleEdges {
			remove = append(remove, k)
		}
	}
	e.edges.remove(remove)
	for _, k := range remove {
		if e.dying == nil {
			e.dying = map[EdgeKey]*edge{}
		}
		e.dying[k] = all[k]
		delete(e.idle, k)
	}
	return counts
}

func (c *edge) swap(k EdgeKey) (EdgeCount, bool) {
	n := EdgeCount{
		EdgeKey:  k,
		Requests: c.requests.Swap(0), Errors: c.errors.Swap(0), Denied: c.denied.Swap(0),
		BytesIn: c.bytesIn.Swap(0), BytesOut: c.bytesOut.Swap(0),
	}
	if n.Requests == 0 && n.Errors == 0 && n.Denied == 0 && n.BytesIn == 0 && n.BytesOut == 0 {
		// The histogram is written last, so that it may hold what a Record left behind after the counters were swapped;
		// it is then taken with the next request.
		return n, false
	}
	for i := range c.latency {
		if b := c.latency[i].Load(); b != 0 {
			n.Latency = append(n.Latency, BucketCount{Bucket: uint32(i), Count: c.latency[i].Swap(0)})
		}
	}
	return n, true
}

// requestProtocol is Istio's request_protocol: http, grpc or tcp.
func requestProtocol(r *Record) string {
	switch {
	case isTCP(r):
		return "tcp"
	case r.GRPC:
		return "grpc"
	}
	return "http"
}

// edgeProtocol is how an edge is told apart: gRPC is HTTP, so that a service that speaks both is one edge.
func edgeProtocol(r *Record) string {
	if isTCP(r) {
		return "tcp"
	}
	return "http"
}

func isTCP(r *Record) bool { return r.Protocol == "TCP" }

// isError tells whether the caller got a 5xx answer or the gRPC status that stands for one, or a connection that did not end
// as its two ends wanted.
func isError(r *Record) bool {
	if isTCP(r) {
		return r.Reason != "" || hasFlag(r.Flags, "UF") || hasFlag(r.Flags, "UH") || hasFlag(r.Flags, "UC")
	}
	// No status at all: the connection broke before an answer. The caller's own going away (DC) is nobody's error.
	return r.Status >= 500 || grpcFault(r) || r.Status == 0 && !hasFlag(r.Flags, "DC")
}

// hasFlag looks for one flag in a comma-separated list.
func hasFlag(flags, flag string) bool {
	for flags != "" {
		one, rest, _ := strings.Cut(flags, ",")
		if one == flag {
			return true
		}
		flags = rest
	}
	return false
}

// count makes a byte count that a mistake elsewhere left negative harmless.
func count(n int64) uint64 { return uint64(max(n, 0)) }

// TLSName is how telemetry writes a TLS version: "TLSv1.3"; empty is plaintext.
func TLSName(version uint16) string {
	switch version {
	case 0:
		return ""
	case tls.VersionTLS13:
		return "TLSv1.3"
	case tls.VersionTLS12:
		return "TLSv1.2"
	default:
		return "unknown"
	}
}
