package resolve

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/api/resource"
	"github.com/hauberk-mesh/hauberk/controlplane/ir"
	"github.com/hauberk-mesh/hauberk/controlplane/world"
	"github.com/hauberk-mesh/hauberk/policy"
)

// Inspect lists what policies contribute to a dataplane's configuration, and from which resource each field came.
func Inspect(m *world.Mesh, dataplane string, policies []policy.Policy) ([]policy.Contribution, error) {
	r := New(policies)
	p, err := r.Proxy(m, dataplane)
	if err != nil {
		return nil, err
	}
	return r.Explain(m, p), nil
}

// Explain is Inspect for a proxy that is resolved.
func (r *Resolver) Explain(m *world.Mesh, p *ir.Proxy) []policy.Contribution {
	var all []policy.Contribution
	for _, pol := range r.policies {
		all = append(all, pol.Explain(m.Policies[pol.Kind().Name], p)...)
	}
	return all
}

// Warnings are sentences about resources that are valid and do less than they seem to: entries that can never match,
// policies that are for nobody.
func (r *Resolver) Warnings(m *world.Mesh, applied []*api.Resource) []string {
	var all []string
	for _, res := range applied {
		if svc, ok := res.Spec.(*resource.MeshService); ok {
			all = append(all, unproven(m, res.Metadata.Name, svc)...)
		}
		pol := r.policy(res.Kind)
		if pol == nil {
			continue
		}
		names := AffectedBy(m, res)
		if len(names) == 0 && len(m.Dataplanes) > 0 {
			all = append(all, res.Kind+"/"+res.Metadata.Name+" is for no dataplane that is there now: see its targetRef")
			continue
		}
		warner, ok := pol.(policy.Warner)
		if !ok {
			continue
		}
		var proxies []*ir.Proxy
		for _, name := range names {
			if p, err := r.base(m, name); err == nil {
				proxies = append(proxies, p)
			}
		}
		all = append(all, warner.Warnings(res, proxies)...)
	}
	return all
}

// unproven names the dataplanes that a service selects and does not get: see world.Serves.
func unproven(m *world.Mesh, name string, svc *resource.MeshService) []string {
	var names []string
	for _, d := range m.Dataplanes {
		if svc.Selector.DataplaneLabels.Matches(d.Resource.Metadata.Labels) && !world.Serves(name, svc, d) {
			names = append(names, d.Name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	return []string{fmt.Sprintf("MeshService/%s selects %s by labels that a proxy can give itself, and does not get them: "+
		"select by %s or %s too, or list their identities", name, strings.Join(names, ", "), api.LabelService, api.LabelWorkload)}
}

func (r *Resolver) policy(kind string) policy.Policy {
	for _, p := range r.policies {
		if p.Kind().Name == kind {
			return p
		}
	}
	return nil
}
