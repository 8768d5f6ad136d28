package resolve_test

import (
	"fmt"
	"log/slog"
	"testing"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/api/resource"
	"github.com/hauberk-mesh/hauberk/controlplane/store"
	"github.com/hauberk-mesh/hauberk/controlplane/world"
	"github.com/hauberk-mesh/hauberk/policy/all"
)

// worlds builds Worlds from YAML, one transaction after the other.
type worlds struct {
	t        testing.TB
	registry *api.Registry
	builder  *world.Builder
	stored   map[api.Key]*store.Record
	at       store.Revision
}

const meshAndIdentity = `
apiVersion: hauberk.io/v1alpha1
kind: Mesh
metadata: {name: default}
---
apiVersion: hauberk.io/v1alpha1
kind: MeshIdentity
metadata: {name: identity}
spec: {provider: {type: Bundled}}
`

func newWorlds(t testing.TB) *worlds {
	registry := api.NewRegistry(append(resource.Kinds(), all.Kinds()...)...)
	w := &worlds{t: t, registry: registry, builder: world.NewBuilder(registry, slog.New(slog.DiscardHandler)), stored: map[api.Key]*store.Record{}}
	w.apply(meshAndIdentity)
	return w
}

func (w *worlds) decode(yaml string) []*api.Resource {
	w.t.Helper()
	docs, err := w.registry.Decode("resources.yaml", []byte(yaml))
	if err != nil {
		w.t.Fatal(err)
	}
	return docs
}

func (w *worlds) apply(yaml string) *world.Update {
	w.t.Helper()
	return w.write(w.decode(yaml)...)
}

func (w *worlds) write(docs ...*api.Resource) *world.Update {
	w.t.Helper()
	e := w.event()
	for _, d := range docs {
		value, err := w.registry.Encode(d)
		if err != nil {
			w.t.Fatal(err)
		}
		record := &store.Record{Key: d.Key(), Value: value, Revision: w.at}
		e.Changes = append(e.Changes, store.Change{Key: d.Key(), Old: w.stored[d.Key()], New: record})
		w.stored[d.Key()] = record
	}
	return w.builder.Apply(e)
}

func (w *worlds) remove(key api.Key) *world.Update {
	e := w.event()
	e.Changes = []store.Change{{Key: key, Old: w.stored[key]}}
	delete(w.stored, key)
	return w.builder.Apply(e)
}

func (w *worlds) event() store.Event {
	w.at++
	return store.Event{Revision: w.at}
}

func (w *worlds) mesh() *world.Mesh { return w.builder.World().Meshes[api.DefaultMesh] }

// dataplane is one of a service that calls others: redis at its tcp port 6379, all others at http 80.
func dataplane(service string, n int, calls ...string) string {
	s := fmt.Sprintf("---\napiVersion: hauberk.io/v1alpha1\nkind: Dataplane\nmetadata: {name: %s-%d, labels: {hauberk.io/service: %s, number: \"%d\"}}\nspec:\n  address: 10.0.0.%d\n", service, n, service, n, n)
	if service == "redis" {
		s += "  inbounds: [{port: 6379}]\n"
	} else {
		s += "  inbounds: [{port: 80, listenPort: 15080, targetPort: 8080, protocol: http}]\n"
	}
	if len(calls) > 0 {
		s += "  outbounds:\n"
	}
	for i, c := range calls {
		port := 80
		if c == "redis" {
			port = 6379
		}
		s += fmt.Sprintf("  - {port: %d, backendRef: {kind: MeshService, name: %s, port: %d}}\n", 10001+i, c, port)
	}
	return s
}
