package config

// clusterFields is what becomes of the fields of clusters and endpoints.
func clusterFields(add adder) {
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
}
