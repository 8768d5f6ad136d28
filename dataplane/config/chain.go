package config

import (
	"cmp"
	"fmt"
	"time"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	connectionlimitv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/connection_limit/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"

	"github.com/hauberk-mesh/hauberk/dataplane/filter"
	"github.com/hauberk-mesh/hauberk/dataplane/listener"
	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
)

// defaultIdle is what leaving an idle timeout out means, by Envoy's documentation.
const defaultIdle = time.Hour

// chain reads filters up to the one that ends the chain: the HTTP connection manager or the TCP proxy.
func (l *listenerBuild) chain(r *reader, m *listenerv3.FilterChain, path string) (*listener.Chain, error) {
	match, err := chainMatch(m.GetFilterChainMatch(), path+".filter_chain_match")
	if err != nil {
		return nil, err
	}
	c := &listener.Chain{Name: m.GetName(), Match: match}
	if c.HandshakeTimeout, err = duration(m.GetTransportSocketConnectTimeout(), 0, path+".transport_socket_connect_timeout"); err != nil {
		return nil, err
	}
	for i, f := range m.GetFilters() {
		at := fmt.Sprintf("%s.filters[%d]", path, i)
		if c.HTTP != nil || c.TCP != nil {
			return nil, fmt.Errorf("%s: comes after the filter that ends the chain", at)
		}
		if err := l.filter(r, c, f, path, at); err != nil {
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
	if c.TLS != nil && match.Transport == listener.RawBuffer {
		return nil, fmt.Errorf("%s.transport_socket: TLS in a chain that is for raw_buffer", path)
	}
	return c, nil
}

// filter reads the filter at path, of the chain at chain.
func (l *listenerBuild) filter(r *reader, c *listener.Chain, m *listenerv3.Filter, chain, path string) error {
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
		spec, err := l.tcp(r, t, at)
		c.TCP = spec
		return err
	case config.MessageIs((*connectionlimitv3.ConnectionLimit)(nil)):
		f := &connectionlimitv3.ConnectionLimit{}
		if err := r.any(config, at, f); err != nil {
			return err
		}
		if c.Limit != nil {
			return fmt.Errorf("%s: the chain has a connection limit already", at)
		}
		limit, err := connectionLimit(r, f, cmp.Or(c.Name, chain), at)
		c.Limit = limit
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
