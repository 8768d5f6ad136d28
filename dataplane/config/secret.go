package config

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

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
		bundles, err := w.readBundles(part)
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

func (w *build) readBundles(part *trustPart) ([]tls.Bundle, error) {
	r := w.reader("secret", secretTrust)
	m := &tlsv3.Secret{}
	if err := r.any(part.message, "", m); err != nil {
		return nil, err
	}
	if m.GetName() != secretTrust {
		return nil, fmt.Errorf("name: is %q", m.GetName())
	}
	const path = "validation_context.custom_validator_config"
	custom := m.GetValidationContext().GetCustomValidatorConfig()
	if custom == nil {
		return nil, fmt.Errorf("%s: is not set", path)
	}
	config := &tlsv3.SPIFFECertValidatorConfig{}
	if err := r.any(custom.GetTypedConfig(), path+".typed_config", config); err != nil {
		return nil, err
	}
	var out []tls.Bundle
	for i, d := range config.GetTrustDomains() {
		where := fmt.Sprintf("%s.typed_config.trust_domains[%d]", path, i)
		text := d.GetTrustBundle().GetInlineBytes()
		if s := d.GetTrustBundle().GetInlineString(); s != "" {
			text = []byte(s)
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
