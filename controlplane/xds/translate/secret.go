package translate

import (
	"errors"
	"fmt"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"github.com/hauberk-mesh/hauberk/controlplane/ir"
	trustv1 "github.com/hauberk-mesh/hauberk/wire/trust/v1"
)

const (
	revocationsName = "revocations"
	spiffeValidator = "envoy.tls.cert_validator.spiffe"
)

// commonTLS names the identity and the bundles; neither is in the message. own is merged by Envoy over what the secret says.
func commonTLS(params *tlsv3.TlsParameters, own *tlsv3.CertificateValidationContext) *tlsv3.CommonTlsContext {
	return &tlsv3.CommonTlsContext{
		TlsParams:                      params,
		TlsCertificateSdsSecretConfigs: []*tlsv3.SdsSecretConfig{{Name: ir.SecretIdentity, SdsConfig: ads()}},
		ValidationContextType: &tlsv3.CommonTlsContext_CombinedValidationContext{
			CombinedValidationContext: &tlsv3.CommonTlsContext_CombinedCertificateValidationContext{
				DefaultValidationContext:         own,
				ValidationContextSdsSecretConfig: &tlsv3.SdsSecretConfig{Name: ir.SecretTrust, SdsConfig: ads()},
			},
		},
	}
}

// tlsParameters always names both ends: Envoy's own maximum is TLS 1.3 for servers and 1.2 for clients.
func tlsParameters(lowest, highest string) *tlsv3.TlsParameters {
	return &tlsv3.TlsParameters{
		TlsMinimumProtocolVersion: tlsVersion(lowest),
		TlsMaximumProtocolVersion: tlsVersion(highest),
	}
}

func tlsVersion(v string) tlsv3.TlsParameters_TlsProtocol {
	if v == "TLS12" {
		return tlsv3.TlsParameters_TLSv1_2
	}
	return tlsv3.TlsParameters_TLSv1_3
}

// trustSecret binds each trust domain to its own authorities, so that one mesh's authority cannot vouch for another's names.
func trustSecret(bundles []ir.TrustBundle) (*tlsv3.Secret, error) {
	if len(bundles) == 0 {
		return nil, errors.New("no trust bundle: the mesh has no MeshTrust")
	}
	validator := &tlsv3.SPIFFECertValidatorConfig{}
	for _, b := range bundles {
		if len(b.PEM) == 0 {
			return nil, fmt.Errorf("trust domain %q has no certificate", b.TrustDomain)
		}
		validator.TrustDomains = append(validator.TrustDomains, &tlsv3.SPIFFECertValidatorConfig_TrustDomain{
			Name: b.TrustDomain,
			TrustBundle: &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{
				InlineString: joinPEM(b.PEM),
			}},
		})
	}
	config, err := packed(validator)
	if err != nil {
		return nil, err
	}
	return &tlsv3.Secret{
		Name: ir.SecretTrust,
		Type: &tlsv3.Secret_ValidationContext{ValidationContext: &tlsv3.CertificateValidationContext{
			CustomValidatorConfig: &corev3.TypedExtensionConfig{Name: spiffeValidator, TypedConfig: config},
		}},
	}, nil
}

func joinPEM(blocks []string) string {
	var b strings.Builder
	for _, block := range blocks {
		b.WriteString(strings.TrimSpace(block))
		b.WriteByte('\n')
	}
	return b.String()
}

func revocations(ids []string) *trustv1.Revocations { return &trustv1.Revocations{SpiffeIds: ids} }
