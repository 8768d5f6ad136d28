package telemetry

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Sizes of the two parts of a Ring. Refusals have a part of their own, so that traffic that passes does not push them out.
const (
	keptRefusals = 1024
	keptOthers   = 3072
)

// Ring remembers the last decisions: the last refusals, and the last of all others. It is a Recorder. Recording
// allocates only until the slots have grown to the size of what they hold, and waits for nobody: if a slot is being read
// at that very moment the decision is dropped and counted.
type Ring struct {
	refused, others part
	dropped         atomic.Uint64
}

type part struct {
	next  atomic.Uint64
	slots []slot
}

// slot holds one decision, its strings end to end in text.
type slot struct {
	mu   sync.Mutex // guards all below; Record only tries it
	used bool
	head Decision // no strings
	ends [stringFields]int
	text []byte
}

// stringFields is how many strings a Decision has.
const stringFields = 15

// NewRing returns an empty ring.
func NewRing() *Ring {
	return &Ring{refused: part{slots: make([]slot, keptRefusals)}, others: part{slots: make([]slot, keptOthers)}}
}

// Opened does nothing: a connection is decided on when it ends, or when it is refused.
func (g *Ring) Opened(*Record) {}

// Record remembers r.
func (g *Ring) Record(r *Record) {
	p := &g.others
	if r.Reason != "" || r.ShadowRule != "" {
		p = &g.refused
	}
	s := &p.slots[(p.next.Add(1)-1)%uint64(len(p.slots))]
	if !s.mu.TryLock() {
		g.dropped.Add(1)
		return
	}
	s.set(r)
	s.mu.Unlock()
}

// Dropped counts decisions that were not remembered because their slot was being read.
func (g *Ring) Dropped() uint64 { return g.dropped.Load() }

func (s *slot) set(r *Record) {
	s.used = true
	code, _ := grpcStatus(r)
	s.head = Decision{
		Time: r.Start, Duration: r.Duration, Outbound: r.Direction == Outbound, Status: r.Status, GRPCStatus: code,
		Upstream: r.UpstreamHost, Attempts: r.Attempts, TLSVersion: r.TLSVersion,
	}
	s.text = s.text[:0]
	for i, v := range [stringFields]string{
		r.RequestID, r.SourceService, r.DestinationService, r.SourceID, r.DestinationID, r.Protocol, r.Method, r.Path,
		r.Flags, r.Details, r.Reason, r.Policy, r.Rule, r.ShadowRule, r.Route,
	} {
		s.text = append(s.text, v[:min(len(v), longest)]...)
		s.ends[i] = len(s.text)
	}
	// The one that is long and almost always empty has no place of its own: it is what follows the others.
	s.text = append(s.text, r.TransportFailure[:min(len(r.TransportFailure), longest)]...)
}

// get copies the decision out. It must be called with mu held.
func (s *slot) get() Decision {
	d, text, from := s.head, string(s.text), 0
	for i, to := range []*string{
		&d.RequestID, &d.Source, &d.Destination, &d.SourceID, &d.DestinationID, &d.Protocol, &d.Method, &d.Path,
		&d.Flags, &d.Details, &d.Reason, &d.Policy, &d.Rule, &d.ShadowRule, &d.Route,
	} {
		*to = text[from:s.ends[i]]
		from = s.ends[i]
	}
	d.TransportFailure = text[from:]
	return d
}

// Query returns the decisions that f chooses, newest first.
func (g *Ring) Query(f Filter) []Decision {
	limit := f.Limit
	if limit <= 0 {
		limit = 100
	}
	found := g.refused.query(f, limit, nil)
	if !f.Refused {
		found = g.others.query(f, limit, found)
	}
	slices.SortStableFunc(found, func(a, b Decision) int { return b.Time.Compare(a.Time) })
	return found[:min(len(found), limit)]
}

// query appends up to limit matches to found, walking back from the newest.
func (p *part) query(f Filter, limit int, found []Decision) []Decision {
	size, next := uint64(len(p.slots)), p.next.Load()
	for back := uint64(1); back <= min(size, next) && limit > 0; back++ {
		s := &p.slots[(next-back)%size]
		s.mu.Lock()
		if s.used && f.matches(s) {
			found = append(found, s.get())
			limit--
		}
		s.mu.Unlock()
	}
	return found
}

// matches compares in place, so that a search copies only what it finds.
func (f *Filter) matches(s *slot) bool {
	field := func(i int) []byte {
		from := 0
		if i > 0 {
			from = s.ends[i-1]
		}
		return s.text[from:s.ends[i]]
	}
	const requestID, source, destination, sourceID, destinationID, method, path = 0, 1, 2, 3, 4, 6, 7
	peer, peerID := source, sourceID
	if s.head.Outbound {
		peer, peerID = destination, destinationID
	}
	return (f.RequestID == "" || string(field(requestID)) == f.RequestID) &&
		(f.Peer == "" || string(field(peer)) == f.Peer || string(field(peerID)) == f.Peer) &&
		(f.Method == "" || string(field(method)) == f.Method) &&
		(f.Path == "" || samePath(string(field(path)), f.Path))
}

// samePath compares without the query, unless want has one.
func samePath(path, want string) bool {
	if !strings.Contains(want, "?") {
		path, _, _ = strings.Cut(path, "?")
	}
	return path == want
}

var _ = [...]Recorder{(*Ring)(nil), (*Edges)(nil), (*Refusals)(nil), tee(nil)}
