package config

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/anypb"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	preservecasev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/header_formatters/preserve_case/v3"

	"github.com/hauberk-mesh/hauberk/dataplane/filter"
	"github.com/hauberk-mesh/hauberk/dataplane/http"
	"github.com/hauberk-mesh/hauberk/dataplane/route"
)

// What leaving a timeout out means, by Envoy's documentation.
const (
	defaultStreamIdle = 5 * time.Minute
	defaultDrain      = 5 * time.Second
	defaultCloseDelay = time.Second
)

// maxHeadKB is the most that max_request_headers_kb may say, as in Envoy.
const maxHeadKB = 8192

// http reads the HTTP connection manager.
func (l *listenerBuild) http(r *reader, m *hcmv3.HttpConnectionManager, path string) (*http.Spec, error) {
	s := &http.Spec{
		Direction: l.direction, Service: l.serviceOr(""), OwnService: l.deps.Service, OwnID: l.deps.Identity.ID,
		NormalizePath: m.GetNormalizePath().GetValue(), MergeSlashes: m.GetMergeSlashes(), StripDot: m.GetStripTrailingHostDot(),
		MaxRequests: int(m.GetCommonHttpProtocolOptions().GetMaxRequestsPerConnection().GetValue()),
	}
	if l.deps.Overload != nil {
		s.OverloadShed, s.OverloadClose = l.deps.Overload.ShedRequests, l.deps.Overload.EndKeepAlive
	}
	requestIDs(m, s)
	for _, read := range []func(*reader, *hcmv3.HttpConnectionManager, *http.Spec, string) error{
		httpEnums, httpLimits, httpTimeouts, http1Options, http2Options, httpUpgrades,
	} {
		if err := read(r, m, s, path); err != nil {
			return nil, err
		}
	}
	var err error
	if s.AccessLog, err = l.accessLogs(r, m.GetAccessLog(), path+".access_log"); err != nil {
		return nil, err
	}
	var router *routerv3.Router
	if s.Filters, router, err = l.httpFilters(r, m.GetHttpFilters(), path+".http_filters"); err != nil {
		return nil, err
	}
	t := &tableBuild{listenerBuild: l, spec: s, remoteIsDirect: s.Edge, original: !router.GetSuppressEnvoyHeaders()}
	if err := t.fromManager(m, path); err != nil {
		return nil, err
	}
	s.Routes, err = t.routes(r, m, path)
	return s, err
}

// requestIDs reads what becomes of x-request-id and x-forwarded-for. Envoy replaces the ID of a request that comes from
// outside, and takes every caller for an insider unless use_remote_address says otherwise.
func requestIDs(m *hcmv3.HttpConnectionManager, s *http.Spec) {
	s.Edge = m.GetUseRemoteAddress().GetValue()
	s.AppendForwardedFor = s.Edge && !m.GetSkipXffAppend()
	s.GenerateRequestID = m.GetGenerateRequestId() == nil || m.GetGenerateRequestId().GetValue()
	s.PreserveRequestID = m.GetPreserveExternalRequestId() || !s.Edge
	s.RequestIDInResponse = m.GetAlwaysSetRequestIdInResponse()
}

// httpEnums reads what is one of several words.
func httpEnums(_ *reader, m *hcmv3.HttpConnectionManager, s *http.Spec, path string) error {
	switch c := m.GetCodecType(); c {
	case hcmv3.HttpConnectionManager_AUTO:
		s.Codec = http.Auto
	case hcmv3.HttpConnectionManager_HTTP1:
		s.Codec = http.HTTP1
	case hcmv3.HttpConnectionManager_HTTP2:
		s.Codec = http.HTTP2
	default:
		return fmt.Errorf("%s.codec_type: %s is not honoured, only AUTO, HTTP1 and HTTP2", path, c)
	}
	switch {
	case m.GetStripAnyHostPort() && m.GetStripMatchingHostPort():
		return fmt.Errorf("%s.strip_any_host_port: can not be set beside strip_matching_host_port", path)
	case m.GetStripAnyHostPort():
		s.StripPort = http.StripAny
	case m.GetStripMatchingHostPort():
		s.StripPort = http.StripMatching
	}
	switch a := m.GetCommonHttpProtocolOptions().GetHeadersWithUnderscoresAction(); a {
	case corev3.HttpProtocolOptions_ALLOW:
		s.Underscores = http.AllowUnderscores
	case corev3.HttpProtocolOptions_REJECT_REQUEST:
		s.Underscores = http.RejectUnderscores
	case corev3.HttpProtocolOptions_DROP_HEADER:
		s.Underscores = http.DropUnderscores
	default:
		return fmt.Errorf("%s.common_http_protocol_options.headers_with_underscores_action: %s is not honoured", path, a)
	}
	var err error
	s.EscapedSlashes, err = escapedSlashes(m.GetPathWithEscapedSlashesAction(), path+".path_with_escaped_slashes_action")
	return err
}

func escapedSlashes(a hcmv3.HttpConnectionManager_PathWithEscapedSlashesAction, path string) (http.EscapedSlashes, error) {
	switch a {
	case hcmv3.HttpConnectionManager_IMPLEMENTATION_SPECIFIC_DEFAULT, hcmv3.HttpConnectionManager_KEEP_UNCHANGED:
		return http.KeepEscapedSlashes, nil
	case hcmv3.HttpConnectionManager_REJECT_REQUEST:
		return http.RejectEscapedSlashes, nil
	case hcmv3.HttpConnectionManager_UNESCAPE_AND_FORWARD:
		return http.UnescapeAndForward, nil
	case hcmv3.HttpConnectionManager_UNESCAPE_AND_REDIRECT:
		return http.UnescapeAndRedirect, nil
	}
	return 0, fmt.Errorf("%s: %s is not honoured", path, a)
}

// httpLimits reads how large a request's head may be.
func httpLimits(_ *reader, m *hcmv3.HttpConnectionManager, s *http.Spec, path string) error {
	if kb := m.GetMaxRequestHeadersKb(); kb != nil {
		if kb.GetValue() == 0 || kb.GetValue() > maxHeadKB {
			return fmt.Errorf("%s.max_request_headers_kb: %d is not between 1 and %d", path, kb.GetValue(), maxHeadKB)
		}
		s.MaxHead = int(kb.GetValue()) << 10
	}
	if n := m.GetCommonHttpProtocolOptions().GetMaxHeadersCount(); n != nil {
		if n.GetValue() == 0 {
			return fmt.Errorf("%s.common_http_protocol_options.max_headers_count: must be 1 or more", path)
		}
		s.MaxFields = int(n.GetValue())
	}
	return nil
}

func httpTimeouts(_ *reader, m *hcmv3.HttpConnectionManager, s *http.Spec, path string) error {
	var errs [7]error
	inner, at := m.GetCommonHttpProtocolOptions(), path+".common_http_protocol_options"
	s.IdleTimeout, errs[0] = duration(inner.GetIdleTimeout(), defaultIdle, at+".idle_timeout")
	s.MaxConnection, errs[1] = duration(inner.GetMaxConnectionDuration(), 0, at+".max_connection_duration")
	s.StreamIdle, errs[2] = duration(m.GetStreamIdleTimeout(), defaultStreamIdle, path+".stream_idle_timeout")
	s.RequestHeaders, errs[3] = duration(m.GetRequestHeadersTimeout(), 0, path+".request_headers_timeout")
	s.RequestTime, errs[4] = duration(m.GetRequestTimeout(), 0, path+".request_timeout")
	s.Drain, errs[5] = duration(m.GetDrainTimeout(), defaultDrain, path+".drain_timeout")
	s.CloseDelay, errs[6] = duration(m.GetDelayedCloseTimeout(), defaultCloseDelay, path+".delayed_close_timeout")
	if s.CloseDelay == 0 {
		s.CloseDelay = -1 // not at all
	}
	return errors.Join(errs[:]...)
}

// http1Options reads what concerns HTTP/1 alone.
func http1Options(r *reader, m *hcmv3.HttpConnectionManager, s *http.Spec, path string) error {
	o, at := m.GetHttpProtocolOptions(), path+".http_protocol_options"
	s.HTTP10, s.DefaultHost = o.GetAcceptHttp_10(), strings.ToLower(o.GetDefaultHostForHttp_10())
	if s.DefaultHost != "" && !validHost(s.DefaultHost) {
		return fmt.Errorf("%s.default_host_for_http_10: %q is not a host", at, s.DefaultHost)
	}
	if a := o.GetAllowAbsoluteUrl(); a != nil && !a.GetValue() {
		return fmt.Errorf("%s.allow_absolute_url: must be true: a proxy has to take them (RFC 9112 section 3.2.2)", at)
	}
	switch f := o.GetHeaderKeyFormat(); {
	case f == nil:
	case f.GetStatefulFormatter() == nil:
		return fmt.Errorf("%s.header_key_format: only the stateful_formatter preserve_case is honoured: "+
			"names keep the case in which they came", at)
	default:
		where := at + ".header_key_format.stateful_formatter.typed_config"
		return r.any(f.GetStatefulFormatter().GetTypedConfig(), where, &preservecasev3.PreserveCaseFormatterConfig{})
	}
	return nil
}

// httpUpgrades reads to which protocols a request may change.
func httpUpgrades(_ *reader, m *hcmv3.HttpConnectionManager, s *http.Spec, path string) error {
	for i, u := range m.GetUpgradeConfigs() {
		enabled := u.GetEnabled() == nil || u.GetEnabled().GetValue()
		switch strings.ToLower(u.GetUpgradeType()) {
		case "websocket":
			s.Upgrades.WebSocket = enabled
		case "connect":
			s.Upgrades.Connect = enabled
		default:
			return fmt.Errorf("%s.upgrade_configs[%d].upgrade_type: %q is not honoured, only websocket and CONNECT",
				path, i, u.GetUpgradeType())
		}
	}
	return nil
}

// httpFilters reads the chain, which the router ends. A filter of an unknown type that may be left out is left out and
// noted; one whose configuration is wrong is refused all the same.
func (l *listenerBuild) httpFilters(
	r *reader, list []*hcmv3.HttpFilter, path string,
) ([]filter.HTTP, *routerv3.Router, error) {
	var out []filter.HTTP
	for i, m := range list {
		config, at := m.GetTypedConfig(), fmt.Sprintf("%s[%d].typed_config", path, i)
		if config.MessageIs((*routerv3.Router)(nil)) {
			if i != len(list)-1 {
				return nil, nil, fmt.Errorf("%s: the router must be the last filter", at)
			}
			router := &routerv3.Router{}
			return out, router, r.any(config, at, router)
		}
		factory := l.filters[config.GetTypeUrl()]
		switch {
		case factory.HTTP != nil:
			f, err := factory.HTTP(config.GetValue(), l.env())
			if err != nil {
				return nil, nil, inFilter(at, err)
			}
			if f != nil {
				out = append(out, f)
			}
		case m.GetIsOptional():
			r.note(at, "is_optional says that it may be left out")
		default:
			return nil, nil, fmt.Errorf("%s: filter %q is not honoured", at, config.GetTypeUrl())
		}
	}
	return nil, nil, fmt.Errorf("%s: does not end with the router", path)
}

// routes are inline, or a resource of their own that is named.
func (t *tableBuild) routes(r *reader, m *hcmv3.HttpConnectionManager, path string) (*route.Table, error) {
	if m.GetRouteConfig() != nil {
		return t.table(r, m.GetRouteConfig(), path+".route_config")
	}
	name := m.GetRds().GetRouteConfigName()
	if name == "" {
		return nil, fmt.Errorf("%s: has neither route_config nor rds", path)
	}
	if err := overADS(m.GetRds().GetConfigSource(), path+".rds.config_source"); err != nil {
		return nil, err
	}
	message := t.in[TypeRoute][name]
	if message == nil {
		return nil, fmt.Errorf("%s.rds: route configuration %q was not sent", path, name)
	}
	t.part.routes[name] = message
	table, err := t.namedTable(r, name, message)
	if err != nil {
		return nil, fmt.Errorf("route configuration %q: %w", name, err)
	}
	return table, nil
}

func (t *tableBuild) namedTable(r *reader, name string, message *anypb.Any) (*route.Table, error) {
	m := &routev3.RouteConfiguration{}
	own := t.reader("route configuration", name)
	if err := own.any(message, "", m); err != nil {
		return nil, err
	}
	if m.GetName() != name {
		return nil, fmt.Errorf("name: is %q", m.GetName())
	}
	table, err := t.table(own, m, "")
	r.notes = append(r.notes, own.notes...)
	return table, err
}
