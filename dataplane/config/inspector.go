package config

import (
	"fmt"
	"slices"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	httpinspectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/http_inspector/v3"
	originaldstv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/original_dst/v3"
	proxyprotocolfilterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/proxy_protocol/v3"
	tlsinspectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/tls_inspector/v3"

	"github.com/hauberk-mesh/hauberk/dataplane/listener"
)

// defaultSniffTimeout is what leaving listener_filters_timeout out means.
const defaultSniffTimeout = 15 * time.Second

// inspectors reads the listener filters: what is found out of a connection before a chain is chosen. The engine does it in one
// order (destination, PROXY header, TLS, HTTP), which is the only one that makes sense; another one is refused.
func (l *listenerBuild) inspectors(r *reader, m *listenerv3.Listener, spec *listener.Spec) error {
	last := 0
	for i, f := range m.GetListenerFilters() {
		rank, err := inspector(r, f, spec, fmt.Sprintf("listener_filters[%d].typed_config", i))
		switch {
		case err != nil:
			return err
		case rank == last:
			return fmt.Errorf("listener_filters[%d]: is there twice", i)
		case rank < last:
			return fmt.Errorf("listener_filters[%d]: must stand before listener_filters[%d]: the order is original_dst, "+
				"proxy_protocol, tls_inspector, http_inspector", i, i-1)
		}
		last = rank
	}
	var err error
	spec.SniffTimeout, err = duration(m.GetListenerFiltersTimeout(), defaultSniffTimeout, "listener_filters_timeout")
	spec.PlaintextOnSniffIdle = m.GetContinueOnListenerFiltersTimeout()
	return err
}

// inspector reads one, and returns its place in the order.
func inspector(r *reader, f *listenerv3.ListenerFilter, spec *listener.Spec, path string) (int, error) {
	switch config := f.GetTypedConfig(); {
	case config.MessageIs((*originaldstv3.OriginalDst)(nil)):
		spec.OriginalDst = true
		return 1, r.any(config, path, &originaldstv3.OriginalDst{})
	case config.MessageIs((*proxyprotocolfilterv3.ProxyProtocol)(nil)):
		p := &proxyprotocolfilterv3.ProxyProtocol{}
		if err := r.any(config, path, p); err != nil {
			return 0, err
		}
		out := p.GetDisallowedVersions()
		spec.ProxyProtocol = &listener.ProxyProtocol{
			Optional: p.GetAllowRequestsWithoutProxyProtocol(),
			V1:       !slices.Contains(out, corev3.ProxyProtocolConfig_V1),
			V2:       !slices.Contains(out, corev3.ProxyProtocolConfig_V2),
		}
		if !spec.ProxyProtocol.V1 && !spec.ProxyProtocol.V2 {
			return 0, fmt.Errorf("%s.disallowed_versions: leaves none", path)
		}
		return 2, nil
	case config.MessageIs((*tlsinspectorv3.TlsInspector)(nil)):
		t := &tlsinspectorv3.TlsInspector{}
		if err := r.any(config, path, t); err != nil {
			return 0, err
		}
		spec.Sniff, spec.MaxHello = true, int(t.GetMaxClientHelloSize().GetValue())
		if most := 64 << 10; spec.MaxHello > most {
			return 0, fmt.Errorf("%s.max_client_hello_size: %d is above %d, which is as much as the kernel keeps for a connection", path, spec.MaxHello, most)
		}
		return 3, nil
	case config.MessageIs((*httpinspectorv3.HttpInspector)(nil)):
		spec.SniffHTTP = true
		return 4, r.any(config, path, &httpinspectorv3.HttpInspector{})
	default:
		return 0, fmt.Errorf("%s: listener filter %q is not honoured, only original_dst, proxy_protocol, tls_inspector and http_inspector",
			path, config.GetTypeUrl())
	}
}
