package config

// bootstrapFields are the messages of a bootstrap file around the resources in it.
func bootstrapFields(add adder) {
	const (
		scraped = "statistics are read by scrapes, when somebody asks"
		threads = "is about the threads and the memory of another program"
	)
	add("envoy.config.bootstrap.v3.Bootstrap",
		"node static_resources dynamic_resources admin overload_manager layered_runtime",
		"stats_flush_interval", scraped, "stats_flush_on_admin", scraped, "stats_config", names, "deferred_stat_options", scraped,
		"enable_dispatcher_stats", scraped, "watchdog", threads, "watchdogs", threads, "memory_allocator_manager", threads,
		"enable_worker_cpu_affinity", threads, "inline_headers", "says how another program keeps headers in memory",
		"application_log_config", "the program's own log has its own form")
	add("envoy.config.bootstrap.v3.Bootstrap.StaticResources", "listeners clusters secrets")
	add("envoy.config.bootstrap.v3.Bootstrap.DynamicResources", "lds_config cds_config ads_config")
	add("envoy.config.bootstrap.v3.Admin", "address",
		"access_log", "who looks at the admin port is not written down", "access_log_path", "who looks at the admin port is not written down",
		"profile_path", "no profile is written", "ignore_global_conn_limit", "the admin port counts for no limit")
	add("envoy.config.bootstrap.v3.LayeredRuntime", "layers")
	add("envoy.config.bootstrap.v3.RuntimeLayer", "name static_layer",
		"admin_layer", "the admin port changes no runtime value, so that the layer stays empty")

	add("envoy.config.core.v3.Node", "id cluster metadata locality")
	add("envoy.config.core.v3.Locality", "region zone sub_zone")
	add("envoy.config.core.v3.ApiConfigSource", "api_type transport_api_version grpc_services set_node_on_first_message_only",
		"request_timeout", "is for REST", "refresh_delay", "is for REST")
	add("envoy.config.core.v3.GrpcService", "envoy_grpc initial_metadata",
		"timeout", "a stream of configurations has no end to wait for")
	add("envoy.config.core.v3.GrpcService.EnvoyGrpc", "cluster_name authority")
	add("envoy.config.core.v3.HeaderValue in envoy.config.core.v3.GrpcService", "key value")
}
