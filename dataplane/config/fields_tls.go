package config

// tlsFields is what becomes of the fields of transport sockets and secrets.
func tlsFields(add adder) {
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
}
