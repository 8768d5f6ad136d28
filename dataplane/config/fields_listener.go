package config

// listenerFields is what becomes of the fields of listeners, their filters and chains.
func listenerFields(add adder) {
	add("envoy.config.listener.v3.Listener", `name address filter_chains metadata listener_filters listener_filters_timeout
		continue_on_listener_filters_timeout traffic_direction`,
		"stat_prefix", names)
	add("envoy.config.listener.v3.ListenerFilter", "name typed_config")
	add("envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector", "")
	add("envoy.config.listener.v3.FilterChain", "name filter_chain_match filters transport_socket")
	add("envoy.config.listener.v3.FilterChainMatch", "transport_protocol")
	add("envoy.config.listener.v3.Filter", "name typed_config")
	add("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", "cluster idle_timeout max_downstream_connection_duration",
		"stat_prefix", names)
}
