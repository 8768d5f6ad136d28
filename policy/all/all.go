// Package all is the one ordered list of policies. Whoever adds a policy adds one line here.
package all

import (
	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/policy"
	"github.com/hauberk-mesh/hauberk/policy/permission"
	"github.com/hauberk-mesh/hauberk/policy/timeout"
	"github.com/hauberk-mesh/hauberk/policy/tls"
)

// Policies are all policies in the order in which they edit a proxy. None of today's reads what another one sets.
func Policies() []policy.Policy {
	return []policy.Policy{
		tls.Policy{},
		permission.Policy{},
		timeout.Policy{},
	}
}

// Kinds are the kinds of all policies.
func Kinds() []api.Kind {
	var kinds []api.Kind
	for _, p := range Policies() {
		kinds = append(kinds, p.Kind())
	}
	return kinds
}

// DefaultResources are the policies that come with a new mesh, unless it skips their kind. There is no permission among
// them: a new mesh denies everything.
func DefaultResources(mesh string) []*api.Resource {
	return append(tls.DefaultResources(mesh), timeout.DefaultResources(mesh)...)
}
