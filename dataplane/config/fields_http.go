package config

// httpFields is what becomes of the fields of the HTTP connection manager.
func httpFields(add adder) {
	const manager = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
	add(manager, `codec_type rds route_config http_filters common_http_protocol_options http_protocol_options
		http2_protocol_options max_request_headers_kb stream_idle_timeout request_timeout request_headers_timeout
		drain_timeout delayed_close_timeout normalize_path merge_slashes path_with_escaped_slashes_action
		strip_matching_host_port strip_any_host_port strip_trailing_host_dot generate_request_id
		preserve_external_request_id always_set_request_id_in_response use_remote_address skip_xff_append via
		server_name server_header_transformation forward_client_cert_details upgrade_configs access_log`,
		"stat_prefix", names,
		"proxy_100_continue", "a 100 (Continue) of the application is always passed on",
		"stream_error_on_invalid_http_message",
		"a malformed message is always refused: in HTTP/1 with its connection, in HTTP/2 with its stream")
	add(in(manager, "envoy.config.core.v3.HttpProtocolOptions"), `idle_timeout max_connection_duration
		max_headers_count max_stream_duration max_requests_per_connection headers_with_underscores_action`)
	add(in(manager, "envoy.config.core.v3.Http1ProtocolOptions"),
		"allow_absolute_url accept_http_10 default_host_for_http_10 header_key_format",
		"enable_trailers", "trailers are always passed on",
		"use_balsa_parser", "chooses between two parsers of Envoy's",
		"allow_custom_methods", "any token is a method here, and permissions judge by it",
		"override_stream_error_on_invalid_http_message", "a malformed message always ends its connection")
	add("envoy.config.core.v3.Http1ProtocolOptions.HeaderKeyFormat", "stateful_formatter")
	add("envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig", "",
		"forward_reason_phrase", "the reason phrase is always passed on",
		"formatter_type_on_envoy_headers", "is about the case of names that Envoy adds; names are compared without it")
	add(in(manager, "envoy.config.core.v3.Http2ProtocolOptions"), `max_concurrent_streams initial_stream_window_size
		hpack_table_size allow_connect max_outbound_frames max_outbound_control_frames
		max_consecutive_inbound_frames_with_empty_payload max_inbound_priority_frames_per_stream
		max_inbound_window_update_frames_per_data_frame_sent connection_keepalive`,
		"initial_connection_window_size", connectionWindow,
		"use_oghttp2_codec", "chooses between two codecs of Envoy's",
		"max_metadata_size", "METADATA frames are not taken at all",
		"enable_huffman_encoding", "changes how many bytes a header takes, not what it says",
		"stream_error_on_invalid_http_messaging", malformed, "override_stream_error_on_invalid_http_message", malformed)
	add("envoy.config.core.v3.KeepaliveSettings", keepaliveHonoured, "interval_jitter", jitterReason)
	add("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.UpgradeConfig",
		"upgrade_type enabled")
	add("envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter", "name typed_config is_optional")
	add("envoy.extensions.filters.network.http_connection_manager.v3.Rds", "config_source route_config_name")
	add("envoy.extensions.filters.http.router.v3.Router", "suppress_envoy_headers",
		"dynamic_stats", "is about statistics, and changes no traffic",
		"suppress_grpc_request_failure_code_stats", "is about statistics, and changes no traffic",
		"start_child_span", "there are no traces that it could be a part of")
	accessLogFields(add)
}

const (
	connectionWindow = "the windows of streams are what bounds memory; the connection's is kept open, so that one stream " +
		"that is not read never holds up the others"
	malformed = "a malformed request always ends its stream, and one that breaks the framing its connection"

	keepaliveHonoured = "interval timeout"
	jitterReason      = "spreads the pings of many connections; ours are spread by when each was opened"
)

// accessLogFields is what becomes of the fields of access logs.
func accessLogFields(add adder) {
	add("envoy.config.accesslog.v3.AccessLog", "name filter typed_config")
	add("envoy.config.accesslog.v3.AccessLogFilter",
		"status_code_filter duration_filter not_health_check_filter and_filter or_filter response_flag_filter")
	add("envoy.config.accesslog.v3.StatusCodeFilter", "comparison")
	add("envoy.config.accesslog.v3.DurationFilter", "comparison")
	add("envoy.config.accesslog.v3.ComparisonFilter", "op value")
	add("envoy.config.core.v3.RuntimeUInt32", "default_value", "runtime_key", noRuntime)
	add("envoy.config.accesslog.v3.NotHealthCheckFilter", "")
	add("envoy.config.accesslog.v3.AndFilter", "filters")
	add("envoy.config.accesslog.v3.OrFilter", "filters")
	add("envoy.config.accesslog.v3.ResponseFlagFilter", "flags")
	add("envoy.extensions.access_loggers.file.v3.FileAccessLog", "path format json_format typed_json_format log_format")
	add("envoy.extensions.access_loggers.stream.v3.StdoutAccessLog", "log_format")
	add("envoy.extensions.access_loggers.stream.v3.StderrAccessLog", "log_format")
	add("envoy.config.core.v3.SubstitutionFormatString", "text_format json_format text_format_source omit_empty_values",
		"content_type", "a log has no content type", "json_format_options", "members are always sorted")
	add(in("envoy.config.core.v3.SubstitutionFormatString",
		"envoy.config.core.v3.DataSource"), "inline_string inline_bytes filename")
}

// noRuntime is why keys of Envoy's runtime are accepted.
const noRuntime = "there is no runtime here that could set the key, so that the default holds, " +
	"as in an Envoy whose runtime does not have it"
