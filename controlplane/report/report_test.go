package report

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/test/bufconn"

	"github.com/hauberk-mesh/hauberk/api/resource"
	"github.com/hauberk-mesh/hauberk/controlplane/identity"
	client "github.com/hauberk-mesh/hauberk/dataplane/report"
	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
	"github.com/hauberk-mesh/hauberk/internal/latency"
	"github.com/hauberk-mesh/hauberk/internal/leak"
	reportv1 "github.com/hauberk-mesh/hauberk/wire/report/v1"
)

func TestMain(m *testing.M) { leak.Main(m) }

// discovery notes what it is told.
type discovery struct {
	mu    sync.Mutex
	ready map[string][]resource.InboundInsight
	left  []string
	fail  error
}

func (d *discovery) SetReadiness(_ context.Context, mesh, dataplane string, inbounds []resource.InboundInsight) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ready[mesh+"/"+dataplane] = inbounds
	return nil
}

func (d *discovery) Leave(_ context.Context, mesh, dataplane string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left = append(d.left, mesh+"/"+dataplane)
	return d.fail
}

func (d *discovery) readiness(name string) []resource.InboundInsight {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ready[name]
}

// gone is how many proxies have left.
func (d *discovery) gone() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.left)
}

// fixture is a server that is told its peers by metadata, where mutual TLS would prove them.
type fixture struct {
	t         *testing.T
	server    *Server
	grpc      *grpc.Server
	listener  atomic.Pointer[bufconn.Listener]
	discovery *discovery
	// withdrawn is how many proxies had left when the server was asked to wait for those who have to know.
	withdrawn chan int
}

func start(t *testing.T) *fixture {
	f := &fixture{t: t, discovery: &discovery{ready: map[string][]resource.InboundInsight{}}, withdrawn: make(chan int, 10)}
	withdrawn := func(_ context.Context, mesh string) {
		if mesh == "default" {
			f.withdrawn <- f.discovery.gone()
		}
	}
	f.listener.Store(bufconn.Listen(64 << 10))
	f.server = NewServer(Options{Dataplanes: f.discovery, Withdrawn: withdrawn, Peer: func(ctx context.Context) (identity.Peer, bool) {
		md, _ := metadata.FromIncomingContext(ctx)
		get := func(k string) string { return md.Get(k)[0] }
		if len(md.Get("mesh")) == 0 {
			return identity.Peer{}, false
		}
		return identity.Peer{Mesh: get("mesh"), Dataplane: get("dataplane"), Service: get("service"), SPIFFEID: id(get("service"))}, true
	}})
	f.grpc = grpc.NewServer()
	f.server.Register(f.grpc)
	served := make(chan error, 1)
	go func() { served <- f.grpc.Serve(f.listener.Load()) }()
	t.Cleanup(func() {
		f.grpc.Stop()
		<-served
	})
	return f
}

func id(service string) string { return "spiffe://default.default.mesh.local/workload/" + service }

func (f *fixture) dial(mesh, dataplane, service string) func(context.Context) (*grpc.ClientConn, error) {
	add := func(ctx context.Context) context.Context {
		if mesh == "" {
			return ctx
		}
		return metadata.AppendToOutgoingContext(ctx, "mesh", mesh, "dataplane", dataplane, "service", service)
	}
	return func(context.Context) (*grpc.ClientConn, error) {
		return grpc.NewClient("passthrough:///report", grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return f.listener.Load().DialContext(ctx) }),
			grpc.WithStreamInterceptor(func(ctx context.Context, d *grpc.StreamDesc, cc *grpc.ClientConn, m string, s grpc.Streamer, o ...grpc.CallOption) (grpc.ClientStream, error) {
				return s(add(ctx), d, cc, m, o...)
			}))
	}
}

// proxy is a running client with its recorders.
type proxy struct {
	*client.Client
	all      telemetry.Recorder
	edges    *telemetry.Edges
	refusals *telemetry.Refusals
	stop     func()
}

func (f *fixture) proxy(mesh, dataplane, service string) *proxy {
	p := &proxy{edges: telemetry.NewEdges(), refusals: telemetry.NewRefusals(16)}
	ring := telemetry.NewRing()
	p.all = telemetry.Tee(p.edges, ring, p.refusals)
	c, err := client.New(client.Options{Dial: f.dial(mesh, dataplane, service), Edges: p.edges, Ring: ring, Refusals: p.refusals})
	if err != nil {
		f.t.Fatal(err)
	}
	p.Client = c
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.Run(ctx)
	}()
	p.stop = sync.OnceFunc(func() {
		cancel()
		<-done
	})
	f.t.Cleanup(p.stop)
	return p
}

// until polls: messages cross a real connection.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("%s: not within 10 s", what)
}

func record(source, destination string, direction telemetry.Direction) *telemetry.Record {
	return &telemetry.Record{
		Start: time.Now(), Duration: 10 * time.Millisecond, Direction: direction, Protocol: "HTTP/1.1", Method: "GET", Path: "/x?y=1",
		RequestID: "req-1", Status: 200, SourceService: source, DestinationService: destination, SourceID: id(source), DestinationID: id(destination),
		TLSVersion: 0x304, BytesIn: 1, BytesOut: 2,
	}
}

func deny(r *telemetry.Record) *telemetry.Record {
	r.Status, r.Reason, r.Policy, r.Rule, r.Flags = 403, "permission_denied", "MeshTrafficPermission/p", "MeshTrafficPermission/p#rules[0].deny[0]", "UAEX"
	r.RequestID = "req-denied"
	return r
}

// TestKeyProviders: what a proxy says of its keys is known while it is connected, and told again when it changes.
func TestKeyProviders(t *testing.T) {
	f := start(t)
	web := f.proxy("default", "web-1", "web")
	f.proxy("default", "old-1", "old") // one that does not know of it
	is := func(want map[string]KeyProvider) func() bool {
		return func() bool { return cmp.Equal(want, f.server.KeyProviders("default")) }
	}
	web.SetKeyProvider("batch", "std", "no AVX-512 IFMA")
	until(t, "told", is(map[string]KeyProvider{"web-1": {"batch", "std", "no AVX-512 IFMA"}}))
	web.SetKeyProvider("memory", "std", strings.Repeat("x", 10_000)+"\xff")
	until(t, "told again, in bounds", is(map[string]KeyProvider{"web-1": {"memory", "std", strings.Repeat("x", maxWords) + "..."}}))
	if got := f.server.KeyProviders("other"); len(got) != 0 {
		t.Errorf("mesh other has %v", got)
	}
}

func TestReports(t *testing.T) {
	f := start(t)
	web, cart := f.proxy("default", "web-1", "web"), f.proxy("default", "cart-1", "cart")
	other := f.proxy("other", "web-1", "web")
	until(t, "connected", func() bool {
		return len(f.server.Connected("default")) == 2 && len(f.server.Connected("other")) == 1
	})

	for range 99 {
		web.all.Record(record("web", "cart", telemetry.Outbound))
		cart.all.Record(record("web", "cart", telemetry.Inbound))
	}
	// The caller's proxy sees a 403 of the other side, and not why.
	seen := deny(record("web", "cart", telemetry.Outbound))
	seen.Reason, seen.Policy, seen.Rule, seen.Flags = "", "", "", ""
	web.all.Record(seen)
	cart.all.Record(deny(record("web", "cart", telemetry.Inbound)))
	// A plaintext caller has no proxy that could tell.
	plain := record("", "cart", telemetry.Inbound)
	plain.SourceID, plain.TLSVersion = "", 0
	cart.all.Record(plain)
	// A failed handshake belongs to the same edge.
	failed := record("web", "cart", telemetry.Outbound)
	failed.Status, failed.DestinationID, failed.TLSVersion = 503, "", 0
	web.all.Record(failed)

	until(t, "edges", func() bool {
		var n uint64
		for _, e := range f.server.Edges("default", 0) {
			n += e.Requests + e.Denied
		}
		return n == 99+1+1+1+1
	})
	edges := f.server.Edges("default", 0)
	for i := range edges {
		if p := edges[i].P50; math.Abs(p-10)/10 > 0.09 || edges[i].RPS <= 0 {
			t.Errorf("p50 %v, rps %v", p, edges[i].RPS)
		}
		edges[i].P50, edges[i].P90, edges[i].P99, edges[i].RPS = 0, 0, 0, 0
	}
	want := []Edge{
		{Source: "", Destination: "cart", DestinationID: id("cart"), Protocol: "http", Requests: 1, BytesIn: 1, BytesOut: 2},
		{
			Source: "web", Destination: "cart", SourceID: id("web"), DestinationID: id("cart"), TLSVersion: "TLSv1.3", Protocol: "http",
			Requests: 101, Errors: 1, Denied: 1, BytesIn: 101, BytesOut: 202,
		},
	}
	if diff := cmp.Diff(want, edges); diff != "" {
		t.Error(diff)
	}
	if e := f.server.Edges("other", 0); len(e) != 0 {
		t.Errorf("mesh other sees %v", e)
	}
	_ = other

	until(t, "refusal", func() bool { return len(f.server.Refusals("default", Filter{})) == 1 })
	if r := f.server.Refusals("default", Filter{Peer: "web", Path: "/x"})[0]; r.Dataplane != "cart-1" || r.Side != SideDestination || r.Rule != "MeshTrafficPermission/p#rules[0].deny[0]" {
		t.Errorf("refusal %+v", r)
	}
	if n := len(f.server.Refusals("other", Filter{})); n != 0 {
		t.Errorf("mesh other sees %d refusals", n)
	}

	a := f.server.Query(context.Background(), "default", []string{"web-1", "cart-1", "gone-1"}, Filter{RequestID: "req-denied"})
	if diff := cmp.Diff([]string{"gone-1"}, a.Unanswered); diff != "" {
		t.Error(diff)
	}
	got := map[string]Decision{}
	for _, d := range a.Decisions {
		got[d.Side] = d
	}
	if len(a.Decisions) != 2 || got[SideDestination].Reason != "permission_denied" || got[SideSource].Dataplane != "web-1" {
		t.Errorf("decisions %+v", a.Decisions)
	}
	if a := f.server.Query(context.Background(), "default", nil, Filter{Peer: "cart", Limit: 7}); len(a.Decisions) != 7 || a.Decisions[0].Side != SideSource {
		t.Errorf("%d decisions", len(a.Decisions))
	}
	if a := f.server.Query(context.Background(), "nowhere", []string{"b", "a"}, Filter{}); !slices.Equal(a.Unanswered, []string{"a", "b"}) {
		t.Errorf("unanswered %v", a.Unanswered)
	}
}

func TestReadinessAndLeaving(t *testing.T) {
	f := start(t)
	p := f.proxy("default", "cart-1", "cart")
	p.SetReadiness("http", false, "connection refused")
	until(t, "unready", func() bool {
		return cmp.Equal(f.discovery.readiness("default/cart-1"), []resource.InboundInsight{{Name: "http", Reason: "connection refused"}})
	})
	p.SetReadiness("http", true, "ignored")
	p.SetReadiness("admin", true, "")
	until(t, "ready", func() bool {
		return cmp.Equal(f.discovery.readiness("default/cart-1"), []resource.InboundInsight{{Name: "admin", Ready: true}, {Name: "http", Ready: true}})
	})
	p.all.Record(record("web", "cart", telemetry.Inbound))
	if err := p.Leaving(context.Background()); err != nil {
		t.Fatal(err)
	}
	// What Leaving returns after is done: no polling.
	if !slices.Equal(f.discovery.left, []string{"default/cart-1"}) {
		t.Errorf("left %v", f.discovery.left)
	}
	select {
	case n := <-f.withdrawn:
		if n != 1 {
			t.Error("its callers were asked before it was withdrawn")
		}
	default:
		t.Error("it was confirmed before its callers were asked whether they know")
	}
	if e := f.server.Edges("default", 0); len(e) != 1 || e[0].Requests != 1 {
		t.Errorf("the last second was lost: %v", e)
	}
	if err := p.Leaving(context.Background()); err == nil {
		t.Error("left twice")
	}
}

func TestLeavingThatCouldNotBeCarriedOutIsAnError(t *testing.T) {
	f := start(t)
	f.discovery.fail = errors.New("store is closed")
	p := f.proxy("default", "cart-1", "cart")
	until(t, "connected", p.Connected)
	if err := p.Leaving(context.Background()); err == nil {
		t.Error("no error")
	}
}

func TestReconnects(t *testing.T) {
	f := start(t)
	p := f.proxy("default", "cart-1", "cart")
	p.SetReadiness("http", true, "")
	until(t, "connected", func() bool { return len(f.server.Connected("default")) == 1 })
	// The control plane goes away: the proxy keeps its counts and tells them to the next one.
	f.grpc.Stop()
	until(t, "disconnected", func() bool { return !p.Connected() })
	p.all.Record(record("web", "cart", telemetry.Inbound))
	if err := p.Leaving(context.Background()); err == nil {
		t.Error("left without a control plane")
	}
	next := start(t)
	f.listener.Store(next.listener.Load()) // where dial goes
	until(t, "edges at the next one", func() bool { e := next.server.Edges("default", 0); return len(e) == 1 && e[0].Requests == 1 })
	if len(next.discovery.readiness("default/cart-1")) != 1 {
		t.Error("readiness was not told again")
	}
}

func TestStrangersAreRefused(t *testing.T) {
	f := start(t)
	p := f.proxy("", "", "")
	p.all.Record(record("web", "cart", telemetry.Inbound))
	conn, err := f.dial("", "", "")(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	w, err := reportv1.NewReportServiceClient(conn).Report(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Recv(); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("a stranger is told %v", err)
	}
}

// A proxy cannot report in another's name.
func TestCertificateOverrulesWords(t *testing.T) {
	f := start(t)
	p := f.proxy("default", "evil-1", "evil")
	p.all.Record(record("web", "cart", telemetry.Outbound))
	p.all.Record(deny(record("web", "cart", telemetry.Inbound)))
	until(t, "edges", func() bool { return len(f.server.Edges("default", 0)) == 2 })
	for _, e := range f.server.Edges("default", 0) {
		if e.Source != "evil" && e.Destination != "evil" || e.SourceID != id("evil") && e.DestinationID != id("evil") {
			t.Errorf("edge %+v", e)
		}
	}
	until(t, "refusal", func() bool { return len(f.server.Refusals("default", Filter{})) == 1 })
	if r := f.server.Refusals("default", Filter{})[0]; r.Destination != "evil" || r.DestinationID != id("evil") {
		t.Errorf("refusal %+v", r)
	}
}

// stuck takes streams and never reads.
type stuck struct {
	reportv1.UnimplementedReportServiceServer
	opened chan struct{}
}

func (s *stuck) Report(w grpc.BidiStreamingServer[reportv1.ProxyMessage, reportv1.ControlMessage]) error {
	s.opened <- struct{}{}
	<-w.Context().Done()
	return w.Context().Err()
}

func TestSlowControlPlaneDropsButNeverBlocks(t *testing.T) {
	f := &fixture{t: t}
	f.listener.Store(bufconn.Listen(1 << 10))
	s := &stuck{opened: make(chan struct{}, 1)}
	g := grpc.NewServer()
	reportv1.RegisterReportServiceServer(g, s)
	served := make(chan error, 1)
	go func() { served <- g.Serve(f.listener.Load()) }()
	t.Cleanup(func() {
		g.Stop()
		<-served
	})
	p := f.proxy("default", "cart-1", "cart")
	<-s.opened
	r := deny(record("web", "cart", telemetry.Inbound))
	until(t, "drops", func() bool {
		for range 1000 {
			p.all.Record(r) // would hang here if it blocked
		}
		return p.Dropped() > 0
	})
	p.stop() // would hang here if a send held it
}

func TestProxyThatDoesNotAnswerIsNamed(t *testing.T) {
	f := start(t)
	conn, err := f.dial("default", "mute-1", "mute")(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	w, err := reportv1.NewReportServiceClient(conn).Report(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	until(t, "connected", func() bool { return len(f.server.Connected("default")) == 1 })
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if a := f.server.Query(ctx, "default", []string{"mute-1"}, Filter{}); !slices.Equal(a.Unanswered, []string{"mute-1"}) {
		t.Errorf("unanswered %v", a.Unanswered)
	}
	// An answer that comes late, or to no question, harms nobody.
	if q, err := w.Recv(); err != nil || q.GetDecisions().GetId() == 0 {
		t.Fatal(q, err)
	}
	for range 2 {
		if err := w.Send(&reportv1.ProxyMessage{Message: &reportv1.ProxyMessage_Decisions{Decisions: &reportv1.DecisionsReply{Id: 1}}}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestQuantilesOverTheWholePath(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	e := telemetry.NewEdges()
	var exact []float64
	m := &mesh{edges: map[edgeKey]*edge{}}
	now := time.Now()
	for range 20 { // twenty reports of a thousand requests, merged
		for range 1000 {
			d := time.Duration(math.Exp(r.NormFloat64()*1.5+14)) + time.Microsecond
			exact = append(exact, float64(d)/1e6)
			rec := record("web", "cart", telemetry.Outbound)
			rec.Duration = d
			e.Record(rec)
		}
		for _, n := range e.Swap() {
			buckets := map[uint32]uint64{}
			for _, b := range n.Latency {
				buckets[b.Bucket] = b.Count
			}
			m.count(now, &reportv1.Edge{Outbound: true, Source: "web", Destination: "cart", Requests: n.Requests, Latency: &reportv1.Histogram{Buckets: buckets}})
		}
	}
	slices.Sort(exact)
	s := &Server{meshes: map[string]*mesh{"default": m}}
	got := s.Edges("default", 0)[0]
	for q, v := range map[float64]float64{0.5: got.P50, 0.9: got.P90, 0.99: got.P99} {
		want := exact[int(math.Ceil(q*float64(len(exact))))-1]
		if math.Abs(v-want)/want > 0.09 {
			t.Errorf("p%v is %v ms, exactly %v ms", q*100, v, want)
		}
	}
}

func TestWindow(t *testing.T) {
	m := &mesh{edges: map[edgeKey]*edge{}}
	began := time.Unix(1_700_000_000, 0)
	report := &reportv1.Edge{Outbound: true, Source: "a", Destination: "b", Requests: 10}
	for second := range 120 {
		m.count(began.Add(time.Duration(second)*time.Second), report)
	}
	end := began.Add(120 * time.Second)
	for _, d := range m.edges {
		if n := d.total.requests; n != 1200 {
			t.Errorf("total %d", n)
		}
		for window, want := range map[time.Duration]uint64{time.Minute: 600, 10 * time.Second: 100} {
			if n := d.within(end, window); n.requests > want || n.requests < want-50 {
				t.Errorf("%d requests within %s, want %d", n.requests, window, want)
			}
		}
		if n := d.within(end.Add(2*time.Minute), time.Minute); n.requests != 0 {
			t.Errorf("%d requests of a silent minute", n.requests)
		}
	}
}

func TestMemoryIsBounded(t *testing.T) {
	m := &mesh{edges: map[edgeKey]*edge{}}
	now := time.Now()
	for i := range maxEdges + 500 {
		m.count(now, &reportv1.Edge{Source: fmt.Sprint("s", i), Destination: "d", Requests: 1})
	}
	if len(m.edges) != maxEdges+1 {
		t.Errorf("%d edges", len(m.edges))
	}
	if o := m.edges[edgeKey{source: overflowName, destination: overflowName, protocol: "http"}]; o == nil || o.total.requests != 500 {
		t.Error("overflow does not hold the rest")
	}
	m.count(now.Add(2*forgetAfter), &reportv1.Edge{Source: "new", Destination: "d", Requests: 1})
	if len(m.edges) != 1 {
		t.Errorf("%d edges after a silence", len(m.edges))
	}
	for range 3 * keptRefusals {
		m.refusals.add(Decision{})
	}
	if len(m.refusals.all()) != keptRefusals {
		t.Errorf("%d refusals", len(m.refusals.all()))
	}
	m.count(now, &reportv1.Edge{Latency: &reportv1.Histogram{Buckets: map[uint32]uint64{math.MaxUint32: 1, latency.Buckets: 1}}})
}

func BenchmarkEdgesOfAMesh(b *testing.B) {
	m := &mesh{edges: map[edgeKey]*edge{}}
	for i := range 500 {
		for _, out := range []bool{true, false} {
			m.count(time.Now(), &reportv1.Edge{Outbound: out, Source: fmt.Sprint("s", i), Destination: "d", Requests: 1, Latency: &reportv1.Histogram{Buckets: map[uint32]uint64{100: 1}}})
		}
	}
	s := &Server{meshes: map[string]*mesh{"default": m}}
	b.ReportAllocs()
	for b.Loop() {
		s.Edges("default", 0)
	}
}
