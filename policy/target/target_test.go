package target_test

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/controlplane/ir"
	"github.com/hauberk-mesh/hauberk/policy/target"
)

var cart = &ir.Proxy{Name: "cart-1", Labels: map[string]string{"app": "cart", "v": "1"}}

func TestInbound(t *testing.T) {
	labels := func(kv ...string) map[string]string {
		m := map[string]string{}
		for i := 0; i < len(kv); i += 2 {
			m[kv[i]] = kv[i+1]
		}
		return m
	}
	// From the least to the most specific; equal ranks stand in one row.
	rows := [][]*api.TargetRef{
		{nil, {}, {Kind: "Mesh"}},
		{{Kind: "Dataplane"}, {Kind: "Dataplane", Labels: labels("app", "cart")}, {Kind: "Dataplane", Labels: labels("app", "cart", "v", "1")}},
		{{Kind: "Dataplane", Name: "cart-1"}},
		{{Kind: "Dataplane", SectionName: "http"}, {Kind: "Dataplane", Labels: labels("v", "1"), SectionName: "http"}},
		{{Kind: "Dataplane", Name: "cart-1", SectionName: "http"}},
	}
	last := target.Rank(-1)
	for i, row := range rows {
		var ranks []target.Rank
		for _, ref := range row {
			rank, ok := target.Inbound(ref, cart, "http")
			if !ok {
				t.Errorf("%+v does not match", ref)
			}
			ranks = append(ranks, rank)
		}
		if slices.Min(ranks) != slices.Max(ranks) || ranks[0] <= last {
			t.Errorf("row %d has ranks %v after %d", i, ranks, last)
		}
		last = ranks[0]
	}
	for _, ref := range []*api.TargetRef{
		{Kind: "Dataplane", Name: "cart-2"}, {Kind: "Dataplane", Labels: labels("app", "x")}, {Kind: "Dataplane", Labels: labels("w", "")},
		{Kind: "Dataplane", SectionName: "admin"}, {Kind: "MeshService", Name: "cart-1"},
	} {
		if _, ok := target.Inbound(ref, cart, "http"); ok {
			t.Errorf("%+v matches", ref)
		}
	}
	if !target.Proxy(&api.TargetRef{Kind: "Dataplane", SectionName: "admin"}, cart) {
		t.Error("a section counts for the proxy as a whole")
	}
}

func TestWhole(t *testing.T) {
	last := target.Rank(-1)
	for _, ref := range []*api.TargetRef{nil, {Kind: "Dataplane", Labels: map[string]string{"app": "cart"}}, {Kind: "Dataplane", Name: "cart-1"}} {
		rank, ok := target.Whole(ref, cart)
		if !ok || rank <= last {
			t.Errorf("%+v: rank %d after %d, matches %v", ref, rank, last, ok)
		}
		last = rank
	}
	for _, ref := range []*api.TargetRef{{Kind: "Dataplane", Name: "cart-2"}, {Kind: "Dataplane", Name: "cart-1", SectionName: "http"}} {
		if _, ok := target.Whole(ref, cart); ok {
			t.Errorf("%+v matches", ref)
		}
	}
}

func TestOutbound(t *testing.T) {
	mesh, labels, name := (*api.TargetRef)(nil), &api.TargetRef{Kind: "Dataplane", Labels: map[string]string{"app": "cart"}}, &api.TargetRef{Kind: "Dataplane", Name: "cart-1"}
	all, service, port := &api.TargetRef{Kind: "Mesh"}, &api.TargetRef{Kind: "MeshService", Name: "redis"}, &api.TargetRef{Kind: "MeshService", Name: "redis", SectionName: "tcp"}
	last := target.Rank(-1)
	for _, top := range []*api.TargetRef{mesh, labels, name} {
		for _, to := range []*api.TargetRef{all, service, port} {
			rank, ok := target.Outbound(top, to, cart, "redis", "tcp")
			if !ok || rank <= last {
				t.Errorf("%+v to %+v: rank %d after %d, matches %v", top, to, rank, last, ok)
			}
			last = rank
		}
	}
	for _, to := range []*api.TargetRef{{Kind: "MeshService", Name: "x"}, {Kind: "MeshService", Name: "redis", SectionName: "x"}, {Kind: "Dataplane", Name: "redis"}} {
		if _, ok := target.Outbound(nil, to, cart, "redis", "tcp"); ok {
			t.Errorf("%+v matches", to)
		}
	}
	if _, ok := target.Outbound(&api.TargetRef{Kind: "Dataplane", Name: "x"}, all, cart, "redis", "tcp"); ok {
		t.Error("another proxy's policy matches")
	}
}

type conf struct {
	A *api.Duration `json:"a,omitempty"`
	B *string       `json:"b,omitempty"`
	C *inner        `json:"c,omitempty"`
	D []string      `json:"d,omitempty"`
}

type inner struct {
	E *int  `json:"e,omitempty"`
	F *bool `json:"f,omitempty"`
}

// randomConf sets each field or not; values tell whose they are.
func randomConf(r *rand.Rand, i int) *conf {
	c := &conf{}
	if r.IntN(2) == 0 {
		c.A = &api.Duration{Duration: time.Duration(i)}
	}
	if r.IntN(2) == 0 {
		s := strings.Repeat("x", i)
		c.B = &s
	}
	if r.IntN(2) == 0 {
		c.C = &inner{}
		if r.IntN(2) == 0 {
			c.C.E = &i
		}
		if r.IntN(2) == 0 {
			c.C.F = new(bool)
		}
	}
	if r.IntN(2) == 0 {
		c.D = []string{}
	}
	return c
}

// The order of the candidates plays no part, and each field is that of the best candidate which sets it.
func TestMergeAgainstThePlainReading(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		var candidates []target.Candidate[conf]
		for i := range r.IntN(6) {
			candidates = append(candidates, target.Candidate[conf]{
				Rank: target.Rank(r.IntN(3)), Rule: "spec.rules[0]", Default: randomConf(r, i),
				Resource: &api.Resource{Kind: "X", Metadata: api.Meta{Name: string(rune('a' + i))}},
			})
		}
		want := target.Merge(candidates)
		for range 3 {
			r.Shuffle(len(candidates), func(i, j int) { candidates[i], candidates[j] = candidates[j], candidates[i] })
			if got := target.Merge(candidates); !reflect.DeepEqual(got, want) {
				t.Fatalf("order matters: %+v, %+v", got, want)
			}
		}
		check := func(field string, set func(*conf) bool) {
			var best *target.Candidate[conf]
			for i := range candidates {
				c := &candidates[i]
				if set(c.Default) && (best == nil || c.Rank > best.Rank || c.Rank == best.Rank && c.Resource.Metadata.Name < best.Resource.Metadata.Name) {
					best = c
				}
			}
			from, has := want.From[field]
			if has != (best != nil) || has && from.Resource != best.Resource {
				t.Fatalf("%s comes from %+v, want %+v", field, from, best)
			}
		}
		check("a", func(c *conf) bool { return c.A != nil })
		check("b", func(c *conf) bool { return c.B != nil })
		check("c.e", func(c *conf) bool { return c.C != nil && c.C.E != nil })
		check("c.f", func(c *conf) bool { return c.C != nil && c.C.F != nil })
		check("d", func(c *conf) bool { return c.D != nil })
	}
}

func TestMergeChangesNoCandidate(t *testing.T) {
	yes, one := true, 1
	low, high := &conf{C: &inner{E: &one}}, &conf{C: &inner{F: &yes}}
	res := &api.Resource{Kind: "X", Metadata: api.Meta{Name: "x"}}
	m := target.Merge([]target.Candidate[conf]{{Rank: 1, Resource: res, Rule: "r[1]", Default: high}, {Resource: res, Rule: "r[0]", Default: low}})
	if m.Value.C.E == nil || m.Value.C.F == nil || high.C.E != nil || low.C.F != nil {
		t.Errorf("got %+v from %+v and %+v", m.Value.C, high.C, low.C)
	}
	var lines []string
	for _, c := range m.Contributions("inbound|http") {
		lines = append(lines, c.On+" "+c.Field+"="+c.Value+" "+c.Origin+" "+c.Rule)
	}
	if diff := cmp.Diff([]string{"inbound|http c.e=1 X/x r[0]", "inbound|http c.f=true X/x r[1]"}, lines); diff != "" {
		t.Error(diff)
	}
}

func TestValidate(t *testing.T) {
	lines := func(ps api.Problems) string {
		var out []string
		for _, p := range ps {
			out = append(out, p.String())
		}
		return strings.Join(out, "\n")
	}
	for _, c := range []struct {
		got  api.Problems
		want string
	}{
		{target.ValidateTop(nil, true), ""},
		{target.ValidateTop(&api.TargetRef{Kind: "Dataplane", Labels: map[string]string{"a": "b"}, SectionName: "http"}, true), ""},
		{target.ValidateTop(&api.TargetRef{}, true), "spec.targetRef.kind is missing: write Mesh or Dataplane"},
		{target.ValidateTop(&api.TargetRef{Kind: "dataplane"}, true), `spec.targetRef.kind "dataplane" cannot be chosen here: write Dataplane`},
		{target.ValidateTop(&api.TargetRef{Kind: "Mesh", Name: "x"}, true), "spec.targetRef.name stands beside kind: Mesh: remove it, or write kind: Dataplane to choose some of its proxies"},
		{target.ValidateTop(&api.TargetRef{Kind: "Dataplane", Name: "x", Labels: map[string]string{"a": "b"}}, true), "spec.targetRef.labels stands beside name: keep one of the two"},
		{target.ValidateTop(&api.TargetRef{Kind: "Dataplane", SectionName: "x"}, false), "spec.targetRef.sectionName names an inbound, and to[] is about outbounds: remove it, or write rules[] instead of to[]"},
		{target.ValidateTo("spec.to[0].targetRef", nil), "spec.to[0].targetRef is missing: write {kind: Mesh} for all destinations, or {kind: MeshService, name: cart}"},
		{target.ValidateTo("f", &api.TargetRef{Kind: "MeshService", Name: "a", SectionName: "b"}), ""},
		{target.ValidateTo("f", &api.TargetRef{Kind: "MeshService"}), "f.name is missing: name the service"},
		{target.ValidateTo("f", &api.TargetRef{Kind: "MeshService", Name: "a", Labels: map[string]string{"a": "b"}}), "f.labels is not read: a destination is chosen by its name: write name"},
		{target.ValidateTo("f", &api.TargetRef{Kind: "Dataplane"}), `f.kind "Dataplane" cannot be chosen here: write Mesh or MeshService`},
	} {
		if diff := cmp.Diff(c.want, lines(c.got)); diff != "" {
			t.Error(diff)
		}
	}
}
