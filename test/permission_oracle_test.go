// Package test has the tests that need both halves of the program at once.
package test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"google.golang.org/protobuf/types/known/anypb"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"github.com/hauberk-mesh/hauberk/controlplane/ir"
	"github.com/hauberk-mesh/hauberk/controlplane/xds/translate"
	"github.com/hauberk-mesh/hauberk/dataplane/filter"
	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
	"github.com/hauberk-mesh/hauberk/policy/permission"
	permissionfilter "github.com/hauberk-mesh/hauberk/policy/permission/filter"
)

// TestPermissionOracle: what goes over the wire and is enforced in the proxy judges every call as the plain reading of the
// rules does, on HTTP and on other connections.
func TestPermissionOracle(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	allowed, denied, shadowed := 0, 0, 0
	for range 2000 {
		p := randomPermission(rng)
		http, tcp := enforced(t, p, ir.HTTP), enforced(t, p, ir.TCP)
		for range 20 {
			call := permission.Call{
				PeerID: pick(rng, peers), HTTP: rng.IntN(3) > 0, Method: pick(rng, verbs), Path: pick(rng, paths),
			}
			chain := tcp
			if call.HTTP {
				chain = http
			} else {
				call.Method, call.Path = "", ""
			}
			want, got := permission.Evaluate(p, call), chain.judge(call)
			if got.Allowed != want.Allowed || got.Allowed && got.Shadow != "" != (want.Shadow != "") {
				t.Fatalf("%+v\non %+v\nwant %+v\ngot  %+v", p, call, want, got)
			}
			if got.Rule == "" {
				t.Fatalf("%+v\non %+v: no rule is named", p, call)
			}
			if !got.Allowed && (got.Policy == permission.DefaultDeny) != (want.Policy == permission.DefaultDeny) {
				t.Fatalf("%+v\non %+v: denied by %s, want %s", p, call, got.Policy, want.Policy)
			}
			switch {
			case !got.Allowed:
				denied++
			case got.Shadow != "":
				shadowed++
			default:
				allowed++
			}
		}
	}
	// Random tests can be green because nothing interesting happens.
	if allowed < 1000 || denied < 1000 || shadowed < 100 {
		t.Errorf("allowed %d, denied %d, with a shadow %d", allowed, denied, shadowed)
	}
}

var (
	peers = []string{
		"", "spiffe://d/workload/a", "spiffe://d/workload/b", "spiffe://d/workload/ab", "spiffe://e/workload/a",
	}
	verbs    = []string{"GET", "POST", "get", "OPTIONS"}
	paths    = []string{"/", "/a", "/a/", "/a/b", "/a/b/c", "/ab", "/a//b", "*", "/x/1/y", "/x/1", "/x//y", "/A", "/a%20b", "/a;x", "/;/a/b;", "/a/;"}
	patterns = []ir.PathMatch{
		{Type: ir.Exact, Value: "/"}, {Type: ir.Exact, Value: "/a"}, {Type: ir.Exact, Value: "/a/"},
		{Type: ir.Prefix, Value: "/"}, {Type: ir.Prefix, Value: "/a"}, {Type: ir.Prefix, Value: "/a/"}, {Type: ir.Prefix, Value: "/a/b"},
		{Type: ir.Template, Value: "/"}, {Type: ir.Template, Value: "/{x}"}, {Type: ir.Template, Value: "/x/*/y"}, {Type: ir.Template, Value: "/a/**"},
		{Type: ir.Template, Value: "/**"}, {Type: ir.Template, Value: "/{x}/{y}/**"},
	}
	ids = []ir.StringMatch{
		{Type: ir.Exact, Value: "spiffe://d/workload/a"}, {Type: ir.Exact, Value: ""}, {Type: ir.Prefix, Value: "spiffe://d/"},
		{Type: ir.Prefix, Value: "spiffe://d/workload/a"}, {Type: ir.Prefix, Value: ""},
	}
)

func pick[T any](rng *rand.Rand, list []T) T { return list[rng.IntN(len(list))] }

func randomPermission(rng *rand.Rand) *ir.Permission {
	entries := func(list string, most int) (out []ir.PermissionEntry) {
		for i := range rng.IntN(most + 1) {
			e := ir.PermissionEntry{Rule: fmt.Sprintf("MeshTrafficPermission/p%d#rules[0].%s[%d]", rng.IntN(3), list, i)}
			if rng.IntN(3) > 0 {
				id := pick(rng, ids)
				e.SPIFFEID = &id
			}
			for range rng.IntN(3) {
				e.Methods = append(e.Methods, pick(rng, verbs))
			}
			for range rng.IntN(3) {
				e.Paths = append(e.Paths, pick(rng, patterns))
			}
			out = append(out, e)
		}
		return out
	}
	p := &ir.Permission{Deny: entries("deny", 2), Allow: entries("allow", 3), Shadow: entries("allowWithShadowDeny", 1)}
	p.Allow = slices.Concat(p.Allow, p.Shadow)
	return p
}

// chain is the permission's part of an inbound's chain.
type chain struct {
	http    []filter.HTTP
	network []filter.Network
}

func (c chain) judge(call permission.Call) permission.Result {
	conn := &filter.Conn{PeerID: call.PeerID}
	o := filter.RunNetwork(c.network, conn)
	if call.HTTP {
		o = filter.RunHTTP(c.http, conn, &message.Request{Method: call.Method, Path: call.Path})
	}
	r := permission.Result{Allowed: o.Final == nil}
	if decided := o.Allowed; decided != nil {
		r.Policy, r.Rule = decided.Policy, decided.Rule
	}
	if o.Final != nil {
		r.Policy, r.Rule = o.Final.Policy, o.Final.Rule
	}
	if o.Shadow != nil {
		r.Shadow = o.Shadow.Rule
	}
	return r
}

// enforced translates a permission and parses what comes out, as a proxy would.
func enforced(t *testing.T, p *ir.Permission, protocol ir.Protocol) chain {
	t.Helper()
	l := &ir.Listener{
		Name: "inbound|x", Address: "127.0.0.1", Port: 80, Protocol: protocol, TLS: &ir.InboundTLS{Mode: ir.Strict}, Permission: p,
		Cluster: "inbound|x", Routes: []*ir.Route{{Name: "default", PathPrefix: "/", Cluster: "inbound|x"}},
	}
	s, err := translate.Proxy(&ir.Proxy{Inbounds: []*ir.Listener{l}, Trust: []ir.TrustBundle{{TrustDomain: "d", PEM: []string{"x"}}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	m := &listenerv3.Listener{}
	if err := s[translate.TypeListener][l.Name].Any.UnmarshalTo(m); err != nil {
		t.Fatal(err)
	}
	factories := map[string]filter.Factory{}
	for _, f := range permissionfilter.Factories() {
		factories[f.TypeURL] = f
	}
	var c chain
	for _, f := range m.FilterChains[0].Filters {
		if factory, ok := factories[f.GetTypedConfig().TypeUrl]; ok {
			one, err := factory.Network(f.GetTypedConfig().Value, filter.Env{})
			if err != nil {
				t.Fatal(err)
			}
			c.network = append(c.network, one)
		}
		for _, a := range httpFilters(t, f.GetTypedConfig()) {
			if factory, ok := factories[a.TypeUrl]; ok {
				one, err := factory.HTTP(a.Value, filter.Env{})
				if err != nil {
					t.Fatal(err)
				}
				c.http = append(c.http, one)
			}
		}
	}
	return c
}

func httpFilters(t *testing.T, a *anypb.Any) (out []*anypb.Any) {
	t.Helper()
	manager := &hcmv3.HttpConnectionManager{}
	if !a.MessageIs(manager) {
		return nil
	}
	if err := a.UnmarshalTo(manager); err != nil {
		t.Fatal(err)
	}
	for _, f := range manager.HttpFilters {
		out = append(out, f.GetTypedConfig())
	}
	return out
}
