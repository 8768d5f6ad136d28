package world

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/api/resource"
	"github.com/hauberk-mesh/hauberk/controlplane/store"
	"github.com/hauberk-mesh/hauberk/controlplane/store/memory"
	"github.com/hauberk-mesh/hauberk/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// testPolicy stands for any policy: the Builder must not know them.
type testPolicy struct {
	TargetRef *api.TargetRef `json:"targetRef,omitempty"`
	Value     string         `json:"value"`
}

func registry() *api.Registry {
	kinds := resource.Kinds()
	for _, name := range []string{"MeshTestA", "MeshTestB"} {
		k := api.DefineKind(name, strings.ToLower(name)+"s", func(api.Meta, *testPolicy) api.Problems { return nil })
		k.IsPolicy = true
		kinds = append(kinds, k)
	}
	return api.NewRegistry(kinds...)
}

// fixture is a store that is followed step by step, so that each test sees each Update.
type fixture struct {
	t         testing.TB
	resources *store.Resources
	store     *memory.Store
	watch     *store.Watch
	builder   *Builder
	log       *strings.Builder
}

func newFixture(t testing.TB) *fixture {
	s := memory.New(memory.Options{})
	t.Cleanup(func() { _ = s.Close() })
	log := &strings.Builder{}
	f := &fixture{
		t: t, store: s, resources: store.NewResources(s, registry()), log: log,
		builder: NewBuilder(registry(), slog.New(slog.NewTextHandler(log, nil))),
	}
	var err error
	f.watch, err = s.Watch(t.Context())
	f.check(err)
	f.builder.Load(f.watch.Initial, f.watch.Revision)
	return f
}

func (f *fixture) check(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) step() *Update {
	f.t.Helper()
	e, err := f.watch.Next(f.t.Context())
	f.check(err)
	return f.builder.Apply(e)
}

// apply writes YAML documents in one transaction.
func (f *fixture) apply(yaml string) *Update {
	f.t.Helper()
	all, err := registry().Decode("test", []byte(yaml))
	f.check(err)
	return f.put(all...)
}

func (f *fixture) put(all ...*api.Resource) *Update {
	f.t.Helper()
	_, err := f.resources.Apply(context.Background(), all)
	f.check(err)
	return f.step()
}

func (f *fixture) delete(kind, mesh, name string) *Update {
	f.t.Helper()
	_, err := f.resources.Delete(context.Background(), api.Key{Kind: kind, Mesh: mesh, Name: name})
	f.check(err)
	return f.step()
}

func (f *fixture) mesh() *Mesh {
	f.t.Helper()
	m := f.builder.World().Meshes["default"]
	if m == nil {
		f.t.Fatal("there is no mesh default")
	}
	return m
}

func doc(kind, name, labels, spec string) string {
	return fmt.Sprintf("---\napiVersion: hauberk.io/v1alpha1\nkind: %s\nmetadata: {name: %s, labels: {%s}}\nspec: %s\n", kind, name, labels, spec)
}

func meshDoc(name string) string { return doc("Mesh", name, "", "{}") }

func identityDoc() string { return doc("MeshIdentity", "identity", "", "{provider: {type: Bundled}}") }

func cart(name, address string) string {
	return doc("Dataplane", name, "hauberk.io/service: cart, version: v1",
		"{address: "+address+", inbounds: [{port: 80, listenPort: 15080, protocol: http}]}")
}

func client(name, service string) string {
	return doc("Dataplane", name, "hauberk.io/service: web",
		"{address: 10.9.0.1, outbounds: [{port: 10001, backendRef: {kind: MeshService, name: "+service+", port: 80}}]}")
}

func insight(name string, ready bool, reason string) *api.Resource {
	return &api.Resource{
		APIVersion: api.APIVersion, Kind: kindInsight, Metadata: api.Meta{Name: name},
		Spec: &resource.DataplaneInsight{Inbounds: []resource.InboundInsight{{Name: "http", Ready: ready, Reason: reason}}},
	}
}

func TestGeneratedService(t *testing.T) {
	f := newFixture(t)
	f.apply(meshDoc("default") + identityDoc() + cart("cart-2", "10.0.0.2") + cart("cart-1", "10.0.0.1"))
	labels := map[string]string{"hauberk.io/service": "cart", "version": "v1"}
	want := &Service{
		Name: "cart", Generated: true,
		Ports: []Port{{Name: "http", Port: 80, Protocol: "http", Endpoints: &Endpoints{List: []Endpoint{
			{Dataplane: "cart-1", Address: "10.0.0.1", Port: 15080, Labels: labels},
			{Dataplane: "cart-2", Address: "10.0.0.2", Port: 15080, Labels: labels},
		}}}},
		Identities: []string{"spiffe://default.default.mesh.local/workload/cart"},
	}
	if diff := cmp.Diff(want, f.mesh().Services["cart"]); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	d := f.mesh().Dataplanes["cart-1"]
	if d.Service != "cart" || d.Workload != "cart" || d.Zone != "default" || d.SPIFFEID != want.Identities[0] || d.Spec.Inbounds[0].Name != "http" {
		t.Errorf("dataplane is %+v", d)
	}

	f.put(insight("cart-2", false, "connection refused"))
	if got := f.mesh().Services["cart"].Ports[0].Endpoints.List; got[0].Unready || !got[1].Unready {
		t.Errorf("endpoints are %+v, want cart-2 alone unready", got)
	}
	if got := f.mesh().Dataplanes["cart-2"].Unready["http"]; got != "connection refused" {
		t.Errorf("the reason is %q", got)
	}
	f.delete("Dataplane", "default", "cart-1")
	f.delete("Dataplane", "default", "cart-2")
	if s := f.mesh().Services["cart"]; s != nil {
		t.Errorf("the service outlived its dataplanes: %+v", s)
	}
}

// TestDisagreement: a user's apply is not checked as a registration is. What is published must still not depend on chance.
func TestDisagreement(t *testing.T) {
	f := newFixture(t)
	f.apply(meshDoc("default") + cart("b", "10.0.0.2") + cart("c", "10.0.0.3") +
		doc("Dataplane", "a", "hauberk.io/service: cart", "{address: 10.0.0.1, inbounds: [{name: http, port: 80, protocol: tcp}]}") +
		doc("Dataplane", "d", "hauberk.io/service: cart", "{address: 10.0.0.4, inbounds: [{name: other, port: 80, protocol: tcp}]}"))
	ports := f.mesh().Services["cart"].Ports
	if len(ports) != 1 || ports[0].Protocol != "tcp" || len(ports[0].Endpoints.List) != 1 || ports[0].Endpoints.List[0].Dataplane != "a" {
		t.Errorf("ports are %+v, want a's alone", ports)
	}
}

func TestExplicitService(t *testing.T) {
	f := newFixture(t)
	f.apply(meshDoc("default") + identityDoc() + cart("cart-1", "10.0.0.1") +
		doc("Dataplane", "v2", "app: shop", "{address: 10.0.0.2, inbounds: [{name: main, port: 8080, protocol: http}, {name: admin, port: 9090}]}"))
	u := f.apply(doc("MeshService", "cart", "", "{selector: {dataplaneLabels: {matchLabels: {app: shop}}}, ports: [{name: web, port: 80, targetPort: main}, {port: 81, targetPort: admin}, {port: 82, targetPort: none}]}"))
	want := &Service{
		Name: "cart",
		Ports: []Port{
			{Name: "web", Port: 80, Protocol: "http", Endpoints: &Endpoints{List: []Endpoint{{Dataplane: "v2", Address: "10.0.0.2", Port: 8080, Labels: map[string]string{"app": "shop"}}}}},
			{Name: "admin", Port: 81, Protocol: "tcp", Endpoints: &Endpoints{List: []Endpoint{{Dataplane: "v2", Address: "10.0.0.2", Port: 9090, Labels: map[string]string{"app": "shop"}}}}},
			{Name: "none", Port: 82, Protocol: "tcp", Endpoints: &Endpoints{}},
		},
		Identities: []string{"spiffe://default.default.mesh.local/workload/v2"},
	}
	if diff := cmp.Diff(want, f.mesh().Services["cart"]); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if !u.Changed["default"].Services["cart"] {
		t.Errorf("the change is %+v, want the service", u.Changed["default"])
	}
	f.apply(doc("MeshService", "cart", "", "{selector: {dataplaneLabels: {matchLabels: {app: shop}}}, ports: [{port: 80, targetPort: main, appProtocol: tcp}], identities: [{type: SpiffeID, value: 'spiffe://a/b'}]}"))
	if got := f.mesh().Services["cart"]; got.Ports[0].Protocol != "tcp" || len(got.Ports[0].Endpoints.List) != 1 || got.Identities[0] != "spiffe://a/b" {
		t.Errorf("overridden service is %+v", got)
	}
	// A dataplane that begins or ceases to be selected.
	f.apply(doc("Dataplane", "v3", "app: shop", "{address: 10.0.0.3, inbounds: [{name: main, port: 8080, protocol: http}]}"))
	if n := len(f.mesh().Services["cart"].Ports[0].Endpoints.List); n != 2 {
		t.Errorf("%d endpoints, want 2", n)
	}
	f.apply(doc("Dataplane", "v3", "app: else", "{address: 10.0.0.3, inbounds: [{name: main, port: 8080, protocol: http}]}"))
	if n := len(f.mesh().Services["cart"].Ports[0].Endpoints.List); n != 1 {
		t.Errorf("%d endpoints, want 1", n)
	}
	f.delete("MeshService", "default", "cart")
	if got := f.mesh().Services["cart"]; got == nil || !got.Generated || got.Ports[0].Endpoints.List[0].Dataplane != "cart-1" {
		t.Errorf("after the explicit one is gone, the service is %+v, want the generated one", got)
	}
}

func TestIdentity(t *testing.T) {
	f := newFixture(t)
	f.apply(meshDoc("default") + cart("cart-1", "10.0.0.1"))
	if id := f.mesh().Dataplanes["cart-1"].SPIFFEID; id != "" || len(f.mesh().Services["cart"].Identities) != 0 {
		t.Errorf("without a MeshIdentity the identity is %q, want none", id)
	}
	u := f.apply(doc("MeshIdentity", "b", "", "{provider: {type: Bundled}, spiffeID: {trustDomain: '{{ .Mesh }}.{{ .Zone }}.example.com', path: '/w/{{ .Workload }}'}}"))
	if got := f.mesh().Services["cart"].Identities; len(got) != 1 || got[0] != "spiffe://default.default.example.com/w/cart" {
		t.Errorf("identities are %v", got)
	}
	if c := u.Changed["default"]; !c.MeshWide || !c.Services["cart"] {
		t.Errorf("the change is %+v, want mesh-wide and the service", c)
	}
	f.apply(doc("MeshIdentity", "a", "", "{provider: {type: Bundled}}"))
	if got := f.mesh().Dataplanes["cart-1"].SPIFFEID; got != "spiffe://default.default.mesh.local/workload/cart" {
		t.Errorf("identity is %s, want that of the MeshIdentity whose name sorts first", got)
	}
	f.apply(doc("Dataplane", "cart-1", "hauberk.io/service: cart, hauberk.io/workload: w, hauberk.io/zone: z", "{address: 10.0.0.1}"))
	if got := f.mesh().Dataplanes["cart-1"].SPIFFEID; got != "spiffe://default.z.mesh.local/workload/w" {
		t.Errorf("identity is %s", got)
	}
}

func TestTrustAndRevocation(t *testing.T) {
	f := newFixture(t)
	f.apply(meshDoc("default") + cart("cart-1", "10.0.0.1"))
	trust := func(name, domain string) *api.Resource {
		return &api.Resource{APIVersion: api.APIVersion, Kind: kindTrust, Metadata: api.Meta{Name: name}, Spec: &resource.MeshTrust{TrustDomain: domain}}
	}
	revoke := func(name, id string) *api.Resource {
		return &api.Resource{APIVersion: api.APIVersion, Kind: kindRevocation, Metadata: api.Meta{Name: name}, Spec: &resource.IdentityRevocation{SpiffeID: id}}
	}
	for _, r := range []*api.Resource{trust("x", "b"), trust("y", "a"), revoke("x", "spiffe://b"), revoke("y", "spiffe://a")} {
		u := f.put(r)
		if c := u.Changed["default"]; c == nil || !c.MeshWide {
			t.Errorf("%s: the change is %+v, want mesh-wide", r.Key(), c)
		}
		if u.Old.Meshes["default"].Dataplanes["cart-1"] != u.New.Meshes["default"].Dataplanes["cart-1"] {
			t.Errorf("%s: the dataplane is another", r.Key())
		}
	}
	m := f.mesh()
	if len(m.Trust) != 2 || m.Trust[0].TrustDomain != "a" || m.Trust[1].TrustDomain != "b" {
		t.Errorf("trust is %v", m.Trust)
	}
	if diff := cmp.Diff([]string{"spiffe://a", "spiffe://b"}, m.Revoked); diff != "" {
		t.Error(diff)
	}
	f.delete(kindRevocation, "default", "x")
	f.delete(kindTrust, "default", "y")
	if m := f.mesh(); len(m.Trust) != 1 || len(m.Revoked) != 1 {
		t.Errorf("after deletion trust is %v, revoked %v", m.Trust, m.Revoked)
	}
}

func TestPolicies(t *testing.T) {
	f := newFixture(t)
	f.apply(meshDoc("default"))
	u := f.apply(doc("MeshTestA", "b", "", "{value: x}") + doc("MeshTestA", "a", "", "{value: y}"))
	if diff := cmp.Diff(map[string]bool{"MeshTestA": true}, u.Changed["default"].Policies); diff != "" {
		t.Error(diff)
	}
	list := f.mesh().Policies["MeshTestA"]
	if len(list) != 2 || list[0].Metadata.Name != "a" || list[1].Metadata.Name != "b" {
		t.Errorf("policies are %v", list)
	}
	f.apply(doc("MeshTestB", "a", "", "{value: z}"))
	if &f.mesh().Policies["MeshTestA"][0] != &list[0] {
		t.Error("policies of a kind that did not change were made anew")
	}
	f.delete("MeshTestA", "default", "a")
	f.delete("MeshTestA", "default", "b")
	if _, there := f.mesh().Policies["MeshTestA"]; there {
		t.Error("a kind without policies is still there")
	}
}

func TestConsumers(t *testing.T) {
	f := newFixture(t)
	f.apply(meshDoc("default") + client("web-1", "cart") + client("web-2", "cart"))
	before := f.mesh().Consumers
	f.apply(client("web-1", "catalog"))
	want := map[string]map[string]bool{"cart": {"web-2": true}, "catalog": {"web-1": true}}
	if diff := cmp.Diff(want, f.mesh().Consumers); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if diff := cmp.Diff(map[string]map[string]bool{"cart": {"web-1": true, "web-2": true}}, before); diff != "" {
		t.Errorf("an old World changed:\n%s", diff)
	}
	f.delete("Dataplane", "default", "web-1")
	f.delete("Dataplane", "default", "web-2")
	if len(f.mesh().Consumers) != 0 {
		t.Errorf("consumers are %v", f.mesh().Consumers)
	}
}

func TestMeshesAreIsolated(t *testing.T) {
	f := newFixture(t)
	f.apply(meshDoc("default") + meshDoc("other") + cart("cart-1", "10.0.0.1") +
		doc("Dataplane", "cart-1", "hauberk.io/mesh: other, hauberk.io/service: cart", "{address: 10.0.0.9, inbounds: [{port: 81}]}"))
	def, other := f.mesh(), f.builder.World().Meshes["other"]
	if def.Services["cart"].Ports[0].Port != 80 || other.Services["cart"].Ports[0].Port != 81 {
		t.Errorf("services are %+v and %+v", def.Services["cart"], other.Services["cart"])
	}
	u := f.delete("Dataplane", "other", "cart-1")
	if f.mesh() != def || u.Changed["default"] != nil || u.Changed["other"] == nil {
		t.Errorf("a change of the other mesh touched this one: %v", u.Changed)
	}
}

// TestMeshComesAndGoes: nothing is published of a mesh that does not exist, and all of it once it does.
func TestMeshComesAndGoes(t *testing.T) {
	f := newFixture(t)
	u := f.apply(cart("cart-1", "10.0.0.1"))
	if len(u.New.Meshes) != 0 || len(u.Changed) != 0 {
		t.Errorf("without a Mesh: %v, changed %v", u.New.Meshes, u.Changed)
	}
	u = f.apply(meshDoc("default"))
	c := u.Changed["default"]
	if c == nil || !c.MeshWide || !c.Dataplanes["cart-1"] || !c.Services["cart"] || f.mesh().Services["cart"] == nil {
		t.Errorf("the mesh came with %+v", c)
	}
	u = f.delete("Mesh", "", "default")
	if c := u.Changed["default"]; u.New.Meshes["default"] != nil || c == nil || !c.Dataplanes["cart-1"] {
		t.Errorf("the mesh went with %+v", c)
	}
	f.delete("Dataplane", "default", "cart-1")
	if len(f.builder.meshes) != 0 {
		t.Error("a mesh of which nothing is left is remembered")
	}
}

func TestWhatIsSharedAndWhatChanged(t *testing.T) {
	f := newFixture(t)
	f.apply(meshDoc("default") + meshDoc("other") + identityDoc() + cart("cart-1", "10.0.0.1") + cart("cart-2", "10.0.0.2") +
		client("web-1", "cart") + doc("Dataplane", "redis-1", "hauberk.io/service: redis", "{address: 10.0.1.1, inbounds: [{port: 6379}]}"))
	tests := []struct {
		name   string
		change func() *Update
		want   *Change
	}{
		{"an endpoint is not ready", func() *Update { return f.put(insight("cart-1", false, "")) },
			&Change{Endpoints: map[string]bool{"cart": true}}},
		{"an insight that says nothing new", func() *Update { return f.put(insight("cart-2", true, "")) }, nil},
		{"an address", func() *Update { return f.apply(cart("cart-2", "10.0.0.7")) },
			&Change{Dataplanes: map[string]bool{"cart-2": true}, Endpoints: map[string]bool{"cart": true}}},
		{"a further endpoint", func() *Update { return f.apply(cart("cart-3", "10.0.0.3")) },
			&Change{Dataplanes: map[string]bool{"cart-3": true}, Endpoints: map[string]bool{"cart": true}}},
		{"a further identity", func() *Update {
			return f.apply(doc("Dataplane", "cart-4", "hauberk.io/service: cart, hauberk.io/workload: w", "{address: 10.0.0.4}"))
		}, &Change{Dataplanes: map[string]bool{"cart-4": true}, Services: map[string]bool{"cart": true}}},
		{"outbounds only", func() *Update { return f.apply(client("web-1", "redis")) },
			&Change{Dataplanes: map[string]bool{"web-1": true}}},
		{"a token", func() *Update {
			return f.put(&api.Resource{APIVersion: api.APIVersion, Kind: "Token", Metadata: api.Meta{Name: "t"}, Spec: &resource.Token{}})
		}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			u := tt.change()
			if tt.want != nil {
				full := newChange()
				full.add(tt.want)
				tt.want = full
			}
			if diff := cmp.Diff(tt.want, u.Changed["default"]); diff != "" {
				t.Errorf("change (-want +got):\n%s", diff)
			}
			if u.New.Generation != u.Old.Generation+1 {
				t.Errorf("generation %d came after %d", u.New.Generation, u.Old.Generation)
			}
			was, is := u.Old.Meshes["default"], u.New.Meshes["default"]
			if u.Old.Meshes["other"] != u.New.Meshes["other"] {
				t.Error("the other mesh was made anew")
			}
			for name, s := range is.Services {
				old := was.Services[name]
				touched := tt.want != nil && (tt.want.Services[name] || tt.want.Endpoints[name])
				if (s == old) == touched {
					t.Errorf("service %s: the same %v, touched %v", name, s == old, touched)
				}
				if old != nil && (tt.want == nil || !tt.want.Endpoints[name]) && len(s.Ports) > 0 && s.Ports[0].Endpoints != old.Ports[0].Endpoints {
					t.Errorf("the endpoints of %s were made anew", name)
				}
			}
		})
	}
}

// TestNewerVersion: a record that this build cannot read is left out, and the rest is served.
func TestNewerVersion(t *testing.T) {
	f := newFixture(t)
	f.apply(meshDoc("default") + cart("cart-1", "10.0.0.1") + cart("cart-2", "10.0.0.2"))
	key := api.Key{Kind: "Dataplane", Mesh: "default", Name: "cart-1"}
	for _, op := range []store.Op{
		{Key: key, Value: []byte(`{"apiVersion":"hauberk.io/v1alpha1","kind":"Dataplane","metadata":{"name":"cart-1"},"spec":{"address":"10.0.0.1","new":true}}`)},
		{Key: api.Key{Kind: "MeshNew", Mesh: "default", Name: "x"}, Value: []byte("{}")},
		{Key: api.Key{Kind: "Secret", Name: "ca"}, Value: []byte("\x00")},
	} {
		_, err := f.store.Txn(t.Context(), op)
		f.check(err)
		f.step()
	}
	if m := f.mesh(); m.Dataplanes["cart-1"] != nil || len(m.Services["cart"].Ports[0].Endpoints.List) != 1 {
		t.Errorf("dataplanes are %v", m.Dataplanes)
	}
	if !strings.Contains(f.log.String(), "Dataplane/cart-1") {
		t.Errorf("the log does not name what was left out: %s", f.log)
	}
}

// TestUnreadable: what could have said who may do what, and cannot be read, is not silently less.
func TestUnreadable(t *testing.T) {
	newer := func(kind, name string) store.Op {
		return store.Op{Key: api.Key{Kind: kind, Mesh: "default", Name: name}, Value: []byte(`{"apiVersion":"hauberk.io/v2"}`)}
	}
	for _, kind := range []string{"MeshTestA", kindTrust, kindIdentity, kindRevocation} {
		t.Run(kind, func(t *testing.T) {
			f := newFixture(t)
			f.apply(meshDoc("default"))
			write := func(ops ...store.Op) *Change {
				t.Helper()
				_, err := f.store.Txn(t.Context(), ops...)
				f.check(err)
				return f.step().Changed["default"]
			}
			if c := write(newer(kind, "b"), newer(kind, "a")); c == nil || !c.MeshWide {
				t.Errorf("the change is %+v", c)
			}
			got := f.mesh().Unreadable
			if len(got) != 2 || got[0].Key.Name != "a" || got[1].Key.Name != "b" || !strings.Contains(got[0].Reason, "cannot be read") {
				t.Fatalf("unreadable are %+v", got)
			}
			if c := write(store.Op{Key: got[0].Key}); c == nil || !c.MeshWide || len(f.mesh().Unreadable) != 1 {
				t.Errorf("after one is deleted: %+v, change %+v", f.mesh().Unreadable, c)
			}
			// The other is replaced by what can be read.
			res := &api.Resource{APIVersion: api.APIVersion, Kind: kind, Metadata: api.Meta{Name: "b"}, Spec: map[string]any{
				"MeshTestA": &testPolicy{}, kindTrust: &resource.MeshTrust{TrustDomain: "x"}, kindIdentity: &resource.MeshIdentity{},
				kindRevocation: &resource.IdentityRevocation{SpiffeID: "spiffe://a/b"},
			}[kind]}
			value, err := registry().Encode(res)
			f.check(err)
			if c := write(store.Op{Key: res.Key(), Value: value}); c == nil || !c.MeshWide || f.mesh().Unreadable != nil {
				t.Errorf("after the other is replaced: %+v, change %+v", f.mesh().Unreadable, c)
			}
		})
	}
}

func TestCheckRegistration(t *testing.T) {
	f := newFixture(t)
	f.apply(meshDoc("default") + cart("cart-1", "10.0.0.1"))
	labels := map[string]string{"hauberk.io/service": "cart"}
	tests := map[string]struct {
		name    string
		labels  map[string]string
		inbound resource.Inbound
		want    string
	}{
		"the same":             {"cart-2", labels, resource.Inbound{Port: 80, Protocol: "http"}, ""},
		"other listen port":    {"cart-2", labels, resource.Inbound{Port: 80, ListenPort: 1, Protocol: "http"}, ""},
		"another inbound":      {"cart-2", labels, resource.Inbound{Port: 81}, ""},
		"another port":         {"cart-2", labels, resource.Inbound{Port: 81, Protocol: "http"}, `has port 80 on dataplane "cart-1" and 81 on "cart-2"`},
		"another protocol":     {"cart-2", labels, resource.Inbound{Name: "http", Port: 80}, `has protocol http on dataplane "cart-1" and tcp on "cart-2"`},
		"another name":         {"cart-2", labels, resource.Inbound{Name: "web", Port: 80, Protocol: "http"}, `is inbound "http" on dataplane "cart-1" and "web" on "cart-2"`},
		"the dataplane itself": {"cart-1", labels, resource.Inbound{Port: 81, Protocol: "http"}, ""},
		"another service":      {"x", map[string]string{"hauberk.io/service": "x"}, resource.Inbound{Port: 81, Protocol: "http"}, ""},
		"no service":           {"x", nil, resource.Inbound{Port: 81, Protocol: "http"}, ""},
	}
	for _, explicit := range []bool{false, true} {
		if explicit {
			f.apply(doc("MeshService", "cart", "", "{selector: {dataplaneLabels: {matchLabels: {a: b}}}, ports: [{port: 1, targetPort: x}]}"))
		}
		for name, tt := range tests {
			t.Run(name+" explicit "+strconv.FormatBool(explicit), func(t *testing.T) {
				spec := &resource.Dataplane{Address: "10.0.0.5", Inbounds: []resource.Inbound{tt.inbound}}
				err := CheckRegistration(f.mesh(), tt.name, spec, tt.labels)
				if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
					t.Errorf("got %v, want %q", err, tt.want)
				}
			})
		}
	}
}

// A token buys one service, and nothing else can be had with it: a label that a proxy gives itself makes it no server of a
// service that somebody else is.
func TestLabelsOfAProxyBuyNoService(t *testing.T) {
	registered := func(name, labels string) string {
		return doc("Dataplane", name, "hauberk.io/origin: dataplane, "+labels,
			"{address: 10.0.0.9, inbounds: [{name: http, port: 80, protocol: http}]}")
	}
	for name, c := range map[string]struct {
		selector, identities string
		thief, owner         bool // serve
	}{
		"by a free label":          {"app: payments", "", false, true}, // the owner has the service's own label
		"by the service, too":      {"hauberk.io/service: payments, app: payments", "", false, true},
		"by the workload":          {"hauberk.io/workload: payments, app: payments", "", false, false},
		"with identities":          {"app: payments", "identities: [{type: SpiffeID, value: 'spiffe://default.default.mesh.local/workload/payments'}]", false, true},
		"with the thief's, wanted": {"app: payments", "identities: [{type: SpiffeID, value: 'spiffe://default.default.mesh.local/workload/cart'}]", true, false},
		"by the thief's service":   {"hauberk.io/service: cart, app: payments", "", true, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.apply(meshDoc("default") + identityDoc())
			service := doc("MeshService", "payments", "", "{selector: {dataplaneLabels: {matchLabels: {"+c.selector+"}}}, ports: [{port: 80, targetPort: http}], "+c.identities+"}")
			proxies := registered("thief", "hauberk.io/service: cart, app: payments") + registered("owner", "hauberk.io/service: payments, app: payments")
			check := func(when string) {
				t.Helper()
				got := map[string]bool{}
				s := f.mesh().Services["payments"]
				for _, e := range s.Ports[0].Endpoints.List {
					got[e.Dataplane] = true
				}
				if got["thief"] != c.thief || got["owner"] != c.owner {
					t.Errorf("%s: the servers are %v", when, got)
				}
				if id := "spiffe://default.default.mesh.local/workload/cart"; !c.thief && strings.Contains(fmt.Sprint(s.Identities), id) {
					t.Errorf("%s: the service's identities are %v", when, s.Identities)
				}
			}
			f.apply(service)
			f.apply(proxies)
			check("proxies last")
			f.delete("MeshService", "default", "payments")
			f.apply(service)
			check("service last")
		})
	}
}
