package translate

import (
	"fmt"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	uritemplatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/path/match/uri_template/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/hauberk-mesh/hauberk/controlplane/ir"
)

const uriTemplateMatcher = "envoy.path.match.uri_template.uri_template_matcher"

// permissionRules are the three rule sets of a Permission. Deny and shadow are nil if they have no entry; allow never is,
// since an ALLOW without a policy is what denies by default.
type permissionRules struct{ deny, shadow, allow *rbacv3.RBAC }

// rules reads a Permission for one kind of chain. Where the chain is not HTTP an allow that asks for more than the caller
// can never hold, so it and its shadow are left out; a deny holds by the rest of its entry: the safe reading of each.
func rules(p *ir.Permission, protocol ir.Protocol) (permissionRules, error) {
	deny, err := rbac(rbacv3.RBAC_DENY, p.Deny, protocol)
	if err != nil {
		return permissionRules{}, fmt.Errorf("deny: %w", err)
	}
	shadow, err := rbac(rbacv3.RBAC_DENY, holding(p.Shadow, protocol), protocol)
	if err != nil {
		return permissionRules{}, fmt.Errorf("allowWithShadowDeny: %w", err)
	}
	allow, err := rbac(rbacv3.RBAC_ALLOW, holding(p.Allow, protocol), protocol)
	if err != nil {
		return permissionRules{}, fmt.Errorf("allow: %w", err)
	}
	r := permissionRules{allow: allow}
	if len(deny.Policies) > 0 {
		r.deny = deny
	}
	if len(shadow.Policies) > 0 {
		r.shadow = shadow
	}
	return r, nil
}

// holding are the entries that can hold at all on a chain of this protocol.
func holding(entries []ir.PermissionEntry, protocol ir.Protocol) []ir.PermissionEntry {
	if protocol.IsHTTP() {
		return entries
	}
	var out []ir.PermissionEntry
	for _, e := range entries {
		if len(e.Methods) == 0 && len(e.Paths) == 0 {
			out = append(out, e)
		}
	}
	return out
}

func rbac(action rbacv3.RBAC_Action, entries []ir.PermissionEntry, protocol ir.Protocol) (*rbacv3.RBAC, error) {
	m := &rbacv3.RBAC{Action: action}
	for i := range entries {
		e := &entries[i]
		if e.Rule == "" {
			return nil, fmt.Errorf("entry %d has no rule name", i)
		}
		if m.Policies[e.Rule] != nil {
			return nil, fmt.Errorf("rule %q is there twice", e.Rule)
		}
		policy, err := rbacPolicy(e, protocol)
		if err != nil {
			return nil, fmt.Errorf("rule %q: %w", e.Rule, err)
		}
		if m.Policies == nil {
			m.Policies = map[string]*rbacv3.Policy{}
		}
		m.Policies[e.Rule] = policy
	}
	return m, nil
}

func rbacPolicy(e *ir.PermissionEntry, protocol ir.Protocol) (*rbacv3.Policy, error) {
	who, err := principal(e.SPIFFEID)
	if err != nil {
		return nil, err
	}
	var all []*rbacv3.Permission
	if protocol.IsHTTP() {
		if len(e.Methods) > 0 {
			all = append(all, anyOf(methods(e.Methods)))
		}
		if len(e.Paths) > 0 {
			paths, err := paths(e.Paths)
			if err != nil {
				return nil, err
			}
			all = append(all, anyOf(paths))
		}
	}
	return &rbacv3.Policy{
		Principals:  []*rbacv3.Principal{who},
		Permissions: []*rbacv3.Permission{allOf(all)},
	}, nil
}

// principal of nil is anybody, anonymous callers included; every other one holds only for an authenticated caller.
func principal(id *ir.StringMatch) (*rbacv3.Principal, error) {
	if id == nil {
		return &rbacv3.Principal{Identifier: &rbacv3.Principal_Any{Any: true}}, nil
	}
	auth := &rbacv3.Principal_Authenticated{}
	switch {
	case id.Type == ir.Exact:
		auth.PrincipalName = exactly(id.Value)
	case id.Type == ir.Prefix && id.Value == "":
		// Any authenticated caller. Envoy refuses an empty prefix and has the empty message for it.
	case id.Type == ir.Prefix:
		auth.PrincipalName = beginning(id.Value)
	default:
		return nil, fmt.Errorf("spiffeID.type %q is neither Exact nor Prefix", id.Type)
	}
	return &rbacv3.Principal{Identifier: &rbacv3.Principal_Authenticated_{Authenticated: auth}}, nil
}

func methods(names []string) []*rbacv3.Permission {
	var out []*rbacv3.Permission
	for _, name := range names {
		out = append(out, &rbacv3.Permission{Rule: &rbacv3.Permission_Header{Header: &routev3.HeaderMatcher{
			Name:                 ":method",
			HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: exactly(name)},
		}}})
	}
	return out
}

// paths are compared with url_path, which is the path without its query; ":path" would let a query decide.
func paths(matches []ir.PathMatch) ([]*rbacv3.Permission, error) {
	var out []*rbacv3.Permission
	for _, m := range matches {
		switch m.Type {
		case ir.Exact:
			out = append(out, urlPath(exactly(m.Value)))
		case ir.Prefix:
			bare := strings.TrimSuffix(m.Value, "/")
			if bare == "" { // everything, "*" of OPTIONS too
				out = append(out, &rbacv3.Permission{Rule: &rbacv3.Permission_Any{Any: true}})
				continue
			}
			out = append(out, urlPath(exactly(bare)), urlPath(beginning(bare+"/")))
		case ir.Template:
			p, err := uriTemplate(m.Value)
			if err != nil {
				return nil, err
			}
			out = append(out, p)
		default:
			return nil, fmt.Errorf("path type %q is not Exact, Prefix or Template", m.Type)
		}
	}
	return out, nil
}

func urlPath(m *matcherv3.StringMatcher) *rbacv3.Permission {
	return &rbacv3.Permission{Rule: &rbacv3.Permission_UrlPath{UrlPath: &matcherv3.PathMatcher{
		Rule: &matcherv3.PathMatcher_Path{Path: m},
	}}}
}

func uriTemplate(pattern string) (*rbacv3.Permission, error) {
	config, err := packed(&uritemplatev3.UriTemplateMatchConfig{PathTemplate: pattern})
	if err != nil {
		return nil, err
	}
	return &rbacv3.Permission{Rule: &rbacv3.Permission_UriTemplate{UriTemplate: &corev3.TypedExtensionConfig{
		Name:        uriTemplateMatcher,
		TypedConfig: config,
	}}}, nil
}

func anyOf(list []*rbacv3.Permission) *rbacv3.Permission {
	if len(list) == 1 {
		return list[0]
	}
	return &rbacv3.Permission{Rule: &rbacv3.Permission_OrRules{OrRules: &rbacv3.Permission_Set{Rules: list}}}
}

func allOf(list []*rbacv3.Permission) *rbacv3.Permission {
	switch len(list) {
	case 0:
		return &rbacv3.Permission{Rule: &rbacv3.Permission_Any{Any: true}}
	case 1:
		return list[0]
	}
	return &rbacv3.Permission{Rule: &rbacv3.Permission_AndRules{AndRules: &rbacv3.Permission_Set{Rules: list}}}
}
