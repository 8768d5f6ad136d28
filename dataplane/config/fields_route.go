package config

// edited are the fields by which each level edits headers.
const edited = " request_headers_to_add request_headers_to_remove response_headers_to_add response_headers_to_remove "

// routeFields is what becomes of the fields of route configurations.
func routeFields(add adder) {
	const direct = "envoy.config.route.v3.DirectResponseAction"
	add("envoy.config.route.v3.RouteConfiguration",
		"name virtual_hosts most_specific_header_mutations_wins ignore_port_in_host_matching "+
			"max_direct_response_body_size_bytes metadata"+edited,
		"validate_clusters", "clusters are always looked for: a route to one that is not there is refused")
	add("envoy.config.route.v3.VirtualHost", "name domains routes require_tls retry_policy metadata"+edited,
		"virtual_clusters", "are about statistics, and change no traffic")
	add("envoy.config.route.v3.Route", "name match route redirect direct_response metadata"+edited,
		"stat_prefix", names, "decorator", "names an operation in traces, and there are none")
	add("envoy.config.route.v3.RouteMatch", `prefix path path_separated_prefix safe_regex connect_matcher
		case_sensitive headers query_parameters grpc runtime_fraction`)
	add("envoy.config.route.v3.RouteMatch.GrpcRouteMatchOptions", "")
	add("envoy.config.route.v3.RouteMatch.ConnectMatcher", "")
	add("envoy.config.route.v3.HeaderMatcher", `name exact_match safe_regex_match range_match present_match
		prefix_match suffix_match contains_match string_match invert_match treat_missing_header_as_empty`)
	add("envoy.config.route.v3.QueryParameterMatcher", "name string_match present_match")
	add("envoy.type.v3.Int64Range", "start end")
	add("envoy.config.core.v3.RuntimeFractionalPercent", "default_value", "runtime_key", noRuntime)
	add("envoy.type.v3.FractionalPercent", "numerator denominator")
	add("envoy.config.route.v3.RouteAction", `cluster weighted_clusters prefix_rewrite regex_rewrite
		host_rewrite_literal auto_host_rewrite timeout idle_timeout retry_policy max_stream_duration upgrade_configs
		priority`,
		"cluster_not_found_response_code", "a route to a cluster that is not there is refused when it is read")
	add("envoy.config.route.v3.RouteAction.MaxStreamDuration", "max_stream_duration grpc_timeout_header_max")
	add("envoy.config.route.v3.RouteAction.UpgradeConfig", "upgrade_type enabled connect_config")
	add("envoy.config.route.v3.RouteAction.UpgradeConfig.ConnectConfig", "")
	add("envoy.config.route.v3.WeightedCluster", "clusters total_weight", "runtime_key_prefix", noRuntime)
	add("envoy.config.route.v3.WeightedCluster.ClusterWeight", "name weight host_rewrite_literal"+edited)
	add("envoy.config.route.v3.RedirectAction", `https_redirect scheme_redirect host_redirect port_redirect
		path_redirect prefix_rewrite regex_rewrite response_code strip_query`)
	add(direct, "status body")
	add(in(direct, "envoy.config.core.v3.DataSource"), "inline_string inline_bytes filename")
	add("envoy.config.route.v3.RetryPolicy", "retry_on num_retries retry_host_predicate host_selection_retry_max_attempts")
	add("envoy.config.route.v3.RetryPolicy.RetryHostPredicate", "name typed_config")
	add("envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate", "")
	add("envoy.config.core.v3.HeaderValueOption", "header append append_action keep_empty_value")
	add("envoy.config.core.v3.HeaderValue", "key value raw_value")
	add("envoy.type.matcher.v3.RegexMatchAndSubstitute", "pattern substitution")
	matcherFields(add)
}

// matcherFields is what becomes of the fields of Envoy's general matchers. A regular expression has to match as a whole.
func matcherFields(add adder) {
	add("envoy.type.matcher.v3.RegexMatcher", "google_re2 regex")
	add("envoy.type.matcher.v3.RegexMatcher.GoogleRE2", "")
	add(in("envoy.config.route.v3.HeaderMatcher",
		"envoy.type.matcher.v3.StringMatcher"), "exact prefix suffix contains safe_regex ignore_case")
	add(in("envoy.config.route.v3.QueryParameterMatcher",
		"envoy.type.matcher.v3.StringMatcher"), "exact prefix suffix contains safe_regex ignore_case")
}
