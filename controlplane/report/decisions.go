package report

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/hauberk-mesh/hauberk/controlplane/identity"
	reportv1 "github.com/hauberk-mesh/hauberk/wire/report/v1"
)

const (
	// keptRefusals is how many refusals of a mesh are kept.
	keptRefusals = 1024
	// askWithin is how long proxies have to answer a question if the caller sets no earlier end.
	askWithin = 2 * time.Second
	// defaultLimit is how many decisions are returned where no number is asked for, maxLimit how many at most.
	defaultLimit, maxLimit = 100, 1000
)

// Sides of a Decision.
const (
	SideSource      = "source"
	SideDestination = "destination"
)

// Decision is what a proxy recorded of one request or connection.
type Decision struct {
	Time             time.Time `json:"time"`
	Dataplane        string    `json:"dataplane"` // who recorded it
	Side             string    `json:"side"`      // source or destination
	RequestID        string    `json:"requestId,omitempty"`
	Source           string    `json:"source"`
	Destination      string    `json:"destination"`
	SourceID         string    `json:"sourceID,omitempty"`
	DestinationID    string    `json:"destinationID,omitempty"`
	Protocol         string    `json:"protocol"`
	Method           string    `json:"method,omitempty"`
	Path             string    `json:"path,omitempty"`
	Status           uint32    `json:"status,omitempty"`
	GRPCStatus       *uint32   `json:"grpcStatus,omitempty"` // of gRPC calls; 0 is OK
	Flags            string    `json:"flags,omitempty"`
	Details          string    `json:"details,omitempty"`
	Reason           string    `json:"reason,omitempty"`
	Policy           string    `json:"policy,omitempty"`
	Rule             string    `json:"rule,omitempty"`
	ShadowRule       string    `json:"shadowRule,omitempty"`
	Upstream         string    `json:"upstream,omitempty"`
	Route            string    `json:"route,omitempty"`
	Attempts         uint32    `json:"attempts,omitempty"`
	DurationMS       float64   `json:"durationMs"`
	TransportFailure string    `json:"transportFailure,omitempty"`
	TLSVersion       string    `json:"tlsVersion,omitempty"`
}

// Filter chooses decisions; an empty field chooses all.
type Filter struct {
	RequestID string
	Peer      string // service or SPIFFE ID on the other side
	Path      string // without a query it takes all queries
	Method    string
	Limit     int // 0: 100; at most 1000
}

// Answer is what connected proxies recorded.
type Answer struct {
	Decisions []Decision // newest first
	// Unanswered are dataplanes that were asked for and are not connected, or did not answer in time; sorted.
	Unanswered []string
}

// Query asks the connected proxies of the named dataplanes (none named: of all) what they recorded, all at once, and
// waits for two seconds at most.
func (s *Server) Query(ctx context.Context, mesh string, dataplanes []string, f Filter) Answer {
	m := s.known(mesh)
	if m == nil {
		return Answer{Unanswered: slices.Sorted(slices.Values(dataplanes))}
	}
	f.Limit = limitOf(f.Limit)
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	streams, absent := m.find(dataplanes)

	var mu sync.Mutex // guards a
	a := Answer{Unanswered: absent}
	var wg sync.WaitGroup
	for _, st := range streams {
		wg.Go(func() {
			found, ok := st.query(ctx, f)
			mu.Lock()
			defer mu.Unlock()
			if !ok {
				a.Unanswered = append(a.Unanswered, st.dataplane)
				return
			}
			for _, d := range found[:min(len(found), f.Limit)] {
				a.Decisions = append(a.Decisions, decisionOf(d, st.peer))
			}
		})
	}
	wg.Wait()
	slices.Sort(a.Unanswered)
	newestFirst(a.Decisions)
	a.Decisions = a.Decisions[:min(len(a.Decisions), f.Limit)]
	return a
}

// find returns the streams of dataplanes, and those that have none.
func (m *mesh) find(dataplanes []string) (streams []*stream, absent []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(dataplanes) == 0 {
		return slices.Collect(maps.Values(m.streams)), nil
	}
	for _, name := range slices.Compact(slices.Sorted(slices.Values(dataplanes))) {
		if st := m.streams[name]; st != nil {
			streams = append(streams, st)
		} else {
			absent = append(absent, name)
		}
	}
	return streams, absent
}

// Refusals are the last that proxies of a mesh told by themselves, newest first. Peer is then either end of the call.
func (s *Server) Refusals(mesh string, f Filter) []Decision {
	m := s.known(mesh)
	if m == nil {
		return nil
	}
	m.mu.Lock()
	all := m.refusals.all()
	m.mu.Unlock()
	found := []Decision{}
	for _, d := range all {
		if (f.RequestID == "" || d.RequestID == f.RequestID) && (f.Method == "" || d.Method == f.Method) &&
			(f.Path == "" || samePath(d.Path, f.Path)) &&
			(f.Peer == "" || slices.Contains([]string{d.Source, d.Destination, d.SourceID, d.DestinationID}, f.Peer)) {
			found = append(found, d)
		}
	}
	newestFirst(found)
	return found[:min(len(found), limitOf(f.Limit))]
}

// query asks one proxy. False: it did not answer in time.
func (st *stream) query(ctx context.Context, f Filter) ([]*reportv1.Decision, bool) {
	answer := make(chan []*reportv1.Decision, 1)
	st.mu.Lock()
	st.last++
	id := st.last
	st.waiting[id] = answer
	st.mu.Unlock()
	defer func() {
		st.mu.Lock()
		delete(st.waiting, id)
		st.mu.Unlock()
	}()
	q := &reportv1.DecisionsQuery{Id: id, RequestId: f.RequestID, Peer: f.Peer, Path: f.Path, Method: f.Method, Limit: uint32(f.Limit)}
	select {
	case st.questions <- &reportv1.ControlMessage{Message: &reportv1.ControlMessage_Decisions{Decisions: q}}:
	case <-ctx.Done():
		return nil, false
	case <-st.ended:
		return nil, false
	}
	select {
	case found := <-answer:
		return found, true
	case <-ctx.Done():
		return nil, false
	case <-st.ended:
		return nil, false
	}
}

// ask sends questions until ctx ends.
func (st *stream) ask(ctx context.Context, w grpc.BidiStreamingServer[reportv1.ProxyMessage, reportv1.ControlMessage]) {
	for {
		select {
		case q := <-st.questions:
			if w.Send(q) != nil {
				return // the stream is broken, and Recv says so too
			}
		case <-ctx.Done():
			return
		}
	}
}

// answered hands a reply to who waits for it; nobody may, if it comes late.
func (st *stream) answered(id uint64, found []*reportv1.Decision) {
	st.mu.Lock()
	answer := st.waiting[id]
	delete(st.waiting, id)
	st.mu.Unlock()
	if answer != nil {
		answer <- found
	}
}

// decisionOf reads a proxy's word. Its own side is what its certificate says.
func decisionOf(d *reportv1.Decision, peer identity.Peer) Decision {
	cut := func(s string) string { return s[:min(len(s), maxName)] }
	out := Decision{
		Time: d.Time.AsTime(), Dataplane: peer.Dataplane, Side: SideDestination, RequestID: cut(d.RequestId),
		Source: cut(d.Source), Destination: cut(d.Destination), SourceID: cut(d.SourceId), DestinationID: cut(d.DestinationId),
		Protocol: cut(d.Protocol), Method: cut(d.Method), Path: cut(d.Path), Status: d.Status, GRPCStatus: d.GrpcStatus, Flags: cut(d.Flags),
		Details: cut(d.Details), Reason: cut(d.Reason), Policy: cut(d.Policy), Rule: cut(d.Rule), ShadowRule: cut(d.ShadowRule),
		Upstream: cut(d.Upstream), Route: cut(d.Route), Attempts: d.Attempts,
		DurationMS:       float64(d.Duration.AsDuration()) / float64(time.Millisecond),
		TransportFailure: cut(d.TransportFailure), TLSVersion: cut(d.TlsVersion),
	}
	if d.Outbound {
		out.Side, out.Source = SideSource, peer.Service
		if out.SourceID != "" {
			out.SourceID = peer.SPIFFEID
		}
		return out
	}
	out.Destination = peer.Service
	if out.DestinationID != "" {
		out.DestinationID = peer.SPIFFEID
	}
	return out
}

func newestFirst(all []Decision) {
	slices.SortStableFunc(all, func(a, b Decision) int {
		return cmp.Or(b.Time.Compare(a.Time), cmp.Compare(a.Dataplane, b.Dataplane))
	})
}

func limitOf(n int) int {
	if n <= 0 {
		return defaultLimit
	}
	return min(n, maxLimit)
}

// samePath compares without the query, unless want has one.
func samePath(path, want string) bool {
	if !strings.Contains(want, "?") {
		path, _, _ = strings.Cut(path, "?")
	}
	return path == want
}

// ring keeps the last refusals.
type ring struct {
	slots []Decision
	next  int
}

func (r *ring) add(d Decision) {
	if len(r.slots) < keptRefusals {
		r.slots = append(r.slots, d)
		return
	}
	r.slots[r.next] = d
	r.next = (r.next + 1) % keptRefusals
}

// all copies what is kept.
func (r *ring) all() []Decision { return slices.Clone(r.slots) }
