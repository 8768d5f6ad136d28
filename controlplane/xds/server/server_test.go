package server_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"github.com/google/go-cmp/cmp"

	"github.com/hauberk-mesh/hauberk/controlplane/world"
	"github.com/hauberk-mesh/hauberk/controlplane/xds/server"
	"github.com/hauberk-mesh/hauberk/dataplane/xdsclient"
)

// shop is a mesh in which each of n frontends calls "catalog", and only frontend-0 calls "cart".
func shop(n int) *worlds {
	w := newWorlds()
	edits := []func(*world.Mesh, *world.Change){
		setEndpoints("catalog", "10.0.0.1"), setEndpoints("cart", "10.0.1.1"),
		addDataplane("cart-1", "cart"),
	}
	for i := range n {
		calls := []string{"catalog"}
		if i == 0 {
			calls = append(calls, "cart")
		}
		edits = append(edits, addDataplane(name("frontend-%d", i), "frontend", calls...))
	}
	w.change("default", all(edits...))
	return w
}

func policyOf(u *xdsclient.Update) string {
	var l listener.Listener
	if err := u.Resources[xdsclient.TypeListener]["inbound"].UnmarshalTo(&l); err != nil {
		return err.Error()
	}
	return l.StatPrefix
}

func TestGenerationArrivesWhole(t *testing.T) {
	p := newPlane(t, shop(1))
	c := p.connect("frontend-0", "frontend")
	p.connected("frontend-0")

	got := c.taken()
	if len(got) != 1 || got[0].Generation != 1 {
		t.Fatalf("updates: %+v", got)
	}
	want := map[string][]string{
		xdsclient.TypeCluster:   {"outbound|cart", "outbound|catalog"},
		xdsclient.TypeEndpoints: {"outbound|cart", "outbound|catalog"},
		xdsclient.TypeListener:  {"inbound", "outbound|cart", "outbound|catalog"},
		xdsclient.TypeRoute:     {"outbound|cart", "outbound|catalog"},
	}
	if d := cmp.Diff(want, got[0].Changed); d != "" {
		t.Error(d)
	}
	s := p.status("frontend-0")
	if s.Version != "hauberk 0.1.0" || s.Service != "frontend" || s.SentGeneration != 1 || s.Pushes != 1 || s.NACK != "" {
		t.Errorf("status: %+v", s)
	}
	if n := p.registrar.sessions("frontend-0"); n != 1 {
		t.Errorf("%d sessions", n)
	}
	c.stop()
	eventually(t, "session closed", func() bool { return p.registrar.sessions("frontend-0") == 0 })
	eventually(t, "disconnected", func() bool { return !p.status("frontend-0").Connected })
	if s := p.status("frontend-0"); s.Generation != 1 {
		t.Errorf("after disconnect: %+v", s)
	}
}

// A change in one service's endpoints touches only proxies that use it, and only with that.
func TestEndpointChangeTouchesItsConsumersOnly(t *testing.T) {
	const n = 20
	p := newPlane(t, shop(n))
	var clients []*proxy
	for i := range n {
		clients = append(clients, p.connect(name("frontend-%d", i), "frontend"))
	}
	for i := range n {
		p.connected(name("frontend-%d", i))
	}
	before := p.server().Counters()

	g := p.worlds.change("default", setEndpoints("cart", "10.0.1.1", "10.0.1.2"))
	got := p.propagated(g)
	if d := cmp.Diff([]string{"frontend-0"}, got.ACKed); d != "" {
		t.Error(d)
	}
	after := p.server().Counters()
	if after.Generations-before.Generations != 1 || after.Resources-before.Resources != 1 || after.Resolved-before.Resolved != 1 {
		t.Errorf("before %+v\nafter  %+v", before, after)
	}
	if pushes := after.Pushes[xdsclient.TypeEndpoints] - before.Pushes[xdsclient.TypeEndpoints]; pushes != 1 {
		t.Errorf("%d endpoint pushes", pushes)
	}
	last := clients[0].taken()[1]
	if d := cmp.Diff(map[string][]string{xdsclient.TypeEndpoints: {"outbound|cart"}}, last.Changed); d != "" {
		t.Error(d)
	}
	for i, c := range clients {
		name := name("frontend-%d", i)
		if s := p.status(name); s.Generation != g {
			t.Errorf("%s is at %d, not %d", name, s.Generation, g)
		}
		if i > 0 && len(c.taken()) != 1 {
			t.Errorf("%s was pushed to", name)
		}
	}

	// The same endpoints once more: affected, nothing different, no push.
	g = p.worlds.change("default", setEndpoints("cart", "10.0.1.1", "10.0.1.2"))
	if got := p.propagated(g); len(got.ACKed) != 1 {
		t.Errorf("propagation: %+v", got)
	}
	if c := p.server().Counters(); c.Generations != after.Generations {
		t.Error("a push without a difference")
	}

	// A policy reaches all.
	g = p.worlds.change("default", setPolicy("strict"))
	if got := p.propagated(g); len(got.ACKed) != n || len(got.NotConnected) != 1 || got.NotConnected[0] != "cart-1" {
		t.Errorf("propagation: %+v", got)
	}
}

// While a generation is in flight later ones wait, and only the newest follows.
func TestBurstsCoalesce(t *testing.T) {
	p := newPlane(t, shop(1))
	entered, leave := make(chan struct{}), make(chan struct{})
	c := p.connectWith(server.Peer{Mesh: "default", Dataplane: "frontend-0", Service: "frontend", Workload: "frontend"},
		func(u *xdsclient.Update) error {
			if policyOf(u) == "p0" {
				entered <- struct{}{}
				<-leave
			}
			return nil
		})
	p.connected("frontend-0")
	p.worlds.change("default", setPolicy("p0"))
	<-entered
	var last = p.worlds.change("default", setPolicy("p1"))
	for i := 2; i <= 50; i++ {
		last = p.worlds.change("default", setPolicy(name("p%d", i)))
	}
	if s := p.status("frontend-0"); s.Generation != 1 || s.SentGeneration != 2 {
		t.Errorf("in flight: %+v", s)
	}
	// The last of the burst is known to the server before the ACK: otherwise two generations would be right, too.
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	eventually(t, "the server has seen the burst", func() bool {
		got, _ := p.server().Wait(ctx, "default", last)
		return len(got.Pending) == 1
	})
	close(leave)
	p.propagated(last)
	var seen []string
	for _, u := range c.taken() {
		seen = append(seen, policyOf(u))
	}
	if d := cmp.Diff([]string{"none", "p0", "p50"}, seen); d != "" {
		t.Error(d)
	}
}

func TestNACKKeepsTheOldGeneration(t *testing.T) {
	p := newPlane(t, shop(2))
	bad := p.connect("frontend-0", "frontend")
	p.connect("frontend-1", "frontend")
	p.connected("frontend-0")
	p.connected("frontend-1")
	bad.setJudge(func(u *xdsclient.Update) error {
		if policyOf(u) == "bad" {
			return errors.New("listener inbound: no such\nthing")
		}
		return nil
	})

	g := p.worlds.change("default", setPolicy("bad"))
	got := p.propagated(g)
	want := server.Propagation{
		Generation:   g,
		ACKed:        []string{"frontend-1"},
		NACKed:       []server.Refusal{{Dataplane: "frontend-0", Reason: "listener inbound: no such thing"}},
		NotConnected: []string{"cart-1"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if s := p.status("frontend-0"); s.Generation != 1 || s.NACKGeneration != g || s.SentGeneration != g {
		t.Errorf("status: %+v", s)
	}
	if s := bad.client.Status(); s.Generation != 1 || s.NACKs != 1 || !strings.Contains(s.LastNACK, "no such") {
		t.Errorf("client: %+v", s)
	}

	// A generation that does not matter to it leaves the refusal in force, does not block, and does not name it.
	g = p.worlds.change("default", addDataplane("cart-2", "cart"))
	if got := p.propagated(g); len(got.NACKed) != 0 || len(got.Pending) != 0 {
		t.Errorf("propagation: %+v", got)
	}
	if s := p.status("frontend-0"); s.NACK == "" || s.Generation != 1 {
		t.Errorf("refusal forgotten: %+v", s)
	}

	// The next change is tried again, against what it has.
	g = p.worlds.change("default", all(setPolicy("good"), setEndpoints("catalog", "10.0.0.9")))
	if got := p.propagated(g); len(got.ACKed) != 2 || len(got.NACKed) != 0 {
		t.Errorf("propagation: %+v", got)
	}
	if s := p.status("frontend-0"); s.Generation != g || s.NACK != "" {
		t.Errorf("status: %+v", s)
	}
	updates := bad.taken()
	last := updates[len(updates)-1]
	if d := cmp.Diff(map[string][]string{
		xdsclient.TypeListener: {"inbound"}, xdsclient.TypeEndpoints: {"outbound|catalog"},
	}, last.Changed); d != "" {
		t.Error(d)
	}
	if bad.client.Status().LastNACK != "" {
		t.Error("the client still shows the NACK")
	}
}

// A refusal that is taken back by the next change needs no push at all.
func TestRevertAfterNACK(t *testing.T) {
	p := newPlane(t, shop(1))
	c := p.connect("frontend-0", "frontend")
	p.connected("frontend-0")
	c.setJudge(func(*xdsclient.Update) error { return errors.New("no") })
	if got := p.propagated(p.worlds.change("default", setPolicy("bad"))); len(got.NACKed) != 1 {
		t.Fatalf("%+v", got)
	}
	g := p.worlds.change("default", setPolicy("none"))
	if got := p.propagated(g); len(got.NACKed) != 0 {
		t.Fatalf("%+v", got)
	}
	if s := p.status("frontend-0"); s.Generation != g || s.NACK != "" || s.Pushes != 2 {
		t.Errorf("%+v", s)
	}
}

func TestConfigurationThatCannotBeMade(t *testing.T) {
	p := newPlane(t, shop(1))
	p.connect("frontend-0", "frontend")
	p.connected("frontend-0")
	got := p.propagated(p.worlds.change("default", setPolicy("unresolvable")))
	if len(got.NACKed) != 1 || !strings.Contains(got.NACKed[0].Reason, "the policy makes no sense") {
		t.Errorf("%+v", got)
	}
	g := p.worlds.change("default", setPolicy("fine"))
	p.propagated(g)
	if s := p.status("frontend-0"); s.Generation != g || s.NACK != "" {
		t.Errorf("%+v", s)
	}
}

// A control plane that was restarted sends a proxy that has everything one empty part, and nothing else.
func TestRestartSendsOnlyTheEmptyPart(t *testing.T) {
	p := newPlane(t, shop(1))
	c := p.connect("frontend-0", "frontend")
	p.connected("frontend-0")
	p.stop()
	eventually(t, "client noticed", func() bool { return !c.client.Status().Connected })
	p.start()
	p.connected("frontend-0")

	n := p.server().Counters()
	if n.Generations != 1 || n.Resources != 0 || n.Removed != 0 || n.ACKs != 1 {
		t.Errorf("%+v", n)
	}
	got := c.taken()
	if len(got) != 2 || len(got[1].Changed) != 0 || len(got[1].Removed) != 0 || len(got[1].Resources[xdsclient.TypeCluster]) != 2 {
		t.Errorf("%+v", got)
	}

	// What changed while it was away is all that it is told.
	p.stop()
	eventually(t, "client noticed", func() bool { return !c.client.Status().Connected })
	p.worlds.change("default", all(setEndpoints("cart"), func(m *world.Mesh, ch *world.Change) {
		m.Consumers["catalog"] = map[string]bool{}
		ch.Dataplanes["frontend-0"] = true
	}))
	p.start()
	p.connected("frontend-0")
	got = c.taken()
	last := got[len(got)-1]
	if d := cmp.Diff(map[string][]string{xdsclient.TypeEndpoints: {"outbound|cart"}}, last.Changed); d != "" {
		t.Error(d)
	}
	gone := []string{"outbound|catalog"}
	if d := cmp.Diff(map[string][]string{
		xdsclient.TypeCluster: gone, xdsclient.TypeEndpoints: gone, xdsclient.TypeListener: gone, xdsclient.TypeRoute: gone,
	}, last.Removed); d != "" {
		t.Error(d)
	}
}

// A proxy may come before its dataplane is in the world, and before there is a world.
func TestProxyBeforeItsWorld(t *testing.T) {
	w := newWorlds()
	p := newPlane(t, w)
	c := p.connect("early-1", "early")
	eventually(t, "stream open", func() bool { return p.server().Counters().Connected == 1 })
	w.change("default", setPolicy("first"))
	if got := p.propagated(1); len(got.ACKed)+len(got.Pending)+len(got.NotConnected) != 0 {
		t.Errorf("%+v", got)
	}
	g := w.change("default", addDataplane("early-1", "early"))
	if got := p.propagated(g); len(got.ACKed) != 1 {
		t.Errorf("%+v", got)
	}
	if u := c.taken(); len(u) != 1 || u[0].Generation != uint64(g) {
		t.Errorf("%+v", u)
	}
}

func TestMeshesAreApart(t *testing.T) {
	w := shop(1)
	w.change("other", all(addDataplane("frontend-0", "frontend"), setPolicy("other")))
	p := newPlane(t, w)
	here := p.connect("frontend-0", "frontend")
	there := p.connectWith(server.Peer{Mesh: "other", Dataplane: "frontend-0", Service: "frontend", Workload: "frontend"}, nil)
	p.connected("frontend-0")
	eventually(t, "the other mesh's proxy runs", func() bool { return len(there.taken()) == 1 })
	g := w.change("default", setPolicy("changed"))
	p.propagated(g)
	if policyOf(here.taken()[1]) != "changed" || len(there.taken()) != 1 || policyOf(there.taken()[0]) != "other" {
		t.Error("a change of one mesh reached the other")
	}
	w.change("other", func(m *world.Mesh, c *world.Change) { c.MeshWide = true })
	eventually(t, "other advanced", func() bool {
		s := p.server().Status("other")
		return len(s) == 1 && s[0].Generation == w.Current().Generation
	})
}

// A proxy whose Dataplane somebody deleted would never hear of a permission or a revocation again.
func TestDeletedDataplaneComesBack(t *testing.T) {
	p := newPlane(t, shop(1))
	server.SetAbsence(p.server(), 20*time.Millisecond)
	c := p.connect("frontend-0", "frontend")
	p.connected("frontend-0")
	p.worlds.change("default", func(m *world.Mesh, c *world.Change) {
		delete(m.Dataplanes, "frontend-0")
		c.Dataplanes["frontend-0"] = true
	})
	eventually(t, "the stream ends", func() bool { return c.client.Status().Attempts > 1 })
	eventually(t, "with the reason", func() bool { return strings.Contains(c.client.Status().LastError, "was deleted") })
	p.worlds.change("default", all(addDataplane("frontend-0", "frontend", "catalog"), setPolicy("strict")))
	eventually(t, "it has the permission of now", func() bool {
		got := c.taken()
		return policyOf(got[len(got)-1]) == "strict"
	})
}
