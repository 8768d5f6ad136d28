package server_test

import (
	"slices"
	"testing"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/google/go-cmp/cmp"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"

	"github.com/hauberk-mesh/hauberk/controlplane/world"
	"github.com/hauberk-mesh/hauberk/controlplane/xds/translate"
)

func stockNode() *core.Node { return &core.Node{Id: "default/frontend-0", UserAgentName: "envoy"} }

// brief is a response in a form that can be compared.
type brief struct {
	Type      string
	Resources []string
	Removed   []string
}

func briefly(m *discovery.DeltaDiscoveryResponse) brief {
	short := map[string]string{
		translate.TypeCluster: "CDS", translate.TypeEndpoints: "EDS", translate.TypeListener: "LDS", translate.TypeRoute: "RDS",
	}
	b := brief{Type: short[m.TypeUrl], Removed: m.RemovedResources}
	for _, r := range m.Resources {
		b.Resources = append(b.Resources, r.Name)
	}
	return b
}

func (r *raw) expect(want brief) *discovery.DeltaDiscoveryResponse {
	r.t.Helper()
	m := r.recv()
	if d := cmp.Diff(want, briefly(m)); d != "" {
		r.t.Fatalf("response %s: %s", m.Nonce, d)
	}
	return m
}

func subscribe(typeURL string, names ...string) *discovery.DeltaDiscoveryRequest {
	return &discovery.DeltaDiscoveryRequest{TypeUrl: typeURL, ResourceNamesSubscribe: names}
}

func unsubscribe(typeURL string, names ...string) *discovery.DeltaDiscoveryRequest {
	return &discovery.DeltaDiscoveryRequest{TypeUrl: typeURL, ResourceNamesUnsubscribe: names}
}

// stock brings a client to where an Envoy is after its start.
func (p *plane) stock() *raw {
	s := p.raw(&frontend)
	first := subscribe(translate.TypeCluster)
	first.Node = stockNode()
	s.send(first)
	both := []string{"outbound|cart", "outbound|catalog"}
	s.ack(s.expect(brief{"CDS", both, nil}))
	s.send(subscribe(translate.TypeEndpoints, both...))
	s.ack(s.expect(brief{"EDS", both, nil}))
	s.send(subscribe(translate.TypeListener))
	s.ack(s.expect(brief{"LDS", []string{"inbound", "outbound|cart", "outbound|catalog"}, nil}))
	s.send(subscribe(translate.TypeRoute, both...))
	s.ack(s.expect(brief{"RDS", both, nil}))
	return s
}

func TestStockClientMakesBeforeItBreaks(t *testing.T) {
	p := newPlane(t, shop(1))
	s := p.stock()
	p.connected("frontend-0")

	// The proxy calls "search" from now on, and "cart" no more.
	g := p.worlds.change("default", all(setEndpoints("search", "10.0.3.1"), func(m *world.Mesh, c *world.Change) {
		m.Consumers["search"] = map[string]bool{"frontend-0": true}
		m.Consumers["cart"] = map[string]bool{}
		c.Dataplanes["frontend-0"] = true
	}))
	search, cart := []string{"outbound|search"}, []string{"outbound|cart"}
	s.ack(s.expect(brief{"CDS", search, nil}))
	// Nothing that refers to the new cluster comes before its endpoints were asked for and taken.
	s.send(subscribe(translate.TypeEndpoints, search...))
	s.ack(s.expect(brief{"EDS", search, nil}))
	s.ack(s.expect(brief{"LDS", search, cart}))
	s.send(subscribe(translate.TypeRoute, search...))
	s.ack(s.expect(brief{"RDS", nil, cart}))
	s.ack(s.expect(brief{"RDS", search, nil}))
	s.ack(s.expect(brief{"CDS", nil, cart}))
	s.ack(s.expect(brief{"EDS", nil, cart}))
	if got := p.propagated(g); !slices.Equal(got.ACKed, []string{"frontend-0"}) {
		t.Errorf("%+v", got)
	}
}

// A client that does not ask for a new cluster's endpoints gets the rest all the same.
func TestStockClientThatDoesNotFollowUp(t *testing.T) {
	p := newPlane(t, shop(1))
	s := p.stock()
	p.worlds.change("default", all(setEndpoints("search", "10.0.3.1"), func(m *world.Mesh, c *world.Change) {
		m.Consumers["search"] = map[string]bool{"frontend-0": true}
	}))
	s.ack(s.expect(brief{"CDS", []string{"outbound|search"}, nil}))
	s.ack(s.expect(brief{"LDS", []string{"outbound|search"}, nil}))
	p.connected("frontend-0")
}

func TestStockSubscriptions(t *testing.T) {
	p := newPlane(t, shop(1))
	s := p.stock()
	cart, catalog := []string{"outbound|cart"}, []string{"outbound|catalog"}

	// What is asked for again is sent again; what does not exist is said not to, once.
	s.send(subscribe(translate.TypeEndpoints, cart...))
	s.ack(s.expect(brief{"EDS", cart, nil}))
	s.send(subscribe(translate.TypeEndpoints, "outbound|nothing"))
	s.ack(s.expect(brief{"EDS", nil, []string{"outbound|nothing"}}))

	// What was unsubscribed is not sent any more, not even its change.
	both := unsubscribe(translate.TypeEndpoints, catalog...)
	both.ResourceNamesSubscribe = cart
	s.send(both)
	s.ack(s.expect(brief{"EDS", cart, nil}))
	p.propagated(p.worlds.change("default", setEndpoints("catalog", "10.0.0.2")))
	g := p.worlds.change("default", setEndpoints("cart", "10.0.1.9"))
	s.ack(s.expect(brief{"EDS", cart, nil}))
	p.propagated(g)

	// A type that is not served is answered with nothing, and the stream lives.
	s.send(subscribe("type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig", "x"))
	eventually(t, "unknown type counted", func() bool { return p.server().Counters().UnknownTypes == 1 })

	// A resource that comes to be is sent to who has asked for it, although it was said not to be there.
	p.worlds.change("default", all(setEndpoints("nothing", "10.0.4.1"), func(m *world.Mesh, c *world.Change) {
		m.Consumers["nothing"] = map[string]bool{"frontend-0": true}
	}))
	nothing := []string{"outbound|nothing"}
	s.ack(s.expect(brief{"CDS", nothing, nil}))
	s.ack(s.expect(brief{"EDS", nothing, nil}))
	s.ack(s.expect(brief{"LDS", nothing, nil}))
	p.connected("frontend-0")

	// A wildcard on top of names; to end a name under it is to be told what the wildcard says.
	s.send(subscribe(translate.TypeEndpoints, "*"))
	s.ack(s.expect(brief{"EDS", catalog, nil}))
	s.send(unsubscribe(translate.TypeEndpoints, cart...))
	s.ack(s.expect(brief{"EDS", cart, nil}))
	// Without it, only the names are left.
	both = unsubscribe(translate.TypeEndpoints, "*")
	both.ResourceNamesSubscribe = nothing
	s.send(both)
	s.ack(s.expect(brief{"EDS", nothing, nil}))
	p.propagated(p.worlds.change("default", setEndpoints("cart", "10.0.1.10")))
	s.send(subscribe(translate.TypeEndpoints, catalog...))
	s.ack(s.expect(brief{"EDS", catalog, nil}))
}

func TestStockNACK(t *testing.T) {
	p := newPlane(t, shop(1))
	s := p.stock()
	p.connected("frontend-0")
	g := p.worlds.change("default", all(setPolicy("bad"), setEndpoints("cart", "10.0.1.2")))
	s.ack(s.expect(brief{"EDS", []string{"outbound|cart"}, nil}))
	m := s.expect(brief{"LDS", []string{"inbound"}, nil})
	s.send(&discovery.DeltaDiscoveryRequest{TypeUrl: m.TypeUrl, ResponseNonce: m.Nonce, ErrorDetail: &rpcstatus.Status{Message: "bad listener"}})
	if got := p.propagated(g); len(got.NACKed) != 1 || got.NACKed[0].Reason != "bad listener" {
		t.Errorf("%+v", got)
	}
	// What is taken on demand afterwards does not hide it.
	s.send(subscribe(translate.TypeEndpoints, "outbound|cart"))
	s.ack(s.expect(brief{"EDS", []string{"outbound|cart"}, nil}))
	// Nor does an answer to a response that was never sent.
	s.send(&discovery.DeltaDiscoveryRequest{TypeUrl: m.TypeUrl, ResponseNonce: m.Nonce})
	eventually(t, "answered", func() bool { return p.server().Counters().ACKs == 6 })
	if st := p.status("frontend-0"); st.NACK != "bad listener" || st.Generation != g-1 {
		t.Errorf("%+v", st)
	}
	// The next change sends what was refused, and not what was taken.
	g = p.worlds.change("default", setPolicy("good"))
	s.ack(s.expect(brief{"LDS", []string{"inbound"}, nil}))
	p.propagated(g)
	if st := p.status("frontend-0"); st.NACK != "" || st.Generation != g {
		t.Errorf("%+v", st)
	}
}

// A client that comes back with what it has is sent only what differs.
func TestStockReconnect(t *testing.T) {
	p := newPlane(t, shop(1))
	s := p.raw(&frontend)
	first := subscribe(translate.TypeEndpoints, "outbound|cart", "outbound|catalog")
	first.Node = stockNode()
	s.send(first)
	m := s.recv()
	s.ack(m)
	p.connected("frontend-0")

	again := p.raw(&frontend)
	first.InitialResourceVersions = map[string]string{
		m.Resources[0].Name: m.Resources[0].Version, m.Resources[1].Name: "old", "outbound|left-over": "1",
	}
	again.send(first)
	again.ack(again.expect(brief{"EDS", []string{"outbound|catalog"}, nil}))
	p.connected("frontend-0")
}

// A wildcard subscription is answered even if there is nothing, since a client's start waits for it.
func TestStockEmptyWildcard(t *testing.T) {
	p := newPlane(t, shop(1))
	s := p.raw(&frontend)
	first := subscribe(translate.TypeSecret, "*")
	first.Node = stockNode()
	s.send(first)
	s.ack(s.expect(brief{}))
	p.connected("frontend-0")
}
