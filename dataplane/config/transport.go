package config

import (
	stdtls "crypto/tls"
	"fmt"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rawbufferv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/raw_buffer/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"github.com/hauberk-mesh/hauberk/dataplane/tls"
	"github.com/hauberk-mesh/hauberk/dataplane/upstream"
)

// downstream reads the transport socket of a chain; nil is plaintext.
func (w *build) downstream(r *reader, s *corev3.TransportSocket, path string, alpn []string) (*stdtls.Config, error) {
	if s == nil {
		return nil, nil
	}
	config, at := s.GetTypedConfig(), path+".typed_config"
	if config.MessageIs((*rawbufferv3.RawBuffer)(nil)) {
		return nil, r.any(config, at, &rawbufferv3.RawBuffer{})
	}
	m := &tlsv3.DownstreamTlsContext{}
	if err := r.any(config, at, m); err != nil {
		return nil, err
	}
	if !m.GetRequireClientCertificate().GetValue() {
		return nil, fmt.Errorf("%s.require_client_certificate: must be true: without it nobody is who they say", at)
	}
	options, own, err := w.commonTLS(m.GetCommonTlsContext(), at+".common_tls_context", stdtls.VersionTLS13)
	if err != nil {
		return nil, err
	}
	if len(own.GetMatchTypedSubjectAltNames()) > 0 {
		return nil, fmt.Errorf("%s.common_tls_context.combined_validation_context.default_validation_context.match_typed_subject_alt_names: "+
			"is not honoured on a listener: who may call is the RBAC filter's to say", at)
	}
	options.ALPN = alpn
	return tls.ServerConfig(w.deps.Identity, w.deps.Trust, options), nil
}

// upstream reads the transport socket of a cluster; nil is plaintext.
func (w *build) upstream(r *reader, s *corev3.TransportSocket, path string, alpn []string) (*upstream.TLS, error) {
	if s == nil {
		return nil, nil
	}
	config, at := s.GetTypedConfig(), path+".typed_config"
	if config.MessageIs((*rawbufferv3.RawBuffer)(nil)) {
		return nil, r.any(config, at, &rawbufferv3.RawBuffer{})
	}
	m := &tlsv3.UpstreamTlsContext{}
	if err := r.any(config, at, m); err != nil {
		return nil, err
	}
	options, own, err := w.commonTLS(m.GetCommonTlsContext(), at+".common_tls_context", stdtls.VersionTLS12)
	if err != nil {
		return nil, err
	}
	ids, err := peerIDs(own, at+".common_tls_context.combined_validation_context.default_validation_context")
	if err != nil {
		return nil, err
	}
	options.ALPN = alpn
	return &upstream.TLS{
		Config: tls.ClientConfigWith(w.deps.Identity, w.deps.Trust, ids, m.GetSni(), options),
		Key:    fmt.Sprintf("%q %q %d-%d %q", ids, m.GetSni(), options.MinVersion, options.MaxVersion, alpn),
		Epoch:  w.deps.Identity.Epoch,
	}, nil
}

// peerIDs are the SPIFFE IDs that a server may prove. None at all would, to Envoy, mean every certificate of a trusted
// domain, which is never what anybody wants between proxies.
func peerIDs(c *tlsv3.CertificateValidationContext, path string) ([]string, error) {
	path += ".match_typed_subject_alt_names"
	if len(c.GetMatchTypedSubjectAltNames()) == 0 {
		return nil, fmt.Errorf("%s: is empty, and any peer of a trusted domain would do; name the identities of the service", path)
	}
	var ids []string
	for i, m := range c.GetMatchTypedSubjectAltNames() {
		if m.GetSanType() != tlsv3.SubjectAltNameMatcher_URI {
			return nil, fmt.Errorf("%s[%d].san_type: %s is not honoured, only URI", path, i, m.GetSanType())
		}
		id := m.GetMatcher().GetExact()
		if id == "" {
			return nil, fmt.Errorf("%s[%d].matcher.exact: is empty", path, i)
		}
		// Whatever is no SPIFFE ID matches no verified peer: that is how a control plane says "nobody".
		if strings.HasPrefix(id, "spiffe://") {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// commonTLS reads what both sides share. highest is the version where the message names no maximum.
func (w *build) commonTLS(m *tlsv3.CommonTlsContext, path string, highest uint16) (tls.Options, *tlsv3.CertificateValidationContext, error) {
	fail := func(err error) (tls.Options, *tlsv3.CertificateValidationContext, error) {
		return tls.Options{}, nil, err
	}
	params, at := m.GetTlsParams(), path+".tls_params"
	lowest, err := version(params.GetTlsMinimumProtocolVersion(), stdtls.VersionTLS12, at+".tls_minimum_protocol_version")
	if err != nil {
		return fail(err)
	}
	highest, err = version(params.GetTlsMaximumProtocolVersion(), highest, at+".tls_maximum_protocol_version")
	if err != nil {
		return fail(err)
	}
	if lowest > highest {
		return fail(fmt.Errorf("%s: the minimum version is above the maximum", at))
	}
	certificates := m.GetTlsCertificateSdsSecretConfigs()
	if len(certificates) != 1 {
		return fail(fmt.Errorf("%s.tls_certificate_sds_secret_configs: must be exactly one, %q", path, secretIdentity))
	}
	if err := sds(certificates[0], secretIdentity, path+".tls_certificate_sds_secret_configs[0]"); err != nil {
		return fail(err)
	}
	combined := m.GetCombinedValidationContext()
	if combined == nil {
		return fail(fmt.Errorf("%s.combined_validation_context: must be set, or no peer would be verified", path))
	}
	if err := sds(combined.GetValidationContextSdsSecretConfig(), secretTrust, path+".combined_validation_context.validation_context_sds_secret_config"); err != nil {
		return fail(err)
	}
	if w.in[TypeSecret][secretTrust] == nil {
		return fail(fmt.Errorf("%s.combined_validation_context: names the secret %q, which was not sent", path, secretTrust))
	}
	return tls.Options{MinVersion: lowest, MaxVersion: highest}, combined.GetDefaultValidationContext(), nil
}

func version(v tlsv3.TlsParameters_TlsProtocol, auto uint16, path string) (uint16, error) {
	switch v {
	case tlsv3.TlsParameters_TLS_AUTO:
		return auto, nil
	case tlsv3.TlsParameters_TLSv1_2:
		return stdtls.VersionTLS12, nil
	case tlsv3.TlsParameters_TLSv1_3:
		return stdtls.VersionTLS13, nil
	}
	return 0, fmt.Errorf("%s: %s is not honoured: TLS below 1.2 is broken", path, v)
}

func sds(c *tlsv3.SdsSecretConfig, name, path string) error {
	if c.GetName() != name {
		return fmt.Errorf("%s.name: %q is not honoured, only %q", path, c.GetName(), name)
	}
	return overADS(c.GetSdsConfig(), path+".sds_config")
}
