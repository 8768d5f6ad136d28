package config_test

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	overloadv3 "github.com/envoyproxy/go-control-plane/envoy/config/overload/v3"

	"github.com/hauberk-mesh/hauberk/dataplane/config"
	"github.com/hauberk-mesh/hauberk/dataplane/listener"
	"github.com/hauberk-mesh/hauberk/dataplane/overload"
	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
)

const (
	inbound  = "traffic_direction: INBOUND"
	loopback = "address: {socket_address: {address: 127.0.0.1, port_value: 1}}"
	toTCP    = `filters: [{name: tcp, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: x, cluster: up}}]`
	oneChain = "filter_chains: [{" + toTCP + "}]"
	lfType   = `{name: x, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.listener.`
	tlsLF    = lfType + `tls_inspector.v3.TlsInspector}}`
	httpLF   = lfType + `http_inspector.v3.HttpInspector}}`
	proxyLF  = lfType + `proxy_protocol.v3.ProxyProtocol}}`
	originLF = lfType + `original_dst.v3.OriginalDst}}`
)

// listen builds the listener of some lines of YAML, which lead to the clusters up and other.
func listen(t testing.TB, lines ...string) (*listener.Spec, *config.Graph, error) {
	t.Helper()
	l := &listenerv3.Listener{}
	text := "name: l\n" + strings.Join(lines, "\n")
	for _, missing := range []string{inbound, loopback, oneChain} {
		field, _, _ := strings.Cut(missing, ":")
		if !strings.Contains("\n"+text, "\n"+field+":") && (field != "filter_chains" || !strings.Contains(text, "default_filter_chain")) {
			text += "\n" + missing
		}
	}
	parse(t, text, l)
	in := config.Resources{config.TypeListener: {"l": packed(t, l)}, config.TypeCluster: {}}
	for _, name := range []string{"up", "other"} {
		c := &clusterv3.Cluster{}
		parse(t, `{name: `+name+`, type: STATIC, load_assignment: {cluster_name: `+name+`,
			endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 9}}}}]}]}}`, c)
		in[config.TypeCluster][name] = packed(t, c)
	}
	g, err := standAlone(t).Build(nil, 1, in)
	if err != nil {
		return nil, nil, err
	}
	return g.Listeners["l"], g, nil
}

func chainsOf(matches ...string) string {
	out := "filter_chains:"
	for i, m := range matches {
		out += "\n- {name: " + string(rune('a'+i)) + ", " + m + toTCP + "}"
	}
	return out
}

func TestListener(t *testing.T) {
	for _, tc := range []struct {
		name  string
		lines []string
		want  func(*listener.Spec) bool
	}{
		{"defaults", nil, func(s *listener.Spec) bool {
			return s.Addr.String() == "127.0.0.1:1" && s.SniffTimeout == 15*time.Second && !s.Sniff && s.Chains[0].TCP.IdleTimeout == time.Hour && s.Backlog == 0
		}},
		{"direction by what it does", []string{"traffic_direction: UNSPECIFIED"}, func(s *listener.Spec) bool { return s.Direction == telemetry.Outbound }},
		{"pipe", []string{"address: {pipe: {path: /run/l.sock, mode: 416}}"}, func(s *listener.Spec) bool {
			return s.Unix == "/run/l.sock" && s.UnixMode == 0o640 && !s.Addr.IsValid()
		}},
		{"socket", []string{"tcp_backlog_size: 7", "ignore_global_conn_limit: true", "bind_to_port: true", "use_original_dst: false"},
			func(s *listener.Spec) bool { return s.Backlog == 7 && s.IgnoreGlobalLimit }},
		{"inspectors", []string{"listener_filters: [" + originLF + "," + proxyLF + "," + tlsLF + "," + httpLF + "]", "listener_filters_timeout: 3s", "continue_on_listener_filters_timeout: true"},
			func(s *listener.Spec) bool {
				return s.OriginalDst && *s.ProxyProtocol == listener.ProxyProtocol{V1: true, V2: true} && s.Sniff && s.SniffHTTP && s.SniffTimeout == 3*time.Second && s.PlaintextOnSniffIdle
			}},
		{"PROXY options", []string{"listener_filters: [" + strings.TrimSuffix(proxyLF, "}}") + ", allow_requests_without_proxy_protocol: true, disallowed_versions: [V1]}}]"},
			func(s *listener.Spec) bool {
				return *s.ProxyProtocol == listener.ProxyProtocol{Optional: true, V2: true}
			}},
		{"hello", []string{"listener_filters: [" + strings.TrimSuffix(tlsLF, "}}") + ", max_client_hello_size: 16384}}]"}, func(s *listener.Spec) bool { return s.MaxHello == 16384 }},
		{"default chain alone", []string{"default_filter_chain: {" + toTCP + "}"}, func(s *listener.Spec) bool { return len(s.Chains) == 0 && s.Default.TCP != nil }},
		{"match", []string{chainsOf(`filter_chain_match: {destination_port: 443, prefix_ranges: [{address_prefix: 10.0.0.0, prefix_len: 8}], server_names: [A.example, "*.b"],
			transport_protocol: tls, application_protocols: [h2], direct_source_prefix_ranges: [{address_prefix: "::1", prefix_len: 128}], source_type: EXTERNAL,
			source_prefix_ranges: [{address_prefix: 1.2.3.4}], source_ports: [5, 6]}, transport_socket_connect_timeout: 2s, `)},
			func(s *listener.Spec) bool {
				m := s.Chains[0].Match
				return m.DestinationPort == 443 && m.Destinations[0].String() == "10.0.0.0/8" && slices.Equal(m.ServerNames, []string{"a.example", "*.b"}) &&
					m.Transport == listener.TLS && m.ALPN[0] == "h2" && m.DirectSources[0].Bits() == 128 && m.SourceType == listener.External &&
					m.Sources[0].Bits() == 0 && m.SourcePorts[1] == 6 && s.Chains[0].HandshakeTimeout == 2*time.Second
			}},
		{"tcp_proxy", []string{`filter_chains: [{filters: [
			{name: limit, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit, stat_prefix: x, max_connections: 3, delay: 1s}},
			{name: tcp, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: x, idle_timeout: 0s, max_connect_attempts: 2,
			max_downstream_connection_duration: 9s, weighted_clusters: {clusters: [{name: up, weight: 1}, {name: other, weight: 3}]}}}]}]`},
			func(s *listener.Spec) bool {
				c := s.Chains[0]
				return *c.Limit == listener.ConnectionLimit{Key: "filter_chains[0]", Max: 3, Delay: time.Second} && c.TCP.IdleTimeout == 0 && c.TCP.ConnectAttempts == 2 &&
					c.TCP.MaxConnection == 9*time.Second && len(c.TCP.Weighted) == 2 && c.TCP.Weighted[1].Weight == 3 && c.TCP.Weighted[1].Cluster.Name() == "other"
			}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, _, err := listen(t, tc.lines...)
			if err != nil {
				t.Fatal(err)
			}
			if !tc.want(s) {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestListenerRefused(t *testing.T) {
	const match = "filter_chains[0].filter_chain_match."
	tcpWith := func(fields string) string {
		return `filter_chains: [{filters: [{name: tcp, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: x, ` + fields + `}}]}]`
	}
	const inTCP = "filter_chains[0].filters[0].typed_config."
	for _, tc := range []struct{ line, want string }{
		{chainsOf("", ""), `filter_chains[1].filter_chain_match: chain "b" fits the same connections as chain "a", and nothing tells them apart`},
		{chainsOf("filter_chain_match: {server_names: [k, l]}, ", "filter_chain_match: {server_names: [z, L]}, "),
			`filter_chains[1].filter_chain_match: chain "b" fits the same connections as chain "a", and nothing tells them apart`},
		{chainsOf("filter_chain_match: {destination_port: 70000}, "), match + "destination_port: 70000 is no port"},
		{chainsOf("filter_chain_match: {source_ports: [0]}, "), match + "source_ports[0]: 0 is no port"},
		{chainsOf(`filter_chain_match: {server_names: ["a*"]}, `), match + `server_names[0]: "a*" is neither a name nor *. and a name`},
		{chainsOf("filter_chain_match: {prefix_ranges: [{address_prefix: 10.0.0.0, prefix_len: 33}]}, "), match + "prefix_ranges[0].prefix_len: prefix length 33 too large for IPv4"},
		{chainsOf("filter_chain_match: {source_prefix_ranges: [{address_prefix: x}]}, "), match + `source_prefix_ranges[0].address_prefix: ParseAddr("x"): unable to parse IP`},
		{chainsOf("filter_chain_match: {transport_protocol: quic}, "), match + `transport_protocol: "quic" is not honoured, only tls and raw_buffer`},
		{chainsOf("filter_chain_match: {address_suffix: x}, "), match + "address_suffix: is not honoured"},
		{"default_filter_chain: {filter_chain_match: {destination_port: 1}, " + toTCP + "}", "default_filter_chain.filter_chain_match: must not be set: this chain is for what fits no other"},
		{"listener_filters: [" + tlsLF + "," + proxyLF + "]", "listener_filters[1]: must stand before listener_filters[0]: the order is original_dst, proxy_protocol, tls_inspector, http_inspector"},
		{"listener_filters: [" + tlsLF + "," + tlsLF + "]", "listener_filters[1]: is there twice"},
		{"listener_filters: [" + strings.TrimSuffix(proxyLF, "}}") + ", pass_through_tlvs: {}}}]", "listener_filters[0].typed_config.pass_through_tlvs: is not honoured"},
		{"listener_filters: [" + strings.TrimSuffix(proxyLF, "}}") + ", disallowed_versions: [V1, V2]}}]", "listener_filters[0].typed_config.disallowed_versions: leaves none"},
		{`listener_filters: [{name: x, typed_config: {"@type": type.googleapis.com/google.protobuf.Empty, value: {}}}]`,
			`listener_filters[0].typed_config: listener filter "type.googleapis.com/google.protobuf.Empty" is not honoured, only original_dst, proxy_protocol, tls_inspector and http_inspector`},
		{"listener_filters: [{name: x, filter_disabled: {any_match: true}}]", "listener_filters[0].filter_disabled: is not honoured"},
		{"bind_to_port: false", "bind_to_port: must be true: no other listener hands connections on to this one"},
		{"use_original_dst: true", "use_original_dst: is not honoured; use the listener filter original_dst, with filter chains that match on the destination"},
		{"tcp_backlog_size: 0", "tcp_backlog_size: 0 is not between 1 and 2147483647"},
		{"transparent: true", "transparent: is not honoured"},
		{"freebind: true", "freebind: is not honoured"},
		{"socket_options: [{level: 1, name: 2, int_value: 3}]", "socket_options: is not honoured"},
		{"additional_addresses: [{address: {pipe: {path: /x}}}]", "additional_addresses: is not honoured"},
		{"udp_listener_config: {}", "udp_listener_config: is not honoured"},
		{"api_listener: {}", "api_listener: is not honoured"},
		{"internal_listener: {}", "internal_listener: is not honoured"},
		{"access_log: [{name: x}]", "access_log: is not honoured"},
		{"address: {envoy_internal_address: {server_listener_name: x}}", "address.envoy_internal_address: is not honoured"},
		{"address: {pipe: {path: /x, mode: 4096}}", `address.pipe: "/x" with mode 10000 is no socket`},
		{tcpWith("cluster: nowhere"), inTCP + `cluster: cluster "nowhere" was not sent`},
		{tcpWith("cluster: up, tunneling_config: {hostname: x}"), inTCP + "tunneling_config: is not honoured"},
		{tcpWith("cluster: up, hash_policy: [{source_ip: {}}]"), inTCP + "hash_policy: is not honoured"},
		{tcpWith("cluster: up, on_demand: {}"), inTCP + "on_demand: is not honoured"},
		{tcpWith("cluster: up, proxy_protocol_tlvs: [{type: 1}]"), inTCP + "proxy_protocol_tlvs: is not honoured"},
		{tcpWith("cluster: up, metadata_match: {}"), inTCP + "metadata_match: is not honoured"},
		{tcpWith("cluster: up, max_connect_attempts: 0"), inTCP + "max_connect_attempts: 0 is not between 1 and 1000"},
		{tcpWith("weighted_clusters: {clusters: [{name: up}]}"), inTCP + "weighted_clusters.clusters[0].weight: must be 1 or more; leave out a cluster that is to get nothing"},
		{tcpWith("weighted_clusters: {clusters: []}"), inTCP + "weighted_clusters.clusters: the sum of the weights is 0, want 1 to 4294967295"},
		{`filter_chains: [{filters: [{name: l, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit}}]}]`,
			inTCP + "max_connections: 0 is not between 1 and 2147483647"},
		{"filter_chains: []", "filter_chains: is empty, and every connection would be closed"},
	} {
		if _, _, err := listen(t, tc.line); err == nil || err.Error() != `listener "l": `+tc.want {
			t.Errorf("%s\ngot  %v\nwant %s", tc.line, err, tc.want)
		}
	}
}

// What has no effect says so.
func TestListenerAccepted(t *testing.T) {
	_, g, err := listen(t, "per_connection_buffer_limit_bytes: 32768", "connection_balance_config: {exact_balance: {}}", "enable_reuse_port: true",
		"drain_type: MODIFY_ONLY", "listener_filters: ["+strings.TrimSuffix(tlsLF, "}}")+", initial_read_buffer_size: 512}}]")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, n := range g.Accepted() {
		got = append(got, n.Path)
	}
	want := []string{"per_connection_buffer_limit_bytes", "drain_type", "connection_balance_config", "enable_reuse_port",
		"listener_filters[0].typed_config.initial_read_buffer_size", "filter_chains[0].filters[0].typed_config.stat_prefix"}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("accepted %v", got)
	}
}

const monitors = `
resource_monitors:
- {name: heap, typed_config: {"@type": type.googleapis.com/envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig, max_heap_size_bytes: 1048576}}
- {name: envoy.resource_monitors.global_downstream_max_connections, typed_config: {"@type": type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig, max_active_downstream_connections: 5}}
`

func TestOverload(t *testing.T) {
	m := &overloadv3.OverloadManager{}
	parse(t, "refresh_interval: 0.25s"+monitors+`
actions:
- {name: envoy.overload_actions.stop_accepting_requests, triggers: [{name: heap, threshold: {value: 0.95}}]}
- {name: envoy.overload_actions.disable_http_keepalive, triggers: [{name: heap, scaled: {scaling_threshold: 0.8, saturation_threshold: 0.9}}]}
- {name: envoy.overload_actions.shrink_heap, triggers: [{name: heap, threshold: {value: 0.9}}]}
`, m)
	s, err := config.Overload(m, fstest.MapFS{})
	if err != nil {
		t.Fatal(err)
	}
	if s.Refresh != 250*time.Millisecond || s.Connections != 5 || s.MemoryLimit != 1<<20 || len(s.Monitors) != 1 || s.Monitors[0].Name != "heap" ||
		s.Actions[overload.StopAcceptingRequests][0] != (overload.Trigger{Monitor: "heap", From: 0.95, To: 0.95}) ||
		s.Actions[overload.DisableKeepAlive][0] != (overload.Trigger{Monitor: "heap", From: 0.8, To: 0.9}) || len(s.Actions) != 3 {
		t.Errorf("%+v", s)
	}
	manager := overload.New(s, overload.Deps{})
	if manager.Refresh(); !manager.ShedRequests() {
		t.Error("this process has more than 1 MiB in use")
	}
}

func TestOverloadRefused(t *testing.T) {
	action := func(s string) string { return monitors + "actions: [" + s + "]" }
	for _, tc := range []struct{ text, want string }{
		{"loadshed_points: [{name: x}]", "loadshed_points: is not honoured"},
		{"buffer_factory_config: {}", "buffer_factory_config: is not honoured"},
		{action("{name: envoy.overload_actions.reduce_timeouts, triggers: [{name: heap, threshold: {value: 1}}]}"), `actions[0].name: "envoy.overload_actions.reduce_timeouts" is not honoured`},
		{action("{name: envoy.overload_actions.shrink_heap}"), "actions[0].triggers: is empty, and the action would never be taken"},
		{action("{name: envoy.overload_actions.shrink_heap, triggers: [{name: cpu, threshold: {value: 1}}]}"), `actions[0].triggers[0].name: no resource monitor is called "cpu"`},
		{action("{name: envoy.overload_actions.shrink_heap, triggers: [{name: heap, threshold: {value: 2}}]}"), "actions[0].triggers[0]: thresholds are between 0 and 1"},
		{action("{name: envoy.overload_actions.shrink_heap, triggers: [{name: heap, threshold: {value: NaN}}]}"), "actions[0].triggers[0]: thresholds are between 0 and 1"},
		{action("{name: envoy.overload_actions.shrink_heap, triggers: [{name: heap}]}"), "actions[0].triggers[0]: has neither threshold nor scaled"},
		{action("{name: envoy.overload_actions.shrink_heap, triggers: [{name: heap, scaled: {scaling_threshold: 0.9, saturation_threshold: 0.9}}]}"),
			"actions[0].triggers[0].scaled: scaling_threshold 0.9 is not below saturation_threshold 0.9"},
		{strings.Replace(monitors, "1048576", "0", 1), "resource_monitors[0].typed_config.max_heap_size_bytes: 0 is no size of a heap"},
		{strings.Replace(monitors, "name: envoy.resource_monitors.global_downstream_max_connections", "name: heap", 1), `resource_monitors[1].name: "heap" is empty or there twice`},
		{strings.Replace(monitors, "name: envoy.resource_monitors.global_downstream_max_connections", "name: conns", 1),
			`resource_monitors[1].name: must be "envoy.resource_monitors.global_downstream_max_connections" for this type, as in Envoy`},
		{`resource_monitors: [{name: g, typed_config: {"@type": type.googleapis.com/envoy.extensions.resource_monitors.cgroup_memory.v3.CgroupMemoryConfig}}]`,
			"resource_monitors[0].typed_config: no cgroup (version 2) of this process limits its memory"},
	} {
		m := &overloadv3.OverloadManager{}
		parse(t, tc.text, m)
		if _, err := config.Overload(m, fstest.MapFS{}); err == nil || err.Error() != "overload_manager."+tc.want {
			t.Errorf("%s\ngot  %v\nwant %s", tc.text, err, tc.want)
		}
	}
}
