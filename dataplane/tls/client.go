package tls

import (
	"crypto/tls"
	"slices"
)

// ClientConfig is mutual TLS towards one service: it presents the present SVID and accepts a server only if tr believes it
// and it is one of peerIDs. sni is sent as it is and verified against nothing: the SPIFFE ID is the name.
func ClientConfig(id *Identity, tr *Trust, peerIDs []string, sni string) *tls.Config {
	return ClientConfigWith(id, tr, peerIDs, sni, Options{})
}

// ClientConfigWith is ClientConfig with options.
func ClientConfigWith(id *Identity, tr *Trust, peerIDs []string, sni string, opts Options) *tls.Config {
	wanted := slices.Clone(peerIDs)
	c := mesh(opts, false)
	c.ServerName = sni
	c.GetClientCertificate = func(asked *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return id.certificate(asked.Context())
	}
	// InsecureSkipVerify turns off only crypto/tls's own check, that of a DNS name against the host's root store; a SPIFFE
	// ID is neither. VerifyConnection below is the check instead. It runs in every handshake, resumed ones too (there are
	// none), and unlike VerifyPeerCertificate it can't be skipped by a session ticket.
	c.InsecureSkipVerify = true
	c.VerifyConnection = func(s tls.ConnectionState) error {
		_, err := tr.VerifyServer(s.PeerCertificates, wanted)
		return err
	}
	return c
}
