package translate

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tlsinspectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/tls_inspector/v3"
	networkrbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/rbac/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	rawbufferv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/raw_buffer/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"github.com/hauberk-mesh/hauberk/controlplane/ir"
)

const (
	tlsInspector   = "envoy.filters.listener.tls_inspector"
	tcpProxyFilter = "envoy.filters.network.tcp_proxy"
	denyFilter     = "hauberk.permission.deny"
	allowFilter    = "hauberk.permission.allow"

	// sniffTimeout is how long a Permissive TCP inbound waits for a first byte before it takes the caller for plaintext: in
	// some protocols the server speaks first.
	sniffTimeout = 100 * time.Millisecond
)

// inbound has one chain with TLS. Permissive adds the same chain in clear, chosen by whether a ClientHello comes first.
func inbound(l *ir.Listener) (*listenerv3.Listener, error) {
	if l.TLS == nil {
		return nil, errors.New("an inbound without TLS mode: plaintext is chosen by MeshTLS mode Permissive alone")
	}
	if l.Permission == nil {
		return nil, errors.New("an inbound without a permission: empty lists deny everything")
	}
	m, err := base(l, corev3.TrafficDirection_INBOUND)
	if err != nil {
		return nil, err
	}
	filters, err := inboundFilters(l)
	if err != nil {
		return nil, err
	}
	socket, err := downstreamTLS(l)
	if err != nil {
		return nil, err
	}
	secure := &listenerv3.FilterChain{Name: "tls", Filters: filters, TransportSocket: socket}
	m.FilterChains = []*listenerv3.FilterChain{secure}
	switch l.TLS.Mode {
	case ir.Strict:
		return m, nil
	case ir.Permissive:
		return m, permit(m, secure, l.Protocol)
	default:
		return nil, fmt.Errorf("TLS mode %q is neither Strict nor Permissive", l.TLS.Mode)
	}
}

// permit adds the plaintext chain and what tells the two apart.
func permit(m *listenerv3.Listener, secure *listenerv3.FilterChain, protocol ir.Protocol) error {
	inspector, err := packed(&tlsinspectorv3.TlsInspector{})
	if err != nil {
		return err
	}
	clear, err := socket(rawSocket, &rawbufferv3.RawBuffer{})
	if err != nil {
		return err
	}
	m.ListenerFilters = []*listenerv3.ListenerFilter{{
		Name:       tlsInspector,
		ConfigType: &listenerv3.ListenerFilter_TypedConfig{TypedConfig: inspector},
	}}
	if !protocol.IsHTTP() {
		m.ListenerFiltersTimeout = always(sniffTimeout)
		m.ContinueOnListenerFiltersTimeout = true
	}
	secure.FilterChainMatch = &listenerv3.FilterChainMatch{TransportProtocol: "tls"}
	m.FilterChains = append(m.FilterChains, &listenerv3.FilterChain{
		Name:             "plaintext",
		FilterChainMatch: &listenerv3.FilterChainMatch{TransportProtocol: "raw_buffer"},
		Filters:          secure.Filters,
		TransportSocket:  clear,
	})
	return nil
}

// outbound is one chain in clear: only the application reaches it, on loopback.
func outbound(l *ir.Listener) (*listenerv3.Listener, error) {
	m, err := base(l, corev3.TrafficDirection_OUTBOUND)
	if err != nil {
		return nil, err
	}
	var filter *listenerv3.Filter
	if l.Protocol.IsHTTP() {
		filter, err = outboundHTTP(l)
	} else {
		filter, err = tcpProxy(l)
	}
	if err != nil {
		return nil, err
	}
	m.FilterChains = []*listenerv3.FilterChain{{Filters: []*listenerv3.Filter{filter}}}
	return m, nil
}

func base(l *ir.Listener, direction corev3.TrafficDirection) (*listenerv3.Listener, error) {
	if !l.Protocol.IsHTTP() && l.Protocol != ir.TCP {
		return nil, fmt.Errorf("protocol %q is neither http, http2, grpc nor tcp", l.Protocol)
	}
	addr, err := address(l.Address, l.Port)
	if err != nil {
		return nil, err
	}
	return &listenerv3.Listener{
		Name:             l.Name,
		Address:          addr,
		TrafficDirection: direction,
		Metadata:         metadata(serviceMetadata(l.Service, l.ServicePort, l.PortName)),
	}, nil
}

func inboundFilters(l *ir.Listener) ([]*listenerv3.Filter, error) {
	rules, err := rules(l.Permission, l.Protocol)
	if err != nil {
		return nil, fmt.Errorf("permission: %w", err)
	}
	if l.Protocol.IsHTTP() {
		manager, err := inboundHTTP(l, rules)
		return []*listenerv3.Filter{manager}, err
	}
	permission, err := networkPermission(l.Name, rules)
	if err != nil {
		return nil, err
	}
	proxy, err := tcpProxy(l)
	return append(permission, proxy), err
}

func networkPermission(statPrefix string, r permissionRules) ([]*listenerv3.Filter, error) {
	var out []*listenerv3.Filter
	if r.deny != nil || r.shadow != nil {
		deny, err := networkFilter(denyFilter, &networkrbacv3.RBAC{StatPrefix: statPrefix, Rules: r.deny, ShadowRules: r.shadow})
		if err != nil {
			return nil, err
		}
		out = append(out, deny)
	}
	allow, err := networkFilter(allowFilter, &networkrbacv3.RBAC{StatPrefix: statPrefix, Rules: r.allow})
	return append(out, allow), err
}

func tcpProxy(l *ir.Listener) (*listenerv3.Filter, error) {
	if l.Cluster == "" {
		return nil, errors.New("a tcp listener without a cluster")
	}
	return networkFilter(tcpProxyFilter, &tcpproxyv3.TcpProxy{
		StatPrefix:                      l.Name,
		ClusterSpecifier:                &tcpproxyv3.TcpProxy_Cluster{Cluster: l.Cluster},
		IdleTimeout:                     always(l.Timeouts.Idle), // left out it would be 1 h
		MaxDownstreamConnectionDuration: ifSet(l.Timeouts.MaxConnection),
	})
}

func networkFilter(name string, config proto.Message) (*listenerv3.Filter, error) {
	a, err := packed(config)
	if err != nil {
		return nil, err
	}
	return &listenerv3.Filter{Name: name, ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: a}}, nil
}

func downstreamTLS(l *ir.Listener) (*corev3.TransportSocket, error) {
	t := l.TLS
	if versions := []string{"", "TLS12", "TLS13"}; !slices.Contains(versions, t.MinVersion) || !slices.Contains(versions, t.MaxVersion) {
		return nil, fmt.Errorf("TLS versions %q to %q: only TLS12 and TLS13 are known", t.MinVersion, t.MaxVersion)
	}
	context := commonTLS(tlsParameters(t.MinVersion, t.MaxVersion), &tlsv3.CertificateValidationContext{})
	if l.Protocol.IsHTTP() {
		context.AlpnProtocols = []string{"h2", "http/1.1"}
	}
	return socket(tlsSocket, &tlsv3.DownstreamTlsContext{RequireClientCertificate: wrapperspb.Bool(true), CommonTlsContext: context})
}

func socket(name string, config proto.Message) (*corev3.TransportSocket, error) {
	a, err := packed(config)
	if err != nil {
		return nil, err
	}
	return &corev3.TransportSocket{Name: name, ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: a}}, nil
}
