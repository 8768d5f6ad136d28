// Package filter enforces permissions in the proxy: Envoy's RBAC, as an HTTP filter and as a network filter. It knows rules
// and callers, and nothing of MeshTrafficPermission, whose Apply is in the parent folder. Start with rules.judge; parse.go
// is the only file that sees protobufs.
//
// A rule set is compiled once with its chain. Judging a request reads it and allocates nothing, and the verdicts that it
// hands out are made beforehand.
package filter

import (
	"slices"
	"strings"

	"github.com/hauberk-mesh/hauberk/dataplane/filter"
	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
)

// What a refusal says.
const (
	reason      = "permission_denied"
	flag        = "UAEX"
	status      = 403
	defaultDeny = "default-deny"
)

// action is what a match of a policy means.
type action uint8

// deny refuses what matches, allow refuses what does not.
const (
	deny action = iota
	allow
)

// rules are one RBAC message: policies in the order of their names, as Envoy goes through them.
type rules struct {
	action   action
	policies []policy
	// unmatched is the verdict of an allow that nothing matched; nil for deny.
	unmatched *filter.Verdict
}

// policy matches where some principal and some permission does.
type policy struct {
	name        string
	principals  []matcher
	permissions []matcher
	matched     *filter.Verdict // of a deny; nil for allow
}

// rbac is the filter: rules are enforced, shadow rules only noted. Either may be nil.
type rbac struct{ rules, shadow *rules }

// Request judges an HTTP request by its normalised path.
func (f *rbac) Request(c *filter.Conn, r *message.Request) *filter.Verdict { return f.judge(c, r) }

// Connection judges a connection by its caller and addresses.
func (f *rbac) Connection(c *filter.Conn) *filter.Verdict { return f.judge(c, nil) }

func (f *rbac) judge(c *filter.Conn, r *message.Request) *filter.Verdict {
	if f.rules != nil {
		if v := f.rules.judge(c, r); v != nil {
			return v
		}
	}
	if f.shadow != nil {
		return f.shadow.judge(c, r)
	}
	return nil
}

// judge returns nil where the rules let the request pass.
func (s *rules) judge(c *filter.Conn, r *message.Request) *filter.Verdict {
	for i := range s.policies {
		if p := &s.policies[i]; anyMatches(p.principals, c, r) && anyMatches(p.permissions, c, r) {
			return p.matched
		}
	}
	return s.unmatched
}

func anyMatches(list []matcher, c *filter.Conn, r *message.Request) bool {
	for _, m := range list {
		if m.matches(c, r) {
			return true
		}
	}
	return false
}

// compile orders the policies and makes all verdicts. Enforced verdicts refuse, shadow ones are noted.
func compile(a action, policies []policy, enforced bool) *rules {
	slices.SortFunc(policies, func(a, b policy) int { return strings.Compare(a.name, b.name) })
	s := &rules{action: a, policies: policies}
	if a == allow {
		s.unmatched = verdict(defaultDeny, "none", enforced)
		return s
	}
	for i := range policies {
		policies[i].matched = verdict(policies[i].name, policies[i].name, enforced)
	}
	return s
}

// verdict names the rule, and as policy what is before the rule's "#". In Details Envoy has no white space.
func verdict(rule, inDetails string, refuse bool) *filter.Verdict {
	name, _, _ := strings.Cut(rule, "#")
	v := &filter.Verdict{
		Refuse:  refuse,
		Details: "rbac_access_denied_matched_policy[" + strings.Join(strings.Fields(inDetails), "_") + "]",
		Policy:  name,
		Rule:    rule,
	}
	if refuse {
		v.Status, v.Flags, v.Reason = status, flag, reason
	}
	return v
}
