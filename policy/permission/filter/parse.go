package filter

//lint:file-ignore SA1019 other control planes still send the deprecated matchers, and they mean what they meant

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	httprbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	networkrbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/rbac/v3"

	"github.com/hauberk-mesh/hauberk/dataplane/filter"
	"github.com/hauberk-mesh/hauberk/dataplane/filter/typedconfig"
)

// Type URLs of the two filters.
const (
	typeHTTP    = "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC"
	typeNetwork = "type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC"
)

// maxDepth of nested rules. Protobuf allows 10,000; a rule that deep is an attack on the stack.
const maxDepth = 32

// Factories are those of HTTP chains and of others.
func Factories() []filter.Factory {
	return []filter.Factory{
		{TypeURL: typeHTTP, HTTP: parseHTTP},
		{TypeURL: typeNetwork, Network: parseNetwork},
	}
}

// parseHTTP reads the HTTP filter; the prefixes of statistics change nothing and are accepted.
func parseHTTP(config []byte, _ filter.Env) (filter.HTTP, error) {
	m := &httprbacv3.RBAC{}
	if err := proto.Unmarshal(config, m); err != nil {
		return nil, err
	}
	err := typedconfig.Only(m, "", "rules", "shadow_rules", "rules_stat_prefix", "shadow_rules_stat_prefix", "track_per_rule_stats")
	if err != nil {
		return nil, err
	}
	f, err := parser{http: true}.filter(m.GetRules(), m.GetShadowRules())
	if f == nil {
		return nil, err
	}
	return f, err
}

func parseNetwork(config []byte, _ filter.Env) (filter.Network, error) {
	m := &networkrbacv3.RBAC{}
	if err := proto.Unmarshal(config, m); err != nil {
		return nil, err
	}
	err := typedconfig.Only(m, "", "rules", "shadow_rules", "stat_prefix", "shadow_rules_stat_prefix")
	if err != nil {
		return nil, err
	}
	f, err := parser{}.filter(m.GetRules(), m.GetShadowRules())
	if f == nil {
		return nil, err
	}
	return f, err
}

// parser turns messages into matchers. Every populated field that it does not read is refused, with its path.
type parser struct {
	http bool // headers and paths are there to be read
}

func (p parser) filter(enforced, shadow *rbacv3.RBAC) (*rbac, error) {
	if enforced == nil && shadow == nil {
		return nil, nil
	}
	f := &rbac{}
	var err error
	if f.rules, err = p.rules(enforced, "rules", true); err != nil {
		return nil, err
	}
	if f.shadow, err = p.rules(shadow, "shadow_rules", false); err != nil {
		return nil, err
	}
	return f, nil
}

func (p parser) rules(m *rbacv3.RBAC, path string, enforced bool) (*rules, error) {
	if m == nil {
		return nil, nil
	}
	if err := typedconfig.Only(m, path, "action", "policies"); err != nil {
		return nil, err
	}
	var a action
	switch m.GetAction() {
	case rbacv3.RBAC_ALLOW:
		a = allow
	case rbacv3.RBAC_DENY:
		a = deny
	default:
		return nil, fmt.Errorf("%s.action: %s is not honoured, only ALLOW and DENY", path, m.GetAction())
	}
	var policies []policy
	for name, pm := range m.GetPolicies() {
		one, err := p.policy(name, pm, fmt.Sprintf("%s.policies[%q]", path, name))
		if err != nil {
			return nil, err
		}
		policies = append(policies, one)
	}
	return compile(a, policies, enforced), nil
}

func (p parser) policy(name string, m *rbacv3.Policy, path string) (policy, error) {
	if err := typedconfig.Only(m, path, "permissions", "principals"); err != nil {
		return policy{}, err
	}
	permissions, err := p.permissions(m.GetPermissions(), path+".permissions", 0)
	if err != nil {
		return policy{}, err
	}
	principals, err := p.principals(m.GetPrincipals(), path+".principals", 0)
	if err != nil {
		return policy{}, err
	}
	return policy{name: name, permissions: permissions, principals: principals}, nil
}

func (p parser) permissions(list []*rbacv3.Permission, path string, depth int) ([]matcher, error) {
	return each(list, path, func(m *rbacv3.Permission, path string) (matcher, error) { return p.permission(m, path, depth+1) })
}

func (p parser) principals(list []*rbacv3.Principal, path string, depth int) ([]matcher, error) {
	return each(list, path, func(m *rbacv3.Principal, path string) (matcher, error) { return p.principal(m, path, depth+1) })
}

// each reads a list that must not be empty: to Envoy an empty one is invalid, and to a reader it could mean all or nothing.
func each[M any](list []M, path string, read func(M, string) (matcher, error)) ([]matcher, error) {
	if len(list) == 0 {
		return nil, fmt.Errorf("%s: must not be empty", path)
	}
	var out []matcher
	for i, m := range list {
		one, err := read(m, fmt.Sprintf("%s[%d]", path, i))
		if err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	return out, nil
}

func (p parser) permission(m *rbacv3.Permission, path string, depth int) (matcher, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("%s: rules are nested deeper than %d", path, maxDepth)
	}
	if err := typedconfig.Only(m, path, "and_rules", "or_rules", "not_rule", "any", "header", "url_path", "uri_template",
		"destination_ip", "destination_port", "destination_port_range", "requested_server_name"); err != nil {
		return nil, err
	}
	switch r := m.GetRule().(type) {
	case *rbacv3.Permission_Any:
		return anybody(r.Any, path+".any")
	case *rbacv3.Permission_AndRules:
		list, err := p.permissions(r.AndRules.GetRules(), path+".and_rules.rules", depth)
		return all(list), err
	case *rbacv3.Permission_OrRules:
		list, err := p.permissions(r.OrRules.GetRules(), path+".or_rules.rules", depth)
		return some(list), err
	case *rbacv3.Permission_NotRule:
		inner, err := p.permission(r.NotRule, path+".not_rule", depth+1)
		return not{inner}, err
	case *rbacv3.Permission_Header:
		return p.header(r.Header, path+".header")
	case *rbacv3.Permission_UrlPath:
		return p.urlPath(r.UrlPath, path+".url_path")
	case *rbacv3.Permission_UriTemplate:
		return p.uriTemplate(r.UriTemplate, path+".uri_template")
	case *rbacv3.Permission_DestinationIp:
		network, err := cidr(r.DestinationIp, path+".destination_ip")
		return destinationIP(network), err
	case *rbacv3.Permission_DestinationPort:
		return portRange(int64(r.DestinationPort), int64(r.DestinationPort)+1, path+".destination_port")
	case *rbacv3.Permission_DestinationPortRange:
		if err := typedconfig.Only(r.DestinationPortRange, path+".destination_port_range", "start", "end"); err != nil {
			return nil, err
		}
		return portRange(int64(r.DestinationPortRange.GetStart()), int64(r.DestinationPortRange.GetEnd()), path+".destination_port_range")
	case *rbacv3.Permission_RequestedServerName:
		name, err := stringMatcher(r.RequestedServerName, path+".requested_server_name")
		return serverName{name}, err
	}
	return nil, fmt.Errorf("%s: no rule is set", path)
}

func (p parser) principal(m *rbacv3.Principal, path string, depth int) (matcher, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("%s: rules are nested deeper than %d", path, maxDepth)
	}
	if err := typedconfig.Only(m, path, "and_ids", "or_ids", "not_id", "any", "authenticated", "source_ip", "direct_remote_ip", "header", "url_path"); err != nil {
		return nil, err
	}
	switch r := m.GetIdentifier().(type) {
	case *rbacv3.Principal_Any:
		return anybody(r.Any, path+".any")
	case *rbacv3.Principal_AndIds:
		list, err := p.principals(r.AndIds.GetIds(), path+".and_ids.ids", depth)
		return all(list), err
	case *rbacv3.Principal_OrIds:
		list, err := p.principals(r.OrIds.GetIds(), path+".or_ids.ids", depth)
		return some(list), err
	case *rbacv3.Principal_NotId:
		inner, err := p.principal(r.NotId, path+".not_id", depth+1)
		return not{inner}, err
	case *rbacv3.Principal_Authenticated_:
		return authenticated(r.Authenticated, path+".authenticated")
	case *rbacv3.Principal_SourceIp:
		network, err := cidr(r.SourceIp, path+".source_ip")
		return sourceIP(network), err
	case *rbacv3.Principal_DirectRemoteIp:
		network, err := cidr(r.DirectRemoteIp, path+".direct_remote_ip")
		return sourceIP(network), err
	case *rbacv3.Principal_Header:
		return p.header(r.Header, path+".header")
	case *rbacv3.Principal_UrlPath:
		return p.urlPath(r.UrlPath, path+".url_path")
	}
	return nil, fmt.Errorf("%s: no identifier is set", path)
}
