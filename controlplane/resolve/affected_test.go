package resolve_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/controlplane/ir"
	"github.com/hauberk-mesh/hauberk/controlplane/resolve"
	"github.com/hauberk-mesh/hauberk/controlplane/world"
	"github.com/hauberk-mesh/hauberk/policy/all"
)

func affected(u *world.Update) []string {
	c := u.Changed[api.DefaultMesh]
	if c == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(resolve.Affected(u.Old.Meshes[api.DefaultMesh], u.New.Meshes[api.DefaultMesh], c)))
}

// One change touches those that use it, and nobody else.
func TestAffectedIsPrecise(t *testing.T) {
	w := newWorlds(t)
	w.apply(dataplane("cart", 1, "redis") + dataplane("redis", 1) + dataplane("front", 1, "cart", "later") + dataplane("front", 2, "cart") + dataplane("idle", 1))
	policy := func(name, ref, methods string) string {
		return fmt.Sprintf("apiVersion: hauberk.io/v1alpha1\nkind: MeshTrafficPermission\nmetadata: {name: %s}\nspec: {targetRef: %s, rules: [{default: {allow: [{methods: [%s]}]}}]}", name, ref, methods)
	}
	insight := func(ready bool) string {
		return fmt.Sprintf("apiVersion: hauberk.io/v1alpha1\nkind: DataplaneInsight\nmetadata: {name: redis-1}\nspec: {inbounds: [{name: tcp, ready: %v}]}", ready)
	}
	everybody := []string{"cart-1", "cart-2", "front-1", "front-2", "idle-1", "later-1", "redis-1"}
	for _, step := range []struct {
		what string
		do   func() *world.Update
		want []string
	}{
		{"another endpoint of cart", func() *world.Update { return w.apply(dataplane("cart", 2, "redis")) }, []string{"cart-2", "front-1", "front-2"}},
		{"redis does not answer", func() *world.Update { return w.apply(insight(false)) }, []string{"cart-1", "cart-2"}},
		{"redis says so again", func() *world.Update { return w.apply(insight(false)) }, nil},
		{"a service that was waited for", func() *world.Update { return w.apply(dataplane("later", 1)) }, []string{"front-1", "later-1"}},
		{"a policy for cart", func() *world.Update {
			return w.apply(policy("cart", "{kind: Dataplane, labels: {hauberk.io/service: cart}}", "GET"))
		}, []string{"cart-1", "cart-2"}},
		{"the policy moves to redis", func() *world.Update {
			return w.apply(policy("cart", "{kind: Dataplane, labels: {hauberk.io/service: redis}}", "GET"))
		}, []string{"cart-1", "cart-2", "redis-1"}},
		{"a policy for one", func() *world.Update { return w.apply(policy("one", "{kind: Dataplane, name: idle-1}", "GET")) }, []string{"idle-1"}},
		{"a policy for nobody", func() *world.Update { return w.apply(policy("none", "{kind: Dataplane, name: nobody}", "GET")) }, nil},
		{"the first is removed", func() *world.Update {
			return w.remove(api.Key{Kind: "MeshTrafficPermission", Mesh: "default", Name: "cart"})
		}, []string{"redis-1"}},
		{"a policy for all", func() *world.Update { return w.apply(policy("all", "{kind: Mesh}", "GET")) }, everybody},
		{"a dataplane goes", func() *world.Update { return w.remove(api.Key{Kind: "Dataplane", Mesh: "default", Name: "cart-2"}) }, []string{"cart-2", "front-1", "front-2"}},
		{"an identity is revoked", func() *world.Update {
			return w.apply("apiVersion: hauberk.io/v1alpha1\nkind: IdentityRevocation\nmetadata: {name: x}\nspec: {spiffeID: spiffe://a/b, revoked: 2026-01-01T00:00:00Z}")
		}, slices.DeleteFunc(slices.Clone(everybody), func(s string) bool { return s == "cart-2" })},
		{"the mesh goes", func() *world.Update { return w.remove(api.Key{Kind: "Mesh", Name: "default"}) },
			slices.DeleteFunc(slices.Clone(everybody), func(s string) bool { return s == "cart-2" })},
	} {
		if diff := cmp.Diff(step.want, affected(step.do())); diff != "" {
			t.Errorf("%s: %s", step.what, diff)
		}
	}
}

// Whoever is not named has the same configuration as before. Random transactions, all dataplanes resolved after each.
func TestAffectedMissesNobody(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	w := newWorlds(t)
	policies := all.Policies()
	resolved := func() map[string]*ir.Proxy {
		out := map[string]*ir.Proxy{}
		for name := range w.mesh().Dataplanes {
			p, err := resolve.Proxy(w.mesh(), name, policies)
			if err != nil {
				t.Fatal(err)
			}
			out[name] = p
		}
		return out
	}
	services := []string{"a", "b", "redis", "d"}
	service := func() string { return services[r.IntN(len(services))] }
	ref := func() string {
		return []string{"{kind: Mesh}", "{kind: Dataplane, labels: {hauberk.io/service: " + service() + "}}", "{kind: Dataplane, name: " + service() + "-1}",
			"{kind: Dataplane, labels: {number: \"2\"}, sectionName: http}"}[r.IntN(4)]
	}
	before := resolved()
	for i := range 200 {
		var u *world.Update
		meta := fmt.Sprintf("metadata: {name: %s}\n", service())
		switch r.IntN(8) {
		case 0, 1:
			calls := slices.Compact(slices.Sorted(slices.Values([]string{service(), service()})))
			u = w.apply(dataplane(service(), 1+r.IntN(3), calls...))
		case 2:
			u = w.remove(api.Key{Kind: "Dataplane", Mesh: "default", Name: fmt.Sprintf("%s-%d", service(), 1+r.IntN(3))})
		case 3:
			u = w.apply("apiVersion: hauberk.io/v1alpha1\nkind: MeshTrafficPermission\n" + meta + "spec: {targetRef: " + ref() + ", rules: [{default: {allow: [{methods: [GET]}]}}]}")
		case 4:
			u = w.apply("apiVersion: hauberk.io/v1alpha1\nkind: MeshTimeout\n" + meta + fmt.Sprintf("spec: {to: [{targetRef: {kind: MeshService, name: %s}, default: {idleTimeout: %ds}}]}", service(), r.IntN(9)))
		case 5:
			u = w.remove(api.Key{Kind: []string{"MeshTrafficPermission", "MeshTimeout", "MeshService", "MeshTLS"}[r.IntN(4)], Mesh: "default", Name: service()})
		case 6:
			u = w.apply("apiVersion: hauberk.io/v1alpha1\nkind: MeshService\n" + meta + "spec: {selector: {dataplaneLabels: {matchLabels: {hauberk.io/service: " + service() + "}}}, ports: [{port: 80, targetPort: http}]}")
		case 7:
			u = w.apply("apiVersion: hauberk.io/v1alpha1\nkind: DataplaneInsight\nmetadata: {name: " + service() + "-1}\n" + fmt.Sprintf("spec: {inbounds: [{name: http, ready: %v}]}", r.IntN(2) == 0))
		}
		named := affected(u)
		after := resolved()
		for name, p := range after {
			if slices.Contains(named, name) {
				continue
			}
			if diff := cmp.Diff(before[name], p); diff != "" {
				t.Fatalf("step %d: %s is not named (%v) and changes: %s", i, name, named, diff)
			}
		}
		before = after
	}
}
