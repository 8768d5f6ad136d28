package config

// sharedFields is what becomes of the fields of messages that are used everywhere.
func sharedFields(add adder) {
	add("envoy.config.core.v3.Address", "socket_address pipe")
	add("envoy.config.core.v3.SocketAddress", "protocol address port_value")
	add("envoy.config.core.v3.Pipe", "path")
	add("envoy.config.core.v3.ConfigSource", "ads resource_api_version initial_fetch_timeout")
	add("envoy.config.core.v3.AggregatedConfigSource", "")
	add("envoy.config.core.v3.DataSource", "inline_string inline_bytes")
	add("envoy.config.core.v3.TypedExtensionConfig", "name typed_config")
	add("envoy.config.core.v3.Metadata", "filter_metadata")
}
