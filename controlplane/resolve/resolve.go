package resolve

import (
	"fmt"

	"github.com/hauberk-mesh/hauberk/controlplane/ir"
	"github.com/hauberk-mesh/hauberk/controlplane/world"
	"github.com/hauberk-mesh/hauberk/policy"
)

// Resolver resolves proxies with a fixed list of policies, and shares between all of them what is equal for all. It is
// safe for concurrent use and meant to live as long as the control plane.
type Resolver struct {
	policies  []policy.Policy
	endpoints *EndpointCache
	trust     *trustCache
}

// New makes a Resolver. The policies edit in the given order.
func New(policies []policy.Policy) *Resolver {
	return &Resolver{policies: policies, endpoints: NewEndpointCache(), trust: newTrustCache()}
}

// Proxy resolves one dataplane with policies and shares nothing; a control plane has a Resolver instead.
func Proxy(m *world.Mesh, dataplane string, policies []policy.Policy) (*ir.Proxy, error) {
	return New(policies).Proxy(m, dataplane)
}

// Proxy is the whole configuration of a dataplane. What it points to is shared with other proxies and immutable once it
// is returned.
//
// Of a mesh that has unreadable records nothing is resolved: one of them may be what denies, and proxies that keep the
// configuration that they have are safer than proxies that get one without it.
func (r *Resolver) Proxy(m *world.Mesh, dataplane string) (*ir.Proxy, error) {
	if err := readable(m); err != nil {
		return nil, err
	}
	p, err := r.base(m, dataplane)
	if err != nil {
		return nil, err
	}
	for _, pol := range r.policies {
		kind := pol.Kind().Name
		if err := pol.Apply(m.Policies[kind], p); err != nil {
			return nil, fmt.Errorf("dataplane %s of mesh %s: %s: %w", dataplane, m.Name, kind, err)
		}
	}
	return p, nil
}

// readable says which records are in the way, and what to do about it.
func readable(m *world.Mesh) error {
	if m == nil || len(m.Unreadable) == 0 {
		return nil
	}
	first, more := m.Unreadable[0], ""
	if n := len(m.Unreadable) - 1; n > 0 {
		more = fmt.Sprintf(" (and %d more)", n)
	}
	return fmt.Errorf("mesh %s has a record that this version cannot read%s, so its proxies keep what they have: upgrade the control plane, or delete the %s %s: %s",
		m.Name, more, first.Key.Kind, first.Key.Name, first.Reason)
}
