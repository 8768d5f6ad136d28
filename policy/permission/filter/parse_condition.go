package filter

//lint:file-ignore SA1019 other control planes still send the deprecated matchers, and they mean what they meant

import (
	"fmt"
	"net/netip"
	"strings"

	"google.golang.org/protobuf/proto"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	uritemplatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/path/match/uri_template/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/hauberk-mesh/hauberk/dataplane/filter/typedconfig"
)

const typeTemplate = "type.googleapis.com/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig"

// anybody is true or nothing: Envoy takes no false either.
func anybody(yes bool, path string) (matcher, error) {
	if !yes {
		return nil, fmt.Errorf("%s: must be true", path)
	}
	return always{}, nil
}

func authenticated(m *rbacv3.Principal_Authenticated, path string) (matcher, error) {
	if err := typedconfig.Only(m, path, "principal_name"); err != nil {
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
	if err := typedconfig.Only(m, path, "name", "typed_config"); err != nil {
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
	if err := typedconfig.Only(inner, path+".typed_config", "path_template"); err != nil {
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
	if err := typedconfig.Only(m, path, "address_prefix", "prefix_len"); err != nil {
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

// header reads a field of the request, or one of the pseudo-fields :method and :authority. Of :path only url_path decides:
// :path holds the query, and rules on it are dodged by adding one.
func (p parser) header(m *routev3.HeaderMatcher, path string) (matcher, error) {
	if err := p.needsHTTP(path); err != nil {
		return nil, err
	}
	if err := typedconfig.Only(m, path, "name", "exact_match", "prefix_match", "suffix_match", "contains_match", "present_match", "string_match"); err != nil {
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
	if err := typedconfig.Only(m, path, "path"); err != nil {
		return nil, err
	}
	value, err := stringMatcher(m.GetPath(), path+".path")
	return urlPath{value}, err
}

func stringMatcher(m *matcherv3.StringMatcher, path string) (text, error) {
	if m.GetSafeRegex() != nil {
		return text{}, fmt.Errorf("%s.safe_regex: is not honoured by this version: a regular expression on each request has no bound yet", path)
	}
	if err := typedconfig.Only(m, path, "exact", "prefix", "suffix", "contains", "ignore_case"); err != nil {
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
