package why

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hauberk-mesh/hauberk/controlplane/ir"
	"github.com/hauberk-mesh/hauberk/controlplane/world"
)

// shop is a mesh in which web calls cart, and cart has two dataplanes.
func shop() Answerer {
	id := func(workload string) string { return "spiffe://default.default.mesh.local/workload/" + workload }
	dp := func(name, service string) *world.Dataplane {
		return &world.Dataplane{Name: name, Service: service, SPIFFEID: id(service)}
	}
	m := &world.Mesh{
		Name:       "default",
		Dataplanes: map[string]*world.Dataplane{"web-1": dp("web-1", "web"), "cart-1": dp("cart-1", "cart"), "cart-2": dp("cart-2", "cart")},
		Services: map[string]*world.Service{"cart": {Name: "cart", Ports: []world.Port{
			{Name: "http", Port: 80, Endpoints: &world.Endpoints{List: []world.Endpoint{{Dataplane: "cart-1"}, {Dataplane: "cart-2"}}}},
			{Name: "admin", Port: 81, Endpoints: &world.Endpoints{}},
		}}},
	}
	in := func(name string, port uint32, protocol ir.Protocol) *ir.Listener {
		return &ir.Listener{PortName: name, ServicePort: port, Protocol: protocol, TLS: &ir.InboundTLS{Mode: ir.Strict}, Permission: &ir.Permission{}}
	}
	proxies := map[string]*ir.Proxy{
		"web-1":  {Outbounds: []*ir.Listener{{Service: "cart", ServicePort: 80}}},
		"cart-1": {Inbounds: []*ir.Listener{in("http", 80, ir.HTTP), in("admin", 81, ir.TCP)}},
		"cart-2": {Inbounds: []*ir.Listener{in("http", 80, ir.HTTP)}},
	}
	return Answerer{
		Mesh:      m,
		Resolve:   func(name string) (*ir.Proxy, error) { return proxies[name], nil },
		Connected: func(string) bool { return true },
		Judge: func(c Call) Verdict {
			return Verdict{Allow: c.HTTP && c.Path == "/ok", Policy: "P", Rule: c.Method + " " + c.Path}
		},
	}
}

func TestAsk(t *testing.T) {
	for name, c := range map[string]struct {
		change    func(a *Answerer)
		query     Query
		verdict   string
		decisions int
		obstacles []string
	}{
		"allowed":        {nil, Query{Source: "web", Destination: "cart", Path: "/ok"}, Allow, 2, nil},
		"normalised":     {nil, Query{Source: "web", Destination: "cart", Path: "/x/..//%6fk?q=1"}, Allow, 2, nil},
		"denied":         {nil, Query{Source: "web", Destination: "cart"}, Deny, 2, nil},
		"dataplanes":     {nil, Query{Source: "web-1", Destination: "cart-2", Path: "/ok"}, Allow, 1, nil},
		"path refused":   {nil, Query{Source: "web", Destination: "cart", Path: "/a%2fb"}, None, 0, []string{"path_refused"}},
		"other port":     {nil, Query{Source: "web", Destination: "cart", Port: 81}, Deny, 1, []string{"no_ready_endpoint"}},
		"tcp and a path": {nil, Query{Source: "web", Destination: "cart", Port: 81, Path: "/ok"}, Deny, 1, []string{"no_ready_endpoint", "not_http"}},
		"no such port":   {nil, Query{Source: "web", Destination: "cart", Port: 9}, None, 0, []string{"no_inbound"}},
		"no service":     {nil, Query{Source: "web", Destination: "nobody"}, None, 0, []string{"no_such_service"}},
		"no source":      {nil, Query{Source: "nobody", Destination: "nobody2"}, None, 0, []string{"no_such_service", "no_such_service"}},
		"no outbound":    {nil, Query{Source: "cart", Destination: "web"}, None, 0, []string{"no_outbound", "no_inbound"}},
		"unready": {func(a *Answerer) {
			for i := range a.Mesh.Services["cart"].Ports[0].Endpoints.List {
				a.Mesh.Services["cart"].Ports[0].Endpoints.List[i].Unready = true
			}
		}, Query{Source: "web", Destination: "cart", Path: "/ok"}, Allow, 2, []string{"no_ready_endpoint"}},
		"not connected": {func(a *Answerer) { a.Connected = func(n string) bool { return n != "web-1" } },
			Query{Source: "web", Destination: "cart", Path: "/ok"}, Allow, 2, []string{"not_connected"}},
		"rejected": {func(a *Answerer) {
			a.Rejected = func(n string) string { return map[string]string{"cart-1": "port taken"}[n] }
		}, Query{Source: "web", Destination: "cart", Path: "/ok"}, Allow, 2, []string{"config_rejected"}},
		"revoked": {func(a *Answerer) { a.Mesh.Revoked = []string{"spiffe://default.default.mesh.local/workload/web"} },
			Query{Source: "web", Destination: "cart", Path: "/ok"}, Allow, 2, []string{"identity_revoked"}},
		"no dataplane": {func(a *Answerer) { a.Mesh.Services["empty"] = &world.Service{Name: "empty"} },
			Query{Source: "web", Destination: "empty"}, None, 0, []string{"no_dataplane"}},
		"mixed": {func(a *Answerer) {
			n := 0
			a.Judge = func(Call) Verdict { n++; return Verdict{Allow: n == 1, Rule: "r"} }
		}, Query{Source: "web", Destination: "cart"}, Mixed, 2, nil},
	} {
		t.Run(name, func(t *testing.T) {
			a := shop()
			if c.change != nil {
				c.change(&a)
			}
			ans, err := a.Ask(c.query)
			if err != nil {
				t.Fatal(err)
			}
			var codes []string
			for _, o := range ans.Obstacles {
				codes = append(codes, o.Code)
				if o.Message == "" || strings.Contains(o.Message, "%!") {
					t.Errorf("%s: message %q", o.Code, o.Message)
				}
			}
			if ans.Verdict != c.verdict || len(ans.Decisions) != c.decisions {
				t.Errorf("verdict %s, %d decisions; want %s, %d", ans.Verdict, len(ans.Decisions), c.verdict, c.decisions)
			}
			if d := cmp.Diff(c.obstacles, codes); d != "" {
				t.Error(d)
			}
			if c.verdict != None && (ans.Identity == "" || ans.Rule == "") {
				t.Errorf("identity %q, rule %q", ans.Identity, ans.Rule)
			}
		})
	}
}

// A gRPC call is a POST: a question about one needs no method.
func TestUsualMethod(t *testing.T) {
	for protocol, want := range map[ir.Protocol]string{ir.HTTP: "GET", ir.HTTP2: "GET", ir.GRPC: "POST"} {
		a := shop()
		resolve := a.Resolve
		a.Resolve = func(name string) (*ir.Proxy, error) {
			p, err := resolve(name)
			for _, in := range p.Inbounds {
				in.Protocol = protocol
			}
			return p, err
		}
		ans, err := a.Ask(Query{Source: "web", Destination: "cart-2", Path: "/ok"})
		if err != nil || ans.Method != want || ans.Verdict != Allow {
			t.Errorf("%s: %v %+v", protocol, err, ans)
		}
	}
}
