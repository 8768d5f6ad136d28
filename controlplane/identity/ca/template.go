package ca

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"time"
)

func rootTemplate(mesh string, now time.Time) *x509.Certificate {
	return &x509.Certificate{
		Subject:               pkix.Name{Organization: []string{mesh}, CommonName: "hauberk root"},
		NotBefore:             now.Add(-clockSkew),
		NotAfter:              now.Add(rootLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLen:            1,
	}
}

// intermediateTemplate is constrained to one trust domain (RFC 5280 section 4.2.1.10): whoever got hold of its key could
// not make an identity of another mesh, even where a verifier trusts this root for more than it should.
func intermediateTemplate(mesh, domain string, root *x509.Certificate, now time.Time) *x509.Certificate {
	return &x509.Certificate{
		Subject:                     pkix.Name{Organization: []string{mesh}, CommonName: "hauberk intermediate"},
		NotBefore:                   now.Add(-clockSkew),
		NotAfter:                    earlier(now.Add(intermediateLife), root.NotAfter),
		KeyUsage:                    x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid:       true,
		IsCA:                        true,
		MaxPathLenZero:              true,
		PermittedURIDomains:         []string{domain},
		PermittedDNSDomainsCritical: true, // makes the whole extension critical
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
