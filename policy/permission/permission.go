// Package permission is MeshTrafficPermission: who may call an inbound. Its lists are the union of all policies that
// match; a request passes if no deny matches and some allow does. Names and breadth of a target play no part.
//
// It decides what is enforced and not how: the chain element is in permission/filter, which knows only the wire. Evaluate
// is the slow oracle that both the filter's tests and "hauberk why" ask. Start at Spec.
package permission

import (
	"fmt"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/controlplane/ir"
	"github.com/hauberk-mesh/hauberk/policy"
	"github.com/hauberk-mesh/hauberk/policy/target"
)

// KindName is the kind as users write it.
const KindName = "MeshTrafficPermission"

// Spec of a MeshTrafficPermission.
type Spec struct {
	TargetRef *api.TargetRef `json:"targetRef,omitempty"` // whose inbounds; default the whole mesh
	Rules     []Rule         `json:"rules"`
}

// Rule is one set of lists.
type Rule struct {
	Default Lists `json:"default"`
}

// Lists say who may and who may not. An entry matches if all that it lists holds.
type Lists struct {
	Deny  []Entry `json:"deny,omitempty"`
	Allow []Entry `json:"allow,omitempty"`
	// AllowWithShadowDeny allows, and records what would be denied without it.
	AllowWithShadowDeny []Entry `json:"allowWithShadowDeny,omitempty"`
}

// Entry lists conditions. One without a spiffeID matches anonymous callers too.
type Entry struct {
	SpiffeID *StringMatch `json:"spiffeID,omitempty"`
	Methods  []string     `json:"methods,omitempty"` // upper case, as on the wire
	Paths    []PathMatch  `json:"paths,omitempty"`   // compared with the normalised path, without the query
}

// StringMatch is Exact, or Prefix: a plain prefix of the whole ID.
type StringMatch struct {
	Type  ir.MatchType `json:"type"`
	Value string       `json:"value"`
}

// PathMatch is Exact, Prefix (by segment) or Template (by segment: {name} and * one, a closing ** the rest).
type PathMatch struct {
	Type  ir.MatchType `json:"type"`
	Value string       `json:"value"`
}

// Target is whose proxies the policy is for.
func (s *Spec) Target() *api.TargetRef { return s.TargetRef }

// Policy is MeshTrafficPermission.
type Policy struct{}

// Kind describes the resource.
func (Policy) Kind() api.Kind {
	k := api.DefineKind(KindName, "meshtrafficpermissions", validate)
	k.IsPolicy, k.Short = true, []string{"meshtrafficpermission", "mtp"}
	return k
}

// Apply gives every inbound the union of the lists that are about it.
func (Policy) Apply(resources []*api.Resource, p *ir.Proxy) error {
	for _, in := range p.Inbounds {
		in.Permission = &ir.Permission{}
		for _, r := range matching(resources, p, in) {
			collect(r, in.Permission)
		}
	}
	return nil
}

// Explain has one line for each entry in force.
func (Policy) Explain(resources []*api.Resource, p *ir.Proxy) []policy.Contribution {
	var all []policy.Contribution
	for _, in := range p.Inbounds {
		for _, r := range matching(resources, p, in) {
			var lists ir.Permission
			collect(r, &lists)
			for _, list := range []struct {
				field   string
				entries []ir.PermissionEntry
			}{{"deny", lists.Deny}, {"allow", lists.Allow}} {
				for _, e := range list.entries {
					all = append(all, policy.Contribution{
						Kind: KindName, On: in.Name, Field: list.field, Value: describe(e), Origin: policyOf(e.Rule), Rule: e.Rule,
					})
				}
			}
		}
	}
	return all
}

func matching(resources []*api.Resource, p *ir.Proxy, in *ir.Listener) (out []*api.Resource) {
	for _, r := range resources {
		if _, ok := target.Inbound(r.Spec.(*Spec).TargetRef, p, in.PortName); ok {
			out = append(out, r)
		}
	}
	return out
}

// collect appends the entries of a resource, in its order.
func collect(r *api.Resource, into *ir.Permission) {
	for i, rule := range r.Spec.(*Spec).Rules {
		at := func(list string, j int) string {
			return fmt.Sprintf("%s/%s#rules[%d].%s[%d]", KindName, r.Metadata.Name, i, list, j)
		}
		for j, e := range rule.Default.Deny {
			into.Deny = append(into.Deny, entry(at("deny", j), e))
		}
		for j, e := range rule.Default.Allow {
			into.Allow = append(into.Allow, entry(at("allow", j), e))
		}
		for j, e := range rule.Default.AllowWithShadowDeny {
			shadow := entry(at("allowWithShadowDeny", j), e)
			into.Allow, into.Shadow = append(into.Allow, shadow), append(into.Shadow, shadow)
		}
	}
}

func entry(rule string, e Entry) ir.PermissionEntry {
	out := ir.PermissionEntry{Rule: rule, Methods: e.Methods}
	if e.SpiffeID != nil {
		out.SPIFFEID = &ir.StringMatch{Type: e.SpiffeID.Type, Value: e.SpiffeID.Value}
	}
	for _, p := range e.Paths {
		out.Paths = append(out.Paths, ir.PathMatch{Type: p.Type, Value: trimSlash(p)})
	}
	return out
}
