package config_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"

	"github.com/hauberk-mesh/hauberk/dataplane/config"
	htls "github.com/hauberk-mesh/hauberk/dataplane/tls"
	"github.com/hauberk-mesh/hauberk/dataplane/upstream"
)

// hosts are a resolver with one answer for each name.
type hosts map[string]string

func (h hosts) LookupNetIP(_ context.Context, network, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(h[host]); err == nil && (network == "ip" || (network == "ip4") == a.Is4()) {
		return []netip.Addr{a}, nil
	}
	return nil, errors.New("no such host")
}

// buildCluster builds one of the YAML, whose name is c.
func buildCluster(t testing.TB, text string) (*upstream.Cluster, []config.Note, error) {
	t.Helper()
	m := &clusterv3.Cluster{}
	parse(t, text, m)
	b := config.New(config.Deps{
		Identity: &htls.Identity{}, Trust: &htls.Trust{}, StandAlone: true,
		Resolver: hosts{"a.test": "10.0.0.1", "b.test": "10.0.0.2"},
	})
	g, err := b.Build(nil, 1, config.Resources{config.TypeCluster: {"c": packed(t, m)}})
	if err != nil {
		return nil, nil, err
	}
	g.Warm(context.Background())
	return g.Clusters["c"], g.Accepted(), nil
}

// endpointsAt is a load_assignment.
func endpointsAt(addresses ...string) string {
	out := "load_assignment: {cluster_name: c, endpoints: [{lb_endpoints: ["
	for _, a := range addresses {
		host, port, more := a, "80", ""
		if h, rest, ok := strings.Cut(a, "|"); ok {
			host, more = h, ", "+rest
		}
		out += "{endpoint: {address: {socket_address: {address: '" + host + "', port_value: " + port + "}}}" + more + "},"
	}
	return strings.TrimSuffix(out, ",") + "]}]}"
}

func httpOptions(text string) string {
	return `typed_extension_protocol_options: {envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {
		"@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, ` + text + `}}`
}

const (
	static      = "name: c, type: STATIC, "
	optionsPath = `typed_extension_protocol_options["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"].`
)

// TestClusterFields: each field that is honoured arrives where the engine reads it.
func TestClusterFields(t *testing.T) {
	at := endpointsAt("10.0.0.1")
	for _, tc := range []struct {
		text string
		want func(*upstream.Spec) // changes what a cluster has that says nothing
	}{
		{static + at, func(*upstream.Spec) {}},
		{"name: c, " + at, func(*upstream.Spec) {}}, // STATIC is the default
		{static + at + ", connect_timeout: 2s", func(s *upstream.Spec) { s.ConnectTimeout = 2 * time.Second }},
		{static + at + ", circuit_breakers: {thresholds: [{max_connections: 1, max_pending_requests: 2, max_requests: 3, max_retries: 0, track_remaining: true}]}",
			func(s *upstream.Spec) { s.Limits = &upstream.Limits{Connections: 1, Pending: 2, Requests: 3} }},
		{static + at + ", circuit_breakers: {thresholds: [{max_requests: 4294967295}]}",
			func(s *upstream.Spec) {
				s.Limits = &upstream.Limits{Connections: 1024, Pending: 1024, Requests: upstream.NoLimit, Retries: 3}
			}},
		{static + at + ", upstream_connection_options: {tcp_keepalive: {keepalive_time: 30, keepalive_probes: 4}}",
			func(s *upstream.Spec) {
				s.KeepAlive = &net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Count: 4, Interval: -1}
			}},
		{static + at + ", " + httpOptions("explicit_http_config: {http_protocol_options: {}}"), func(s *upstream.Spec) { s.Protocol = upstream.HTTP1 }},
		{static + at + ", " + httpOptions("explicit_http_config: {http2_protocol_options: {max_concurrent_streams: 7, initial_stream_window_size: 70000, connection_keepalive: {interval: 30s, timeout: 5s}}}"),
			func(s *upstream.Spec) {
				s.Protocol = upstream.HTTP2
				s.HTTP2 = upstream.HTTP2Options{MaxStreams: 7, StreamWindow: 70000, MaxWindow: 70000, Ping: 30 * time.Second, PingTimeout: 5 * time.Second}
			}},
		{static + at + ", " + httpOptions("explicit_http_config: {http_protocol_options: {}}, common_http_protocol_options: {idle_timeout: 0s, max_connection_duration: 60s, max_requests_per_connection: 9, max_headers_count: 50}"),
			func(s *upstream.Spec) {
				s.Protocol, s.IdleTimeout, s.MaxConnection, s.MaxRequestsPerConnection, s.MaxFields = upstream.HTTP1, 0, time.Minute, 9, 50
			}},
		{static + at + ", per_connection_buffer_limit_bytes: 32768, http2_protocol_options: {}", func(s *upstream.Spec) {
			s.Protocol, s.HTTP2 = upstream.HTTP2, upstream.HTTP2Options{StreamWindow: 65536, MaxWindow: 65536}
		}},
		{static + at + ", per_connection_buffer_limit_bytes: 100000, http2_protocol_options: {initial_stream_window_size: 200000}", func(s *upstream.Spec) {
			s.Protocol, s.HTTP2 = upstream.HTTP2, upstream.HTTP2Options{StreamWindow: 100000, MaxWindow: 100000}
		}},
		{static + at + ", per_connection_buffer_limit_bytes: 4294967295", func(s *upstream.Spec) {
			s.HTTP2 = upstream.HTTP2Options{StreamWindow: 65536, MaxWindow: 4 << 20}
		}},
		{static + at + ", http2_protocol_options: {}", func(s *upstream.Spec) { s.Protocol = upstream.HTTP2 }},
		{static + at + ", http_protocol_options: {}", func(s *upstream.Spec) { s.Protocol = upstream.HTTP1 }},
		{static + at + ", max_requests_per_connection: 3, common_http_protocol_options: {idle_timeout: 5s}",
			func(s *upstream.Spec) { s.MaxRequestsPerConnection, s.IdleTimeout = 3, 5*time.Second }},
		{"name: c, type: STRICT_DNS, dns_lookup_family: V4_ONLY, " + at, func(s *upstream.Spec) {
			s.DNS = &upstream.DNS{Refresh: 5 * time.Second, Family: upstream.V4Only}
		}},
		{"name: c, type: STRICT_DNS, dns_refresh_rate: 1s, dns_jitter: 0.5s, dns_failure_refresh_rate: {base_interval: 2s}, dns_lookup_family: ALL, " + at, func(s *upstream.Spec) {
			s.DNS = &upstream.DNS{Refresh: time.Second, Jitter: 500 * time.Millisecond, Retry: 2 * time.Second, MaxRetry: 20 * time.Second, Family: upstream.AllFamilies}
		}},
		{"name: c, type: LOGICAL_DNS, dns_lookup_family: V4_PREFERRED, " + at, func(s *upstream.Spec) {
			s.DNS = &upstream.DNS{Refresh: 5 * time.Second, Single: true, Family: upstream.V4Preferred}
		}},
		{"name: c, type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED", func(s *upstream.Spec) {
			s.Endpoints, s.OriginalDst = nil, &upstream.OriginalDst{Forget: 5 * time.Second}
		}},
		{"name: c, type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED, cleanup_interval: 9s, original_dst_lb_config: {use_http_header: true, upstream_port_override: 8080}", func(s *upstream.Spec) {
			s.Endpoints, s.OriginalDst = nil, &upstream.OriginalDst{Header: "x-envoy-original-dst-host", Port: 8080, Forget: 9 * time.Second}
		}},
		{"name: c, type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED, original_dst_lb_config: {use_http_header: true, http_header_name: X-To}", func(s *upstream.Spec) {
			s.Endpoints, s.OriginalDst = nil, &upstream.OriginalDst{Header: "x-to", Forget: 5 * time.Second}
		}},
		{static + at + `, transport_socket: {name: p, typed_config: {"@type": type.googleapis.com/envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport,
			config: {version: V2}, transport_socket: {name: raw, typed_config: {"@type": type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer}}}}`,
			func(s *upstream.Spec) { s.ProxyProtocol = 2 }},
		{static + at + `, transport_socket: {name: p, typed_config: {"@type": type.googleapis.com/envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport,
			transport_socket: {name: raw, typed_config: {"@type": type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer}}}}`,
			func(s *upstream.Spec) { s.ProxyProtocol = 1 }},
		{static + endpointsAt("10.0.0.1|load_balancing_weight: 3", "10.0.0.2|health_status: UNHEALTHY"), func(s *upstream.Spec) {
			s.Endpoints[0].Weight = 3
			s.Endpoints = append(s.Endpoints, upstream.EndpointSpec{Addr: netip.MustParseAddrPort("10.0.0.2:80"), Unready: true})
		}},
	} {
		synctest.Test(t, func(t *testing.T) {
			want := upstream.Spec{
				Name: "c", ConnectTimeout: 5 * time.Second, IdleTimeout: time.Hour,
				Limits:    &upstream.Limits{Connections: 1024, Pending: 1024, Requests: 1024, Retries: 3},
				Endpoints: []upstream.EndpointSpec{{Addr: netip.MustParseAddrPort("10.0.0.1:80")}},
				Probe:     upstream.Probe{Interval: upstream.DefaultProbeInterval},
			}
			tc.want(&want)
			c, _, err := buildCluster(t, "{"+tc.text+"}")
			if err != nil {
				t.Errorf("%s: %v", tc.text, err)
				return
			}
			if got := c.Spec(); !reflect.DeepEqual(got, want) {
				t.Errorf("%s\n got %+v\nwant %+v", tc.text, got, want)
			}
			c.Release()
		})
	}
}

// TestNamesOfEndpoints: where Envoy resolves names, so do we; an address among them is one.
func TestNamesOfEndpoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _, err := buildCluster(t, "{name: c, type: STRICT_DNS, "+endpointsAt("A.test", "b.test|load_balancing_weight: 2", "10.0.0.3")+"}")
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range c.Endpoints() {
			got = append(got, e.Address)
		}
		if s := strings.Join(got, " "); s != "10.0.0.1:80 10.0.0.2:80 10.0.0.3:80" {
			t.Error(s)
		}
		c.Release()
	})
}

// TestClusterNotes: what is accepted without effect says why.
func TestClusterNotes(t *testing.T) {
	c, notes, err := buildCluster(t, `{name: c, type: STATIC, alt_stat_name: x, dns_lookup_family: V4_ONLY, track_cluster_stats: {timeout_budgets: true},
		common_lb_config: {update_merge_window: 1s}, load_assignment: {cluster_name: c, policy: {overprovisioning_factor: 140}, endpoints: [
		{locality: {zone: z}, load_balancing_weight: 3, lb_endpoints: [{endpoint: {address: {socket_address: {address: 10.0.0.1, port_value: 80}}}}]}]}, `+
		httpOptions("explicit_http_config: {http2_protocol_options: {allow_connect: true, initial_connection_window_size: 1000000}}")+`}`)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Release()
	var paths []string
	for _, n := range notes {
		paths = append(paths, n.Path)
		if n.Why == "" || n.Resource != `cluster "c"` {
			t.Errorf("%+v", n)
		}
	}
	for _, want := range []string{
		"alt_stat_name", "dns_lookup_family", "track_cluster_stats", "common_lb_config.update_merge_window",
		"load_assignment.policy.overprovisioning_factor", "load_assignment.endpoints[0].locality", "load_assignment.endpoints[0].load_balancing_weight",
		optionsPath + "explicit_http_config.http2_protocol_options.allow_connect",
	} {
		if !strings.Contains(" "+strings.Join(paths, " ")+" ", " "+want+" ") {
			t.Errorf("%s is not noted: %s", want, paths)
		}
	}
}

// TestClustersRefuse: what is refused is refused with its path.
func TestClustersRefuse(t *testing.T) {
	at := endpointsAt("10.0.0.1")
	for _, tc := range []struct{ text, want string }{
		{static + at + ", lb_policy: MAGLEV", "lb_policy: MAGLEV is not honoured, only ROUND_ROBIN"},
		{static + at + ", lb_policy: CLUSTER_PROVIDED", "lb_policy: CLUSTER_PROVIDED is not honoured, only ROUND_ROBIN"},
		{"name: c, type: ORIGINAL_DST", "lb_policy: ROUND_ROBIN is not honoured, only CLUSTER_PROVIDED"},
		{"name: c, type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED, " + at, "load_assignment: is not for a cluster of type ORIGINAL_DST"},
		{"name: c, type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED, original_dst_lb_config: {http_header_name: x}", "original_dst_lb_config.http_header_name: needs use_http_header"},
		{"name: c, type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED, original_dst_lb_config: {upstream_port_override: 70000}", "original_dst_lb_config.upstream_port_override: 70000 is no port"},
		{"name: c, type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED, original_dst_lb_config: {metadata_key: {key: x}}", "original_dst_lb_config.metadata_key: is not honoured"},
		{"name: c, type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED, cleanup_interval: 0s", "cleanup_interval: must be above zero"},
		{static + at + ", cleanup_interval: 1s", "cleanup_interval: is not for a cluster of type STATIC"},
		{static + at + ", original_dst_lb_config: {}", "original_dst_lb_config: is not for a cluster of type STATIC"},
		{"name: c, cluster_type: {name: x}", "cluster_type: is not honoured"},
		{static + at + ", health_checks: [{}]", "health_checks: is not honoured"},
		{static + at + ", outlier_detection: {}", "outlier_detection: is not honoured"},
		{static + at + ", upstream_bind_config: {}", "upstream_bind_config: is not honoured"},
		{static + at + ", circuit_breakers: {thresholds: [{priority: HIGH}]}", "circuit_breakers.thresholds[0].priority: HIGH is not honoured, only DEFAULT"},
		{static + at + ", circuit_breakers: {thresholds: [{}, {}]}", "circuit_breakers.thresholds[1]: is not honoured, only one for the priority DEFAULT"},
		{static + at + ", circuit_breakers: {thresholds: [{retry_budget: {}}]}", "circuit_breakers.thresholds[0].retry_budget: is not honoured"},
		{static + at + ", circuit_breakers: {per_host_thresholds: [{}]}", "circuit_breakers.per_host_thresholds: is not honoured"},
		{"name: c, type: STRICT_DNS, respect_dns_ttl: true, " + at, "respect_dns_ttl: is not honoured"},
		{"name: c, type: STRICT_DNS, dns_refresh_rate: 0s, " + at, "dns_refresh_rate: 0s is below 1ms"},
		{"name: c, type: STRICT_DNS, dns_failure_refresh_rate: {base_interval: 2s, max_interval: 1s}, " + at, "dns_failure_refresh_rate: needs base_interval of 1ms or more, and max_interval not below it"},
		{"name: c, type: STRICT_DNS, use_tcp_for_dns_lookups: true, " + at, "use_tcp_for_dns_lookups: is not honoured"},
		{"name: c, type: STRICT_DNS, dns_resolvers: [{}], " + at, "dns_resolvers: is not honoured"},
		{"name: c, type: STRICT_DNS, " + endpointsAt("a test"), "load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.address"},
		{"name: c, type: LOGICAL_DNS, " + endpointsAt("a.test", "b.test"), "load_assignment: a LOGICAL_DNS cluster has exactly one endpoint"},
		{static + endpointsAt("a.test"), `load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.address: ParseAddr("a.test")`},
		{static + endpointsAt("10.0.0.1|load_balancing_weight: 0"), "load_assignment.endpoints[0].lb_endpoints[0].load_balancing_weight: must be above zero"},
		{static + "load_assignment: {cluster_name: c, endpoints: [{priority: 1}]}", "load_assignment.endpoints[0].priority: is not honoured"},
		{static + at + ", " + httpOptions("use_downstream_protocol_config: {}"), optionsPath + "use_downstream_protocol_config: is not honoured"},
		{static + at + ", " + httpOptions("upstream_http_protocol_options: {auto_sni: true}, explicit_http_config: {http_protocol_options: {}}"), optionsPath + "upstream_http_protocol_options: is not honoured"},
		{static + at + ", " + httpOptions("explicit_http_config: {}"), optionsPath + "explicit_http_config: only http_protocol_options (HTTP/1.1) and http2_protocol_options are honoured"},
		{static + at + ", " + httpOptions(""), "must have explicit_http_config or auto_config"},
		{static + at + ", " + httpOptions("auto_config: {}"), "transport_socket: auto_config chooses the version of HTTP by ALPN, which needs TLS"},
		{static + at + ", " + httpOptions("explicit_http_config: {http2_protocol_options: {max_concurrent_streams: 0}}"), optionsPath + "explicit_http_config.http2_protocol_options.max_concurrent_streams: 0 is not between 1 and"},
		{static + at + ", " + httpOptions("explicit_http_config: {http2_protocol_options: {initial_stream_window_size: 1}}"), "initial_stream_window_size: 1 is not between"},
		{static + at + ", " + httpOptions("explicit_http_config: {http_protocol_options: {header_key_format: {}}}"), optionsPath + "explicit_http_config.http_protocol_options.header_key_format: is not honoured"},
		{static + at + ", " + httpOptions("explicit_http_config: {http_protocol_options: {}}, common_http_protocol_options: {max_headers_count: 0}"), optionsPath + "common_http_protocol_options.max_headers_count: 0 is not between 1"},
		{static + at + ", " + httpOptions("explicit_http_config: {http_protocol_options: {}}, common_http_protocol_options: {max_stream_duration: 1s}"), optionsPath + "common_http_protocol_options.max_stream_duration: is not honoured"},
		{static + at + ", http2_protocol_options: {}, " + httpOptions("explicit_http_config: {http_protocol_options: {}}"), "typed_extension_protocol_options: stands beside"},
		{static + at + ", upstream_connection_options: {happy_eyeballs_config: {}}", "upstream_connection_options.happy_eyeballs_config: is not honoured"},
		{static + at + `, transport_socket: {name: p, typed_config: {"@type": type.googleapis.com/envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport}}`,
			"transport_socket.typed_config.transport_socket: is not set"},
	} {
		_, _, err := buildCluster(t, "{"+tc.text+"}")
		if err == nil || !strings.HasPrefix(err.Error(), `cluster "c": `) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s\n got %v\nwant %s", tc.text, err, tc.want)
		}
	}
}

// TestOneClusterForBoth: what speaks HTTP with routes takes opaque TCP as well, as in Envoy. In a mesh that is a mistake.
func TestOneClusterForBoth(t *testing.T) {
	in := resources(t, "", "")
	m := &clusterv3.Cluster{}
	parse(t, "{"+static+endpointsAt("10.0.0.1")+", "+httpOptions("explicit_http_config: {http2_protocol_options: {}}")+"}", m)
	in[config.TypeCluster]["c"] = packed(t, m)
	g, err := standAlone(t).Build(nil, 1, in)
	if err != nil {
		t.Fatal(err)
	}
	g.Release(nil)
	delete(in, config.TypeSecret)
	if _, err := builder().Build(nil, 1, in); err == nil || !strings.Contains(err.Error(), `"c" speaks HTTP, an opaque connection can not go there`) {
		t.Error(err)
	}
}
