package engine

import (
	stdtls "crypto/tls"
	"crypto/x509"
	"maps"
	"slices"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/keyring"
	"github.com/hauberk-mesh/hauberk/dataplane/listener"
)

type shownCertificate struct {
	User      string    `json:"user"` // listener or cluster
	Subject   string    `json:"subject,omitempty"`
	Names     []string  `json:"dnsNames,omitempty"`
	URIs      []string  `json:"uris,omitempty"`
	Serial    string    `json:"serial"`
	NotBefore time.Time `json:"notBefore"`
	NotAfter  time.Time `json:"notAfter"`
	Keys      string    `json:"keyProvider,omitempty"`
	Backend   string    `json:"keyBackend,omitempty"` // what computes with its key
}

// ShowCertificates is /certs, to be marshalled: what listeners and clusters present to a peer that asks for nothing special.
func (e *Engine) ShowCertificates() any {
	out := []shownCertificate{}
	g := e.current.Load()
	if g == nil {
		return out
	}
	for _, name := range slices.Sorted(maps.Keys(g.Listeners)) {
		spec := g.Listeners[name]
		chains := slices.Clone(spec.Chains)
		if spec.Default != nil {
			chains = append(chains, spec.Default)
		}
		for _, c := range chains {
			out = append(out, served("listener "+name, c)...)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(g.Clusters)) {
		tls := g.Clusters[name].Spec().TLS
		if tls == nil || tls.Config == nil || tls.Config.GetClientCertificate == nil {
			continue
		}
		if c, err := tls.Config.GetClientCertificate(&stdtls.CertificateRequestInfo{}); err == nil {
			out = append(out, shown("cluster "+name, c)...)
		}
	}
	return out
}

func served(user string, c *listener.Chain) []shownCertificate {
	if c.TLS == nil || c.TLS.GetCertificate == nil {
		return nil
	}
	presented, err := c.TLS.GetCertificate(&stdtls.ClientHelloInfo{})
	if err != nil {
		return nil // it wants a name, or has nothing yet
	}
	return shown(user, presented)
}

func shown(user string, presented *stdtls.Certificate) []shownCertificate {
	if presented == nil || len(presented.Certificate) == 0 {
		return nil
	}
	c, err := x509.ParseCertificate(presented.Certificate[0])
	if err != nil {
		return nil
	}
	v := shownCertificate{
		User: user, Subject: c.Subject.String(), Names: c.DNSNames, Serial: c.SerialNumber.Text(16), NotBefore: c.NotBefore, NotAfter: c.NotAfter,
	}
	v.Keys, v.Backend = keyring.Of(presented.PrivateKey)
	for _, u := range c.URIs {
		v.URIs = append(v.URIs, u.String())
	}
	return []shownCertificate{v}
}
