package tls

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Validation judges a peer's certificate where the configuration says in X.509's own words whom to believe, as operators do
// who run the proxy by itself. In a mesh Trust judges instead. What is set must all hold; it is set up once and not changed.
type Validation struct {
	// Authorities are asked at each handshake, since their files may change. Nil: the chain is not looked at, and only
	// a pin (below) proves who it is.
	Authorities func() *Authorities
	// Trust stands in the place of Authorities where peers are SPIFFE IDs, each judged by its own trust domain's bundle.
	Trust *Trust
	// Names: one of them must fit. None: everybody with a good chain is believed.
	Names []Name
	// ServerName: the certificate must be good for the name that the client asked for.
	ServerName bool
	// SPKI and Hashes are SHA-256 sums of public keys and of whole certificates. One of either must be the leaf's.
	SPKI, Hashes [][sha256.Size]byte
}

// check judges a chain. serverName is what the client asked for.
func (v *Validation) check(chain []*x509.Certificate, peer role, serverName string) error {
	if len(chain) == 0 {
		return refuse("", "it presented no certificate")
	}
	if len(chain) > maxChain {
		return refuse("", "it presented %d certificates, more than %d", len(chain), maxChain)
	}
	leaf := chain[0]
	if err := v.chain(chain, peer); err != nil {
		return err
	}
	if v.ServerName && (serverName == "" || leaf.VerifyHostname(serverName) != nil) {
		return refuse("", "its certificate is for %s, wanted %q", sans(leaf), serverName)
	}
	if len(v.Names) > 0 && !slices.ContainsFunc(v.Names, func(n Name) bool { return n.fits(leaf) }) {
		return refuse("", "its certificate is for %s, wanted %s", sans(leaf), wanted(v.Names))
	}
	if len(v.SPKI)+len(v.Hashes) > 0 &&
		!slices.Contains(v.SPKI, sha256.Sum256(leaf.RawSubjectPublicKeyInfo)) && !slices.Contains(v.Hashes, sha256.Sum256(leaf.Raw)) {
		return refuse("", "neither its key nor its certificate is a pinned one")
	}
	return nil
}

func (v *Validation) chain(chain []*x509.Certificate, peer role) error {
	switch {
	case v.Trust != nil:
		_, err := v.Trust.verify(chain, peer)
		return err
	case v.Authorities != nil:
		return v.Authorities().check(chain, peer)
	case len(v.SPKI)+len(v.Hashes) > 0:
		// A pin without an authority says who it is, not that it still holds.
		if err := inTime(chain[0], time.Now()); err != nil {
			return refuse("", "%v", err)
		}
		return nil
	}
	return refuse("", "nobody is trusted here")
}

// sans says for whom a stranger's certificate is.
func sans(leaf *x509.Certificate) string {
	all := slices.Clone(leaf.DNSNames)
	for _, u := range leaf.URIs {
		all = append(all, u.String())
	}
	for _, ip := range leaf.IPAddresses {
		all = append(all, ip.String())
	}
	all = append(all, leaf.EmailAddresses...)
	if len(all) == 0 {
		return "nobody (it has no subject alternative name)"
	}
	return strings.TrimPrefix(oneOf(all), "one of ")
}

func wanted(names []Name) string {
	var all []string
	for _, n := range names {
		all = append(all, n.Text)
	}
	return oneOf(all)
}

// Authorities are certificates that chains must lead to and what their owners have revoked. Immutable but for the memory of
// chains that it has seen, which never outlives it.
type Authorities struct {
	pool     *x509.CertPool
	crls     []*x509.RevocationList
	leafOnly bool
	verified chainCache
}

// NewAuthorities takes roots and, if revocations are to be looked at, their lists. With lists, each certificate of a chain
// needs one from its issuer that is in time, as OpenSSL's CRL_CHECK_ALL has it; leafOnly asks that of the leaf alone.
func NewAuthorities(roots []*x509.Certificate, crls []*x509.RevocationList, leafOnly bool) *Authorities {
	a := &Authorities{pool: x509.NewCertPool(), crls: crls, leafOnly: leafOnly}
	for _, c := range roots {
		a.pool.AddCert(c)
	}
	return a
}

func (a *Authorities) check(chain []*x509.Certificate, peer role) error {
	now, leaf, key := time.Now(), chain[0], sumOf(chain, peer)
	if _, ok := a.verified.find(key, now); ok {
		return nil
	}
	if err := inTime(leaf, now); err != nil {
		return refuse("", "%v", err)
	}
	intermediates := x509.NewCertPool()
	for _, c := range chain[1:] {
		intermediates.AddCert(c)
	}
	paths, err := leaf.Verify(x509.VerifyOptions{
		Roots: a.pool, Intermediates: intermediates, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{peer.usage()},
	})
	if err != nil {
		return refuse("", "its chain does not lead to a trusted authority: %v", err)
	}
	var first error
	for _, path := range paths {
		from, until, err := a.revoked(path, now)
		if err == nil {
			a.verified.add(key, verified{from: from, until: until})
			return nil
		}
		if first == nil {
			first = err
		}
	}
	return refuse("", "%v", first)
}

// revoked returns in which time a path is known to hold.
func (a *Authorities) revoked(path []*x509.Certificate, now time.Time) (from, until time.Time, err error) {
	from, until = span(path)
	if len(a.crls) == 0 {
		return from, until, nil
	}
	for i, c := range path {
		if a.leafOnly && i > 0 {
			break
		}
		list, err := a.listOf(path[min(i+1, len(path)-1)], now)
		if err != nil {
			return from, until, err
		}
		for _, e := range list.RevokedCertificateEntries {
			if e.SerialNumber.Cmp(c.SerialNumber) == 0 {
				return from, until, fmt.Errorf("its certificate %q (serial %x) is revoked since %s", c.Subject, c.SerialNumber, e.RevocationTime.UTC().Format(time.RFC3339))
			}
		}
		if !list.NextUpdate.IsZero() && list.NextUpdate.Before(until) {
			until = list.NextUpdate
		}
	}
	return from, until, nil
}

// listOf finds the list that an issuer has signed and that holds now.
func (a *Authorities) listOf(issuer *x509.Certificate, now time.Time) (*x509.RevocationList, error) {
	err := fmt.Errorf("there is no revocation list of %q", issuer.Subject)
	for _, l := range a.crls {
		switch {
		case !slices.Equal(l.RawIssuer, issuer.RawSubject):
		case l.CheckSignatureFrom(issuer) != nil:
			err = fmt.Errorf("the revocation list of %q is not signed by it", issuer.Subject)
		case !l.NextUpdate.IsZero() && now.After(l.NextUpdate):
			err = fmt.Errorf("the revocation list of %q was to be replaced before %s", issuer.Subject, l.NextUpdate.UTC().Format(time.RFC3339))
		case now.Before(l.ThisUpdate):
			err = fmt.Errorf("the revocation list of %q holds from %s on", issuer.Subject, l.ThisUpdate.UTC().Format(time.RFC3339))
		default:
			return l, nil
		}
	}
	return nil, err
}

// ParseCRLs reads lists of revoked certificates, PEM or one DER.
func ParseCRLs(text []byte) ([]*x509.RevocationList, error) {
	var blocks [][]byte
	for rest := text; ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			break
		}
		if b.Type != "X509 CRL" {
			return nil, fmt.Errorf("holds a %s, only revocation lists belong here", b.Type)
		}
		blocks = append(blocks, b.Bytes)
	}
	if len(blocks) == 0 {
		blocks = append(blocks, text)
	}
	var out []*x509.RevocationList
	for _, b := range blocks {
		l, err := x509.ParseRevocationList(b)
		if err != nil {
			return nil, err
		}
		for _, e := range l.Extensions {
			// Deltas and lists of a part of the certificates say so by a critical extension (RFC 5280 section 5.2):
			// read as a whole list, either would call revoked certificates good.
			if e.Critical {
				return nil, fmt.Errorf("the list of %q has the critical extension %s, which is not honoured: only whole lists are", l.Issuer, e.Id)
			}
		}
		out = append(out, l)
	}
	return out, nil
}
