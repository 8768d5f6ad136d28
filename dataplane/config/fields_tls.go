package config

// tlsFields is what becomes of the fields of transport sockets and secrets. In a mesh most of it is refused: see only.
func tlsFields(add adder) {
	const (
		tls     = "envoy.extensions.transport_sockets.tls.v3."
		context = tls + "CommonTlsContext"
		peer    = tls + "CertificateValidationContext"
	)
	add("envoy.config.core.v3.TransportSocket", "name typed_config")
	add("envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer", "")
	add("envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport", "config transport_socket")
	add(in("envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport",
		"envoy.config.core.v3.ProxyProtocolConfig"), "version")
	add(tls+"DownstreamTlsContext", `common_tls_context require_client_certificate require_sni
		disable_stateless_session_resumption disable_stateful_session_resumption full_scan_certs_on_sni_mismatch`)
	add(tls+"UpstreamTlsContext", "common_tls_context sni auto_host_sni auto_sni_san_validation",
		"max_session_keys", "sessions are not resumed: each connection begins with a full handshake")
	add(context, `tls_params tls_certificates tls_certificate_sds_secret_configs validation_context
		validation_context_sds_secret_config combined_validation_context alpn_protocols`)
	add(tls+"TlsParameters", "tls_minimum_protocol_version tls_maximum_protocol_version cipher_suites ecdh_curves")
	add(tls+"TlsCertificate", "certificate_chain private_key private_key_provider watched_directory")
	add(tls+"PrivateKeyProvider", "provider_name typed_config",
		"fallback", "where the CPU has no vector kernels the proxy computes without them, whatever this says")
	for _, m := range keyProviders {
		add(m.message, "private_key", "poll_delay", m.poll)
	}
	add("envoy.config.core.v3.WatchedDirectory", "path")
	add(context+".CombinedCertificateValidationContext", "default_validation_context validation_context_sds_secret_config")
	add(peer, `trusted_ca watched_directory verify_certificate_spki verify_certificate_hash match_typed_subject_alt_names
		match_subject_alt_names crl only_verify_leaf_cert_crl trust_chain_verification custom_validator_config
		suppress_client_ca_list`)
	add(tls+"SubjectAltNameMatcher", "san_type matcher")
	for _, within := range []string{tls + "SubjectAltNameMatcher", peer} {
		add(in(within, "envoy.type.matcher.v3.StringMatcher"), "exact prefix suffix contains safe_regex ignore_case")
	}
	add(tls+"SdsSecretConfig", "name sds_config")
	add(tls+"Secret", "name tls_certificate validation_context")
	for _, within := range []string{tls + "TlsCertificate", keyProviders[0].message, keyProviders[1].message} {
		add(in(within, "envoy.config.core.v3.DataSource"), "filename inline_bytes inline_string environment_variable")
	}
	add(in(peer, "envoy.config.core.v3.DataSource"), "filename inline_bytes inline_string")
	add(tls+"SPIFFECertValidatorConfig", "trust_domains")
	add(tls+"SPIFFECertValidatorConfig.TrustDomain", "name trust_bundle")
	add(in(tls+"SPIFFECertValidatorConfig.TrustDomain", "envoy.config.core.v3.DataSource"), "filename inline_bytes inline_string")
	add("hauberk.trust.v1.Revocations", "spiffe_ids")
	add("hauberk.proxy.v1.Settings", "key_provider")
}

// keyProviders are Envoy's accelerators, and why how often they are polled is nothing to us.
var keyProviders = [...]struct{ message, poll string }{
	{"envoy.extensions.private_key_providers.cryptomb.v3alpha.CryptoMbPrivateKeyMethodConfig", "an operation never waits for others to come"},
	{"envoy.extensions.private_key_providers.qat.v3alpha.QatPrivateKeyMethodConfig", "the CPU does the work: there is no card to poll"},
}
