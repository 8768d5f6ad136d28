package server_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/hauberk-mesh/hauberk/controlplane/xds/server"
	"github.com/hauberk-mesh/hauberk/controlplane/xds/translate"
	"github.com/hauberk-mesh/hauberk/dataplane/xdsclient"
)

// raw is a stream under the test's own hand.
type raw struct {
	discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesClient
	t testing.TB
}

func (p *plane) raw(peer *server.Peer) *raw {
	p.t.Helper()
	conn, err := p.dial(peer)(context.Background())
	if err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	p.t.Cleanup(func() { cancel(); conn.Close() })
	s, err := discovery.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
	if err != nil {
		p.t.Fatal(err)
	}
	return &raw{s, p.t}
}

func (r *raw) send(req *discovery.DeltaDiscoveryRequest) {
	r.t.Helper()
	if err := r.Send(req); err != nil {
		_, err = r.Recv()
		r.t.Fatal(err)
	}
}

func (r *raw) recv() *discovery.DeltaDiscoveryResponse {
	r.t.Helper()
	m, err := r.Recv()
	if err != nil {
		r.t.Fatal(err)
	}
	return m
}

func (r *raw) ack(m *discovery.DeltaDiscoveryResponse) {
	r.t.Helper()
	r.send(&discovery.DeltaDiscoveryRequest{TypeUrl: m.TypeUrl, ResponseNonce: m.Nonce})
}

var frontend = server.Peer{Mesh: "default", Dataplane: "frontend-0", Service: "frontend", Workload: "frontend", Zone: "default"}

func TestWhoMayConnect(t *testing.T) {
	p := newPlane(t, shop(1))
	p.registrar.refuse["refused-1"] = errors.New("port 80 of service frontend is 8080 elsewhere")
	p.registrar.refuse["refused-2"] = status.Error(codes.InvalidArgument, "spec.inbounds[0].port is missing")
	of := func(edit func(*server.Peer)) server.Peer {
		q := frontend
		edit(&q)
		return q
	}
	nodeWith := func(doc string) *core.Node {
		n := node(frontend)
		n.Metadata.Fields[xdsclient.MetadataDataplane] = structpb.NewStringValue(doc)
		return n
	}
	stock := func(id string) *core.Node { return &core.Node{Id: id, UserAgentName: "envoy"} }
	doc := func(labels string) string {
		return `{"apiVersion":"hauberk.io/v1alpha1","kind":"Dataplane","metadata":{"name":"frontend-0","labels":{` + labels + `}}}`
	}
	refused1, refused2 := of(func(p *server.Peer) { p.Dataplane = "refused-1" }), of(func(p *server.Peer) { p.Dataplane = "refused-2" })
	nobody := of(func(p *server.Peer) { p.Dataplane = "nobody" })

	for _, c := range []struct {
		name string
		peer *server.Peer
		node *core.Node
		code codes.Code
		text string
	}{
		{"no certificate", nil, node(frontend), codes.Unauthenticated, "no authenticated peer"},
		{"no node", &frontend, nil, codes.InvalidArgument, "no node"},
		{"another dataplane's node", &frontend, stock("default/cart-1"), codes.PermissionDenied, `"default/cart-1", but the certificate belongs to "default/frontend-0"`},
		{"another mesh's node", &frontend, stock("other/frontend-0"), codes.PermissionDenied, "node.id"},
		{"ours without a resource", &frontend, &core.Node{Id: "default/frontend-0", UserAgentName: "hauberk"}, codes.InvalidArgument, "hauberk.dataplane"},
		{"not JSON", &frontend, nodeWith("kind: Dataplane"), codes.InvalidArgument, "not a resource in JSON"},
		{"another kind", &frontend, nodeWith(`{"kind":"Mesh"}`), codes.InvalidArgument, "must be a Dataplane"},
		{"too large", &frontend, nodeWith(strings.Repeat(" ", 300<<10)), codes.InvalidArgument, "bytes"},
		{"another name", &frontend, nodeWith(strings.Replace(doc(`"hauberk.io/service":"frontend"`), "frontend-0", "cart-1", 1)), codes.PermissionDenied, "name"},
		{"another mesh", &frontend, nodeWith(doc(`"hauberk.io/service":"frontend","hauberk.io/mesh":"other"`)), codes.PermissionDenied, "mesh"},
		{"another service", &frontend, nodeWith(doc(`"hauberk.io/service":"cart"`)), codes.PermissionDenied, `service is "cart"`},
		{"no service", &frontend, nodeWith(doc(``)), codes.PermissionDenied, "service"},
		{"another workload", &frontend, nodeWith(doc(`"hauberk.io/service":"frontend","hauberk.io/workload":"payments"`)), codes.PermissionDenied, `workload is "payments"`},
		{"another zone", &frontend, nodeWith(doc(`"hauberk.io/service":"frontend","hauberk.io/zone":"east"`)), codes.PermissionDenied, "zone"},
		{"refused by the registrar", &refused1, node(refused1), codes.FailedPrecondition, "is 8080 elsewhere"},
		{"refused with a code", &refused2, node(refused2), codes.InvalidArgument, "spec.inbounds[0].port"},
		{"stock without a Dataplane", &nobody, stock("default/nobody"), codes.FailedPrecondition, `no Dataplane "nobody"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := p.raw(c.peer)
			s.send(&discovery.DeltaDiscoveryRequest{TypeUrl: translate.TypeCluster, Node: c.node})
			_, err := s.Recv()
			if got := status.Convert(err); got.Code() != c.code || !strings.Contains(got.Message(), c.text) {
				t.Errorf("got %v", err)
			}
		})
	}
	if n := p.server().Counters(); n.Streams != 0 || n.Connected != 0 {
		t.Errorf("%+v", n)
	}
}

func TestStateOfTheWorldIsNotServed(t *testing.T) {
	p := newPlane(t, shop(1))
	conn, err := p.dial(&frontend)(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	s, err := discovery.NewAggregatedDiscoveryServiceClient(conn).StreamAggregatedResources(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); status.Code(err) != codes.Unimplemented || !strings.Contains(err.Error(), "DELTA_GRPC") {
		t.Errorf("%v", err)
	}
}

// A proxy whose old connection died unnoticed is served on the new one.
func TestNewStreamTakesOver(t *testing.T) {
	p := newPlane(t, shop(1))
	first := p.raw(&frontend)
	first.send(&discovery.DeltaDiscoveryRequest{TypeUrl: translate.TypeCluster, Node: node(frontend)})
	eventually(t, "first connected", func() bool { return p.status("frontend-0").Connected })
	p.connect("frontend-0", "frontend")
	if _, err := first.Recv(); status.Code(err) != codes.Aborted {
		t.Errorf("%v", err)
	}
	p.connected("frontend-0")
	eventually(t, "one session is left", func() bool { return p.registrar.sessions("frontend-0") == 1 })
	if n := p.server().Counters(); n.Streams != 2 || n.Connected != 1 {
		t.Errorf("%+v", n)
	}
}

// One proxy that neither reads nor answers costs the others nothing.
func TestOneDeafProxyBlocksNobody(t *testing.T) {
	p := newPlane(t, shop(3))
	deaf := p.raw(&frontend)
	for i, typeURL := range translate.Types() {
		req := &discovery.DeltaDiscoveryRequest{TypeUrl: typeURL, ResourceNamesSubscribe: []string{"*"}}
		if i == 0 {
			req.Node = node(frontend)
		}
		deaf.send(req)
	}
	p.connect("frontend-1", "frontend")
	p.connect("frontend-2", "frontend")
	for i := range 100 {
		p.worlds.change("default", all(setPolicy(name("p%d", i)), setEndpoints("catalog", name("10.0.0.%d", i))))
	}
	p.connected("frontend-1")
	p.connected("frontend-2")
	if s := p.status("frontend-0"); !s.Connected || s.Generation != 0 || s.Pushes > 1 {
		t.Errorf("%+v", s)
	}
}
