package rest

import (
	"net/http"

	"github.com/hauberk-mesh/hauberk/controlplane/world"
	"github.com/hauberk-mesh/hauberk/policy"
)

// inspect says where each field in force on a dataplane came from, or on which dataplanes a policy is in force.
func (s *server) inspect(q *http.Request) (int, any, error) {
	kind, err := s.kind(q)
	if err != nil {
		return 0, nil, err
	}
	w, m, err := s.mesh(q)
	if err != nil {
		return 0, nil, err
	}
	name := q.PathValue("name")
	switch {
	case kind.Name == "Dataplane":
		return s.inspectDataplane(w, m, name)
	case kind.IsPolicy:
		return s.inspectPolicy(m, kind.Name, name)
	default:
		return 0, nil, refuse(http.StatusBadRequest, "a %s cannot be inspected: inspect dataplanes, or a kind of policy", kind.Name)
	}
}

func (s *server) inspectDataplane(w *world.World, m *world.Mesh, name string) (int, any, error) {
	if m.Dataplanes[name] == nil {
		return 0, nil, refuse(http.StatusNotFound, "there is no dataplane %s in mesh %s", name, m.Name)
	}
	p, err := s.Policies.Proxy(m, name)
	if err != nil {
		return 0, nil, err
	}
	contributions := s.Policies.Explain(m, p)
	if contributions == nil {
		contributions = []policy.Contribution{}
	}
	return http.StatusOK, InspectedDataplane{
		Mesh: m.Name, Dataplane: name, Generation: uint64(w.Generation), Contributions: contributions, Proxy: p,
	}, nil
}

func (s *server) inspectPolicy(m *world.Mesh, kind, name string) (int, any, error) {
	found := false
	for _, p := range m.Policies[kind] {
		found = found || p.Metadata.Name == name
	}
	if !found {
		return 0, nil, refuse(http.StatusNotFound, "there is no %s %s in mesh %s", kind, name, m.Name)
	}
	answer := InspectedPolicy{Mesh: m.Name, Policy: kind + "/" + name, Dataplanes: []AffectedDataplane{}}
	for _, dataplane := range sortedKeys(m.Dataplanes) {
		p, err := s.Policies.Proxy(m, dataplane)
		if err != nil {
			return 0, nil, err
		}
		var from []policy.Contribution
		for _, c := range s.Policies.Explain(m, p) {
			if c.Origin == answer.Policy {
				from = append(from, c)
			}
		}
		if len(from) > 0 {
			answer.Dataplanes = append(answer.Dataplanes, AffectedDataplane{Dataplane: dataplane, Service: p.Service, Contributions: from})
		}
	}
	return http.StatusOK, answer, nil
}
