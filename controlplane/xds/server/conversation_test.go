package server

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/google/go-cmp/cmp"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/hauberk-mesh/hauberk/controlplane/store"
	"github.com/hauberk-mesh/hauberk/controlplane/xds/translate"
)

// model is a client that does what the protocol says and nothing else: the oracle of conversation.
type model struct {
	r     *rand.Rand
	talk  *conversation
	ours  bool
	has   map[string]map[string]string // type -> name -> version
	wants map[string]map[string]bool   // type -> name, "*" is all
	queue []*discovery.DeltaDiscoveryResponse
	ended *outcome
}

func newModel(r *rand.Rand, ours bool) *model {
	m := &model{r: r, ours: ours, has: map[string]map[string]string{}, wants: map[string]map[string]bool{}}
	m.talk = newConversation(hello{Ours: ours}, newCounters())
	for _, t := range translate.Types() {
		m.has[t] = map[string]string{}
	}
	return m
}

func (m *model) request(t *testing.T, req *discovery.DeltaDiscoveryRequest) {
	t.Helper()
	out, end, err := m.talk.request(req)
	if err != nil {
		t.Fatal(err)
	}
	m.took(t, out, end)
}

func (m *model) took(t *testing.T, out []*discovery.DeltaDiscoveryResponse, end *outcome) {
	t.Helper()
	m.queue = append(m.queue, out...)
	if end != nil {
		m.ended = end
		if m.talk.flight != nil || len(m.talk.outstanding) > 0 {
			t.Fatalf("a generation ended with %d responses outstanding", len(m.talk.outstanding))
		}
	}
}

// answer takes the oldest responses: all parts of ours together, one of a stock client's.
func (m *model) answer(t *testing.T, refuse bool) {
	t.Helper()
	n := 1
	if m.ours {
		n = len(m.queue)
	}
	batch := m.queue[:n]
	m.queue = m.queue[n:]
	for _, r := range batch {
		req := &discovery.DeltaDiscoveryRequest{TypeUrl: r.TypeUrl, ResponseNonce: r.Nonce}
		if refuse {
			req.ErrorDetail = &rpcstatus.Status{Message: "no"}
		} else {
			for _, res := range r.Resources {
				if m.subscribed(r.TypeUrl, res.Name) { // a client ignores what it did not ask for
					m.has[r.TypeUrl][res.Name] = res.Version
				}
			}
			for _, name := range r.RemovedResources {
				delete(m.has[r.TypeUrl], name)
			}
		}
		m.request(t, req)
	}
}

func (m *model) subscribed(typeURL, name string) bool {
	return m.wants[typeURL]["*"] || m.wants[typeURL][name]
}

// resubscribe changes what a stock client wants, and sometimes drops what it has of it, as clients may.
func (m *model) resubscribe(t *testing.T) {
	typeURL := translate.Types()[m.r.IntN(3)]
	first := m.wants[typeURL] == nil
	if first {
		m.wants[typeURL] = map[string]bool{}
	}
	req := &discovery.DeltaDiscoveryRequest{TypeUrl: typeURL}
	names := append(universe(), "*")
	m.r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	for _, name := range names[:1+m.r.IntN(2)] {
		if m.wants[typeURL][name] && m.r.IntN(2) == 0 {
			req.ResourceNamesUnsubscribe = append(req.ResourceNamesUnsubscribe, name)
			delete(m.wants[typeURL], name)
		} else if !m.wants[typeURL][name] {
			req.ResourceNamesSubscribe = append(req.ResourceNamesSubscribe, name)
			m.wants[typeURL][name] = true
		}
	}
	if first && len(req.ResourceNamesSubscribe) == 0 && legacyWildcard(typeURL) {
		m.wants[typeURL]["*"] = true
	}
	for name := range m.has[typeURL] {
		if !m.subscribed(typeURL, name) {
			delete(m.has[typeURL], name)
		}
	}
	m.request(t, req)
}

func universe() []string {
	var names []string
	for i := range 6 {
		names = append(names, "r"+strconv.Itoa(i))
	}
	return names
}

func randomSnapshot(r *rand.Rand) translate.Snapshot {
	s := translate.Snapshot{}
	for _, t := range translate.Types() {
		for _, name := range universe() {
			if r.IntN(3) > 0 {
				version := strconv.Itoa(r.IntN(3) + 1)
				s.Add(&translate.Resource{Name: name, Version: version, Any: &anypb.Any{TypeUrl: t, Value: []byte(version)}})
			}
		}
	}
	return s
}

// Whatever the order of changes, subscriptions, ACKs and NACKs: once a generation was taken, the client has exactly what it
// is subscribed to of the snapshot, and a refused one leaves our own proxy with what it had.
func TestConversationAgainstModel(t *testing.T) {
	for _, ours := range []bool{true, false} {
		t.Run(fmt.Sprintf("ours=%v", ours), func(t *testing.T) {
			for seed := range uint64(1000) {
				r := rand.New(rand.NewPCG(seed, 7))
				runModel(t, newModel(r, ours), seed)
			}
		})
	}
}

func runModel(t *testing.T, m *model, seed uint64) {
	t.Helper()
	if m.ours {
		for _, typeURL := range translate.Types() {
			m.wants[typeURL] = map[string]bool{"*": true}
			m.request(t, &discovery.DeltaDiscoveryRequest{TypeUrl: typeURL, ResourceNamesSubscribe: []string{"*"}})
		}
	} else {
		m.resubscribe(t)
	}
	for generation := range store.Revision(6) {
		target := randomSnapshot(m.r)
		out, end := m.talk.start(generation+1, target)
		m.took(t, out, end)
		nacked := false
		for m.talk.flight != nil {
			if !m.ours && m.r.IntN(4) == 0 {
				m.resubscribe(t)
			}
			if m.talk.stalls() {
				out, end := m.talk.giveUp()
				m.took(t, out, end)
			}
			if len(m.queue) > 0 {
				refuse := m.r.IntN(8) == 0
				nacked = nacked || refuse
				m.answer(t, refuse)
			} else if m.talk.flight != nil && !m.talk.stalls() {
				t.Fatalf("seed %d: in flight, and nothing to answer", seed)
			}
		}
		for range m.r.IntN(3) { // on demand, between two generations
			if m.ours {
				break
			}
			m.resubscribe(t)
			for len(m.queue) > 0 {
				m.answer(t, false)
			}
		}
		if m.talk.flight != nil || (m.talk.refused != "") != nacked {
			t.Fatalf("seed %d: flight %v, refused %q, nacked %v", seed, m.talk.flight, m.talk.refused, nacked)
		}
		if nacked {
			continue
		}
		for _, typeURL := range translate.Types() {
			want := map[string]string{}
			for name, res := range target[typeURL] {
				if m.subscribed(typeURL, name) {
					want[name] = res.Version
				}
			}
			if d := cmp.Diff(want, m.has[typeURL]); d != "" {
				t.Fatalf("seed %d generation %d %s: %s", seed, generation+1, typeURL, d)
			}
		}
	}
}

// A refused generation leaves our own proxy's acknowledged versions as they were, whichever part it refused.
func TestRefusalOfOnePartDropsAll(t *testing.T) {
	for refused := range 3 {
		m := newModel(rand.New(rand.NewPCG(1, 1)), true)
		for _, typeURL := range translate.Types() {
			m.request(t, &discovery.DeltaDiscoveryRequest{TypeUrl: typeURL, ResourceNamesSubscribe: []string{"*"}})
		}
		s := translate.Snapshot{}
		for _, typeURL := range translate.Types()[:3] {
			s.Add(&translate.Resource{Name: "a", Version: "1", Any: &anypb.Any{TypeUrl: typeURL}})
		}
		out, _ := m.talk.start(5, s)
		if len(out) != 3 || out[0].Nonce != "5.1/3" || out[2].Nonce != "5.3/3" || out[1].SystemVersionInfo != "5" {
			t.Fatalf("%v", out)
		}
		for i, r := range out {
			req := &discovery.DeltaDiscoveryRequest{TypeUrl: r.TypeUrl, ResponseNonce: r.Nonce}
			if i == refused {
				req.ErrorDetail = &rpcstatus.Status{Message: "no"}
			}
			m.request(t, req)
		}
		if m.ended == nil || m.ended.nack != "no" || m.ended.generation != 5 {
			t.Fatalf("%+v", m.ended)
		}
		if again, _ := m.talk.start(6, s); len(again) != 3 || again[0].Nonce != "6.1/3" {
			t.Errorf("not all parts were sent again: %v", again)
		}
	}
}

func TestSplit(t *testing.T) {
	d := difference{typeURL: translate.TypeCluster, removed: []string{"x", "y"}}
	for i := range 10 {
		d.resources = append(d.resources, &translate.Resource{Name: strconv.Itoa(i), Version: "1", Any: &anypb.Any{Value: make([]byte, 100)}})
	}
	parts := d.split(300)
	resources, removed := 0, 0
	for _, p := range parts {
		if p.typeURL != d.typeURL || len(p.resources) > 2 {
			t.Errorf("part of %d resources", len(p.resources))
		}
		resources += len(p.resources)
		removed += len(p.removed)
	}
	if len(parts) != 5 || resources != 10 || removed != 2 {
		t.Errorf("%d parts, %d resources, %d removed", len(parts), resources, removed)
	}
	if one := d.split(1 << 20); len(one) != 1 {
		t.Errorf("%d parts", len(one))
	}
	if one := (difference{resources: d.resources[:1]}).split(1); len(one) != 1 {
		t.Errorf("a resource larger than the limit makes %d parts", len(one))
	}
}

func TestTooManyNames(t *testing.T) {
	v := newConversation(hello{}, newCounters())
	req := &discovery.DeltaDiscoveryRequest{TypeUrl: translate.TypeEndpoints}
	for i := range maxNames + 1 {
		req.ResourceNamesSubscribe = append(req.ResourceNamesSubscribe, strconv.Itoa(i))
	}
	if _, _, err := v.request(req); err == nil || !strings.Contains(err.Error(), "ResourceExhausted") {
		t.Errorf("%v", err)
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"plain":                   "plain",
		"a\nb\x1b[31mc\xff":       "a b [31mc?",
		strings.Repeat("é", 2000): strings.Repeat("é", 1024) + "...",
	} {
		if got := printable(in); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}

// What a client says and never answers is not kept for ever.
func TestAClientCannotMakeUsRemember(t *testing.T) {
	long := strings.Repeat("x", maxNameLength+1)
	for name, req := range map[string]*discovery.DeltaDiscoveryRequest{
		"name":            {ResourceNamesSubscribe: []string{long}},
		"initial name":    {InitialResourceVersions: map[string]string{long: "1"}},
		"initial version": {InitialResourceVersions: map[string]string{"a": long}},
	} {
		v := newConversation(hello{}, newCounters())
		req.TypeUrl = translate.TypeEndpoints
		if _, _, err := v.request(req); status.Code(err) != codes.InvalidArgument {
			t.Errorf("a long %s: %v", name, err)
		}
		if len(v.subs) != 0 {
			t.Errorf("a long %s is kept", name)
		}
	}

	v := newConversation(hello{}, newCounters())
	v.start(1, translate.Snapshot{})
	for i := 0; ; i++ {
		_, _, err := v.request(&discovery.DeltaDiscoveryRequest{TypeUrl: translate.TypeEndpoints, ResourceNamesSubscribe: []string{"none"}})
		if status.Code(err) == codes.ResourceExhausted {
			break
		}
		if err != nil || i > 2*maxOutstanding {
			t.Fatalf("after %d subscriptions without an answer: %v, %d outstanding", i, err, len(v.outstanding))
		}
	}
}

// The list of types is as long as its sender likes; what is kept of it is not.
func TestTypesOfANodeAreBounded(t *testing.T) {
	s := &Server{opts: Options{Peer: func(context.Context) (Peer, bool) { return Peer{Mesh: "m", Dataplane: "d"}, true }}}
	types := &structpb.ListValue{}
	for i := range 1000 {
		types.Values = append(types.Values, structpb.NewStringValue("none"), structpb.NewStringValue(translate.Types()[i%len(translate.Types())]))
	}
	h, err := s.identify(context.Background(), &core.Node{
		Id: "m/d", UserAgentName: ourUserAgent,
		Metadata: &structpb.Struct{Fields: map[string]*structpb.Value{
			metadataDataplane: structpb.NewStringValue(`{"kind": "Dataplane", "metadata": {"name": "d", "labels": {"hauberk.io/mesh": "m"}}}`),
			metadataTypes:     structpb.NewListValue(types),
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(translate.Types(), h.Types); d != "" {
		t.Error(d)
	}
}
