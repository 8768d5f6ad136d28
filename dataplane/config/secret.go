package config

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"google.golang.org/protobuf/types/known/anypb"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"github.com/hauberk-mesh/hauberk/dataplane/tls"
	trustv1 "github.com/hauberk-mesh/hauberk/wire/trust/v1"
)

// The names of secrets. The identity is never sent: the proxy's identity client has it.
const (
	secretIdentity  = "identity"
	secretTrust     = "trust"
	revocationsName = "revocations"
)

func (w *build) trust() error {
	if w.deps.StandAlone {
		return w.readSecrets()
	}
	for _, name := range sorted(w.in[TypeSecret]) {
		if name != secretTrust {
			return fmt.Errorf("secret %q: is not honoured, only %q: no other secret travels by this stream", name, secretTrust)
		}
	}
	for _, name := range sorted(w.in[TypeRevocations]) {
		if name != revocationsName {
			return fmt.Errorf("revocations %q: is not honoured, only %q", name, revocationsName)
		}
	}
	part := &trustPart{message: w.in[TypeSecret][secretTrust], revocations: w.in[TypeRevocations][revocationsName]}
	if old := w.prev.parts.trust; old != nil && same(old.message, part.message) && same(old.revocations, part.revocations) {
		part = old
	} else {
		if err := w.readTrust(part); err != nil {
			return err
		}
	}
	w.g.parts.trust = part
	w.g.HasTrust, w.g.Bundles, w.g.Revoked = part.message != nil, part.bundles, part.revoked
	return nil
}

func (w *build) readTrust(part *trustPart) error {
	if part.message != nil {
		bundles, err := w.readTrustBundles(part)
		if err != nil {
			return fmt.Errorf("secret %q: %w", secretTrust, err)
		}
		part.bundles = bundles
	}
	if part.revocations != nil {
		m := &trustv1.Revocations{}
		if err := w.reader("revocations", revocationsName).any(part.revocations, "", m); err != nil {
			return fmt.Errorf("revocations %q: %w", revocationsName, err)
		}
		part.revoked = m.GetSpiffeIds()
	}
	return nil
}

// readSecrets reads all of stand-alone mode, certificates with keys and validation contexts: whoever names one finds it.
func (w *build) readSecrets() error {
	if len(w.in[TypeRevocations]) > 0 {
		return errors.New("revocations are not honoured outside a mesh; a validation context has crl")
	}
	w.secrets = map[string]*tlsv3.Secret{}
	for _, name := range sorted(w.in[TypeSecret]) {
		m := &tlsv3.Secret{}
		err := w.reader("secret", name).any(w.in[TypeSecret][name], "", m)
		switch {
		case err != nil:
		case m.GetName() != name:
			err = fmt.Errorf("name: is %q", m.GetName())
		case m.GetTlsCertificate() == nil && m.GetValidationContext() == nil:
			err = errors.New("holds neither tls_certificate nor validation_context")
		}
		if err != nil {
			return fmt.Errorf("secret %q: %w", name, err)
		}
		w.secrets[name] = m
	}
	return nil
}

// holds tells whether secrets are those that a part was built from.
func (w *build) holds(secrets map[string]*anypb.Any) bool {
	for name, a := range secrets {
		if !same(a, w.in[TypeSecret][name]) {
			return false
		}
	}
	return true
}

func (w *build) readTrustBundles(part *trustPart) ([]tls.Bundle, error) {
	r := w.reader("secret", secretTrust)
	m := &tlsv3.Secret{}
	if err := r.any(part.message, "", m); err != nil {
		return nil, err
	}
	if m.GetName() != secretTrust {
		return nil, fmt.Errorf("name: is %q", m.GetName())
	}
	if err := only(m, "", "name", "validation_context"); err != nil {
		return nil, err
	}
	if err := only(m.GetValidationContext(), "validation_context", "custom_validator_config"); err != nil {
		return nil, err
	}
	const path = "validation_context.custom_validator_config"
	if m.GetValidationContext().GetCustomValidatorConfig() == nil {
		return nil, fmt.Errorf("%s: is not set", path)
	}
	return readBundles(r, m.GetValidationContext().GetCustomValidatorConfig(), path, func(d *corev3.DataSource) ([]byte, error) {
		if d.GetFilename() != "" {
			return nil, errors.New("filename: is not honoured in a mesh")
		}
		return readData(d)
	})
}

// readBundles reads the one custom validator that there is, Envoy's for SPIFFE.
func readBundles(r *reader, custom *corev3.TypedExtensionConfig, path string, read func(*corev3.DataSource) ([]byte, error)) ([]tls.Bundle, error) {
	config := &tlsv3.SPIFFECertValidatorConfig{}
	if err := r.any(custom.GetTypedConfig(), path+".typed_config", config); err != nil {
		return nil, err
	}
	var out []tls.Bundle
	for i, d := range config.GetTrustDomains() {
		where := fmt.Sprintf("%s.typed_config.trust_domains[%d]", path, i)
		text, err := read(d.GetTrustBundle())
		if err != nil {
			return nil, fmt.Errorf("%s.trust_bundle: %w", where, err)
		}
		certificates, err := parsePEM(text)
		if err != nil {
			return nil, fmt.Errorf("%s.trust_bundle: %w", where, err)
		}
		out = append(out, tls.Bundle{TrustDomain: d.GetName(), Certificates: certificates})
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s.typed_config.trust_domains: is empty: nobody could be trusted", path)
	}
	// A bundle that Trust would refuse must not be found out only when half of the configuration is in force.
	if err := (&tls.Trust{}).SetBundles(out); err != nil {
		return nil, fmt.Errorf("%s.typed_config: %w", path, err)
	}
	return out, nil
}

func parsePEM(text []byte) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("holds a %s, only certificates belong here", block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		out, text = append(out, c), rest
	}
	if len(out) == 0 {
		return nil, errors.New("holds no PEM certificate")
	}
	return out, nil
}
