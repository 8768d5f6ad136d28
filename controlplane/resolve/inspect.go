package resolve

import (
	"github.com/hauberk-mesh/hauberk/api"
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

func (r *Resolver) policy(kind string) policy.Policy {
	for _, p := range r.policies {
		if p.Kind().Name == kind {
			return p
		}
	}
	return nil
}
