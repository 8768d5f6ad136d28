package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/controlplane/ir"
	"github.com/hauberk-mesh/hauberk/controlplane/store"
	"github.com/hauberk-mesh/hauberk/controlplane/world"
	"github.com/hauberk-mesh/hauberk/controlplane/xds/server"
	"github.com/hauberk-mesh/hauberk/controlplane/xds/translate"
	"github.com/hauberk-mesh/hauberk/dataplane/xdsclient"
	"github.com/hauberk-mesh/hauberk/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// patience bounds waits for things that must happen; nothing waits that long unless it is broken.
const patience = 20 * time.Second

// The real one fits.
var _ server.Worlds = (*world.Watcher)(nil)

// worlds is a hand-made world.Watcher.
type worlds struct {
	mu      sync.Mutex
	current *world.World
	subs    []chan *world.Update
	next    chan struct{}
}

func newWorlds() *worlds { return &worlds{next: make(chan struct{})} }

func (w *worlds) Current() *world.World {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.current
}

func (w *worlds) Subscribe(ctx context.Context) <-chan *world.Update {
	w.mu.Lock()
	defer w.mu.Unlock()
	in, out := make(chan *world.Update, 10_000), make(chan *world.Update)
	w.subs = append(w.subs, in)
	go func() {
		defer close(out)
		for {
			select {
			case u := <-in:
				select {
				case out <- u:
				case <-ctx.Done():
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

func (w *worlds) WaitFor(ctx context.Context, generation store.Revision) (*world.World, error) {
	for {
		w.mu.Lock()
		now, next := w.current, w.next
		w.mu.Unlock()
		if now != nil && now.Generation >= generation {
			return now, nil
		}
		select {
		case <-next:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// change makes the next world: edit works on a copy of the mesh and says what it changed.
func (w *worlds) change(mesh string, edit func(m *world.Mesh, c *world.Change)) store.Revision {
	w.mu.Lock()
	defer w.mu.Unlock()
	u := &world.Update{Old: w.current, New: &world.World{Generation: 1, Meshes: map[string]*world.Mesh{}}, Changed: map[string]*world.Change{}}
	m := &world.Mesh{Name: mesh}
	if w.current != nil {
		u.New.Generation = w.current.Generation + 1
		u.New.Meshes = maps.Clone(w.current.Meshes)
		if old := w.current.Meshes[mesh]; old != nil {
			copied := *old
			m = &copied
		}
	}
	m.Generation = u.New.Generation
	m.Dataplanes = cloneMap(m.Dataplanes)
	m.Services = cloneMap(m.Services)
	m.Consumers = cloneMap(m.Consumers)
	m.Policies = cloneMap(m.Policies)
	c := &world.Change{Dataplanes: map[string]bool{}, Services: map[string]bool{}, Endpoints: map[string]bool{}, Policies: map[string]bool{}}
	edit(m, c)
	u.New.Meshes[mesh] = m
	u.Changed[mesh] = c
	w.current = u.New
	close(w.next)
	w.next = make(chan struct{})
	for _, s := range w.subs {
		s <- u
	}
	return u.New.Generation
}

// remove makes the next world, without the mesh.
func (w *worlds) remove(mesh string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	u := &world.Update{
		Old: w.current, New: &world.World{Generation: w.current.Generation + 1, Meshes: maps.Clone(w.current.Meshes)},
		Changed: map[string]*world.Change{mesh: {MeshWide: true}},
	}
	delete(u.New.Meshes, mesh)
	w.current = u.New
	close(w.next)
	w.next = make(chan struct{})
	for _, s := range w.subs {
		s <- u
	}
}

func cloneMap[M ~map[K]V, K comparable, V any](m M) M {
	if m == nil {
		return M{}
	}
	return maps.Clone(m)
}

// addDataplane is a world edit: a dataplane of a service that calls others.
func addDataplane(name, service string, calls ...string) func(*world.Mesh, *world.Change) {
	return func(m *world.Mesh, c *world.Change) {
		m.Dataplanes[name] = &world.Dataplane{Name: name, Service: service}
		c.Dataplanes[name] = true
		for _, callee := range calls {
			m.Consumers[callee] = cloneMap(m.Consumers[callee])
			m.Consumers[callee][name] = true
		}
	}
}

// setEndpoints is a world edit: the addresses of a service.
func setEndpoints(service string, addresses ...string) func(*world.Mesh, *world.Change) {
	return func(m *world.Mesh, c *world.Change) {
		e := &world.Endpoints{}
		for _, a := range addresses {
			e.List = append(e.List, world.Endpoint{Address: a, Port: 80})
		}
		if m.Services[service] == nil {
			c.Services[service] = true
		} else {
			c.Endpoints[service] = true
		}
		m.Services[service] = &world.Service{Name: service, Ports: []world.Port{{Name: "http", Port: 80, Endpoints: e}}}
	}
}

// setPolicy is a world edit that all proxies of the mesh see in their listener.
func setPolicy(value string) func(*world.Mesh, *world.Change) {
	return func(m *world.Mesh, c *world.Change) {
		m.Policies["MeshTimeout"] = []*api.Resource{{Metadata: api.Meta{Name: value}}}
		c.Policies["MeshTimeout"] = true
	}
}

func all(edits ...func(*world.Mesh, *world.Change)) func(*world.Mesh, *world.Change) {
	return func(m *world.Mesh, c *world.Change) {
		for _, edit := range edits {
			edit(m, c)
		}
	}
}

// resolve is a small stand-in: an inbound that names the policy, and a cluster for each service that is called.
func resolve(m *world.Mesh, dataplane string) (*ir.Proxy, error) {
	if m.Dataplanes[dataplane] == nil {
		return nil, errors.New("no such dataplane")
	}
	p := &ir.Proxy{Mesh: m.Name, Name: dataplane}
	policy := "none"
	if list := m.Policies["MeshTimeout"]; len(list) > 0 {
		policy = list[0].Metadata.Name
	}
	if policy == "unresolvable" {
		return nil, errors.New("the policy makes no sense")
	}
	p.Inbounds = []*ir.Listener{{Name: "inbound", PortName: policy}}
	for _, service := range slices.Sorted(maps.Keys(m.Consumers)) {
		if !m.Consumers[service][dataplane] || m.Services[service] == nil {
			continue
		}
		c := &ir.Cluster{Name: "outbound|" + service, Service: service, Endpoints: &ir.Endpoints{}}
		for _, e := range m.Services[service].Ports[0].Endpoints.List {
			c.Endpoints.List = append(c.Endpoints.List, ir.Endpoint{Address: e.Address, Port: e.Port})
		}
		p.Clusters = append(p.Clusters, c)
		p.Outbounds = append(p.Outbounds, &ir.Listener{Name: c.Name, Cluster: c.Name})
	}
	return p, nil
}

func toXDS(p *ir.Proxy) (translate.Snapshot, error) {
	s := translate.Snapshot{}
	for _, l := range slices.Concat(p.Inbounds, p.Outbounds) {
		r, err := translate.NewResource(l.Name, &listener.Listener{Name: l.Name, StatPrefix: l.PortName})
		if err != nil {
			return nil, err
		}
		s.Add(r)
	}
	for _, l := range p.Outbounds {
		r, err := translate.NewResource(l.Name, &route.RouteConfiguration{Name: l.Name})
		if err != nil {
			return nil, err
		}
		s.Add(r)
	}
	for _, c := range p.Clusters {
		r, err := translate.NewResource(c.Name, &cluster.Cluster{Name: c.Name})
		if err != nil {
			return nil, err
		}
		s.Add(r)
		cla := &endpoint.ClusterLoadAssignment{ClusterName: c.Name}
		for _, e := range c.Endpoints.List {
			cla.Endpoints = append(cla.Endpoints, &endpoint.LocalityLbEndpoints{Locality: &core.Locality{Region: e.Address}})
		}
		if r, err = translate.NewResource(c.Name, cla); err != nil {
			return nil, err
		}
		s.Add(r)
	}
	return s, nil
}

func affected(_, now *world.Mesh, c *world.Change) map[string]bool {
	names := map[string]bool{}
	if c.MeshWide || len(c.Policies) > 0 {
		for name := range now.Dataplanes {
			names[name] = true
		}
	}
	for _, services := range []map[string]bool{c.Services, c.Endpoints} {
		for s := range services {
			for name := range now.Consumers[s] {
				names[name] = true
			}
		}
	}
	return names
}

// registrar counts sessions, and refuses those that refuse names.
type registrar struct {
	mu     sync.Mutex
	open   map[string]int
	refuse map[string]error
	left   map[string]bool
}

func newRegistrar() *registrar {
	return &registrar{open: map[string]int{}, refuse: map[string]error{}, left: map[string]bool{}}
}

func (r *registrar) Connect(_ context.Context, reg server.Registration) (server.Session, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.refuse[reg.Dataplane]; err != nil {
		return nil, err
	}
	r.open[reg.Dataplane]++
	r.left[reg.Dataplane] = false
	return session{r, reg.Dataplane}, nil
}

func (r *registrar) sessions(dataplane string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.open[dataplane]
}

type session struct {
	r    *registrar
	name string
}

func (s session) Left() bool {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	return s.r.left[s.name]
}

func (s session) Close() {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	s.r.open[s.name]--
}

// peerHeader carries "mesh", "dataplane", "service" in tests, where the real thing looks at certificates.
const peerHeader = "test-peer"

func peerOf(ctx context.Context) (server.Peer, bool) {
	md, _ := metadata.FromIncomingContext(ctx)
	if len(md[peerHeader]) != 1 {
		return server.Peer{}, false
	}
	var p server.Peer
	return p, json.Unmarshal([]byte(md[peerHeader][0]), &p) == nil
}

// plane is a control plane on an in-memory listener.
type plane struct {
	t         testing.TB
	worlds    *worlds
	registrar *registrar

	mu     sync.Mutex
	xds    *server.Server
	lis    *bufconn.Listener
	closer func()
}

func newPlane(t testing.TB, w *worlds) *plane {
	p := &plane{t: t, worlds: w, registrar: newRegistrar()}
	p.start()
	t.Cleanup(p.stop)
	if now := w.Current(); now != nil {
		p.propagated(now.Generation) // the server has taken its first world
	}
	return p
}

func (p *plane) start() {
	p.t.Helper()
	x, err := server.New(server.Options{
		World: p.worlds, Resolve: resolve, Translate: toXDS, Affected: affected, Peer: peerOf, Registrar: p.registrar,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		p.t.Fatal(err)
	}
	g := grpc.NewServer(server.GRPCOptions()...)
	x.Register(g)
	lis := bufconn.Listen(1 << 20)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = x.Run(ctx) })
	wg.Go(func() { _ = g.Serve(lis) })
	p.mu.Lock()
	defer p.mu.Unlock()
	p.xds, p.lis = x, lis
	p.closer = func() {
		cancel()
		g.Stop()
		lis.Close()
		wg.Wait()
	}
}

func (p *plane) stop() {
	p.mu.Lock()
	closer := p.closer
	p.closer = nil
	p.mu.Unlock()
	if closer != nil {
		closer()
	}
}

func (p *plane) server() *server.Server {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.xds
}

// dial connects as a peer to whichever control plane runs now.
func (p *plane) dial(peer *server.Peer) func(context.Context) (*grpc.ClientConn, error) {
	return func(context.Context) (*grpc.ClientConn, error) {
		opts := []grpc.DialOption{
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
				p.mu.Lock()
				lis := p.lis
				p.mu.Unlock()
				return lis.DialContext(ctx)
			})}
		if peer != nil {
			b, _ := json.Marshal(peer)
			opts = append(opts, grpc.WithStreamInterceptor(func(ctx context.Context, d *grpc.StreamDesc, cc *grpc.ClientConn, method string, s grpc.Streamer, o ...grpc.CallOption) (grpc.ClientStream, error) {
				return s(metadata.AppendToOutgoingContext(ctx, peerHeader, string(b)), d, cc, method, o...)
			}))
		}
		return grpc.NewClient("passthrough:///plane", opts...)
	}
}

// node is what one of our own proxies says of itself.
func node(peer server.Peer) *core.Node {
	doc, _ := json.Marshal(api.Resource{
		APIVersion: api.APIVersion, Kind: "Dataplane",
		Metadata: api.Meta{Name: peer.Dataplane, Labels: map[string]string{api.LabelMesh: peer.Mesh, api.LabelService: peer.Service}},
	})
	return &core.Node{
		Id: peer.Mesh + "/" + peer.Dataplane, UserAgentName: xdsclient.UserAgent,
		UserAgentVersionType: &core.Node_UserAgentVersion{UserAgentVersion: "0.1.0"},
		Metadata: &structpb.Struct{Fields: map[string]*structpb.Value{
			xdsclient.MetadataDataplane: structpb.NewStringValue(string(doc)),
		}},
	}
}

// handler records updates. Each Apply first asks judge, if set.
type handler struct {
	mu      sync.Mutex
	judge   func(*xdsclient.Update) error
	updates []*xdsclient.Update
}

func (h *handler) Apply(_ context.Context, u *xdsclient.Update) error {
	h.mu.Lock()
	judge := h.judge
	h.mu.Unlock()
	if judge != nil {
		if err := judge(u); err != nil {
			return err
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.updates = append(h.updates, u)
	return nil
}

func (h *handler) setJudge(j func(*xdsclient.Update) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.judge = j
}

func (h *handler) taken() []*xdsclient.Update {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.updates)
}

// proxy is one of our own clients, running.
type proxy struct {
	*handler
	client *xdsclient.Client
	stop   func()
}

func (p *plane) connect(dataplane, service string) *proxy {
	p.t.Helper()
	return p.connectWith(server.Peer{Mesh: "default", Dataplane: dataplane, Service: service, Workload: service, Zone: "default"}, nil)
}

func (p *plane) connectWith(peer server.Peer, judge func(*xdsclient.Update) error) *proxy {
	p.t.Helper()
	h := &handler{judge: judge}
	c, err := xdsclient.New(xdsclient.Options{
		Node: node(peer), Dial: p.dial(&peer), Handler: h, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = c.Run(ctx) }()
	stop := func() { cancel(); <-done }
	p.t.Cleanup(stop)
	return &proxy{handler: h, client: c, stop: stop}
}

// eventually polls: the things that it waits for happen in other goroutines and on connections.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// propagated waits for a generation.
func (p *plane) propagated(generation store.Revision) server.Propagation {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	got, err := p.server().Wait(ctx, "default", generation)
	if err != nil {
		p.t.Fatalf("%v: %+v", err, got)
	}
	return got
}

func (p *plane) status(dataplane string) server.ProxyStatus {
	for _, s := range p.server().Status("default") {
		if s.Dataplane == dataplane {
			return s
		}
	}
	return server.ProxyStatus{}
}

func (p *plane) connected(dataplane string) {
	p.t.Helper()
	eventually(p.t, dataplane+" runs the newest generation", func() bool {
		s := p.status(dataplane)
		return s.Connected && s.Generation == p.worlds.Current().Generation
	})
}

func name(format string, args ...any) string { return fmt.Sprintf(format, args...) }
