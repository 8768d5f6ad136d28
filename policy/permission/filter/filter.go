// Package filter enforces permissions in the proxy: Envoy's RBAC, as an HTTP filter and as a network filter. It knows rules
// and callers, and nothing of MeshTrafficPermission, whose Apply is in the parent folder. Start with rules.judge;
// only parse.go and parse_condition.go see protobufs.
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
	matched     *filter.Verdict // of a shadow allow nil: nothing is to be noted
}

// rbac is the filter: rules are enforced, shadow rules only noted. Either may be nil.
type rbac struct{ rules, shadow *rules }

// Request judges an HTTP request by its normalised path.
func (f *rbac) Request(c *filter.Conn, r *message.Request) *filter.Verdict { return f.judge(c, r) }

// Connection judges a connection by its caller and addresses.
func (f *rbac) Connection(c *filter.Conn) *filter.Verdict { return f.judge(c, nil) }

// judge has one verdict to give: a refusal before a shadow rule, and that before the rule that allowed.
func (f *rbac) judge(c *filter.Conn, r *message.Request) *filter.Verdict {
	var enforced, shadow *filter.Verdict
	if f.rules != nil {
		enforced = f.rules.judge(c, r)
	}
	if f.shadow != nil && (enforced == nil || !enforced.Refuse) {
		shadow = f.shadow.judge(c, r)
	}
	if shadow != nil {
		return shadow
	}
	return enforced
}

// judge returns nil, or the verdict of the rule that allows, where the rules let the request pass. A deny also holds for the path without parameters: there are
// applications that cut them off (RFC 3986 section 3.3 leaves that to them), and to which /admin;x is /admin.
func (s *rules) judge(c *filter.Conn, r *message.Request) *filter.Verdict {
	v := s.match(c, r)
	if v == nil && s.action == deny && r != nil && parameters(r.Path) >= 0 {
		bare := *r
		bare.Path = withoutParameters(r.Path)
		v = s.match(c, &bare)
	}
	return v
}

func (s *rules) match(c *filter.Conn, r *message.Request) *filter.Verdict {
	for i := range s.policies {
		if p := &s.policies[i]; anyMatches(p.principals, c, r) && anyMatches(p.permissions, c, r) {
			return p.matched
		}
	}
	return s.unmatched
}

// parameters is where the first parameters of a path, or of a segment, begin; -1: there are none. An escaped semicolon counts:
// a server that decodes first sees no difference.
func parameters(path string) int {
	for i := range len(path) {
		switch path[i] {
		case ';':
			return i
		case '%':
			if i+2 < len(path) && path[i+1] == '3' && path[i+2]|0x20 == 'b' {
				return i
			}
		}
	}
	return -1
}

// withoutParameters cuts ";..." off each segment. A segment that has nothing else is none.
func withoutParameters(path string) string {
	var out strings.Builder
	for segment := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		if at := parameters(segment); at == 0 {
			continue
		} else if at > 0 {
			segment = segment[:at]
		}
		out.WriteByte('/')
		out.WriteString(segment)
	}
	if out.Len() == 0 {
		return "/"
	}
	return out.String()
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
		s.unmatched = refusal(defaultDeny, "none", enforced)
	}
	for i := range policies {
		switch name := policies[i].name; {
		case a == deny:
			policies[i].matched = refusal(name, name, enforced)
		case enforced:
			policies[i].matched = &filter.Verdict{Policy: policyOf(name), Rule: name}
		}
	}
	return s
}

// policyOf is what is before a rule's "#".
func policyOf(rule string) string {
	name, _, _ := strings.Cut(rule, "#")
	return name
}

// refusal names the rule that refuses, or would if it were enforced. In Details Envoy has no white space.
func refusal(rule, inDetails string, enforced bool) *filter.Verdict {
	v := &filter.Verdict{
		Refuse:  enforced,
		Shadow:  !enforced,
		Details: "rbac_access_denied_matched_policy[" + strings.Join(strings.Fields(inDetails), "_") + "]",
		Policy:  policyOf(rule),
		Rule:    rule,
	}
	if enforced {
		v.Status, v.Flags, v.Reason = status, flag, reason
	}
	return v
}
