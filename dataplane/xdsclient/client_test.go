package xdsclient

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/hauberk-mesh/hauberk/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

const patience = 20 * time.Second

// script is a control plane under the test's own hand: each stream runs the next act.
type script struct {
	discovery.UnimplementedAggregatedDiscoveryServiceServer
	acts chan func(s *side) error
}

// side is the server's end of a stream.
type side struct {
	wire discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesServer
}

func (s *script) DeltaAggregatedResources(wire discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	select {
	case act := <-s.acts:
		return act(&side{wire: wire})
	case <-wire.Context().Done():
		return nil
	}
}

func (s *side) recv() *discovery.DeltaDiscoveryRequest {
	req, err := s.wire.Recv()
	if err != nil {
		return &discovery.DeltaDiscoveryRequest{TypeUrl: "error: " + err.Error()}
	}
	return req
}

// hello takes the first six requests.
func (s *side) hello() []*discovery.DeltaDiscoveryRequest {
	var all []*discovery.DeltaDiscoveryRequest
	for range Types() {
		all = append(all, s.recv())
	}
	return all
}

func resource(typeURL, name, version string) *discovery.Resource {
	return &discovery.Resource{Name: name, Version: version, Resource: &anypb.Any{TypeUrl: typeURL, Value: []byte(version)}}
}

func response(nonce, typeURL string, resources ...*discovery.Resource) *discovery.DeltaDiscoveryResponse {
	return &discovery.DeltaDiscoveryResponse{TypeUrl: typeURL, Nonce: nonce, Resources: resources}
}

// recorder is a Handler that keeps what it took.
type recorder struct {
	mu      sync.Mutex
	updates []*Update
	judge   func(*Update) error
}

func (r *recorder) Apply(_ context.Context, u *Update) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.judge != nil {
		if err := r.judge(u); err != nil {
			return err
		}
	}
	r.updates = append(r.updates, u)
	return nil
}

func (r *recorder) taken() []*Update {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]*Update(nil), r.updates...)
}

type bench struct {
	*recorder
	client *Client
	script *script
	logs   *syncBuffer
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// run starts a client against the acts.
func run(t *testing.T, edit func(*Options), acts ...func(*side) error) *bench {
	t.Helper()
	lis := bufconn.Listen(1 << 20)
	g := grpc.NewServer()
	b := &bench{recorder: &recorder{}, script: &script{acts: make(chan func(*side) error, 100)}, logs: &syncBuffer{}}
	for _, a := range acts {
		b.script.acts <- a
	}
	discovery.RegisterAggregatedDiscoveryServiceServer(g, b.script)
	o := Options{
		Node:    &core.Node{Id: "default/cart-1", UserAgentName: UserAgent},
		Handler: b.recorder,
		Logger:  slog.New(slog.NewTextHandler(b.logs, nil)),
		Dial: func(context.Context) (*grpc.ClientConn, error) {
			return grpc.NewClient("passthrough:///script", grpc.WithTransportCredentials(insecure.NewCredentials()),
				grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return lis.DialContext(ctx) }))
		},
	}
	if edit != nil {
		edit(&o)
	}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	b.client = c
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = g.Serve(lis) })
	wg.Go(func() { _ = c.Run(ctx) })
	t.Cleanup(func() { cancel(); g.Stop(); lis.Close(); wg.Wait() })
	return b
}

// result carries what an act found to the test.
func result[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

func stay(s *side) error {
	_, err := s.wire.Recv()
	return err
}

func TestFirstRequests(t *testing.T) {
	got := make(chan []*discovery.DeltaDiscoveryRequest, 1)
	run(t, nil, func(s *side) error { got <- s.hello(); return stay(s) })
	reqs := result(t, got)
	for i, typeURL := range Types() {
		r := reqs[i]
		if r.TypeUrl != typeURL || len(r.ResourceNamesSubscribe) != 1 || r.ResourceNamesSubscribe[0] != "*" || (r.Node != nil) != (i == 0) {
			t.Errorf("request %d: %v", i, r)
		}
	}
	list := reqs[0].Node.Metadata.Fields[MetadataTypes].GetListValue().AsSlice()
	if len(list) != len(Types()) || reqs[0].Node.Id != "default/cart-1" {
		t.Errorf("node: %v", reqs[0].Node)
	}
}

func TestPartsAreStaged(t *testing.T) {
	answers := make(chan *discovery.DeltaDiscoveryRequest, 10)
	b := run(t, nil, func(s *side) error {
		s.hello()
		for _, m := range []*discovery.DeltaDiscoveryResponse{
			response("6.1/3", TypeCluster, resource(TypeCluster, "left over", "1")), // never completed
			response("7.1/2", TypeCluster, resource(TypeCluster, "a", "1"), resource(TypeCluster, "b", "1")),
			response("7.2/2", TypeListener, resource(TypeListener, "l", "1")),
		} {
			if err := s.wire.Send(m); err != nil {
				return err
			}
		}
		answers <- s.recv()
		answers <- s.recv()
		m := response("8.1/1", TypeCluster, resource(TypeCluster, "a", "2"))
		m.RemovedResources = []string{"b", "never there"}
		if err := s.wire.Send(m); err != nil {
			return err
		}
		answers <- s.recv()
		return stay(s)
	})
	for _, nonce := range []string{"7.1/2", "7.2/2", "8.1/1"} {
		if a := result(t, answers); a.ResponseNonce != nonce || a.ErrorDetail != nil {
			t.Errorf("answer: %v", a)
		}
	}
	u := b.taken()
	if len(u) != 2 || u[0].Generation != 7 || u[1].Generation != 8 {
		t.Fatalf("%+v", u)
	}
	if d := cmp.Diff(map[string][]string{TypeCluster: {"a", "b"}, TypeListener: {"l"}}, u[0].Changed); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[string][]string{TypeCluster: {"a"}}, u[1].Changed); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[string][]string{TypeCluster: {"b"}}, u[1].Removed); d != "" {
		t.Error(d)
	}
	if len(u[0].Resources[TypeCluster]) != 2 || len(u[1].Resources[TypeCluster]) != 1 || len(u[1].Resources[TypeListener]) != 1 {
		t.Error("the first update's state was changed by the second, or the second is not complete")
	}
	st := b.client.Status()
	if !st.Connected || st.Generation != 8 || st.ACKed != 8 || st.Updates != 2 || st.Attempts != 1 {
		t.Errorf("%+v", st)
	}
}

func TestRefusals(t *testing.T) {
	wrongType := resource(TypeListener, "x", "1")
	for _, c := range []struct {
		name  string
		send  []*discovery.DeltaDiscoveryResponse
		nonce []string
		text  string
		judge func(*Update) error
	}{
		{"handler", []*discovery.DeltaDiscoveryResponse{response("1.1/2", TypeCluster), response("1.2/2", TypeRoute)}, []string{"1.1/2", "1.2/2"},
			"port 80 is taken", func(*Update) error { return errors.New("listener inbound: port 80 is taken") }},
		{"panic", []*discovery.DeltaDiscoveryResponse{response("1.1/1", TypeCluster)}, []string{"1.1/1"}, "panicked on it: index",
			func(*Update) error { panic("index") }},
		{"part without the first", []*discovery.DeltaDiscoveryResponse{response("1.2/2", TypeCluster)}, []string{"1.2/2"}, "does not follow", nil},
		{"part skipped", []*discovery.DeltaDiscoveryResponse{response("1.1/3", TypeCluster), response("1.3/3", TypeCluster)}, []string{"1.3/3"}, "does not follow", nil},
		{"part of another generation", []*discovery.DeltaDiscoveryResponse{response("1.1/2", TypeCluster), response("2.2/2", TypeCluster)}, []string{"2.2/2"}, "does not follow", nil},
		{"type not asked for", []*discovery.DeltaDiscoveryResponse{response("1.1/1", "type.googleapis.com/x.Y")}, []string{"1.1/1"}, "not asked for", nil},
		{"resource of another type", []*discovery.DeltaDiscoveryResponse{response("1.1/1", TypeCluster, wrongType)}, []string{"1.1/1"}, "has type", nil},
		{"resource without a name", []*discovery.DeltaDiscoveryResponse{response("1.1/1", TypeCluster, resource(TypeCluster, "", "1"))}, []string{"1.1/1"}, "no name", nil},
		{"empty resource", []*discovery.DeltaDiscoveryResponse{response("n", TypeCluster, &discovery.Resource{Name: "a"})}, []string{"n"}, "is empty", nil},
		{"long reason", []*discovery.DeltaDiscoveryResponse{response("n", TypeCluster)}, []string{"n"}, "xxx...",
			func(*Update) error { return errors.New(strings.Repeat("x", 100_000)) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			answers := make(chan *discovery.DeltaDiscoveryRequest, 10)
			b := run(t, nil, func(s *side) error {
				s.hello()
				for _, m := range c.send {
					if err := s.wire.Send(m); err != nil {
						return err
					}
				}
				for range c.nonce {
					answers <- s.recv()
				}
				// The stream goes on, and the next generation is taken.
				if err := s.wire.Send(response("9.1/1", TypeCluster, resource(TypeCluster, "good", "1"))); err != nil {
					return err
				}
				answers <- s.recv()
				return stay(s)
			})
			b.mu.Lock()
			b.judge = func(u *Update) error {
				if u.Generation == 9 || c.judge == nil {
					return nil
				}
				return c.judge(u)
			}
			b.mu.Unlock()
			for _, nonce := range c.nonce {
				a := result(t, answers)
				if a.ResponseNonce != nonce || !strings.Contains(a.GetErrorDetail().GetMessage(), c.text) || len(a.ErrorDetail.Message) > 5000 {
					t.Errorf("%v", a)
				}
			}
			if a := result(t, answers); a.ErrorDetail != nil {
				t.Errorf("%v", a)
			}
			u := b.taken()
			if len(u) != 1 || len(u[0].Resources[TypeCluster]) != 1 {
				t.Errorf("%+v", u)
			}
			if st := b.client.Status(); st.NACKs != 1 || st.LastNACK != "" {
				t.Errorf("%+v", st)
			}
		})
	}
}

// Another control plane's responses are updates of their own.
func TestAnotherControlPlane(t *testing.T) {
	answers := make(chan *discovery.DeltaDiscoveryRequest, 10)
	b := run(t, nil, func(s *side) error {
		s.hello()
		for _, m := range []*discovery.DeltaDiscoveryResponse{
			response("abc", TypeCluster, resource(TypeCluster, "a", "1")),
			{TypeUrl: TypeListener, Nonce: "def", SystemVersionInfo: "12", Resources: []*discovery.Resource{resource(TypeListener, "l", "1")}},
		} {
			if err := s.wire.Send(m); err != nil {
				return err
			}
			answers <- s.recv()
		}
		return stay(s)
	})
	for _, nonce := range []string{"abc", "def"} {
		if a := result(t, answers); a.ResponseNonce != nonce || a.ErrorDetail != nil {
			t.Errorf("%v", a)
		}
	}
	u := b.taken()
	if len(u) != 2 || u[0].Generation != 0 || u[1].Generation != 12 || len(u[1].Resources[TypeCluster]) != 1 {
		t.Errorf("%+v", u)
	}
}

// A stream that breaks is followed by another, which tells what is here already.
func TestReconnectTellsVersions(t *testing.T) {
	got := make(chan []*discovery.DeltaDiscoveryRequest, 1)
	b := run(t, nil,
		func(*side) error { return status.Error(codes.Unauthenticated, "the token was revoked") },
		func(*side) error { return status.Error(codes.Unauthenticated, "the token was revoked") },
		func(s *side) error {
			s.hello()
			if err := s.wire.Send(response("3.1/1", TypeCluster, resource(TypeCluster, "a", "v1"))); err != nil {
				return err
			}
			s.recv()
			return nil
		},
		func(s *side) error { got <- s.hello(); return stay(s) },
	)
	reqs := result(t, got)
	if d := cmp.Diff(map[string]string{"a": "v1"}, reqs[0].InitialResourceVersions); d != "" {
		t.Error(d)
	}
	if reqs[0].Node == nil || len(reqs[1].InitialResourceVersions) != 0 {
		t.Errorf("%v", reqs)
	}
	logs := b.logs.String()
	if n := strings.Count(logs, "the token was revoked"); n != 1 {
		t.Errorf("the same failure was logged %d times:\n%s", n, logs)
	}
	if !strings.Contains(logs, "control plane connected") || !strings.Contains(logs, "ended the stream") {
		t.Error(logs)
	}
	if st := b.client.Status(); st.Attempts != 4 || st.Generation != 3 {
		t.Errorf("%+v", st)
	}
}

func TestDialFails(t *testing.T) {
	var mu sync.Mutex
	fails := 2
	got := make(chan []*discovery.DeltaDiscoveryRequest, 1)
	run(t, func(o *Options) {
		dial := o.Dial
		o.Dial = func(ctx context.Context) (*grpc.ClientConn, error) {
			mu.Lock()
			defer mu.Unlock()
			if fails--; fails >= 0 {
				return nil, errors.New("no SVID yet")
			}
			return dial(ctx)
		}
	}, func(s *side) error { got <- s.hello(); return stay(s) })
	result(t, got)
}

func TestInitialState(t *testing.T) {
	e := newState().edit(41)
	e.put(TypeCluster, "kept", "v7", &anypb.Any{TypeUrl: TypeCluster})
	kept, _ := e.done()

	t.Run("usable", func(t *testing.T) {
		got := make(chan []*discovery.DeltaDiscoveryRequest, 1)
		b := run(t, func(o *Options) { o.Initial = kept }, func(s *side) error { got <- s.hello(); return stay(s) })
		if d := cmp.Diff(map[string]string{"kept": "v7"}, result(t, got)[0].InitialResourceVersions); d != "" {
			t.Error(d)
		}
		u := b.taken()
		if len(u) != 1 || u[0].Generation != 41 || len(u[0].Changed[TypeCluster]) != 1 {
			t.Errorf("%+v", u)
		}
		if st := b.client.Status(); st.Generation != 41 || st.ACKed != 0 || st.Connected {
			t.Errorf("%+v", st)
		}
	})
	t.Run("refused", func(t *testing.T) {
		got := make(chan []*discovery.DeltaDiscoveryRequest, 1)
		b := run(t, func(o *Options) {
			o.Initial = kept
			o.Handler.(*recorder).judge = func(u *Update) error { return errors.New("too old") }
		}, func(s *side) error { got <- s.hello(); return stay(s) })
		if v := result(t, got)[0].InitialResourceVersions; len(v) != 0 {
			t.Errorf("%v", v)
		}
		if b.client.Snapshot() != nil || !strings.Contains(b.logs.String(), "too old") {
			t.Error(b.logs.String())
		}
	})
}

// A state directory that another proxy has used puts nothing of that one in force: not its listeners, not its permission.
func TestInitialStateOfAnotherProxy(t *testing.T) {
	e := newState().edit(41)
	e.put(TypeListener, "kept", "v7", &anypb.Any{TypeUrl: TypeListener})
	kept, _ := e.done()
	for node, taken := range map[string]int{"": 1, "default/cart-1": 1, "default/cart-2": 0, "other/cart-1": 0} {
		mine := *kept
		mine.Node = node
		read, err := Restore(mine.Marshal())
		if err != nil {
			t.Fatal(err)
		}
		got := make(chan []*discovery.DeltaDiscoveryRequest, 1)
		b := run(t, func(o *Options) { o.Initial = read }, func(s *side) error { got <- s.hello(); return stay(s) })
		for _, req := range result(t, got) {
			if req.TypeUrl == TypeListener && len(req.InitialResourceVersions) != taken {
				t.Errorf("%q: the control plane is told of %v", node, req.InitialResourceVersions)
			}
		}
		if n := len(b.taken()); n != taken || b.client.State().Node != "default/cart-1" {
			t.Errorf("%q: %d taken, now %q", node, n, b.client.State().Node)
		}
	}
}

// What was adopted is handed out before the control plane hears of it.
func TestAdoptedComesBeforeTheACK(t *testing.T) {
	adopted := make(chan *State, 1)
	acked := make(chan bool, 1)
	run(t, func(o *Options) { o.Adopted = func(s *State) { adopted <- s } }, func(s *side) error {
		s.hello()
		if err := s.wire.Send(response("3.1/1", TypeCluster, resource(TypeCluster, "a", "1"))); err != nil {
			return err
		}
		s.recv()
		acked <- len(adopted) == 1
		return stay(s)
	})
	if !result(t, acked) {
		t.Error("ACK came first")
	}
	s := <-adopted
	back, err := Restore(s.Marshal())
	if err != nil || back.Generation != 3 || back.Versions[TypeCluster]["a"] != "1" {
		t.Errorf("%+v %v", back, err)
	}
}

func TestNewRefuses(t *testing.T) {
	dial := func(context.Context) (*grpc.ClientConn, error) { return nil, io.EOF }
	for _, o := range []Options{
		{Dial: dial, Handler: &recorder{}},
		{Node: &core.Node{Id: "a/b"}, Handler: &recorder{}},
		{Node: &core.Node{Id: "a/b"}, Dial: dial},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
}
