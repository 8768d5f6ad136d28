package rest

import (
	"errors"
	"maps"
	"slices"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/api/resource"
	"github.com/hauberk-mesh/hauberk/controlplane/store"
	"github.com/hauberk-mesh/hauberk/controlplane/world"
)

// generatedService shows a service that follows from labels in the form in which a user would have written it.
func generatedService(mesh string, svc *world.Service) *api.Resource {
	spec := &resource.MeshService{
		Selector: resource.Selector{DataplaneLabels: resource.LabelSelector{MatchLabels: map[string]string{api.LabelService: svc.Name}}},
	}
	for _, p := range svc.Ports {
		spec.Ports = append(spec.Ports, resource.ServicePort{Name: p.Name, Port: p.Port, AppProtocol: p.Protocol})
	}
	for _, id := range svc.Identities {
		spec.Identities = append(spec.Identities, resource.ServiceIdentity{Type: "SpiffeID", Value: id})
	}
	return &api.Resource{
		APIVersion: api.APIVersion,
		Kind:       "MeshService",
		Metadata: api.Meta{
			Name:   svc.Name,
			Labels: map[string]string{api.LabelMesh: mesh, api.LabelOrigin: api.OriginGenerated},
		},
		Spec: spec,
	}
}

// sortedMeshes are all meshes, or the one.
func sortedMeshes(w *world.World, mesh string) []*world.Mesh {
	if mesh != "" {
		if m := w.Meshes[mesh]; m != nil {
			return []*world.Mesh{m}
		}
		return nil
	}
	var all []*world.Mesh
	for _, name := range sortedKeys(w.Meshes) {
		all = append(all, w.Meshes[name])
	}
	return all
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func notFound(err error) bool { return errors.Is(err, store.ErrNotFound) }

// Nearest finds the word that a typing error most likely meant: at most a third of it differs. "" is none.
func Nearest(word string, words []string) string {
	best, least := "", len(word)/3+1
	for _, w := range words {
		if d := distance(word, w); d < least || (d == least && best == "") {
			best, least = w, d
		}
	}
	return best
}

// distance is Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
