package resolve

import (
	"maps"
	"slices"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/controlplane/world"
	"github.com/hauberk-mesh/hauberk/policy"
	"github.com/hauberk-mesh/hauberk/policy/target"
)

// Affected names the dataplanes whose resolved configuration may differ between two states of a mesh; those that are no
// longer there too. It may name too many, never too few. Either state may be nil: the mesh came or went.
func Affected(old, new *world.Mesh, c *world.Change) map[string]bool {
	all := map[string]bool{}
	if old == nil || new == nil || c == nil || c.MeshWide {
		for _, m := range []*world.Mesh{old, new} {
			if m != nil {
				addAll(all, m)
			}
		}
		return all
	}
	maps.Copy(all, c.Dataplanes)
	for _, changed := range []map[string]bool{c.Services, c.Endpoints} {
		for service := range changed {
			maps.Copy(all, old.Consumers[service])
			maps.Copy(all, new.Consumers[service])
		}
	}
	for kind := range c.Policies {
		for _, r := range differing(old.Policies[kind], new.Policies[kind]) {
			addTargets(all, old, r)
			addTargets(all, new, r)
		}
	}
	return all
}

// AffectedBy names the dataplanes that a policy is for, sorted.
func AffectedBy(m *world.Mesh, r *api.Resource) []string {
	all := map[string]bool{}
	addTargets(all, m, r)
	return slices.Sorted(maps.Keys(all))
}

// differing are the resources of one list that are not in the other; of one that was edited both states.
func differing(old, new []*api.Resource) []*api.Resource {
	seen := make(map[*api.Resource]bool, len(old))
	for _, r := range old {
		seen[r] = true
	}
	var out []*api.Resource
	for _, r := range new {
		if !seen[r] {
			out = append(out, r)
		}
		delete(seen, r)
	}
	for _, r := range old {
		if seen[r] {
			out = append(out, r)
		}
	}
	return out
}

func addTargets(all map[string]bool, m *world.Mesh, r *api.Resource) {
	spec, ok := r.Spec.(policy.Targeted)
	if !ok || spec.Target() == nil {
		addAll(all, m)
		return
	}
	for name, dp := range m.Dataplanes {
		if target.Dataplane(spec.Target(), name, dp.Resource.Metadata.Labels) {
			all[name] = true
		}
	}
}

func addAll(all map[string]bool, m *world.Mesh) {
	for name := range m.Dataplanes {
		all[name] = true
	}
}
