package config

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/hauberk-mesh/hauberk/accel/multiregex"
	"github.com/hauberk-mesh/hauberk/dataplane/route"
)

// defaultDirectBody is what leaving max_direct_response_body_size_bytes out means.
const defaultDirectBody = 4096

// rewrite reads what of a request is changed on its way to the upstream.
func rewrite(m *routev3.RouteAction, out *route.Route, path string) error {
	if host := m.GetHostRewriteLiteral(); host != "" {
		if !validHost(host) {
			return fmt.Errorf("%s.host_rewrite_literal: %q is not a host", path, host)
		}
		out.HostRewrite = strings.ToLower(host)
	}
	if m.GetPrefixRewrite() != "" && m.GetRegexRewrite() != nil {
		return fmt.Errorf("%s.regex_rewrite: can not be set beside prefix_rewrite", path)
	}
	var err error
	out.PathRewrite, err = pathRewrite(m.GetPrefixRewrite(), m.GetRegexRewrite(), path)
	return err
}

// pathRewrite is nil where nothing is to be rewritten.
func pathRewrite(prefix string, regex *matcherv3.RegexMatchAndSubstitute, path string) (*route.PathRewrite, error) {
	switch {
	case regex != nil:
		if err := pathText(regex.GetSubstitution()); err != nil {
			return nil, fmt.Errorf("%s.regex_rewrite.substitution: %w", path, err)
		}
		if regex.GetPattern().GetRegex() == "" {
			return nil, fmt.Errorf("%s.regex_rewrite.pattern.regex: is empty", path)
		}
		s, err := multiregex.CompileSubstitution(regex.GetPattern().GetRegex(), regex.GetSubstitution())
		if err != nil {
			return nil, fmt.Errorf("%s.regex_rewrite: %w", path, err)
		}
		return &route.PathRewrite{Regex: s}, nil
	case prefix != "":
		if !strings.HasPrefix(prefix, "/") {
			return nil, fmt.Errorf("%s.prefix_rewrite: %q must begin with /", path, prefix)
		}
		if err := pathText(prefix); err != nil {
			return nil, fmt.Errorf("%s.prefix_rewrite: %w", path, err)
		}
		return &route.PathRewrite{Prefix: prefix}, nil
	}
	return nil, nil
}

// pathText refuses what must not get into a path: it would end it, or the request line.
func pathText(s string) error {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '?' || c == '#' {
			return fmt.Errorf("%q holds %q, which can not stand in a path: write it percent-encoded", s, c)
		}
	}
	return nil
}

// redirect reads where the client is sent.
func redirect(m *routev3.RedirectAction, out *route.Route, path string) error {
	d := &route.Redirect{
		Scheme: strings.ToLower(m.GetSchemeRedirect()), Host: m.GetHostRedirect(), Port: uint16(m.GetPortRedirect()),
		StripQuery: m.GetStripQuery(),
	}
	if m.GetHttpsRedirect() {
		d.Scheme = "https"
	}
	if d.Scheme != "" && !validScheme(d.Scheme) {
		return fmt.Errorf("%s.scheme_redirect: %q is not a scheme", path, m.GetSchemeRedirect())
	}
	if d.Host != "" && !validHost(d.Host) {
		return fmt.Errorf("%s.host_redirect: %q is not a host", path, d.Host)
	}
	if d.Port != 0 && route.WithoutPort(d.Host) != d.Host {
		return fmt.Errorf("%s.port_redirect: host_redirect %q has a port already", path, d.Host)
	}
	if m.GetPortRedirect() > 65535 {
		return fmt.Errorf("%s.port_redirect: %d is above 65535", path, m.GetPortRedirect())
	}
	status, ok := map[routev3.RedirectAction_RedirectResponseCode]int{
		routev3.RedirectAction_MOVED_PERMANENTLY: 301, routev3.RedirectAction_FOUND: 302, routev3.RedirectAction_SEE_OTHER: 303,
		routev3.RedirectAction_TEMPORARY_REDIRECT: 307, routev3.RedirectAction_PERMANENT_REDIRECT: 308,
	}[m.GetResponseCode()]
	if !ok {
		return fmt.Errorf("%s.response_code: %s is not honoured", path, m.GetResponseCode())
	}
	d.Status = status
	if d.Path = m.GetPathRedirect(); d.Path != "" {
		where, query, _ := strings.Cut(d.Path, "?")
		if !strings.HasPrefix(where, "/") || pathText(where) != nil || pathText(query) != nil {
			return fmt.Errorf("%s.path_redirect: %q is not a path that begins with /", path, d.Path)
		}
	}
	var err error
	d.Rewrite, err = pathRewrite(m.GetPrefixRewrite(), m.GetRegexRewrite(), path)
	out.Redirect = d
	return err
}

// direct reads an answer that is always the same.
func (t *tableBuild) direct(m *routev3.DirectResponseAction, out *route.Route, path string) error {
	if m.GetStatus() < 200 || m.GetStatus() > 599 {
		return fmt.Errorf("%s.status: %d is not between 200 and 599", path, m.GetStatus())
	}
	body, err := t.directBody(m.GetBody(), path+".body")
	if err != nil {
		return err
	}
	if len(body) > t.maxBody {
		return fmt.Errorf("%s.body: has %d bytes, above the limit of %d: see max_direct_response_body_size_bytes",
			path, len(body), t.maxBody)
	}
	if s := m.GetStatus(); body != "" && (s == 204 || s == 304) {
		return fmt.Errorf("%s.body: a response %d has none", path, s)
	}
	out.Direct = &route.Direct{Status: int(m.GetStatus()), Body: body}
	return nil
}

func (t *tableBuild) directBody(m *corev3.DataSource, path string) (string, error) {
	switch s := m.GetSpecifier().(type) {
	case nil:
		return "", nil
	case *corev3.DataSource_InlineString:
		return s.InlineString, nil
	case *corev3.DataSource_InlineBytes:
		return string(s.InlineBytes), nil
	case *corev3.DataSource_Filename:
		return t.deps.readFile(s.Filename, int64(t.maxBody), path+".filename")
	}
	return "", fmt.Errorf("%s: is not honoured, only inline_string, inline_bytes and filename", path)
}

// validHost takes a name, an IPv4 address, or an IPv6 address in brackets, with a port or without.
func validHost(s string) bool {
	host := s
	if i := strings.LastIndexByte(s, ':'); i >= 0 && !strings.HasSuffix(s, "]") {
		port, err := strconv.ParseUint(s[i+1:], 10, 16)
		if host = s[:i]; err != nil || port == 0 {
			return false
		}
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		return ok && net.ParseIP(inner) != nil
	}
	for i := range len(host) {
		c := host[i] | 0x20
		if (c < 'a' || c > 'z') && (host[i] < '0' || host[i] > '9') && host[i] != '-' && host[i] != '.' && host[i] != '_' {
			return false
		}
	}
	return host != ""
}

func validScheme(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (i == 0 || (c < '0' || c > '9') && c != '+' && c != '-' && c != '.') {
			return false
		}
	}
	return s != ""
}
