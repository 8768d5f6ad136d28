package config

import (
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// table says of every message that may be in a configuration which of its fields are honoured and which are accepted
// without effect, with the reason why that is harmless. A field that is in neither list is refused, and so is a message
// that is not here. Where a message means different things in different places, its row says in which message.
//
// Nothing that touches security, routing or limits may ever be accepted without effect.
func table() map[string]row {
	const names = "names a statistic, and changes no traffic"
	t := map[string]row{}
	add := func(message, honoured string, accepted ...string) {
		r := row{fields: map[protoreflect.Name]rule{}}
		for _, f := range strings.Fields(honoured) {
			r.fields[protoreflect.Name(f)] = rule{}
		}
		for i := 0; i+1 < len(accepted); i += 2 {
			r.fields[protoreflect.Name(accepted[i])] = rule{accepted: accepted[i+1]}
		}
		t[message] = r
	}

	// Listeners.
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

	// HTTP.
	add("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", `codec_type rds route_config
		http_filters common_http_protocol_options stream_idle_timeout request_headers_timeout normalize_path merge_slashes
		path_with_escaped_slashes_action`,
		"stat_prefix", names)
	add(in("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", "envoy.config.core.v3.HttpProtocolOptions"),
		"idle_timeout max_connection_duration")
	add("envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter", "name typed_config is_optional")
	add("envoy.extensions.filters.network.http_connection_manager.v3.Rds", "config_source route_config_name")
	add("envoy.extensions.filters.http.router.v3.Router", "")

	// Routes.
	add("envoy.config.route.v3.RouteConfiguration", "name virtual_hosts")
	add("envoy.config.route.v3.VirtualHost", "name domains routes")
	add("envoy.config.route.v3.Route", "name match route")
	add("envoy.config.route.v3.RouteMatch", "prefix path_separated_prefix")
	add("envoy.config.route.v3.RouteAction", "cluster timeout idle_timeout retry_policy max_stream_duration")
	add("envoy.config.route.v3.RouteAction.MaxStreamDuration", "max_stream_duration")
	add("envoy.config.route.v3.RetryPolicy", "retry_on num_retries retry_host_predicate host_selection_retry_max_attempts")
	add("envoy.config.route.v3.RetryPolicy.RetryHostPredicate", "name typed_config")
	add("envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate", "")

	// Clusters and endpoints.
	add("envoy.config.cluster.v3.Cluster", `name type eds_cluster_config connect_timeout lb_policy load_assignment
		typed_extension_protocol_options common_lb_config transport_socket metadata`,
		"alt_stat_name", names)
	add("envoy.config.cluster.v3.Cluster.EdsClusterConfig", "eds_config service_name")
	add("envoy.config.cluster.v3.Cluster.CommonLbConfig", "healthy_panic_threshold")
	add("envoy.type.v3.Percent", "value")
	add("envoy.extensions.upstreams.http.v3.HttpProtocolOptions", "common_http_protocol_options explicit_http_config")
	add("envoy.extensions.upstreams.http.v3.HttpProtocolOptions.ExplicitHttpConfig", "http_protocol_options")
	add(in("envoy.extensions.upstreams.http.v3.HttpProtocolOptions", "envoy.config.core.v3.HttpProtocolOptions"), "idle_timeout")
	add("envoy.config.core.v3.Http1ProtocolOptions", "")
	add("envoy.config.endpoint.v3.ClusterLoadAssignment", "cluster_name endpoints")
	add("envoy.config.endpoint.v3.LocalityLbEndpoints", "lb_endpoints")
	add("envoy.config.endpoint.v3.LbEndpoint", "endpoint health_status metadata")
	add("envoy.config.endpoint.v3.Endpoint", "address")

	// TLS and secrets.
	add("envoy.config.core.v3.TransportSocket", "name typed_config")
	add("envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer", "")
	add("envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext", "common_tls_context require_client_certificate")
	add("envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext", "common_tls_context sni")
	add("envoy.extensions.transport_sockets.tls.v3.CommonTlsContext", `tls_params tls_certificate_sds_secret_configs
		combined_validation_context`)
	add("envoy.extensions.transport_sockets.tls.v3.TlsParameters", "tls_minimum_protocol_version tls_maximum_protocol_version")
	add("envoy.extensions.transport_sockets.tls.v3.CommonTlsContext.CombinedCertificateValidationContext",
		"default_validation_context validation_context_sds_secret_config")
	add(in("envoy.extensions.transport_sockets.tls.v3.CommonTlsContext.CombinedCertificateValidationContext",
		"envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext"), "match_typed_subject_alt_names")
	add("envoy.extensions.transport_sockets.tls.v3.SubjectAltNameMatcher", "san_type matcher")
	add("envoy.type.matcher.v3.StringMatcher", "exact")
	add("envoy.extensions.transport_sockets.tls.v3.SdsSecretConfig", "name sds_config")
	add("envoy.extensions.transport_sockets.tls.v3.Secret", "name validation_context")
	add(in("envoy.extensions.transport_sockets.tls.v3.Secret",
		"envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext"), "custom_validator_config")
	add("envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig", "trust_domains")
	add("envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig.TrustDomain", "name trust_bundle")
	add("hauberk.trust.v1.Revocations", "spiffe_ids")

	// Shared.
	add("envoy.config.core.v3.Address", "socket_address pipe")
	add("envoy.config.core.v3.SocketAddress", "protocol address port_value")
	add("envoy.config.core.v3.Pipe", "path")
	add("envoy.config.core.v3.ConfigSource", "ads resource_api_version")
	add("envoy.config.core.v3.AggregatedConfigSource", "")
	add("envoy.config.core.v3.DataSource", "inline_string inline_bytes")
	add("envoy.config.core.v3.TypedExtensionConfig", "name typed_config")
	add("envoy.config.core.v3.Metadata", "filter_metadata")
	return t
}

// row is one message.
type row struct {
	fields map[protoreflect.Name]rule
}

// rule of a field that is not refused. accepted is why having no effect is harmless; empty where it is honoured.
type rule struct{ accepted string }

// in is the key of a message's row within another message.
func in(parent, message string) string { return message + " in " + parent }

// rowOf finds the row of a message that stands in parent ("" for the outermost).
func rowOf(t map[string]row, parent, message protoreflect.FullName) (row, bool) {
	if r, ok := t[in(string(parent), string(message))]; ok {
		return r, true
	}
	r, ok := t[string(message)]
	return r, ok
}
