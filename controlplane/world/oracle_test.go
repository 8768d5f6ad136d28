package world

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/api/resource"
	"github.com/hauberk-mesh/hauberk/controlplane/store"
)

// ignoreGeneration: a mesh's generation is that of its last change, which a World made from scratch cannot know.
var ignoreGeneration = cmpopts.IgnoreFields(Mesh{}, "Generation")

// TestOracle: after any sequence of transactions, the World is the one that would be made from scratch; it shares what did
// not change with the one before, which is still what it was; and Change leaves nothing out.
func TestOracle(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			f := newFixture(t)
			r := rand.New(rand.NewPCG(seed, 1))
			was := fromScratch(t, f)
			for n := range 100 {
				f.random(r)
				u := f.step()
				is := fromScratch(t, f)
				if diff := cmp.Diff(is, u.New, ignoreGeneration); diff != "" {
					t.Fatalf("step %d (-from scratch +incremental):\n%s", n, diff)
				}
				if diff := cmp.Diff(was, u.Old, ignoreGeneration); diff != "" {
					t.Fatalf("step %d changed the World before it:\n%s", n, diff)
				}
				for _, name := range []string{"m1", "m2"} {
					checkSharing(t, u.Old.Meshes[name], u.New.Meshes[name])
					checkChange(t, u.Old.Meshes[name], u.New.Meshes[name], u.Changed[name])
				}
				if t.Failed() {
					t.Fatalf("at step %d", n)
				}
				was = is
			}
		})
	}
}

func fromScratch(t *testing.T, f *fixture) *World {
	records, revision, err := f.store.List(t.Context(), store.Selector{})
	f.check(err)
	b := NewBuilder(registry(), slog.New(slog.DiscardHandler))
	b.Load(records, revision)
	return b.World()
}

// random writes or deletes one to four resources.
func (f *fixture) random(r *rand.Rand) {
	for {
		var ops []store.Op
		seen := map[api.Key]bool{}
		for range 1 + r.IntN(4) {
			res := randomResource(r)
			if seen[res.Key()] {
				continue
			}
			seen[res.Key()] = true
			op := store.Op{Key: res.Key()}
			if _, err := f.store.Get(context.Background(), op.Key); err != nil || r.IntN(3) > 0 {
				var err error
				op.Value, err = registry().Encode(res)
				f.check(err)
				if res.Kind != kindMesh && r.IntN(8) == 0 { // a newer version has written it
					op.Value = []byte(pick(r, `{"apiVersion": "hauberk.io/v2"}`, `{`))
				}
			}
			ops = append(ops, op)
		}
		if len(ops) > 0 {
			_, err := f.store.Txn(context.Background(), ops...)
			f.check(err)
			return
		}
	}
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

func randomResource(r *rand.Rand) *api.Resource {
	mesh := pick(r, "m1", "m1", "m2")
	res := &api.Resource{
		APIVersion: api.APIVersion,
		Kind: pick(r, kindDataplane, kindDataplane, kindDataplane, kindDataplane, kindInsight, kindInsight, kindService, kindService,
			kindMesh, kindIdentity, kindTrust, kindRevocation, "MeshTestA", "MeshTestB"),
		Metadata: api.Meta{Name: pick(r, "a", "b", "c", "d"), Labels: map[string]string{api.LabelMesh: mesh}},
	}
	switch res.Kind {
	case kindMesh:
		res.Metadata = api.Meta{Name: mesh}
		res.Spec = &resource.Mesh{}
	case kindDataplane:
		for _, label := range []string{api.LabelService, api.LabelWorkload, "app", "version"} {
			if r.IntN(3) > 0 {
				res.Metadata.Labels[label] = pick(r, "a", "b", "c")
			}
		}
		if r.IntN(2) == 0 {
			res.Metadata.Labels[api.LabelOrigin] = api.OriginDataplane
		}
		d := &resource.Dataplane{Address: pick(r, "10.0.0.1", "10.0.0.2", "10.0.0.3")}
		for range r.IntN(3) {
			d.Inbounds = append(d.Inbounds, resource.Inbound{
				Name: pick(r, "", "x", "y"), Port: pick[uint32](r, 80, 81), ListenPort: pick[uint32](r, 0, 15080), Protocol: pick(r, "", "http"),
			})
		}
		for range r.IntN(3) {
			d.Outbounds = append(d.Outbounds, resource.Outbound{Port: 10001, BackendRef: api.BackendRef{Name: pick(r, "a", "b", "c"), Port: 80}})
		}
		res.Spec = d
	case kindInsight:
		i := &resource.DataplaneInsight{}
		for _, name := range []string{"http", "tcp", "x"} {
			i.Inbounds = append(i.Inbounds, resource.InboundInsight{Name: name, Ready: r.IntN(2) == 0, Reason: pick(r, "", "refused")})
		}
		res.Spec = i
	case kindService:
		s := &resource.MeshService{Ports: []resource.ServicePort{{Port: 80, TargetPort: pick(r, "http", "x")}, {Port: 90, TargetPort: "tcp", AppProtocol: pick(r, "", "http")}}}
		s.Selector.DataplaneLabels.MatchLabels = map[string]string{pick(r, "app", "version", api.LabelService): pick(r, "a", "b")}
		if r.IntN(3) == 0 {
			s.Identities = []resource.ServiceIdentity{{Type: "SpiffeID", Value: pick(r, "spiffe://x/y", "spiffe://m1.default.mesh.local/workload/a")}}
		}
		res.Spec = s
	case kindIdentity:
		res.Spec = &resource.MeshIdentity{SpiffeID: &resource.SpiffeIDTemplate{TrustDomain: pick(r, "", "{{ .Mesh }}.x")}}
	case kindTrust:
		res.Spec = &resource.MeshTrust{TrustDomain: pick(r, "x", "y")}
	case kindRevocation:
		res.Spec = &resource.IdentityRevocation{SpiffeID: pick(r, "spiffe://a", "spiffe://b")}
	default:
		res.Spec = &testPolicy{Value: pick(r, "1", "2")}
	}
	return res
}

func checkSharing(t *testing.T, was, is *Mesh) {
	if was == nil || is == nil {
		return
	}
	for name, s := range is.Services {
		old := was.Services[name]
		if old == nil {
			continue
		}
		if (s == old) != cmp.Equal(s, old) {
			t.Errorf("service %s: the same pointer %v, the same content %v", name, s == old, !(s == old))
		}
		for _, p := range s.Ports {
			for _, q := range old.Ports {
				if p.Name == q.Name && (p.Endpoints == q.Endpoints) != cmp.Equal(p.Endpoints, q.Endpoints) {
					t.Errorf("endpoints of %s port %s: the same pointer %v", name, p.Name, p.Endpoints == q.Endpoints)
				}
			}
		}
	}
}

// checkChange compares all of two meshes, as slowly as it likes.
func checkChange(t *testing.T, was, is *Mesh, c *Change) {
	if was == nil && is == nil {
		if c != nil {
			t.Errorf("a mesh that was not and is not changed: %+v", c)
		}
		return
	}
	if c == nil {
		c = newChange()
	}
	nothing := &Mesh{}
	if was == nil {
		was = nothing
	}
	if is == nil {
		is = nothing
	}
	wide := func(m *Mesh) *Mesh {
		return &Mesh{Identity: m.Identity, Trust: m.Trust, Revoked: m.Revoked, Unreadable: m.Unreadable}
	}
	if !cmp.Equal(wide(was), wide(is)) && !c.MeshWide {
		t.Error("trust, identity, revocation or what is unreadable changed, and the change is not mesh-wide")
	}
	for _, names := range []map[string]*Dataplane{was.Dataplanes, is.Dataplanes} {
		for name := range names {
			a, b := was.Dataplanes[name], is.Dataplanes[name]
			if (a == nil || b == nil || !cmp.Equal(a.Resource, b.Resource)) && !c.Dataplanes[name] {
				t.Errorf("dataplane %s changed unsaid", name)
			}
		}
	}
	for _, names := range []map[string]*Service{was.Services, is.Services} {
		for name := range names {
			a, b := was.Services[name], is.Services[name]
			if !cmp.Equal(a, b, cmpopts.IgnoreFields(Port{}, "Endpoints")) && !c.Services[name] {
				t.Errorf("service %s changed unsaid", name)
			}
			if !cmp.Equal(a, b) && !c.Endpoints[name] && !c.Services[name] {
				t.Errorf("endpoints of %s changed unsaid", name)
			}
		}
	}
	for _, kind := range []string{"MeshTestA", "MeshTestB"} {
		if !cmp.Equal(was.Policies[kind], is.Policies[kind]) && !c.Policies[kind] {
			t.Errorf("policies %s changed unsaid", kind)
		}
	}
}
