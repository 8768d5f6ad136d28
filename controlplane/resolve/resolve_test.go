package resolve_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"sigs.k8s.io/yaml"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/controlplane/resolve"
	"github.com/hauberk-mesh/hauberk/controlplane/store"
	"github.com/hauberk-mesh/hauberk/policy/all"
)

var update = flag.Bool("update", false, "rewrite the golden parts of testdata/*.txtar")

// Each case has resources.yaml, and <dataplane>.yaml with what is resolved for that one.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			w := newWorlds(t)
			w.apply(string(archive.Files[0].Data))
			for i := range archive.Files[1:] {
				f := &archive.Files[1+i]
				p, err := resolve.Proxy(w.mesh(), strings.TrimSuffix(f.Name, ".yaml"), all.Policies())
				if err != nil {
					t.Fatal(err)
				}
				got, err := yaml.Marshal(p)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(string(f.Data), string(got)); diff != "" && !*update {
					t.Errorf("%s (-want +got; -update rewrites it):\n%s", f.Name, diff)
				}
				f.Data = got
			}
			if *update {
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func TestUnknownDataplane(t *testing.T) {
	if _, err := resolve.Proxy(newWorlds(t).mesh(), "nobody", nil); err == nil || err.Error() != "dataplane nobody does not exist in mesh default" {
		t.Errorf("got %v", err)
	}
}

// Proxies share the endpoints and the trust of what they share, also from one World to the next.
func TestSharing(t *testing.T) {
	w := newWorlds(t)
	w.apply(dataplane("cart", 1) + dataplane("front", 1, "cart") + dataplane("front", 2, "cart"))
	r := resolve.New(all.Policies())
	endpoints := func(name string) any {
		t.Helper()
		p, err := r.Proxy(w.mesh(), name)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range p.Clusters {
			if c.Name == "outbound|cart|80" {
				return c.Endpoints
			}
		}
		t.Fatal("no cluster")
		return nil
	}
	first := endpoints("front-1")
	if endpoints("front-2") != first {
		t.Error("two proxies have two copies")
	}
	w.apply(dataplane("other", 1))
	if endpoints("front-1") != first {
		t.Error("another service's change makes another copy")
	}
	w.apply(dataplane("cart", 2))
	if endpoints("front-1") == first {
		t.Error("a new endpoint makes no new copy")
	}
}

func TestInspectAndWarnings(t *testing.T) {
	w := newWorlds(t)
	w.apply(dataplane("redis", 1) + `---
apiVersion: hauberk.io/v1alpha1
kind: Dataplane
metadata: {name: thief, labels: {hauberk.io/origin: dataplane, app: payments}}
spec: {address: 10.0.0.9}
`)
	docs := w.decode(`
apiVersion: hauberk.io/v1alpha1
kind: MeshService
metadata: {name: payments}
spec: {selector: {dataplaneLabels: {matchLabels: {app: payments}}}, ports: [{port: 80, targetPort: http}]}
---
apiVersion: hauberk.io/v1alpha1
kind: MeshTrafficPermission
metadata: {name: x}
spec: {rules: [{default: {allow: [{methods: [GET]}]}}]}
---
apiVersion: hauberk.io/v1alpha1
kind: MeshTLS
metadata: {name: nobody}
spec: {targetRef: {kind: Dataplane, name: nobody}, rules: [{default: {mode: Permissive}}]}
---
apiVersion: hauberk.io/v1alpha1
kind: MeshTLS
metadata: {name: y}
spec: {rules: [{default: {mode: Permissive}}]}
`)
	w.write(docs...)
	contributions, err := resolve.Inspect(w.mesh(), "redis-1", all.Policies())
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, c := range contributions {
		lines = append(lines, fmt.Sprintf("%s %s=%s %s", c.On, c.Field, c.Value, c.Origin))
	}
	if diff := cmp.Diff([]string{"inbound|tcp mode=Permissive MeshTLS/y", "inbound|tcp allow=everybody GET MeshTrafficPermission/x"}, lines); diff != "" {
		t.Error(diff)
	}
	want := []string{
		"MeshService/payments selects thief by labels that a proxy can give itself, and does not get them: select by hauberk.io/service or hauberk.io/workload too, or list their identities",
		"MeshTrafficPermission/x#rules[0].allow[0] lists methods or paths and so never allows anything on inbound|tcp of dataplane redis-1, which is tcp: write an entry without them for it",
		"MeshTLS/nobody is for no dataplane that is there now: see its targetRef",
	}
	if diff := cmp.Diff(want, resolve.New(all.Policies()).Warnings(w.mesh(), docs)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"redis-1", "thief"}, resolve.AffectedBy(w.mesh(), docs[1])); diff != "" {
		t.Error(diff)
	}
}

// A control plane resolves those that a change affects; 100 at once is a policy for a whole mesh.
func BenchmarkResolve100(b *testing.B) {
	w := newWorlds(b)
	var yaml strings.Builder
	for i := range 100 {
		var calls []string
		for j := range 5 {
			calls = append(calls, fmt.Sprintf("s%d", (i+j+1)%20))
		}
		yaml.WriteString(dataplane(fmt.Sprintf("s%d", i%20), i+1, calls...))
	}
	w.apply(yaml.String())
	for _, p := range all.DefaultResources("default") {
		w.write(p)
	}
	for i := range 50 {
		w.apply(fmt.Sprintf("apiVersion: hauberk.io/v1alpha1\nkind: MeshTrafficPermission\nmetadata: {name: p%d}\nspec: {targetRef: {kind: Dataplane, labels: {hauberk.io/service: s%d}}, rules: [{default: {allow: [{methods: [GET]}]}}]}\n", i, i%20))
	}
	r := resolve.New(all.Policies())
	m := w.mesh()
	b.ReportAllocs()
	for b.Loop() {
		for name := range m.Dataplanes {
			if _, err := r.Proxy(m, name); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// A record that could hold a deny and cannot be read stops the configuration of its mesh, and of no other.
func TestUnreadableMeshIsNotResolved(t *testing.T) {
	w := newWorlds(t)
	w.apply(dataplane("cart", 1))
	r := resolve.New(all.Policies())
	if _, err := r.Proxy(w.mesh(), "cart-1"); err != nil {
		t.Fatal(err)
	}
	key := api.Key{Kind: "MeshTrafficPermission", Mesh: "default", Name: "deny-admin"}
	e := w.event()
	e.Changes = []store.Change{{Key: key, New: &store.Record{Key: key, Value: []byte(`{"apiVersion": "hauberk.io/v2"}`), Revision: w.at}}}
	u := w.builder.Apply(e)
	if !resolve.Affected(u.Old.Meshes["default"], u.New.Meshes["default"], u.Changed["default"])["cart-1"] {
		t.Error("nobody hears of it")
	}
	_, err := r.Proxy(w.mesh(), "cart-1")
	if err == nil {
		t.Fatal("resolved without what cannot be read")
	}
	for _, want := range []string{"mesh default", "MeshTrafficPermission deny-admin", "upgrade the control plane", "delete"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q: %v", want, err)
		}
	}
	w.remove(key)
	if _, err := r.Proxy(w.mesh(), "cart-1"); err != nil {
		t.Errorf("after it is deleted: %v", err)
	}
}
