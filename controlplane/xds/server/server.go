// Package server speaks xDS to proxies: the delta variant of the Aggregated Discovery Service, v3.
//
// It decides when a proxy is told something and what the difference is. It does not decide what a proxy is to have: that
// is Options.Resolve and Options.Translate. It knows no message but those of the protocol itself; resources are opaque
// bytes with a name and a version, marshalled once and shared by all who have them.
//
// A world.Update marks the proxies that it may matter to (fleet.go). Each stream has one goroutine (stream.go) that, when
// its proxy is marked and nothing is in flight to it, resolves the newest world, takes the difference to what the proxy has
// (conversation.go, subscription.go) and sends it as one generation. Wait and Status (wait.go, status.go) tell who runs
// which generation. Start at Server.DeltaAggregatedResources.
package server

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/hauberk-mesh/hauberk/controlplane/ir"
	"github.com/hauberk-mesh/hauberk/controlplane/store"
	"github.com/hauberk-mesh/hauberk/controlplane/world"
	"github.com/hauberk-mesh/hauberk/controlplane/xds/translate"
)

// Options are what the server works with. All fields without a default must be set.
type Options struct {
	// World is where worlds come from; *world.Watcher is one.
	World Worlds
	// Resolve and Translate make the snapshot of one dataplane. Both are called from many goroutines at once.
	Resolve   func(m *world.Mesh, dataplane string) (*ir.Proxy, error)
	Translate func(p *ir.Proxy) (translate.Snapshot, error)
	// Affected names the dataplanes whose resolved configuration may differ between two worlds. It may name too many,
	// never too few. Neither mesh is nil.
	Affected func(old, new *world.Mesh, c *world.Change) map[string]bool
	// Peer is whom the transport has authenticated; false is nobody.
	Peer func(ctx context.Context) (Peer, bool)
	// Registrar is told of each dataplane that comes and goes.
	Registrar Registrar
	// Identifier is how the control plane names itself to proxies (control_plane.identifier). Default "hauberk".
	Identifier string
	// Logger is told of connects, NACKs and what could not be resolved. Default slog.Default.
	Logger *slog.Logger
}

// Worlds is the part of world.Watcher that the server needs.
type Worlds interface {
	// Current is the newest world, nil or empty before the first.
	Current() *world.World
	// Subscribe loses and reorders nothing; updates may be merged.
	Subscribe(ctx context.Context) <-chan *world.Update
	// WaitFor returns a world of at least the generation.
	WaitFor(ctx context.Context, generation store.Revision) (*world.World, error)
}

// Peer is who is on the other end of a stream, as its certificate says.
type Peer struct {
	Mesh, Dataplane, Service, Workload, Zone string
}

// Registration is a dataplane that connected. Resource is the Dataplane that it sent, as JSON; its name, mesh, service,
// workload and zone have been checked against the peer, the rest of it has not.
type Registration struct {
	Peer
	Resource []byte
}

// Registrar publishes connected dataplanes.
type Registrar interface {
	// Connect publishes the dataplane, or says why it may not be: the error ends the stream and its text reaches the
	// proxy. An error that carries a gRPC status keeps its code; any other becomes FailedPrecondition.
	Connect(ctx context.Context, r Registration) (Session, error)
}

// Session is the registration of one stream. When a proxy reconnects before its old stream was seen to be dead, the new
// session begins before the old one is closed.
type Session interface {
	Close()
	// Left tells whether the dataplane has withdrawn itself since the session began, and is not to be published again
	// because of it.
	Left() bool
}

// Server is the discovery service of all meshes. Make it with New, Register it, Run it.
type Server struct {
	discovery.UnimplementedAggregatedDiscoveryServiceServer

	opts       Options
	log        *slog.Logger
	identifier *core.ControlPlane // of every response
	fleet      *fleet
	counters   *counters
	// building bounds how many snapshots are in the making at once: more would only wait for a CPU and hold memory.
	building chan struct{}
	absence  time.Duration // see the constant
	stopped  chan struct{} // closed when Run returns
}

// New makes a server. It serves nobody before Run.
func New(o Options) (*Server, error) {
	switch {
	case o.World == nil:
		return nil, errors.New("xds server: World is not set")
	case o.Resolve == nil || o.Translate == nil || o.Affected == nil:
		return nil, errors.New("xds server: Resolve, Translate and Affected must all be set")
	case o.Peer == nil:
		return nil, errors.New("xds server: Peer is not set, so nobody could be authenticated")
	case o.Registrar == nil:
		return nil, errors.New("xds server: Registrar is not set")
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Identifier == "" {
		o.Identifier = "hauberk"
	}
	return &Server{
		opts:       o,
		log:        o.Logger,
		identifier: &core.ControlPlane{Identifier: o.Identifier},
		fleet:      newFleet(time.Now),
		counters:   newCounters(),
		building:   make(chan struct{}, 2*runtime.GOMAXPROCS(0)),
		absence:    absence,
		stopped:    make(chan struct{}),
	}, nil
}

// Register adds the discovery service to a gRPC server.
func (s *Server) Register(g grpc.ServiceRegistrar) {
	discovery.RegisterAggregatedDiscoveryServiceServer(g, s)
}

// Run follows the world until ctx ends, and then ends all streams. Call it once.
func (s *Server) Run(ctx context.Context) error {
	defer close(s.stopped)
	updates := s.opts.World.Subscribe(ctx)
	// Subscribed first, so that nothing falls between; an update that is older than this world does no harm.
	if w := s.opts.World.Current(); w != nil {
		s.fleet.begin(w)
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case u, ok := <-updates:
			if !ok {
				if ctx.Err() != nil {
					return nil
				}
				return errors.New("xds server: the world's updates ended")
			}
			s.fleet.advance(u, s.affected(u))
		}
	}
}

// affected names, by mesh, the dataplanes that an update may matter to.
func (s *Server) affected(u *world.Update) map[string]map[string]bool {
	all := map[string]map[string]bool{}
	for name, change := range u.Changed {
		now := u.New.Meshes[name]
		if now == nil {
			continue // the mesh is gone: its proxies keep what they have
		}
		var before *world.Mesh
		if u.Old != nil {
			before = u.Old.Meshes[name]
		}
		names := map[string]bool{}
		if before == nil {
			for dataplane := range now.Dataplanes {
				names[dataplane] = true
			}
		} else {
			for dataplane, is := range s.opts.Affected(before, now, change) {
				if is {
					names[dataplane] = true
				}
			}
		}
		for dataplane := range change.Dataplanes {
			names[dataplane] = true
		}
		all[name] = names
	}
	return all
}

// StreamAggregatedResources is the state-of-the-world variant, which is not served.
func (s *Server) StreamAggregatedResources(discovery.AggregatedDiscoveryService_StreamAggregatedResourcesServer) error {
	return status.Error(codes.Unimplemented,
		"the state-of-the-world variant of xDS is not served here: use delta (api_type: DELTA_GRPC, method DeltaAggregatedResources)")
}

// maxStreams is of one connection, on which a proxy has three calls at most.
const maxStreams = 64

// GRPCOptions are the transport's settings that proxies count on: pings of theirs every 10 seconds are no offence, the
// server finds a dead connection by itself within 15 seconds (for so long the next process of a proxy whose host died is kept
// out, see fleet.enter), and a client may tell the versions of many resources in one message. A stranger
// can hold no connection without a call on it, nor any number of calls on one connection: each may buffer a whole message
// before anybody has asked who is calling.
func GRPCOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			Time: 10 * time.Second, Timeout: 5 * time.Second, MaxConnectionIdle: 2 * time.Minute,
		}),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.MaxRecvMsgSize(16 << 20),
	}
}
