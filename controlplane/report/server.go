package report

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/hauberk-mesh/hauberk/api/resource"
	"github.com/hauberk-mesh/hauberk/controlplane/identity"
	reportv1 "github.com/hauberk-mesh/hauberk/wire/report/v1"
)

// Dataplanes is who must know that an application does not answer or that a proxy leaves: discovery.
type Dataplanes interface {
	SetReadiness(ctx context.Context, mesh, dataplane string, inbounds []resource.InboundInsight) error
	// Leave withdraws a dataplane without waiting for its lease.
	Leave(ctx context.Context, mesh, dataplane string) error
}

// Options are what a Server is made from.
type Options struct {
	Dataplanes Dataplanes // nil: readiness and leaving are noted by nobody
	// Withdrawn waits, not for long, until the callers of a dataplane that has left know it. Nil: the dataplane is not kept
	// waiting.
	Withdrawn func(ctx context.Context, mesh string)
	Logger    *slog.Logger
	// Peer says who is on the other end. Default identity.PeerFrom.
	Peer func(context.Context) (identity.Peer, bool)
}

// Server is the report service. It is safe for concurrent use.
type Server struct {
	reportv1.UnimplementedReportServiceServer
	opts Options

	mu     sync.Mutex // guards meshes; each mesh has a lock of its own
	meshes map[string]*mesh
}

// mesh is what is known of one mesh.
type mesh struct {
	mu       sync.Mutex // guards all below
	edges    map[edgeKey]*edge
	refusals ring
	streams  map[string]*stream // by dataplane; the newest of each
	dropped  uint64
}

// stream is one connected proxy.
type stream struct {
	dataplane string
	peer      identity.Peer
	questions chan *reportv1.ControlMessage
	ended     chan struct{} // closed when the stream is over
	keys      *KeyProvider  // nil: it has not told; guarded by the mesh's lock

	mu      sync.Mutex // guards below
	last    uint64     // id of the last question
	waiting map[uint64]chan []*reportv1.Decision
}

// NewServer returns a server that has heard nothing yet.
func NewServer(o Options) *Server {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Peer == nil {
		o.Peer = identity.PeerFrom
	}
	return &Server{opts: o, meshes: map[string]*mesh{}}
}

// Register adds the service to a gRPC server.
func (s *Server) Register(r grpc.ServiceRegistrar) { reportv1.RegisterReportServiceServer(r, s) }

// Report serves one proxy until it or its stream ends.
func (s *Server) Report(w grpc.BidiStreamingServer[reportv1.ProxyMessage, reportv1.ControlMessage]) error {
	peer, ok := s.opts.Peer(w.Context())
	if !ok {
		return status.Error(codes.Unauthenticated, "reports are taken from proxies with an SVID only")
	}
	m := s.mesh(peer.Mesh)
	st := &stream{
		dataplane: peer.Dataplane, peer: peer, ended: make(chan struct{}), questions: make(chan *reportv1.ControlMessage, 16),
		waiting: map[uint64]chan []*reportv1.Decision{},
	}
	m.connect(st)
	defer func() {
		m.disconnect(st)
		close(st.ended)
	}()

	ctx, cancel := context.WithCancel(w.Context())
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		st.ask(ctx, w)
	}()
	defer func() {
		cancel()
		<-asked
	}()
	for {
		msg, err := w.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if left, err := s.take(w.Context(), m, st, peer, msg); left || err != nil {
			return err
		}
	}
}

// take does what one message says. left is the proxy's farewell.
func (s *Server) take(ctx context.Context, m *mesh, st *stream, peer identity.Peer, msg *reportv1.ProxyMessage) (left bool, err error) {
	now := time.Now()
	if msg.Dropped > 0 {
		m.mu.Lock()
		m.dropped += msg.Dropped
		m.mu.Unlock()
	}
	switch x := msg.Message.(type) {
	case *reportv1.ProxyMessage_Edges:
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, e := range x.Edges.GetEdges() {
			m.count(now, vouched(e, peer))
		}
	case *reportv1.ProxyMessage_Refusal:
		if x.Refusal != nil {
			d := decisionOf(x.Refusal, peer)
			m.mu.Lock()
			defer m.mu.Unlock()
			m.refusals.add(d)
		}
	case *reportv1.ProxyMessage_Decisions:
		st.answered(x.Decisions.GetId(), x.Decisions.GetDecisions())
	case *reportv1.ProxyMessage_Readiness:
		s.readiness(ctx, peer, x.Readiness)
	case *reportv1.ProxyMessage_KeyProvider:
		told := keyProviderOf(x.KeyProvider)
		m.mu.Lock()
		defer m.mu.Unlock()
		st.keys = &told
	case *reportv1.ProxyMessage_Leaving:
		s.opts.Logger.Info("dataplane leaves", "mesh", peer.Mesh, "dataplane", peer.Dataplane)
		if s.opts.Dataplanes == nil {
			return true, nil
		}
		if err := s.opts.Dataplanes.Leave(ctx, peer.Mesh, peer.Dataplane); err != nil {
			s.opts.Logger.Error("dataplane that leaves was not withdrawn; its lease will end", "mesh", peer.Mesh, "dataplane", peer.Dataplane, "error", err)
			return true, status.Error(codes.Unavailable, "the dataplane could not be withdrawn; its lease will end")
		}
		if s.opts.Withdrawn != nil {
			s.opts.Withdrawn(ctx, peer.Mesh)
		}
		return true, nil
	}
	return false, nil
}

func (s *Server) readiness(ctx context.Context, peer identity.Peer, r *reportv1.Readiness) {
	if s.opts.Dataplanes == nil {
		return
	}
	inbounds := make([]resource.InboundInsight, 0, len(r.GetInbounds()))
	for _, i := range r.GetInbounds() {
		inbounds = append(inbounds, resource.InboundInsight{Name: i.Name, Ready: i.Ready, Reason: i.Reason})
	}
	if err := s.opts.Dataplanes.SetReadiness(ctx, peer.Mesh, peer.Dataplane, inbounds); err != nil {
		s.opts.Logger.Error("readiness was not noted", "mesh", peer.Mesh, "dataplane", peer.Dataplane, "error", err)
	}
}

// mesh finds or makes a mesh. Names come from certificates that this control plane has signed, so that they are few.
func (s *Server) mesh(name string) *mesh {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.meshes[name]
	if m == nil {
		m = &mesh{edges: map[edgeKey]*edge{}, streams: map[string]*stream{}}
		s.meshes[name] = m
	}
	return m
}

// known finds a mesh, or nil.
func (s *Server) known(name string) *mesh {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.meshes[name]
}

// Forget drops all that is known of a mesh that was deleted. Streams that are still open go on into the void.
func (s *Server) Forget(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.meshes, name)
}

// Connected are the dataplanes of a mesh that hold a report stream, sorted.
func (s *Server) Connected(name string) []string {
	m := s.known(name)
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.streams))
}

// Dropped counts messages that proxies of a mesh have given up because their stream was slow.
func (s *Server) Dropped(name string) uint64 {
	m := s.known(name)
	if m == nil {
		return 0
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.dropped
}

func (m *mesh) connect(st *stream) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.streams[st.dataplane] = st
}

// disconnect forgets st unless a newer stream of the same dataplane has taken its place.
func (m *mesh) disconnect(st *stream) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.streams[st.dataplane] == st {
		delete(m.streams, st.dataplane)
	}
}
