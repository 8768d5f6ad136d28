package config

// routeFields is what becomes of the fields of route configurations.
func routeFields(add adder) {
	add("envoy.config.route.v3.RouteConfiguration", "name virtual_hosts")
	add("envoy.config.route.v3.VirtualHost", "name domains routes")
	add("envoy.config.route.v3.Route", "name match route")
	add("envoy.config.route.v3.RouteMatch", "prefix path_separated_prefix")
	add("envoy.config.route.v3.RouteAction", "cluster timeout idle_timeout retry_policy max_stream_duration")
	add("envoy.config.route.v3.RouteAction.MaxStreamDuration", "max_stream_duration")
	add("envoy.config.route.v3.RetryPolicy", "retry_on num_retries retry_host_predicate host_selection_retry_max_attempts")
	add("envoy.config.route.v3.RetryPolicy.RetryHostPredicate", "name typed_config")
	add("envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate", "")
}
