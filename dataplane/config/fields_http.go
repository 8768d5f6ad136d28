package config

// httpFields is what becomes of the fields of the HTTP connection manager.
func httpFields(add adder) {
	add("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", `codec_type rds route_config
		http_filters common_http_protocol_options stream_idle_timeout request_headers_timeout normalize_path merge_slashes
		path_with_escaped_slashes_action`,
		"stat_prefix", names)
	add(in("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", "envoy.config.core.v3.HttpProtocolOptions"),
		"idle_timeout max_connection_duration")
	add("envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter", "name typed_config is_optional")
	add("envoy.extensions.filters.network.http_connection_manager.v3.Rds", "config_source route_config_name")
	add("envoy.extensions.filters.http.router.v3.Router", "")
}
