package permission

import (
	"regexp"
	"slices"
	"strings"

	"github.com/hauberk-mesh/hauberk/controlplane/ir"
)

// DefaultDeny is the policy of a refusal that no rule asked for: nothing allowed the call.
const DefaultDeny = "default-deny"

// Call is what is known of a request or connection when it is judged.
type Call struct {
	PeerID string // SPIFFE ID that the handshake proved; "" is anonymous
	HTTP   bool   // false: an opaque connection, which has neither method nor path
	Method string
	Path   string // normalised; a query is ignored
}

// Result is the verdict.
type Result struct {
	Allowed bool
	Policy  string // "MeshTrafficPermission/<name>", or DefaultDeny
	Rule    string // "" where Policy is DefaultDeny
	Shadow  string // the rule of allowWithShadowDeny that matched, of a call that is allowed
}

// Evaluate judges a call as the proxy must: deny first, then allow. It is the plain reading of the rules, against which
// faster ones are tested.
func Evaluate(p *ir.Permission, c Call) Result {
	if p == nil {
		return Result{Policy: DefaultDeny}
	}
	if e := firstDenial(p.Deny, c, true); e != nil {
		return Result{Policy: policyOf(e.Rule), Rule: e.Rule}
	}
	e := firstMatch(p.Allow, c, false)
	if e == nil {
		return Result{Policy: DefaultDeny}
	}
	r := Result{Allowed: true, Policy: policyOf(e.Rule), Rule: e.Rule}
	if shadow := firstDenial(p.Shadow, c, false); shadow != nil {
		r.Shadow = shadow.Rule
	}
	return r
}

// parameters are what a segment of a path may end with (RFC 3986 section 3.3), or is all of it. An escaped semicolon counts: a
// server that decodes first sees no difference.
var parameters = regexp.MustCompile(`/(?:;|%3[Bb])[^/]*|(?:;|%3[Bb])[^/]*`)

// firstDenial also asks for the path without parameters: there are applications that cut them off, to which /admin;x is
// /admin. What is allowed is allowed only as it is spelled.
func firstDenial(entries []ir.PermissionEntry, c Call, deny bool) *ir.PermissionEntry {
	if e := firstMatch(entries, c, deny); e != nil {
		return e
	}
	path, _, _ := strings.Cut(c.Path, "?")
	if c.Path = parameters.ReplaceAllString(path, ""); c.Path == "" {
		c.Path = "/"
	}
	return firstMatch(entries, c, deny)
}

// policyOf is the policy's part of a rule: "MeshTrafficPermission/cart" of "MeshTrafficPermission/cart#rules[0].allow[0]".
func policyOf(rule string) string {
	name, _, _ := strings.Cut(rule, "#")
	return name
}

func firstMatch(entries []ir.PermissionEntry, c Call, deny bool) *ir.PermissionEntry {
	for i := range entries {
		if matches(&entries[i], c, deny) {
			return &entries[i]
		}
	}
	return nil
}

// matches: without HTTP there is nothing to compare methods and paths with. The safe reading is that an allow which asks
// for them never matches, and that a deny matches by the rest of its entry.
func matches(e *ir.PermissionEntry, c Call, deny bool) bool {
	if e.SPIFFEID != nil && !matchID(*e.SPIFFEID, c.PeerID) {
		return false
	}
	if !c.HTTP {
		return deny || len(e.Methods) == 0 && len(e.Paths) == 0
	}
	if len(e.Methods) > 0 && !slices.Contains(e.Methods, c.Method) {
		return false
	}
	path, _, _ := strings.Cut(c.Path, "?")
	return len(e.Paths) == 0 || slices.ContainsFunc(e.Paths, func(m ir.PathMatch) bool { return matchPath(m, path) })
}

// matchID never takes an anonymous caller, not even for an empty prefix.
func matchID(m ir.StringMatch, id string) bool {
	switch {
	case id == "":
		return false
	case m.Type == ir.Exact:
		return id == m.Value
	case m.Type == ir.Prefix:
		return strings.HasPrefix(id, m.Value)
	}
	return false
}

func matchPath(m ir.PathMatch, path string) bool {
	switch m.Type {
	case ir.Exact:
		return path == m.Value
	case ir.Prefix:
		prefix := strings.TrimSuffix(m.Value, "/")
		if prefix == "" {
			return true // "*", the target of OPTIONS, is behind "/" too, as it is to routes: a deny of "/" leaves nothing out
		}
		rest, ok := strings.CutPrefix(path, prefix)
		return ok && (rest == "" || rest[0] == '/')
	case ir.Template:
		return matchTemplate(strings.Split(m.Value, "/"), strings.Split(path, "/"))
	}
	return false
}

// matchTemplate compares segment by segment. {name} and * take one that is not empty; a closing ** takes one or more,
// which may be empty: /a/** is /a/ and /a/b/c, not /a.
func matchTemplate(pattern, path []string) bool {
	for i, want := range pattern {
		if want == "**" {
			return len(path) > i
		}
		if len(path) <= i {
			return false
		}
		if wild := want == "*" || strings.HasPrefix(want, "{"); wild && path[i] == "" || !wild && path[i] != want {
			return false
		}
	}
	return len(path) == len(pattern)
}
