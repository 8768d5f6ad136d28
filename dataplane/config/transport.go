package config

import (
	stdtls "crypto/tls"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	proxyprotocolv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/proxy_protocol/v3"
	rawbufferv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/raw_buffer/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"github.com/hauberk-mesh/hauberk/dataplane/tls"
	"github.com/hauberk-mesh/hauberk/dataplane/upstream"
)

// downstream reads the transport socket of a chain; nil is plaintext. alpn is offered where the message names none.
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
	if names := m.GetCommonTlsContext().GetAlpnProtocols(); len(names) > 0 {
		alpn = names
	}
	if w.deps.StandAlone {
		c := &contextBuild{build: w, reader: r}
		return c.downstream(m, at, alpn)
	}
	if err := only(m, at, "common_tls_context", "require_client_certificate",
		"disable_stateless_session_resumption", "disable_stateful_session_resumption"); err != nil {
		return nil, err
	}
	if !m.GetRequireClientCertificate().GetValue() {
		return nil, fmt.Errorf("%s.require_client_certificate: must be true: without it nobody is who they say", at)
	}
	options, own, err := w.meshTLS(m.GetCommonTlsContext(), at+".common_tls_context", stdtls.VersionTLS13)
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

// upstream reads the transport socket of a cluster into spec, whose protocol is known already.
func (w *build) upstream(r *reader, s *corev3.TransportSocket, path string, spec *upstream.Spec) error {
	config, at := s.GetTypedConfig(), path+".typed_config"
	if s == nil {
		return nil
	}
	if config.MessageIs((*rawbufferv3.RawBuffer)(nil)) {
		return r.any(config, at, &rawbufferv3.RawBuffer{})
	}
	if config.MessageIs((*proxyprotocolv3.ProxyProtocolUpstreamTransport)(nil)) {
		if spec.ProxyProtocol != 0 {
			return fmt.Errorf("%s: a second PROXY header is not honoured", at)
		}
		m := &proxyprotocolv3.ProxyProtocolUpstreamTransport{}
		if err := r.any(config, at, m); err != nil {
			return err
		}
		spec.ProxyProtocol = 1
		if m.GetConfig().GetVersion() == corev3.ProxyProtocolConfig_V2 {
			spec.ProxyProtocol = 2
		}
		if m.GetTransportSocket() == nil {
			return fmt.Errorf("%s.transport_socket: is not set", at)
		}
		return w.upstream(r, m.GetTransportSocket(), at+".transport_socket", spec)
	}
	m := &tlsv3.UpstreamTlsContext{}
	err := r.any(config, at, m)
	if err != nil {
		return err
	}
	if w.deps.StandAlone {
		c := &contextBuild{build: w, reader: r}
		spec.TLS, err = c.upstream(m, at, spec.Protocol)
	} else {
		spec.TLS, err = w.meshClient(m, at, spec.Protocol)
	}
	return err
}

// alpnOf is what is offered for HTTP where the message names nothing.
func alpnOf(p upstream.Protocol) []string {
	switch p {
	case upstream.HTTP2:
		return []string{"h2"}
	case upstream.Negotiated:
		return []string{"h2", "http/1.1"}
	}
	return []string{"http/1.1"}
}

// meshClient is mutual TLS towards one service of the mesh.
func (w *build) meshClient(m *tlsv3.UpstreamTlsContext, at string, protocol upstream.Protocol) (*upstream.TLS, error) {
	if err := only(m, at, "common_tls_context", "sni", "max_session_keys"); err != nil {
		return nil, err
	}
	options, own, err := w.meshTLS(m.GetCommonTlsContext(), at+".common_tls_context", stdtls.VersionTLS12)
	if err != nil {
		return nil, err
	}
	ids, err := peerIDs(own, at+".common_tls_context.combined_validation_context.default_validation_context")
	if err != nil {
		return nil, err
	}
	options.ALPN = m.GetCommonTlsContext().GetAlpnProtocols()
	if len(options.ALPN) == 0 && protocol != upstream.Opaque {
		options.ALPN = alpnOf(protocol)
	}
	return &upstream.TLS{
		Config: tls.ClientConfigWith(w.deps.Identity, w.deps.Trust, ids, m.GetSni(), options),
		Key:    fmt.Sprintf("%q %q %+v", ids, m.GetSni(), options),
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
		if err := only(m.GetMatcher(), fmt.Sprintf("%s[%d].matcher", path, i), "exact"); err != nil {
			return nil, err
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

// meshTLS reads what both sides share in a mesh: the proxy's own identity and the mesh's trust, and nothing else. highest is the
// version where the message names no maximum.
func (w *build) meshTLS(m *tlsv3.CommonTlsContext, path string, highest uint16) (tls.Options, *tlsv3.CertificateValidationContext, error) {
	fail := func(err error) (tls.Options, *tlsv3.CertificateValidationContext, error) {
		return tls.Options{}, nil, err
	}
	if err := only(m, path, "tls_params", "tls_certificate_sds_secret_configs", "combined_validation_context", "alpn_protocols"); err != nil {
		return fail(err)
	}
	options, err := readTLSParameters(m.GetTlsParams(), path+".tls_params", highest)
	if err != nil {
		return fail(err)
	}
	options.PostQuantum = w.deps.PostQuantum
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
	own := combined.GetDefaultValidationContext()
	return options, own, only(own, path+".combined_validation_context.default_validation_context", "match_typed_subject_alt_names")
}

func sds(c *tlsv3.SdsSecretConfig, name, path string) error {
	if c.GetName() != name {
		return fmt.Errorf("%s.name: %q is not honoured, only %q", path, c.GetName(), name)
	}
	return overADS(c.GetSdsConfig(), path+".sds_config")
}

// only refuses all fields of m but those that are named: in a mesh less is honoured than the table says.
func only(m proto.Message, path string, fields ...string) error {
	for _, f := range populated(m.ProtoReflect()) {
		known := false
		for _, name := range fields {
			known = known || string(f.Name()) == name
		}
		if !known {
			return fmt.Errorf("%s: is not honoured in a mesh", join(path, string(f.Name())))
		}
	}
	return nil
}
