package tls

import "crypto/tls"

// Options are what a listener or cluster may choose. The zero value is TLS 1.3 without ALPN.
type Options struct {
	// MinVersion and MaxVersion are crypto/tls's numbers; 0 is TLS 1.3.
	MinVersion, MaxVersion uint16
	// ALPN protocols in order of preference: "http/1.1" where the chain speaks HTTP.
	ALPN []string
}

// ServerConfig is mutual TLS on an inbound: it presents the present SVID and lets in whom tr believes. It is made once
// per configuration and follows rotation of SVID, bundles and revocations by itself.
func ServerConfig(id *Identity, tr *Trust, opts Options) *tls.Config {
	c := base(opts)
	c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return id.certificate() }
	// The client's chain is verified in VerifyConnection: which pool counts depends on the SPIFFE ID that the leaf
	// claims, which ClientCAs can't express.
	c.ClientAuth = tls.RequireAnyClientCert
	c.VerifyConnection = func(s tls.ConnectionState) error {
		_, err := tr.VerifyClient(s.PeerCertificates)
		return err
	}
	return c
}

// base is what both sides share. Sessions are never resumed: a ticket would skip the verification of the peer's chain, its
// revocation and its expiry.
func base(opts Options) *tls.Config {
	c := &tls.Config{
		MinVersion:             tls.VersionTLS13,
		MaxVersion:             tls.VersionTLS13,
		NextProtos:             opts.ALPN,
		SessionTicketsDisabled: true,
	}
	if opts.MinVersion != 0 {
		c.MinVersion = opts.MinVersion
	}
	if opts.MaxVersion != 0 {
		c.MaxVersion = opts.MaxVersion
	}
	return c
}
