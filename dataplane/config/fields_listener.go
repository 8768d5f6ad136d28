package config

// listenerFields is what becomes of the fields of listeners, their filters and chains.
func listenerFields(add adder) {
	const (
		balance   = "accepted connections belong to no thread here, so that there is nothing to balance"
		buffers   = "what the engine keeps of a connection is bounded lower, whatever is configured"
		drains    = "connections are only drained when the listener or the proxy goes, never because of a health check"
		hellos    = "a ClientHello is looked at where the kernel keeps it"
		malformed = "a malformed ClientHello always ends the connection"
		one       = "how many sockets share the address changes nothing for who connects; there is one"
	)
	add("envoy.config.listener.v3.Listener", `name address filter_chains default_filter_chain metadata listener_filters
		listener_filters_timeout continue_on_listener_filters_timeout traffic_direction tcp_backlog_size bind_to_port
		use_original_dst ignore_global_conn_limit`,
		"stat_prefix", names, "per_connection_buffer_limit_bytes", buffers, "connection_balance_config", balance,
		"enable_reuse_port", one, "reuse_port", one, "drain_type", drains,
		"max_connections_to_accept_per_socket_event", "connections are accepted one by one")
	add("envoy.config.core.v3.Pipe in envoy.config.core.v3.Address", "path mode")
	add("envoy.config.listener.v3.ListenerFilter", "name typed_config")
	add("envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector", "max_client_hello_size",
		"initial_read_buffer_size", hellos, "close_connection_on_client_hello_parsing_errors", malformed)
	add("envoy.extensions.filters.listener.http_inspector.v3.HttpInspector", "")
	add("envoy.extensions.filters.listener.original_dst.v3.OriginalDst", "")
	add("envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol",
		"allow_requests_without_proxy_protocol disallowed_versions", "stat_prefix", names)
	add("envoy.config.listener.v3.FilterChain", `name filter_chain_match filters transport_socket
		transport_socket_connect_timeout`)
	add("envoy.config.listener.v3.FilterChainMatch", `destination_port prefix_ranges server_names transport_protocol
		application_protocols direct_source_prefix_ranges source_type source_prefix_ranges source_ports`)
	add("envoy.config.core.v3.CidrRange", "address_prefix prefix_len")
	add("envoy.config.listener.v3.Filter", "name typed_config")
	add("envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit", "max_connections delay", "stat_prefix", names)
	add("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", `cluster weighted_clusters idle_timeout
		max_downstream_connection_duration max_connect_attempts access_log`,
		"stat_prefix", names)
	add("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster", "clusters")
	add("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster.ClusterWeight", "name weight")
}
