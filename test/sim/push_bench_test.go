package sim

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/structpb"

	keymemory "github.com/hauberk-mesh/hauberk/accel/keyprovider/memory"
	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/api/resource"
	"github.com/hauberk-mesh/hauberk/controlplane/discovery/dataplanes"
	"github.com/hauberk-mesh/hauberk/controlplane/identity/ca"
	"github.com/hauberk-mesh/hauberk/controlplane/ir"
	"github.com/hauberk-mesh/hauberk/controlplane/resolve"
	"github.com/hauberk-mesh/hauberk/controlplane/store"
	"github.com/hauberk-mesh/hauberk/controlplane/store/memory"
	"github.com/hauberk-mesh/hauberk/controlplane/world"
	"github.com/hauberk-mesh/hauberk/controlplane/xds/server"
	"github.com/hauberk-mesh/hauberk/controlplane/xds/translate"
	"github.com/hauberk-mesh/hauberk/dataplane/config"
	"github.com/hauberk-mesh/hauberk/dataplane/tls"
	"github.com/hauberk-mesh/hauberk/dataplane/xdsclient"
	"github.com/hauberk-mesh/hauberk/internal/memconn"
	"github.com/hauberk-mesh/hauberk/policy/all"
	"github.com/hauberk-mesh/hauberk/policy/all/filters"
)

// BenchmarkPush measures a change of one policy from the write to the last ACK, with every part real but the network and
// the sockets: store, world, resolution, translation, xDS over gRPC, and each proxy building its whole configuration.
// Each of the dataplanes calls five services. "everybody" is a permission for the whole mesh, "one" for one dataplane.
func BenchmarkPush(b *testing.B) {
	for _, n := range []int{10, 100} {
		for _, to := range []string{"everybody", "one"} {
			b.Run(fmt.Sprintf("dataplanes=%d/to=%s", n, to), func(b *testing.B) { benchmarkPush(b, n, to) })
		}
	}
}

func benchmarkPush(b *testing.B, n int, to string) {
	ctx, cancel := context.WithCancel(b.Context())
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel()
	log := slog.New(slog.DiscardHandler)
	registry := api.NewRegistry(append(resource.Kinds(), all.Kinds()...)...)
	s := memory.New(memory.Options{})
	defer s.Close()
	resources := store.NewResources(s, registry)
	put := func(yaml string) store.Revision {
		docs, err := registry.Decode("bench", []byte(yaml))
		if err != nil {
			b.Fatal(err)
		}
		at, err := resources.Apply(ctx, docs)
		if err != nil {
			b.Fatal(err)
		}
		return at
	}
	put(meshWithIdentity)
	authority := ca.NewBuiltin(ca.Options{Store: s, Resources: resources, Keys: keymemory.New(), Logger: log})
	if err := authority.EnsureMesh(ctx, api.DefaultMesh); err != nil {
		b.Fatal(err)
	}

	worlds := world.NewWatcher(s, registry, log)
	work.Go(func() { _ = worlds.Run(ctx) })
	<-worlds.Ready()
	leases := dataplanes.New(dataplanes.Options{Store: s, Registry: registry, World: worlds, Logger: log})
	work.Go(func() { _ = leases.Run(ctx) })
	resolver, cache := resolve.New(all.Policies()), translate.NewCache()
	xds, err := server.New(server.Options{
		World: worlds, Resolve: resolver.Proxy, Affected: resolve.Affected, Peer: benchPeer, Registrar: benchRegistrar{leases}, Logger: log,
		Translate: func(p *ir.Proxy) (translate.Snapshot, error) { return translate.Proxy(p, cache) },
	})
	if err != nil {
		b.Fatal(err)
	}
	work.Go(func() { _ = xds.Run(ctx) })
	var network memconn.Network
	socket, err := network.Listen("10.0.0.1:5678")
	if err != nil {
		b.Fatal(err)
	}
	g := grpc.NewServer(server.GRPCOptions()...)
	xds.Register(g)
	work.Go(func() { _ = g.Serve(socket) })
	defer g.Stop()

	for i := range n {
		client, err := xdsclient.New(xdsclient.Options{
			Node: benchNode(b, i, n), Handler: &buildOnly{builder: config.New(config.Deps{Identity: &tls.Identity{}, Trust: &tls.Trust{}, Filters: filters.Factories()})}, Logger: log,
			Dial: func(context.Context) (*grpc.ClientConn, error) {
				return grpc.NewClient("passthrough:///10.0.0.1:5678", grpc.WithTransportCredentials(insecure.NewCredentials()),
					grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) { return network.Dial(ctx, "tcp", addr) }),
					grpc.WithStreamInterceptor(func(ctx context.Context, d *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
						return streamer(metadata.AppendToOutgoingContext(ctx, "dataplane", fmt.Sprintf("s%d-1", i)), d, cc, method, opts...)
					}))
			},
		})
		if err != nil {
			b.Fatal(err)
		}
		work.Go(func() { _ = client.Run(ctx) })
	}
	for connected := 0; connected < n; time.Sleep(time.Millisecond) { // not what is measured
		connected = 0
		for _, p := range xds.Status(api.DefaultMesh) {
			if p.Connected && p.Generation > 0 {
				connected++
			}
		}
	}
	wait := func(at store.Revision) {
		got, err := xds.Wait(ctx, api.DefaultMesh, at)
		if err != nil || len(got.NACKed) > 0 {
			b.Fatalf("%v %v", got, err)
		}
	}
	wait(worlds.Current().Generation)

	target := ""
	if to == "one" {
		target = "\n  targetRef: {kind: Dataplane, name: s0-1}"
	}
	i := 0
	for b.Loop() {
		i++
		wait(put(fmt.Sprintf("apiVersion: hauberk.io/v1alpha1\nkind: MeshTrafficPermission\nmetadata: {name: p}\nspec:%s\n  rules: [{default: {allow: [{methods: [GET], paths: [{type: Exact, value: /%d}]}]}}]\n", target, i)))
	}
}

func benchPeer(ctx context.Context) (server.Peer, bool) {
	md, _ := metadata.FromIncomingContext(ctx)
	name := strings.Join(md.Get("dataplane"), "")
	service := strings.TrimSuffix(name, "-1")
	return server.Peer{Mesh: api.DefaultMesh, Dataplane: name, Service: service, Workload: service, Zone: api.DefaultZone}, name != ""
}

type benchRegistrar struct{ leases *dataplanes.Manager }

func (r benchRegistrar) Connect(ctx context.Context, g server.Registration) (server.Session, error) {
	return r.leases.Connect(ctx, dataplanes.Registration{Mesh: g.Mesh, Dataplane: g.Dataplane, Service: g.Service, Workload: g.Workload, Resource: g.Resource})
}

func benchNode(b *testing.B, i, n int) *core.Node {
	b.Helper()
	var outbounds []string
	for o := range 5 {
		outbounds = append(outbounds, fmt.Sprintf(`{"port":%d,"backendRef":{"kind":"MeshService","name":"s%d","port":80}}`, 10001+o, (i+o+1)%n))
	}
	dataplane := fmt.Sprintf(`{"apiVersion":"hauberk.io/v1alpha1","kind":"Dataplane","metadata":{"name":"s%d-1","labels":{"hauberk.io/service":"s%d"}},"spec":{"address":"10.1.%d.%d","inbounds":[{"name":"http","port":80,"protocol":"http"}],"outbounds":[%s]}}`,
		i, i, i/250, 1+i%250, strings.Join(outbounds, ","))
	meta, err := structpb.NewStruct(map[string]any{xdsclient.MetadataDataplane: dataplane})
	if err != nil {
		b.Fatal(err)
	}
	return &core.Node{Id: fmt.Sprintf("default/s%d-1", i), UserAgentName: xdsclient.UserAgent, Metadata: meta}
}

// buildOnly is a proxy without sockets.
type buildOnly struct {
	builder *config.Builder
	graph   *config.Graph
}

// Apply implements xdsclient.Handler.
func (h *buildOnly) Apply(_ context.Context, u *xdsclient.Update) error {
	g, err := h.builder.Build(h.graph, u.Generation, u.Resources)
	if err != nil {
		return err
	}
	if h.graph != nil {
		h.graph.Release(g)
	}
	h.graph = g
	return nil
}
