package tls

import "crypto/tls"

// ServerConfig is mutual TLS on an inbound: it presents the present SVID and lets in whom tr believes. It is made once
// per configuration and follows rotation of SVID, bundles and revocations by itself.
func ServerConfig(id *Identity, tr *Trust, opts Options) *tls.Config {
	c := mesh(opts, true)
	c.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) { return id.certificate(hello.Context()) }
	// The client's chain is verified in VerifyConnection: which pool counts depends on the SPIFFE ID that the leaf
	// claims, which ClientCAs can't express.
	c.ClientAuth = tls.RequireAnyClientCert
	c.VerifyConnection = func(s tls.ConnectionState) error {
		_, err := tr.VerifyClient(s.PeerCertificates)
		return err
	}
	return c
}
