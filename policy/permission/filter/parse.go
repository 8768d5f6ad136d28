package filter

//lint:file-ignore SA1019 other control planes still send the deprecated matchers, and they mean what they meant

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	httprbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	networkrbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/rbac/v3"
	uritemplatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/path/match/uri_template/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/hauberk-mesh/hauberk/dataplane/filter"
)

// Type URLs of the two messages.
const (
	typeHTTP     = "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC"
	typeNetwork  = "type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC"
	typeTemplate = "type.googleapis.com/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig"
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
	err := only(m, "", "rules", "shadow_rules", "rules_stat_prefix", "shadow_rules_stat_prefix", "track_per_rule_stats")
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
	err := only(m, "", "rules", "shadow_rules", "stat_prefix", "shadow_rules_stat_prefix")
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
	if err := only(m, path, "action", "policies"); err != nil {
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
	if err := only(m, path, "permissions", "principals"); err != nil {
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
	if err := only(m, path, "and_rules", "or_rules", "not_rule", "any", "header", "url_path", "uri_template",
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
		if err := only(r.DestinationPortRange, path+".destination_port_range", "start", "end"); err != nil {
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
	if err := only(m, path, "and_ids", "or_ids", "not_id", "any", "authenticated", "source_ip", "direct_remote_ip", "header", "url_path"); err != nil {
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

// anybody is true or nothing: Envoy takes no false either.
func anybody(yes bool, path string) (matcher, error) {
	if !yes {
		return nil, fmt.Errorf("%s: must be true", path)
	}
	return always{}, nil
}

func authenticated(m *rbacv3.Principal_Authenticated, path string) (matcher, error) {
	if err := only(m, path, "principal_name"); err != nil {
		return nil, err
	}
	if m.GetPrincipalName() == nil {
		return caller{text{how: anything}}, nil
	}
	name, err := stringMatcher(m.GetPrincipalName(), path+".principal_name")
	return caller{name}, err
}

func (p parser) uriTemplate(m *corev3.TypedExtensionConfig, path string) (matcher, error) {
	if err := p.needsHTTP(path); err != nil {
		return nil, err
	}
	if err := only(m, path, "name", "typed_config"); err != nil {
		return nil, err
	}
	config := m.GetTypedConfig()
	if config.GetTypeUrl() != typeTemplate {
		return nil, fmt.Errorf("%s.typed_config: type %q is not honoured, only %s", path, config.GetTypeUrl(), typeTemplate)
	}
	inner := &uritemplatev3.UriTemplateMatchConfig{}
	if err := proto.Unmarshal(config.GetValue(), inner); err != nil {
		return nil, fmt.Errorf("%s.typed_config: %w", path, err)
	}
	if err := only(inner, path+".typed_config", "path_template"); err != nil {
		return nil, err
	}
	t, err := parseTemplate(inner.GetPathTemplate())
	if err != nil {
		return nil, fmt.Errorf("%s.typed_config.path_template: %w", path, err)
	}
	return t, nil
}

func (p parser) needsHTTP(path string) error {
	if !p.http {
		return fmt.Errorf("%s: there is nothing to read on a connection that is not HTTP", path)
	}
	return nil
}

func portRange(from, before int64, path string) (matcher, error) {
	if from < 0 || before > 65536 || from >= before {
		return nil, fmt.Errorf("%s: [%d,%d) is no range of ports", path, from, before)
	}
	return destinationPort{uint16(from), uint16(before - 1)}, nil
}

func cidr(m *corev3.CidrRange, path string) (netip.Prefix, error) {
	if err := only(m, path, "address_prefix", "prefix_len"); err != nil {
		return netip.Prefix{}, err
	}
	addr, err := netip.ParseAddr(m.GetAddressPrefix())
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%s.address_prefix: %w", path, err)
	}
	if m.GetPrefixLen() == nil {
		return netip.Prefix{}, fmt.Errorf("%s.prefix_len: is not set, and none would mean everybody", path)
	}
	if addr.Zone() != "" || addr.Is4In6() || m.GetPrefixLen().GetValue() > uint32(addr.BitLen()) {
		return netip.Prefix{}, fmt.Errorf("%s: %s/%d is no network", path, addr, m.GetPrefixLen().GetValue())
	}
	return netip.PrefixFrom(addr, int(m.GetPrefixLen().GetValue())).Masked(), nil
}

// only refuses every populated field of m but the named ones, and bytes that this build's protobufs do not know.
func only(m proto.Message, path string, names ...string) error {
	r := m.ProtoReflect()
	if !r.IsValid() {
		return fmt.Errorf("%s: is not set", path)
	}
	if len(r.GetUnknown()) > 0 {
		return errors.New(strings.TrimPrefix(path+": holds a field that this version does not know", ": "))
	}
	var refused []string
	r.Range(func(f protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		if name := string(f.Name()); !slices.Contains(names, name) {
			refused = append(refused, strings.TrimPrefix(path+"."+name, "."))
		}
		return true
	})
	if len(refused) == 0 {
		return nil
	}
	slices.Sort(refused)
	return fmt.Errorf("%s: is not honoured", refused[0])
}

// header reads a field of the request, or one of the pseudo-fields :method and :authority. Of :path only url_path decides:
// :path holds the query, and rules on it are dodged by adding one.
func (p parser) header(m *routev3.HeaderMatcher, path string) (matcher, error) {
	if err := p.needsHTTP(path); err != nil {
		return nil, err
	}
	if err := only(m, path, "name", "exact_match", "prefix_match", "suffix_match", "contains_match", "present_match", "string_match"); err != nil {
		return nil, err
	}
	name := strings.ToLower(m.GetName())
	value, err := headerValue(m, path)
	if err != nil {
		return nil, err
	}
	present, asksPresence := m.GetHeaderMatchSpecifier().(*routev3.HeaderMatcher_PresentMatch)
	switch {
	case name == ":method" && !asksPresence:
		return method{value}, nil
	case (name == ":authority" || name == "host") && !asksPresence:
		return authority{value}, nil
	case name == "" || name == "host" || strings.HasPrefix(name, ":"):
		return nil, fmt.Errorf("%s.name: %q is not honoured here; for the path there is url_path", path, m.GetName())
	case asksPresence:
		return headerPresent{name, present.PresentMatch}, nil
	}
	return header{name, value}, nil
}

func headerValue(m *routev3.HeaderMatcher, path string) (text, error) {
	switch h := m.GetHeaderMatchSpecifier().(type) {
	case *routev3.HeaderMatcher_StringMatch:
		return stringMatcher(h.StringMatch, path+".string_match")
	case *routev3.HeaderMatcher_ExactMatch:
		return text{how: exact, value: h.ExactMatch}, nil
	case *routev3.HeaderMatcher_PrefixMatch:
		return notEmpty(text{how: prefix, value: h.PrefixMatch}, path+".prefix_match")
	case *routev3.HeaderMatcher_SuffixMatch:
		return notEmpty(text{how: suffix, value: h.SuffixMatch}, path+".suffix_match")
	case *routev3.HeaderMatcher_ContainsMatch:
		return notEmpty(text{how: contains, value: h.ContainsMatch}, path+".contains_match")
	case *routev3.HeaderMatcher_PresentMatch:
		return text{}, nil
	}
	return text{}, fmt.Errorf("%s: says only a name; for presence there is present_match", path)
}

func (p parser) urlPath(m *matcherv3.PathMatcher, path string) (matcher, error) {
	if err := p.needsHTTP(path); err != nil {
		return nil, err
	}
	if err := only(m, path, "path"); err != nil {
		return nil, err
	}
	value, err := stringMatcher(m.GetPath(), path+".path")
	return urlPath{value}, err
}

func stringMatcher(m *matcherv3.StringMatcher, path string) (text, error) {
	if m.GetSafeRegex() != nil {
		return text{}, fmt.Errorf("%s.safe_regex: is not honoured by this version: a regular expression on each request has no bound yet", path)
	}
	if err := only(m, path, "exact", "prefix", "suffix", "contains", "ignore_case"); err != nil {
		return text{}, err
	}
	fold := m.GetIgnoreCase()
	switch s := m.GetMatchPattern().(type) {
	case *matcherv3.StringMatcher_Exact:
		return text{exact, s.Exact, fold}, nil
	case *matcherv3.StringMatcher_Prefix:
		return notEmpty(text{prefix, s.Prefix, fold}, path+".prefix")
	case *matcherv3.StringMatcher_Suffix:
		return notEmpty(text{suffix, s.Suffix, fold}, path+".suffix")
	case *matcherv3.StringMatcher_Contains:
		if fold {
			return text{}, fmt.Errorf("%s.ignore_case: is not honoured with contains", path)
		}
		return notEmpty(text{contains, s.Contains, false}, path+".contains")
	}
	return text{}, fmt.Errorf("%s: no pattern is set", path)
}

// notEmpty refuses a pattern that holds for everything, as Envoy does.
func notEmpty(t text, path string) (text, error) {
	if t.value == "" {
		return text{}, fmt.Errorf("%s: must not be empty", path)
	}
	return t, nil
}
