package identity

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/hauberk-mesh/hauberk/controlplane/identity/ca"
)

// APITLS is the API port's configuration: the anchor's server certificate, no client certificates (users have tokens).
func (a *Anchor) APITLS() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS13,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return a.serverCertificate() },
	}
}

// XDSTLS is the configuration of port 5678. A client certificate is optional, since who joins has none; one that is
// presented must be an SVID that the authority of its own mesh has signed, or the handshake fails and the log has the
// reason. (A bundle that a mesh merely trusts counts between its proxies, not here: it could speak for any dataplane.)
func (a *Anchor) XDSTLS(authority ca.Authority, logger *slog.Logger) *tls.Config {
	c := a.APITLS()
	c.ClientAuth = tls.RequestClientCert
	// A resumed session would skip the check of expiry and trust.
	c.SessionTicketsDisabled = true
	base := c.Clone()
	// One configuration a connection, for the only purpose of knowing its address in the log.
	c.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		ctx, from := hello.Context(), hello.Conn.RemoteAddr()
		mine := base.Clone()
		mine.VerifyConnection = func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 {
				return nil
			}
			p, err := verifyPeer(ctx, authority, s.PeerCertificates, time.Now())
			if err != nil {
				logger.WarnContext(ctx, "client certificate refused", "from", from.String(), "mesh", p.Mesh, "dataplane", p.Dataplane,
					"service", p.Service, "identity", p.SPIFFEID, "reason", err)
				return fmt.Errorf("client certificate refused: %w", err)
			}
			return nil
		}
		return mine, nil
	}
	return c
}

// verifyPeer checks that a chain was signed by the authority of the mesh that it names. The Peer is filled in as far as
// the leaf could be read, verified or not, for the log.
func verifyPeer(ctx context.Context, authority ca.Authority, chain []*x509.Certificate, now time.Time) (Peer, error) {
	const maxChain = 6
	if len(chain) > maxChain {
		return Peer{}, fmt.Errorf("it presented %d certificates, more than %d", len(chain), maxChain)
	}
	leaf := chain[0]
	p, err := peerOf(leaf, "")
	if err != nil {
		return Peer{}, err
	}
	domain, roots, err := authority.Roots(ctx, p.Mesh)
	if err != nil {
		return p, fmt.Errorf("no authority to verify it with: %w", err)
	}
	if now.After(leaf.NotAfter) {
		return p, fmt.Errorf("the leaf expired at %s: join again with a token", leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	rootPool, intermediates := x509.NewCertPool(), x509.NewCertPool()
	for _, c := range roots {
		rootPool.AddCert(c)
	}
	for _, c := range chain[1:] {
		intermediates.AddCert(c)
	}
	_, err = leaf.Verify(x509.VerifyOptions{
		Roots: rootPool, Intermediates: intermediates, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if unknown := (x509.UnknownAuthorityError{}); errors.As(err, &unknown) {
		return p, fmt.Errorf("it was not signed by the authority of mesh %s (trust domain %s)", p.Mesh, domain)
	}
	if err != nil {
		return p, fmt.Errorf("its chain does not lead to the authority of mesh %s: %w", p.Mesh, err)
	}
	return p, nil
}
