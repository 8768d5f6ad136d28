package config

//lint:file-ignore SA1019 the deprecated matchers of header fields are still sent, and mean what they meant

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"

	"github.com/hauberk-mesh/hauberk/accel/multiregex"
	"github.com/hauberk-mesh/hauberk/dataplane/http"
	"github.com/hauberk-mesh/hauberk/dataplane/route"
)

// match reads which requests a route takes.
func (t *tableBuild) match(_ *reader, m *routev3.RouteMatch, out *route.Route, path string) error {
	match := &route.Match{GRPC: m.GetGrpc() != nil}
	if err := t.pathMatch(m, out, match, path); err != nil {
		return err
	}
	for i, h := range m.GetHeaders() {
		one, err := headerMatch(h, fmt.Sprintf("%s.headers[%d]", path, i))
		if err != nil {
			return err
		}
		match.Headers = append(match.Headers, one)
	}
	for i, q := range m.GetQueryParameters() {
		one, err := queryMatch(q, fmt.Sprintf("%s.query_parameters[%d]", path, i))
		if err != nil {
			return err
		}
		match.Query = append(match.Query, one)
	}
	if f := m.GetRuntimeFraction(); f != nil {
		var err error
		if match.Fraction, err = fraction(f, path+".runtime_fraction"); err != nil {
			return err
		}
		match.Partial = match.Fraction < 1_000_000
	}
	fields := len(match.Headers) + len(match.Query)
	if match.Path.Kind != route.PathAny || match.Connect || match.GRPC || match.Partial || fields > 0 {
		out.Match = match
	}
	return nil
}

// pathMatch reads how the path is compared. What is usual, all paths or a prefix by segment, is the route's own.
func (t *tableBuild) pathMatch(m *routev3.RouteMatch, out *route.Route, match *route.Match, path string) error {
	fold := m.GetCaseSensitive() != nil && !m.GetCaseSensitive().GetValue()
	var field, value string
	switch p := m.GetPathSpecifier().(type) {
	case *routev3.RouteMatch_Prefix:
		field, value, match.Path.Kind = "prefix", p.Prefix, route.PathBegins
		if p.Prefix == "/" {
			out.PathPrefix, match.Path.Kind = "/", route.PathAny
		}
	case *routev3.RouteMatch_Path:
		field, value, match.Path.Kind = "path", p.Path, route.PathIs
	case *routev3.RouteMatch_PathSeparatedPrefix:
		field, value, match.Path.Kind = "path_separated_prefix", p.PathSeparatedPrefix, route.PathSegments
		if strings.HasSuffix(value, "/") {
			return fmt.Errorf("%s.path_separated_prefix: %q must begin with / and not end with it", path, value)
		}
		if !fold {
			out.PathPrefix, match.Path.Kind = value, route.PathAny
		}
	case *routev3.RouteMatch_SafeRegex:
		if fold {
			return fmt.Errorf("%s.case_sensitive: has no effect on safe_regex: begin the expression with (?i)", path)
		}
		set, err := regex(p.SafeRegex, path+".safe_regex")
		match.Path = route.PathMatch{Kind: route.PathRegex, Text: route.Text{Kind: route.TextRegex, Regex: set}}
		return err
	case *routev3.RouteMatch_ConnectMatcher_:
		match.Connect = true
		return nil
	default:
		return fmt.Errorf("%s: says nothing of the path", path)
	}
	if err := t.reachable(value, match.Path.Kind == route.PathBegins); err != nil {
		return fmt.Errorf("%s.%s: %w", path, field, err)
	}
	if match.Path.Kind != route.PathAny {
		match.Path.Text.Value, match.Path.Text.Fold = value, fold
	}
	return nil
}

// reachable refuses a path that no request can have, since requests are normalised before they are matched: a rule that
// never holds looks like one that protects.
func (t *tableBuild) reachable(value string, prefix bool) error {
	if !strings.HasPrefix(value, "/") {
		return fmt.Errorf("%q must begin with /", value)
	}
	if strings.ContainsAny(value, "?#") {
		return fmt.Errorf("%q holds a ? or #, and a path ends before those", value)
	}
	end := ""
	if prefix {
		end = "x" // what follows: /. begins /.git
	}
	normal, err := http.Normalise(value+end, t.spec.NormalizePath, t.spec.MergeSlashes, t.spec.EscapedSlashes)
	if err != nil {
		return fmt.Errorf("%q: no request can have this path: %w", value, err)
	}
	if normal = strings.TrimSuffix(normal, end); normal != value {
		return fmt.Errorf("%q: no request can have this path: it is normalised to %q first; write that", value, normal)
	}
	return nil
}

// hopFields are taken out of the header by the codec, and no matcher can see them.
var hopFields = []string{
	"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "expect", "http2-settings",
}

func headerMatch(m *routev3.HeaderMatcher, path string) (route.HeaderMatch, error) {
	h := route.HeaderMatch{
		Name: strings.ToLower(m.GetName()), Invert: m.GetInvertMatch(), MissingEmpty: m.GetTreatMissingHeaderAsEmpty(),
	}
	pseudo := slices.Contains([]string{":method", ":path", ":authority", ":scheme"}, h.Name)
	switch {
	case !pseudo && !validName(h.Name):
		return h, fmt.Errorf("%s.name: %q is not the name of a header field", path, m.GetName())
	case slices.Contains(hopFields, h.Name):
		return h, fmt.Errorf("%s.name: %q belongs to one hop, and is not part of the request that is routed", path, m.GetName())
	}
	var err error
	switch s := m.GetHeaderMatchSpecifier().(type) {
	case nil:
		h.Present = true
	case *routev3.HeaderMatcher_PresentMatch:
		h.Present, h.Invert = true, h.Invert == s.PresentMatch
	case *routev3.HeaderMatcher_ExactMatch:
		h.Text = route.Text{Value: s.ExactMatch}
	case *routev3.HeaderMatcher_PrefixMatch:
		h.Text, err = part(route.TextBegins, s.PrefixMatch, path+".prefix_match")
	case *routev3.HeaderMatcher_SuffixMatch:
		h.Text, err = part(route.TextEnds, s.SuffixMatch, path+".suffix_match")
	case *routev3.HeaderMatcher_ContainsMatch:
		h.Text, err = part(route.TextContains, s.ContainsMatch, path+".contains_match")
	case *routev3.HeaderMatcher_SafeRegexMatch:
		h.Text.Kind = route.TextRegex
		h.Text.Regex, err = regex(s.SafeRegexMatch, path+".safe_regex_match")
	case *routev3.HeaderMatcher_RangeMatch:
		h.Range = &route.Range{Start: s.RangeMatch.GetStart(), End: s.RangeMatch.GetEnd()}
	case *routev3.HeaderMatcher_StringMatch:
		h.Text, err = stringMatch(s.StringMatch, path+".string_match")
	default:
		return h, fmt.Errorf("%s: how the value is matched is not honoured", path)
	}
	if h.Present && h.MissingEmpty {
		return h, fmt.Errorf("%s.treat_missing_header_as_empty: says nothing beside present_match", path)
	}
	return h, err
}

func queryMatch(m *routev3.QueryParameterMatcher, path string) (route.QueryMatch, error) {
	q := route.QueryMatch{Name: m.GetName()}
	if q.Name == "" {
		return q, fmt.Errorf("%s.name: is empty", path)
	}
	var err error
	switch s := m.GetQueryParameterMatchSpecifier().(type) {
	case nil:
		q.Present = true
	case *routev3.QueryParameterMatcher_PresentMatch:
		q.Present, q.Absent = s.PresentMatch, !s.PresentMatch
	case *routev3.QueryParameterMatcher_StringMatch:
		q.Text, err = stringMatch(s.StringMatch, path+".string_match")
	}
	return q, err
}

func stringMatch(m *matcherv3.StringMatcher, path string) (route.Text, error) {
	var t route.Text
	var err error
	switch p := m.GetMatchPattern().(type) {
	case *matcherv3.StringMatcher_Exact:
		t = route.Text{Value: p.Exact}
	case *matcherv3.StringMatcher_Prefix:
		t, err = part(route.TextBegins, p.Prefix, path+".prefix")
	case *matcherv3.StringMatcher_Suffix:
		t, err = part(route.TextEnds, p.Suffix, path+".suffix")
	case *matcherv3.StringMatcher_Contains:
		t, err = part(route.TextContains, p.Contains, path+".contains")
	case *matcherv3.StringMatcher_SafeRegex:
		if m.GetIgnoreCase() {
			return t, fmt.Errorf("%s.ignore_case: has no effect on safe_regex: begin the expression with (?i)", path)
		}
		t.Kind = route.TextRegex
		t.Regex, err = regex(p.SafeRegex, path+".safe_regex")
	default:
		return t, fmt.Errorf("%s: has no pattern", path)
	}
	t.Fold = m.GetIgnoreCase()
	return t, err
}

func part(kind route.TextKind, value, path string) (route.Text, error) {
	if value == "" {
		return route.Text{}, fmt.Errorf("%s: is empty, and would hold for everything", path)
	}
	return route.Text{Kind: kind, Value: value}, nil
}

// regex compiles an expression, which has to match as a whole.
func regex(m *matcherv3.RegexMatcher, path string) (*multiregex.Set, error) {
	if m.GetRegex() == "" {
		return nil, fmt.Errorf("%s.regex: is empty", path)
	}
	set, err := multiregex.Compile(m.GetRegex())
	if err != nil {
		return nil, fmt.Errorf("%s.regex: %w", path, errors.Unwrap(err))
	}
	return set, nil
}

// fraction is a share in millionths.
func fraction(m *corev3.RuntimeFractionalPercent, path string) (uint32, error) {
	p := m.GetDefaultValue()
	if p == nil {
		return 0, fmt.Errorf("%s.default_value: is required: there is no runtime here that could say it", path)
	}
	scale := map[typev3.FractionalPercent_DenominatorType]uint64{
		typev3.FractionalPercent_HUNDRED: 10_000, typev3.FractionalPercent_TEN_THOUSAND: 100, typev3.FractionalPercent_MILLION: 1,
	}[p.GetDenominator()]
	if scale == 0 {
		return 0, fmt.Errorf("%s.default_value.denominator: %s is not honoured", path, p.GetDenominator())
	}
	return uint32(min(uint64(p.GetNumerator())*scale, 1_000_000)), nil
}
