package rest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/controlplane/store"
)

// apply stores all documents of the body or none.
func (s *server) apply(q *http.Request) (int, any, error) {
	docs, err := s.documents(q)
	if err != nil {
		return 0, nil, err
	}
	applied, err := s.write(q.Context(), docs)
	return http.StatusOK, applied, err
}

// put is apply of one document whose kind and name are in the path.
func (s *server) put(q *http.Request) (int, any, error) {
	kind, err := s.kind(q)
	if err != nil {
		return 0, nil, err
	}
	docs, err := s.documents(q)
	if err != nil {
		return 0, nil, err
	}
	want := api.Key{Kind: kind.Name, Mesh: meshOf(kind, q), Name: q.PathValue("name")}
	if len(docs) != 1 || docs[0].Key() != want {
		return 0, nil, refuse(http.StatusBadRequest, "the body of PUT must be one document, and it must be %v", want)
	}
	applied, err := s.write(q.Context(), docs)
	if err != nil {
		return 0, nil, err
	}
	status := http.StatusOK
	if applied.Resources[0].Outcome == created {
		status = http.StatusCreated
	}
	return status, applied, nil
}

// documents are those of the body; each is valid by itself.
func (s *server) documents(q *http.Request) ([]*api.Resource, error) {
	body, err := io.ReadAll(q.Body)
	if err != nil {
		return nil, err
	}
	return s.Registry.Decode("", body)
}

// What became of a document.
const (
	created    = "created"
	configured = "configured"
	unchanged  = "unchanged"
	deleted    = "deleted"
)

// write checks what only the whole picture can tell, leaves out what changes nothing, adds what a new mesh comes with, and
// stores the rest in one transaction.
func (s *server) write(ctx context.Context, docs []*api.Resource) (*Applied, error) {
	s.writing.Lock()
	defer s.writing.Unlock()

	if err := s.writable(ctx, docs); err != nil {
		return nil, err
	}
	answer := &Applied{Resources: []AppliedResource{}}
	var changes []*api.Resource
	var taken []string
	for _, doc := range docs {
		old, err := s.Resources.Get(ctx, doc.Key())
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
		outcome := created
		switch {
		case old != nil && same(old, doc):
			outcome = unchanged
		case old != nil:
			outcome = configured
			if old.Metadata.Labels[api.LabelOrigin] == api.OriginDataplane {
				taken = append(taken, fmt.Sprintf("%v was registered by its proxy and is yours from now on: it stays when the proxy leaves", doc.Key()))
			}
		}
		answer.Resources = append(answer.Resources, AppliedResource{Kind: doc.Kind, Mesh: doc.Mesh(), Name: doc.Metadata.Name, Outcome: outcome})
		if outcome != unchanged {
			changes = append(changes, doc)
		}
		if outcome == created && doc.Kind == "Mesh" {
			more, err := s.defaults(doc, docs)
			if err != nil {
				return nil, err
			}
			changes = append(changes, more...)
		}
	}
	if len(changes) == 0 {
		answer.Generation = uint64(s.Worlds.Current().Generation)
		return answer, nil
	}
	revision, err := s.Resources.Apply(ctx, changes)
	if err != nil {
		return nil, err
	}
	answer.Generation = uint64(revision)
	answer.Warnings = append(taken, s.warnings(ctx, revision, docs)...)
	return answer, nil
}

// writable finds every document that may not be stored: what users may not write, and resources of a mesh that neither
// exists nor comes with the same request.
func (s *server) writable(ctx context.Context, docs []*api.Resource) error {
	if err := s.Registry.ValidateForApply(docs); err != nil {
		return err
	}
	coming := map[string]bool{}
	for _, d := range docs {
		if d.Kind == "Mesh" {
			coming[d.Metadata.Name] = true
		}
	}
	invalid := &api.InvalidError{}
	for i, d := range docs {
		mesh := d.Mesh()
		if mesh == "" || coming[mesh] {
			continue
		}
		_, err := s.Resources.Get(ctx, api.Key{Kind: "Mesh", Name: mesh})
		if notFound(err) {
			invalid.Problems = append(invalid.Problems, api.Finding{Document: i + 1, Kind: d.Kind, Name: d.Metadata.Name, Problem: api.Problem{
				Field:   "metadata.labels[" + api.LabelMesh + "]",
				Message: "names the mesh " + mesh + ", which does not exist",
				Fix:     "put the Mesh into the same apply, or name another (hauberk get meshes)",
			}})
		} else if err != nil {
			return err
		}
	}
	if len(invalid.Problems) > 0 {
		return invalid
	}
	return nil
}

// defaults are what comes with a new mesh, apart from what the user gives by himself.
func (s *server) defaults(mesh *api.Resource, docs []*api.Resource) ([]*api.Resource, error) {
	all, err := s.Meshes.Defaults(mesh)
	if err != nil {
		return nil, err
	}
	given := map[api.Key]bool{}
	for _, d := range docs {
		given[d.Key()] = true
	}
	var more []*api.Resource
	for _, d := range all {
		if !given[d.Key()] {
			more = append(more, d)
		}
	}
	return more, nil
}

// warnings come from the world that has the new generation. A client that went away meanwhile gets none.
func (s *server) warnings(ctx context.Context, revision store.Revision, docs []*api.Resource) []string {
	w, err := s.Worlds.WaitFor(ctx, revision)
	if err != nil {
		return nil
	}
	byMesh := map[string][]*api.Resource{}
	var order []string
	for _, d := range docs {
		if byMesh[d.Mesh()] == nil {
			order = append(order, d.Mesh())
		}
		byMesh[d.Mesh()] = append(byMesh[d.Mesh()], d)
	}
	var all []string
	for _, mesh := range order {
		if m := w.Meshes[mesh]; m != nil {
			all = append(all, s.Policies.Warnings(m, byMesh[mesh])...)
		}
	}
	return all
}

// same tells whether a write would change nothing that a user wrote. A resource version does not count: writing what is
// there already conflicts with nothing. A Dataplane that a proxy registered is another thing once a user vouches for it.
func same(a, b *api.Resource) bool {
	registered := func(r *api.Resource) bool { return r.Metadata.Labels[api.LabelOrigin] == api.OriginDataplane }
	return registered(a) == registered(b) && a.APIVersion == b.APIVersion && reflect.DeepEqual(a.Spec, b.Spec) && reflect.DeepEqual(labelsOf(a), labelsOf(b))
}

// labelsOf are the labels without who wrote the resource, and without a mesh that is meant anyway.
func labelsOf(r *api.Resource) map[string]string {
	out := map[string]string{}
	for k, v := range r.Metadata.Labels {
		if k != api.LabelOrigin && !(k == api.LabelMesh && v == api.DefaultMesh) {
			out[k] = v
		}
	}
	return out
}
