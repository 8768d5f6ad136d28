package rest

import (
	"context"
	"net/http"
	"strings"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/controlplane/store"
)

// list answers GET /<kinds>?mesh=M. The mesh "*" means all of them.
func (s *server) list(q *http.Request) (int, any, error) {
	kind, err := s.kind(q)
	if err != nil {
		return 0, nil, err
	}
	mesh := meshOf(kind, q)
	if mesh == "*" {
		mesh = ""
	} else if err := s.meshExists(q.Context(), mesh); err != nil {
		return 0, nil, err
	}
	items, err := s.Resources.List(q.Context(), kind.Name, mesh)
	if err != nil {
		return 0, nil, err
	}
	if kind.Name == "MeshService" {
		items = append(items, s.generated(items, mesh)...)
	}
	if items == nil {
		items = []*api.Resource{} // [] in JSON, not null
	}
	return http.StatusOK, List{Items: items}, nil
}

func (s *server) get(q *http.Request) (int, any, error) {
	kind, err := s.kind(q)
	if err != nil {
		return 0, nil, err
	}
	key := api.Key{Kind: kind.Name, Mesh: meshOf(kind, q), Name: q.PathValue("name")}
	r, err := s.Resources.Get(q.Context(), key)
	if err == nil {
		return http.StatusOK, r, nil
	}
	if kind.Name == "MeshService" {
		if g := s.generatedNamed(key); g != nil {
			return http.StatusOK, g, nil
		}
	}
	if notFound(err) {
		if err := s.meshExists(q.Context(), key.Mesh); err != nil {
			return 0, nil, err
		}
		return 0, nil, missing(kind, key)
	}
	return 0, nil, err
}

// missing says where to look, since a wrong --mesh is as likely as a wrong name.
func missing(kind api.Kind, key api.Key) error {
	where := ""
	if key.Mesh != "" {
		where = " --mesh " + key.Mesh
	}
	return refuse(http.StatusNotFound, "there is no %v: hauberk get %s%s lists what there is", key, kind.Plural, where)
}

func (s *server) delete(q *http.Request) (int, any, error) {
	kind, err := s.kind(q)
	if err != nil {
		return 0, nil, err
	}
	if kind.ReadOnly {
		return 0, nil, refuse(http.StatusMethodNotAllowed, "a %s is written and removed by the control plane alone", kind.Name)
	}
	key := api.Key{Kind: kind.Name, Mesh: meshOf(kind, q), Name: q.PathValue("name")}
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.removable(q.Context(), key); err != nil {
		return 0, nil, err
	}
	var revision store.Revision
	if key.Kind == "Mesh" {
		revision, err = s.removeMesh(q.Context(), key)
	} else {
		revision, err = s.Resources.Delete(q.Context(), key)
	}
	if notFound(err) {
		return 0, nil, missing(kind, key)
	}
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, Applied{
		Generation: uint64(revision),
		Resources:  []AppliedResource{{Kind: key.Kind, Mesh: key.Mesh, Name: key.Name, Outcome: deleted}},
	}, nil
}

// removable refuses what would not go, or would take a running proxy's place in the mesh away behind its back: it would stay
// connected, and be nobody's endpoint until it registers again.
func (s *server) removable(ctx context.Context, key api.Key) error {
	if key.Kind != "Dataplane" && key.Kind != "MeshService" {
		return nil
	}
	_, err := s.Resources.Get(ctx, key)
	if err != nil && !notFound(err) {
		return err
	}
	there := err == nil
	if key.Kind == "Dataplane" && there && s.proxies(key.Mesh)[key.Name].Connected {
		return refuse(http.StatusConflict, "the proxy of %v is connected: stop it, and it withdraws its Dataplane by itself", key)
	}
	if key.Kind == "MeshService" && !there && s.generatedNamed(key) != nil {
		return refuse(http.StatusConflict, "%v is generated from the label %s of its dataplanes: stop those, or apply a MeshService of that name to override it",
			key, api.LabelService)
	}
	return nil
}

// removeMesh refuses while anybody lives in the mesh: proxies would lose their configuration under traffic.
func (s *server) removeMesh(ctx context.Context, key api.Key) (store.Revision, error) {
	if _, err := s.Resources.Get(ctx, key); err != nil {
		return 0, err
	}
	dataplanes, err := s.Resources.List(ctx, "Dataplane", key.Name)
	if err != nil {
		return 0, err
	}
	if n := len(dataplanes); n > 0 {
		return 0, refuse(http.StatusConflict, "mesh %s still has %d dataplanes (%s ...): stop or delete them first (hauberk get dataplanes --mesh %s)",
			key.Name, n, dataplanes[0].Metadata.Name, key.Name)
	}
	return s.Meshes.Remove(ctx, key.Name)
}

// generated are the services that exist by a label of dataplanes alone; they are in no store.
func (s *server) generated(explicit []*api.Resource, mesh string) []*api.Resource {
	have := map[string]bool{}
	for _, r := range explicit {
		have[r.Mesh()+"/"+r.Metadata.Name] = true
	}
	var out []*api.Resource
	for _, m := range sortedMeshes(s.Worlds.Current(), mesh) {
		for _, name := range sortedKeys(m.Services) {
			if svc := m.Services[name]; svc.Generated && !have[m.Name+"/"+name] {
				out = append(out, generatedService(m.Name, svc))
			}
		}
	}
	return out
}

// generatedNamed finds one of them; nil if there is none.
func (s *server) generatedNamed(key api.Key) *api.Resource {
	for _, g := range s.generated(nil, key.Mesh) {
		if g.Metadata.Name == key.Name {
			return g
		}
	}
	return nil
}

// kind finds the kind of the path, or names the nearest word there is.
func (s *server) kind(q *http.Request) (api.Kind, error) {
	word := strings.ToLower(q.PathValue("kinds"))
	if k, ok := s.Registry.Plural(word); ok {
		return k, nil
	}
	var words []string
	for _, k := range s.Registry.Kinds() {
		words = append(words, k.Plural)
	}
	message := "there are no " + word
	if near := Nearest(word, words); near != "" {
		message += ": did you mean " + near + "?"
	} else {
		message += ": there are " + strings.Join(words, ", ")
	}
	return api.Kind{}, refuse(http.StatusNotFound, "%s", message)
}

// meshOf is the mesh of the query; a Mesh itself is in none.
func meshOf(kind api.Kind, q *http.Request) string {
	if kind.Name == "Mesh" {
		return ""
	}
	return queryMesh(q)
}

func queryMesh(q *http.Request) string {
	if m := q.URL.Query().Get("mesh"); m != "" {
		return m
	}
	return api.DefaultMesh
}

func (s *server) meshExists(ctx context.Context, mesh string) error {
	if mesh == "" {
		return nil
	}
	_, err := s.Resources.Get(ctx, api.Key{Kind: "Mesh", Name: mesh})
	if notFound(err) {
		return refuse(http.StatusNotFound, "there is no mesh %s: hauberk get meshes lists them", mesh)
	}
	return err
}
