package tls

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
)

// ServerContext is a listener's TLS as an operator writes it who runs the proxy by itself: with certificates of his own, perhaps
// without any of the client. ServerConfig is the mesh's, and knows none of these choices.
type ServerContext struct {
	Options
	// Certificates are asked at each handshake, since their files may change; never empty.
	Certificates func() []*tls.Certificate
	// Peer judges clients' certificates; nil: none is asked for.
	Peer *Validation
	// Required: a client without a certificate is refused. Else one that presents none goes on as nobody.
	Required bool
	// RequireSNI: a client that does not say whom it wants is refused.
	RequireSNI bool
	// AuthorityNames tells clients by whom their certificates may be signed, which helps those with several.
	AuthorityNames []*x509.Certificate
	// Tickets let clients resume sessions. Their certificates are judged again each time (see Config).
	Tickets bool
}

// Config makes the configuration.
func (s ServerContext) Config() *tls.Config {
	c := base(s.Options)
	// crypto/tls makes and rotates the tickets' keys, for this configuration alone: no ticket is good on another chain. A
	// session resumed still passes VerifyConnection, with the chain that the client presented at first.
	c.SessionTicketsDisabled = !s.Tickets
	c.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		own, err := s.certificate(hello)
		if err != nil {
			return nil, err
		}
		return bound(hello.Context(), own), nil
	}
	if s.Peer == nil {
		return c
	}
	// Verification is all in VerifyConnection, since VerifyPeerCertificate and ClientCAs say nothing of a resumed session.
	c.ClientAuth = tls.RequestClientCert
	if s.Required {
		c.ClientAuth = tls.RequireAnyClientCert
	}
	if len(s.AuthorityNames) > 0 {
		c.ClientCAs = x509.NewCertPool() // with this ClientAuth it verifies nothing, it is only sent
		for _, a := range s.AuthorityNames {
			c.ClientCAs.AddCert(a)
		}
	}
	c.VerifyConnection = func(cs tls.ConnectionState) error {
		if len(cs.PeerCertificates) == 0 && !s.Required {
			return nil
		}
		return s.Peer.check(cs.PeerCertificates, asClient, "")
	}
	return c
}

// certificate chooses by the name that the client asked for, exactly before by wildcard, among those whose key the client can
// use; without such a name the first one that it can use, else the first.
func (s ServerContext) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if s.RequireSNI && hello.ServerName == "" {
		return nil, errors.New("the client names no server (SNI), which is required here")
	}
	all := s.Certificates()
	if len(all) == 1 {
		return all[0], nil
	}
	// SupportsCertificate looks at the name too; without one it is only about keys.
	keys := *hello
	keys.ServerName = ""
	var usable, wild *tls.Certificate
	for _, c := range all {
		if keys.SupportsCertificate(c) != nil {
			continue
		}
		if usable == nil {
			usable = c
		}
		switch covers(c.Leaf, hello.ServerName) {
		case exactly:
			return c, nil
		case byWildcard:
			if wild == nil {
				wild = c
			}
		}
	}
	if wild != nil {
		return wild, nil
	}
	if usable != nil {
		return usable, nil
	}
	return all[0], nil
}

type cover uint8

const (
	not cover = iota
	byWildcard
	exactly
)

// covers tells how a certificate is for a name: by the names in it, or where it has none by its common name, as in Envoy.
func covers(leaf *x509.Certificate, name string) cover {
	if name == "" {
		return not
	}
	names := leaf.DNSNames
	if len(names) == 0 && leaf.Subject.CommonName != "" {
		names = []string{leaf.Subject.CommonName}
	}
	_, parent, _ := strings.Cut(name, ".")
	best := not
	for _, n := range names {
		if strings.EqualFold(n, name) {
			return exactly
		}
		if suffix, ok := strings.CutPrefix(n, "*."); ok && parent != "" && strings.EqualFold(suffix, parent) {
			best = byWildcard
		}
	}
	return best
}

// ClientContext is a cluster's TLS as an operator writes it who runs the proxy by itself. ClientConfig is the mesh's.
type ClientContext struct {
	Options
	// Certificates are presented to servers that ask, the first that they can use; nil: none.
	Certificates func() []*tls.Certificate
	// Peer judges the server's certificate; nil: anybody is believed, which has to be said explicitly: see Untrusted.
	Peer *Validation
	// Untrusted: the server is believed whoever it is. It excludes Peer.
	Untrusted bool
	// SNI is sent as it is, and verified only if Peer says so.
	SNI string
}

// Config makes the configuration. There is no session cache: a resumed session would show a certificate of ours that may have
// been replaced since, and pooled connections leave little to gain.
func (s ClientContext) Config() *tls.Config {
	c := base(s.Options)
	c.ServerName = s.SNI
	if s.Certificates != nil {
		c.GetClientCertificate = func(asked *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return bound(asked.Context(), s.certificate(asked)), nil
		}
	}
	// InsecureSkipVerify turns off only crypto/tls's own check, that of ServerName against the host's root store, which is not
	// what was configured. VerifyConnection is the check.
	c.InsecureSkipVerify = true
	c.VerifyConnection = func(cs tls.ConnectionState) error {
		if s.Peer == nil {
			if s.Untrusted {
				return nil
			}
			return refuse("", "nobody is trusted here")
		}
		return s.Peer.check(cs.PeerCertificates, asServer, cs.ServerName)
	}
	return c
}

func (s ClientContext) certificate(asked *tls.CertificateRequestInfo) *tls.Certificate {
	all := s.Certificates()
	for _, c := range all {
		if asked.SupportsCertificate(c) == nil {
			return c
		}
	}
	// The server's list of authorities is a hint: to present one that it may refuse is how it comes to say why.
	return all[0]
}

// KeyPair reads a chain (leaf first) and its key, both PEM.
func KeyPair(chain, key []byte) (*tls.Certificate, error) {
	c, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return nil, err
	}
	if c.Leaf == nil {
		if c.Leaf, err = x509.ParseCertificate(c.Certificate[0]); err != nil {
			return nil, fmt.Errorf("leaf: %w", err)
		}
	}
	return &c, nil
}
