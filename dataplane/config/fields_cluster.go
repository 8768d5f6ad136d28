package config

// clusterFields is what becomes of the fields of clusters and endpoints.
func clusterFields(add adder) {
	const (
		cluster = "envoy.config.cluster.v3.Cluster"
		options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
	)
	add(cluster, `name type eds_cluster_config connect_timeout lb_policy load_assignment circuit_breakers
		typed_extension_protocol_options common_http_protocol_options http_protocol_options http2_protocol_options
		max_requests_per_connection per_connection_buffer_limit_bytes dns_refresh_rate dns_failure_refresh_rate dns_jitter dns_lookup_family
		original_dst_lb_config cleanup_interval common_lb_config transport_socket upstream_connection_options metadata`,
		"alt_stat_name", names, "track_timeout_budgets", names, "track_cluster_stats", names)
	add(cluster+".EdsClusterConfig", "eds_config service_name")
	add(cluster+".RefreshRate", "base_interval max_interval")
	add(cluster+".OriginalDstLbConfig", "use_http_header http_header_name upstream_port_override")
	add(cluster+".CommonLbConfig", "healthy_panic_threshold",
		"update_merge_window", "joins updates that come close together; here each is in force at once",
		"ignore_new_hosts_until_first_hc", "is about active health checks, which are refused")
	add("envoy.type.v3.Percent", "value")
	add("envoy.config.cluster.v3.CircuitBreakers", "thresholds")
	add("envoy.config.cluster.v3.CircuitBreakers.Thresholds", "priority max_connections max_pending_requests max_requests max_retries",
		"track_remaining", "adds statistics, and changes no traffic")
	add("envoy.config.cluster.v3.UpstreamConnectionOptions", "tcp_keepalive")
	add("envoy.config.core.v3.TcpKeepalive", "keepalive_probes keepalive_time keepalive_interval")

	add(options, "common_http_protocol_options explicit_http_config auto_config")
	add(options+".ExplicitHttpConfig", "http_protocol_options http2_protocol_options")
	add(options+".AutoHttpConfig", "http_protocol_options http2_protocol_options")
	for _, within := range []string{cluster, options} {
		add(in(within, "envoy.config.core.v3.HttpProtocolOptions"),
			"idle_timeout max_connection_duration max_requests_per_connection max_headers_count")
	}
	for _, within := range []string{cluster, options + ".ExplicitHttpConfig", options + ".AutoHttpConfig"} {
		upstreamHTTPFields(add, within)
	}

	add("envoy.config.endpoint.v3.ClusterLoadAssignment", "cluster_name endpoints policy")
	add("envoy.config.endpoint.v3.ClusterLoadAssignment.Policy", "",
		"overprovisioning_factor", "is about the step from one priority to the next, and there is only one")
	add("envoy.config.endpoint.v3.LocalityLbEndpoints", "lb_endpoints",
		"locality", "describes where endpoints are; balancing by it is refused where it is asked for",
		"load_balancing_weight", "means nothing without locality_weighted_lb_config, which is refused")
	add("envoy.config.endpoint.v3.LbEndpoint", "endpoint health_status load_balancing_weight metadata")
	add("envoy.config.endpoint.v3.Endpoint", "address hostname")
}

// upstreamHTTPFields are how HTTP is spoken to endpoints.
func upstreamHTTPFields(add adder, within string) {
	add(in(within, "envoy.config.core.v3.Http1ProtocolOptions"), "",
		"enable_trailers", "trailers are always passed on",
		"use_balsa_parser", "chooses between two parsers of Envoy's",
		"override_stream_error_on_invalid_http_message", "a malformed message always ends its connection")
	add(in(within, "envoy.config.core.v3.Http2ProtocolOptions"), `max_concurrent_streams initial_stream_window_size hpack_table_size
		max_outbound_frames max_outbound_control_frames max_consecutive_inbound_frames_with_empty_payload
		max_inbound_priority_frames_per_stream max_inbound_window_update_frames_per_data_frame_sent connection_keepalive`,
		"initial_connection_window_size", connectionWindow,
		"allow_connect", "WebSocket goes over HTTP/2 wherever the endpoint announces RFC 8441",
		"use_oghttp2_codec", "chooses between two codecs of Envoy's",
		"enable_huffman_encoding", "changes how many bytes a header takes, not what it says",
		"override_stream_error_on_invalid_http_message", "a malformed response always ends its stream, and one that breaks the framing its connection")
}
