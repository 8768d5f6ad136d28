package tls

import (
	"crypto/x509"
	"net/netip"
)

// NameKind is a kind of subject alternative name.
type NameKind uint8

// AnyName stands for all the others.
const (
	AnyName NameKind = iota
	DNSName
	URIName
	IPName
	EmailName
)

// Name is what a subject alternative name of a peer must be like.
type Name struct {
	Kind NameKind
	// Match judges the name's text: that of a URI, of an address as netip writes it. Nil: Exact decides.
	Match func(string) bool
	// Exact is the name itself. A DNS name in the certificate may be a wildcard for it.
	Exact string
	// Text says in an error what was wanted.
	Text string
}

// fits tells whether one of the leaf's names is like n.
func (n *Name) fits(leaf *x509.Certificate) bool {
	return n.covers(DNSName) && n.fitsDNS(leaf) || n.covers(URIName) && anyOf(leaf.URIs, n.is) ||
		n.covers(IPName) && n.fitsIP(leaf) || n.covers(EmailName) && anyText(leaf.EmailAddresses, n.text)
}

func (n *Name) covers(k NameKind) bool { return n.Kind == AnyName || n.Kind == k }

func (n *Name) text(s string) bool {
	if n.Match != nil {
		return n.Match(s)
	}
	return s == n.Exact
}

func (n *Name) is(s interface{ String() string }) bool { return n.text(s.String()) }

// fitsDNS: what the certificate says may be a pattern only for a name that was given exactly (RFC 6125 section 6.4.3).
func (n *Name) fitsDNS(leaf *x509.Certificate) bool {
	if n.Match != nil {
		return anyText(leaf.DNSNames, n.Match)
	}
	if _, err := netip.ParseAddr(n.Exact); err == nil {
		return false // VerifyHostname would look at addresses
	}
	return leaf.VerifyHostname(n.Exact) == nil
}

func (n *Name) fitsIP(leaf *x509.Certificate) bool {
	for _, ip := range leaf.IPAddresses {
		if a, ok := netip.AddrFromSlice(ip); ok && n.text(a.Unmap().String()) {
			return true
		}
	}
	return false
}

func anyOf[S interface{ String() string }](list []S, f func(interface{ String() string }) bool) bool {
	for _, s := range list {
		if f(s) {
			return true
		}
	}
	return false
}

func anyText(list []string, f func(string) bool) bool {
	for _, s := range list {
		if f(s) {
			return true
		}
	}
	return false
}
