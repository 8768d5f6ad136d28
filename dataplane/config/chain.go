package config

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/anypb"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"

	"github.com/hauberk-mesh/hauberk/dataplane/filter"
	"github.com/hauberk-mesh/hauberk/dataplane/http"
	"github.com/hauberk-mesh/hauberk/dataplane/listener"
	"github.com/hauberk-mesh/hauberk/dataplane/route"
	"github.com/hauberk-mesh/hauberk/dataplane/tcp"
	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
)

// What leaving a timeout out means, by Envoy's documentation.
const (
	defaultIdle       = time.Hour
	defaultStreamIdle = 5 * time.Minute
)

// chain reads filters up to the one that ends the chain: the HTTP connection manager or the TCP proxy.
func (l *listenerBuild) chain(r *reader, m *listenerv3.FilterChain, path string) (*listener.Chain, error) {
	match, err := chainMatch(m.GetFilterChainMatch(), path+".filter_chain_match")
	if err != nil {
		return nil, err
	}
	c := &listener.Chain{Name: m.GetName(), Match: match}
	for i, f := range m.GetFilters() {
		at := fmt.Sprintf("%s.filters[%d]", path, i)
		if c.HTTP != nil || c.TCP != nil {
			return nil, fmt.Errorf("%s: comes after the filter that ends the chain", at)
		}
		if err := l.filter(r, c, f, at); err != nil {
			return nil, err
		}
	}
	if c.HTTP == nil && c.TCP == nil {
		return nil, fmt.Errorf("%s.filters: has neither an HTTP connection manager nor a TCP proxy", path)
	}
	var alpn []string
	if c.HTTP != nil {
		alpn = []string{"http/1.1"}
	}
	if c.TLS, err = l.downstream(r, m.GetTransportSocket(), path+".transport_socket", alpn); err != nil {
		return nil, err
	}
	l.part.trusts = l.part.trusts || c.TLS != nil
	if c.TLS != nil && match == listener.MatchPlaintext {
		return nil, fmt.Errorf("%s.transport_socket: TLS in a chain that is for raw_buffer", path)
	}
	return c, nil
}

func (l *listenerBuild) filter(r *reader, c *listener.Chain, m *listenerv3.Filter, path string) error {
	config, at := m.GetTypedConfig(), path+".typed_config"
	switch {
	case config.MessageIs((*hcmv3.HttpConnectionManager)(nil)):
		h := &hcmv3.HttpConnectionManager{}
		if err := r.any(config, at, h); err != nil {
			return err
		}
		spec, err := l.http(r, h, at)
		c.HTTP = spec
		return err
	case config.MessageIs((*tcpproxyv3.TcpProxy)(nil)):
		t := &tcpproxyv3.TcpProxy{}
		if err := r.any(config, at, t); err != nil {
			return err
		}
		spec, err := l.tcp(t, at)
		c.TCP = spec
		return err
	}
	factory := l.filters[config.GetTypeUrl()]
	if factory.Network == nil {
		return fmt.Errorf("%s: filter %q is not honoured", at, config.GetTypeUrl())
	}
	f, err := factory.Network(config.GetValue(), l.env())
	if err != nil {
		return inFilter(at, err)
	}
	if f != nil {
		c.Network = append(c.Network, f)
	}
	return nil
}

func (l *listenerBuild) tcp(m *tcpproxyv3.TcpProxy, path string) (*tcp.Spec, error) {
	s := &tcp.Spec{Direction: l.direction, Service: l.service, OwnService: l.deps.Service, OwnID: l.deps.Identity.ID}
	var err error
	if s.Cluster, err = l.cluster(m.GetCluster(), path+".cluster"); err != nil {
		return nil, err
	}
	if s.Cluster.HTTP() {
		return nil, fmt.Errorf("%s.cluster: %q speaks HTTP, an opaque connection can not go there", path, m.GetCluster())
	}
	if s.IdleTimeout, err = duration(m.GetIdleTimeout(), defaultIdle, path+".idle_timeout"); err != nil {
		return nil, err
	}
	s.MaxConnection, err = duration(m.GetMaxDownstreamConnectionDuration(), 0, path+".max_downstream_connection_duration")
	s.Service = l.serviceOr(s.Cluster.Service())
	return s, err
}

func (l *listenerBuild) http(r *reader, m *hcmv3.HttpConnectionManager, path string) (*http.Spec, error) {
	if c := m.GetCodecType(); c != hcmv3.HttpConnectionManager_AUTO && c != hcmv3.HttpConnectionManager_HTTP1 {
		return nil, fmt.Errorf("%s.codec_type: %s is not honoured, only AUTO and HTTP1", path, c)
	}
	s := &http.Spec{
		Direction: l.direction, Service: l.serviceOr(""), OwnService: l.deps.Service, OwnID: l.deps.Identity.ID,
		NormalizePath: m.GetNormalizePath().GetValue(), MergeSlashes: m.GetMergeSlashes(),
	}
	var err error
	if s.EscapedSlashes, err = escapedSlashes(m.GetPathWithEscapedSlashesAction(), path+".path_with_escaped_slashes_action"); err != nil {
		return nil, err
	}
	if err := httpTimeouts(m, s, path); err != nil {
		return nil, err
	}
	if s.Filters, err = l.httpFilters(r, m.GetHttpFilters(), path+".http_filters"); err != nil {
		return nil, err
	}
	s.Routes, err = l.routes(r, m, path)
	return s, err
}

func httpTimeouts(m *hcmv3.HttpConnectionManager, s *http.Spec, path string) error {
	var errs [4]error
	common := m.GetCommonHttpProtocolOptions()
	s.IdleTimeout, errs[0] = duration(common.GetIdleTimeout(), defaultIdle, path+".common_http_protocol_options.idle_timeout")
	s.MaxConnection, errs[1] = duration(common.GetMaxConnectionDuration(), 0, path+".common_http_protocol_options.max_connection_duration")
	s.StreamIdle, errs[2] = duration(m.GetStreamIdleTimeout(), defaultStreamIdle, path+".stream_idle_timeout")
	s.RequestHeaders, errs[3] = duration(m.GetRequestHeadersTimeout(), 0, path+".request_headers_timeout")
	return errors.Join(errs[:]...)
}

func escapedSlashes(a hcmv3.HttpConnectionManager_PathWithEscapedSlashesAction, path string) (http.EscapedSlashes, error) {
	switch a {
	case hcmv3.HttpConnectionManager_IMPLEMENTATION_SPECIFIC_DEFAULT, hcmv3.HttpConnectionManager_KEEP_UNCHANGED:
		return http.KeepEscapedSlashes, nil
	case hcmv3.HttpConnectionManager_REJECT_REQUEST:
		return http.RejectEscapedSlashes, nil
	}
	return 0, fmt.Errorf("%s: %s is not honoured, only KEEP_UNCHANGED and REJECT_REQUEST", path, a)
}

// httpFilters reads the chain, which the router ends. A filter of an unknown type that may be left out is left out and
// noted; one whose configuration is wrong is refused all the same.
func (l *listenerBuild) httpFilters(r *reader, list []*hcmv3.HttpFilter, path string) ([]filter.HTTP, error) {
	var out []filter.HTTP
	for i, m := range list {
		config, at := m.GetTypedConfig(), fmt.Sprintf("%s[%d].typed_config", path, i)
		if config.MessageIs((*routerv3.Router)(nil)) {
			if i != len(list)-1 {
				return nil, fmt.Errorf("%s: the router must be the last filter", at)
			}
			return out, r.any(config, at, &routerv3.Router{})
		}
		factory := l.filters[config.GetTypeUrl()]
		switch {
		case factory.HTTP != nil:
			f, err := factory.HTTP(config.GetValue(), l.env())
			if err != nil {
				return nil, inFilter(at, err)
			}
			if f != nil {
				out = append(out, f)
			}
		case m.GetIsOptional():
			r.note(at, "is_optional says that it may be left out")
		default:
			return nil, fmt.Errorf("%s: filter %q is not honoured", at, config.GetTypeUrl())
		}
	}
	return nil, fmt.Errorf("%s: does not end with the router", path)
}

// routes are inline, or a resource of their own that is named.
func (l *listenerBuild) routes(r *reader, m *hcmv3.HttpConnectionManager, path string) (*route.Table, error) {
	if m.GetRouteConfig() != nil {
		return l.table(r, m.GetRouteConfig(), path+".route_config")
	}
	name := m.GetRds().GetRouteConfigName()
	if name == "" {
		return nil, fmt.Errorf("%s: has neither route_config nor rds", path)
	}
	if err := overADS(m.GetRds().GetConfigSource(), path+".rds.config_source"); err != nil {
		return nil, err
	}
	message := l.in[TypeRoute][name]
	if message == nil {
		return nil, fmt.Errorf("%s.rds: route configuration %q was not sent", path, name)
	}
	l.part.routes[name] = message
	t, err := l.namedTable(r, name, message)
	if err != nil {
		return nil, fmt.Errorf("route configuration %q: %w", name, err)
	}
	return t, nil
}

func (l *listenerBuild) namedTable(r *reader, name string, message *anypb.Any) (*route.Table, error) {
	m := &routev3.RouteConfiguration{}
	own := l.reader("route configuration", name)
	if err := own.any(message, "", m); err != nil {
		return nil, err
	}
	if m.GetName() != name {
		return nil, fmt.Errorf("name: is %q", m.GetName())
	}
	t, err := l.table(own, m, "")
	r.notes = append(r.notes, own.notes...)
	return t, err
}

func (l *listenerBuild) env() filter.Env { return filter.Env{ClusterReady: l.deps.ClusterReady} }

// serviceOr is whose traffic the listener carries: what its metadata says, else the own service (inbound) or the cluster's.
func (l *listenerBuild) serviceOr(cluster string) string {
	switch {
	case l.service != "":
		return l.service
	case l.direction == telemetry.Inbound:
		return l.deps.Service
	}
	return cluster
}

// inFilter continues the path of a filter's own error.
func inFilter(path string, err error) error { return fmt.Errorf("%s.%w", path, err) }
