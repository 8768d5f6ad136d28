package permission_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hauberk-mesh/hauberk/controlplane/ir"
	"github.com/hauberk-mesh/hauberk/policy/permission"
	"github.com/hauberk-mesh/hauberk/policy/policytest"
)

func TestCases(t *testing.T) {
	policytest.Run(t, policytest.Suite{Policy: permission.Policy{}, View: view, Call: call})
}

func view(p *ir.Proxy) any {
	out := map[string]*ir.Permission{}
	for _, in := range p.Inbounds {
		out[in.Name] = in.Permission
	}
	return out
}

// call reads "<inbound> <caller or anonymous> [<method> <path>]".
func call(p *ir.Proxy, line string) string {
	words := strings.Fields(line)
	c := permission.Call{PeerID: words[1]}
	if c.PeerID == "anonymous" {
		c.PeerID = ""
	}
	if len(words) == 4 {
		c.HTTP, c.Method, c.Path = true, words[2], words[3]
	}
	for _, in := range p.Inbounds {
		if in.PortName != words[0] {
			continue
		}
		r := permission.Evaluate(in.Permission, c)
		out := fmt.Sprintf("%s by %s %s", map[bool]string{true: "allowed", false: "denied"}[r.Allowed], r.Policy, r.Rule)
		if r.Shadow != "" {
			out += ", shadow " + r.Shadow
		}
		return strings.TrimSpace(out)
	}
	return "no such inbound"
}

// A deny of all paths leaves no request out, not even one that has no path.
func TestPrefixOfTheRootIsEverything(t *testing.T) {
	all := []ir.PathMatch{{Type: ir.Prefix, Value: "/"}}
	p := &ir.Permission{
		Deny:  []ir.PermissionEntry{{Rule: "MeshTrafficPermission/x#rules[0].deny[0]", SPIFFEID: &ir.StringMatch{Type: ir.Exact, Value: "spiffe://d/a"}, Paths: all}},
		Allow: []ir.PermissionEntry{{Rule: "MeshTrafficPermission/x#rules[0].allow[0]"}},
	}
	for _, path := range []string{"/", "/a", "/a/b", "*"} {
		if r := permission.Evaluate(p, permission.Call{PeerID: "spiffe://d/a", HTTP: true, Method: "OPTIONS", Path: path}); r.Allowed {
			t.Errorf("%s is allowed", path)
		}
		if r := permission.Evaluate(p, permission.Call{PeerID: "spiffe://d/b", HTTP: true, Method: "OPTIONS", Path: path}); !r.Allowed {
			t.Errorf("%s is denied to another", path)
		}
	}
}

// An application that cuts parameters off its path must not find one that is denied.
func TestParametersDodgeNoDeny(t *testing.T) {
	match := func(kind ir.MatchType, value string) []ir.PathMatch {
		return []ir.PathMatch{{Type: kind, Value: value}}
	}
	for _, paths := range [][]ir.PathMatch{match(ir.Exact, "/admin/x"), match(ir.Prefix, "/admin"), match(ir.Template, "/admin/{x}")} {
		p := &ir.Permission{
			Deny:  []ir.PermissionEntry{{Rule: "MeshTrafficPermission/x#rules[0].deny[0]", Paths: paths}},
			Allow: []ir.PermissionEntry{{Rule: "MeshTrafficPermission/x#rules[0].allow[0]"}},
		}
		for path, allowed := range map[string]bool{
			"/admin/x": false, "/admin;/x": false, "/admin;a=b/x;c": false, "/;/admin/x": false, "/;a/;b/admin/;c/x": false, "/admin/x;a?b;c": false,
			"/administrator/x;a": true, "/a/admin/x;a": true, "/;/;": true,
		} {
			if r := permission.Evaluate(p, permission.Call{HTTP: true, Method: "GET", Path: path}); r.Allowed != allowed {
				t.Errorf("%v: %s is allowed: %v", paths, path, r.Allowed)
			}
		}
		p.Allow[0].Paths, p.Deny = paths, nil
		if r := permission.Evaluate(p, permission.Call{HTTP: true, Method: "GET", Path: "/admin;a/x"}); r.Allowed {
			t.Errorf("%v: parameters are allowed by what does not name them", paths)
		}
	}
}
