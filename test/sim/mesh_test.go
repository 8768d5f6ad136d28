package sim

import (
	"context"
	"crypto/x509/pkix"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/hauberk-mesh/hauberk/accel/keyprovider"
	keymemory "github.com/hauberk-mesh/hauberk/accel/keyprovider/memory"
	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/api/resource"
	"github.com/hauberk-mesh/hauberk/controlplane/identity/ca"
	"github.com/hauberk-mesh/hauberk/controlplane/resolve"
	"github.com/hauberk-mesh/hauberk/controlplane/store"
	"github.com/hauberk-mesh/hauberk/controlplane/store/memory"
	"github.com/hauberk-mesh/hauberk/controlplane/world"
	"github.com/hauberk-mesh/hauberk/controlplane/xds/translate"
	"github.com/hauberk-mesh/hauberk/dataplane/config"
	"github.com/hauberk-mesh/hauberk/dataplane/listener"
	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
	"github.com/hauberk-mesh/hauberk/dataplane/tls"
	"github.com/hauberk-mesh/hauberk/internal/memconn"
	"github.com/hauberk-mesh/hauberk/policy/all"
	"github.com/hauberk-mesh/hauberk/policy/all/filters"
)

// mesh is a whole mesh in this process: what users wrote goes through the real store, world, resolution, translation and
// configuration into real proxies, which carry real bytes over in-memory connections with real handshakes. Only the xDS
// stream itself is left out; its own tests and test/e2e have it.
type mesh struct {
	t         *testing.T
	registry  *api.Registry
	resources *store.Resources
	store     store.Store
	authority *ca.Builtin
	keys      keyprovider.Provider
	resolver  *resolve.Resolver
	cache     *translate.Cache
	log       *slog.Logger

	network memconn.Network // between hosts
	proxies map[string]*proxy
}

// meshWithIdentity is what the first start makes, without the policies: those are the cases' business.
const meshWithIdentity = `
apiVersion: hauberk.io/v1alpha1
kind: Mesh
metadata: {name: default}
---
apiVersion: hauberk.io/v1alpha1
kind: MeshIdentity
metadata: {name: identity}
spec: {provider: {type: Bundled, bundled: {autogenerate: {enabled: true}}}}
`

// newMesh builds a mesh of resources, with a proxy and an application for each Dataplane.
func newMesh(t *testing.T, yaml string) *mesh {
	t.Helper()
	registry := api.NewRegistry(append(resource.Kinds(), all.Kinds()...)...)
	s := memory.New(memory.Options{})
	t.Cleanup(func() { _ = s.Close() })
	m := &mesh{
		t: t, registry: registry, store: s, resources: store.NewResources(s, registry), keys: keymemory.New(),
		resolver: resolve.New(all.Policies()), cache: translate.NewCache(), log: slog.New(slog.DiscardHandler), proxies: map[string]*proxy{},
	}
	m.authority = ca.NewBuiltin(ca.Options{Store: s, Resources: m.resources, Keys: m.keys, Logger: m.log})
	m.write(meshWithIdentity)
	if err := m.authority.EnsureMesh(t.Context(), api.DefaultMesh); err != nil {
		t.Fatal(err)
	}
	m.apply(yaml)
	return m
}

func (m *mesh) write(yaml string) {
	m.t.Helper()
	docs, err := m.registry.Decode("resources.yaml", []byte(yaml))
	if err != nil {
		m.t.Fatal(err)
	}
	if _, err := m.resources.Apply(m.t.Context(), docs); err != nil {
		m.t.Fatal(err)
	}
}

// apply writes resources and swaps the configuration of every proxy.
func (m *mesh) apply(yaml string) {
	m.t.Helper()
	m.write(yaml)
	records, at, err := m.store.List(m.t.Context(), store.Selector{})
	if err != nil {
		m.t.Fatal(err)
	}
	b := world.NewBuilder(m.registry, m.log)
	b.Load(records, at)
	now := b.World().Meshes[api.DefaultMesh]
	for name, d := range now.Dataplanes {
		p := m.proxies[name]
		if p == nil {
			p = newProxy(m, d)
			m.proxies[name] = p
		}
		resolved, err := m.resolver.Proxy(now, name)
		if err != nil {
			m.t.Fatal(err)
		}
		snapshot, err := translate.Proxy(resolved, m.cache)
		if err != nil {
			m.t.Fatal(err)
		}
		p.swap(uint64(at), snapshot)
	}
}

// svid makes an identity that the mesh's authority vouches for.
func (m *mesh) svid(id string) *tls.SVID {
	m.t.Helper()
	parsed, err := spiffeid.FromString(id)
	if err != nil {
		m.t.Fatal(err)
	}
	key, err := m.keys.Generate(m.t.Context(), keyprovider.ECDSAP256)
	if err != nil {
		m.t.Fatal(err)
	}
	chain, err := m.authority.Sign(m.t.Context(), api.DefaultMesh, ca.Leaf{
		ID: parsed, Subject: pkix.Name{CommonName: "sim"}, PublicKey: key.Public(), Life: 24 * 60 * 60 * 1e9,
	})
	if err != nil {
		m.t.Fatal(err)
	}
	svid, err := tls.NewSVID(chain, key)
	if err != nil {
		m.t.Fatal(err)
	}
	return svid
}

// proxy is one real data plane on a host of its own.
type proxy struct {
	m        *mesh
	name     string
	identity *tls.Identity
	trust    *tls.Trust
	builder  *config.Builder
	graph    atomic.Pointer[config.Graph]
	local    memconn.Network // loopback of this host
	running  map[string]*listener.Listener
	records  records
	metrics  *telemetry.Metrics
	apps     map[string]*application // by inbound name
}

func newProxy(m *mesh, d *world.Dataplane) *proxy {
	m.t.Helper()
	p := &proxy{m: m, name: d.Name, identity: &tls.Identity{}, trust: &tls.Trust{}, metrics: telemetry.NewMetrics(), running: map[string]*listener.Listener{}, apps: map[string]*application{}}
	p.identity.Set(m.svid(d.SPIFFEID))
	p.builder = config.New(config.Deps{
		Identity: p.identity, Trust: p.trust, Service: d.Service, Filters: filters.Factories(), Dial: p.dial,
		ClusterReady: func(name string) bool {
			g := p.graph.Load()
			return g != nil && g.Clusters[name] != nil && g.Clusters[name].Ready()
		},
	})
	for _, in := range d.Spec.Inbounds {
		p.apps[in.Name] = newApplication(m.t, p, in)
	}
	m.t.Cleanup(func() {
		if g := p.graph.Load(); g != nil {
			g.Release(nil)
		}
	})
	return p
}

// swap is what the proxy does with a generation: build it whole, bind new listeners, store one pointer.
func (p *proxy) swap(generation uint64, snapshot translate.Snapshot) {
	p.m.t.Helper()
	messages := config.Resources{}
	for typeURL, byName := range snapshot {
		messages[typeURL] = map[string]*anypb.Any{}
		for name, r := range byName {
			messages[typeURL][name] = r.Any
		}
	}
	old := p.graph.Load()
	g, err := p.builder.Build(old, generation, messages)
	if err != nil {
		p.m.t.Fatalf("%s refuses generation %d: %v", p.name, generation, err)
	}
	if err := p.trust.SetBundles(g.Bundles); err != nil {
		p.m.t.Fatal(err)
	}
	p.trust.SetRevoked(g.Revoked)
	p.graph.Store(g)
	if old != nil {
		old.Release(g)
	}
	for name, spec := range g.Listeners {
		if p.running[name] == nil {
			p.running[name] = p.listen(name, spec)
		}
	}
	for _, l := range p.running {
		l.Rejudge()
	}
}

func (p *proxy) listen(name string, spec *listener.Spec) *listener.Listener {
	socket, err := p.network(spec.Addr.String()).Listen(spec.Addr.String())
	if err != nil {
		p.m.t.Fatal(err)
	}
	l := listener.New(listener.Options{
		Name: name, Listener: socket, Recorder: telemetry.Tee(p.metrics, &p.records),
		Source:           func() *listener.Spec { return p.graph.Load().Listeners[name] },
		OnHandshakeError: func(_ netip.AddrPort, err error) { p.records.refusedHandshake(err) },
	})
	ctx, stop := context.WithCancel(context.Background())
	var ended sync.WaitGroup
	ended.Go(func() { _ = l.Serve(ctx) })
	p.m.t.Cleanup(func() {
		stop()
		ended.Wait()
	})
	return l
}

// network is the one in which an address lives: loopback is each host's own.
func (p *proxy) network(addr string) *memconn.Network {
	if strings.HasPrefix(addr, "127.") || strings.HasPrefix(addr, "/") {
		return &p.local
	}
	return &p.m.network
}

func (p *proxy) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	return p.network(addr).Dial(ctx, network, addr)
}
