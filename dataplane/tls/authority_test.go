package tls

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"net/url"
	"testing"
	"time"
)

// authority is a root and an intermediate of one trust domain.
type authority struct {
	domain    string
	root, mid *x509.Certificate
	midKey    *ecdsa.PrivateKey
}

func newAuthority(t testing.TB, domain string) *authority {
	t.Helper()
	ca := func(name string, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
		key := newKey(t)
		template := &x509.Certificate{
			Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		}
		if parent == nil {
			parent, parentKey = template, key
		}
		return create(t, template, parent, key, parentKey), key
	}
	a := &authority{domain: domain}
	var rootKey *ecdsa.PrivateKey
	a.root, rootKey = ca("root", nil, nil)
	a.mid, a.midKey = ca("intermediate", a.root, rootKey)
	return a
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func create(t testing.TB, template, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// leaf makes an SVID; change may spoil it.
func (a *authority) leaf(t testing.TB, workload string, change func(*x509.Certificate)) *SVID {
	t.Helper()
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: workload},
		URIs:        []*url.URL{{Scheme: "spiffe", Host: a.domain, Path: "/workload/" + workload}},
		NotBefore:   time.Now().Add(-time.Minute),
		NotAfter:    time.Now().Add(time.Minute),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	if change != nil {
		change(template)
	}
	key := newKey(t)
	cert := create(t, template, a.mid, key, a.midKey)
	s := &SVID{NotBefore: cert.NotBefore, NotAfter: cert.NotAfter}
	s.Certificate.Certificate = [][]byte{cert.Raw, a.mid.Raw}
	s.Certificate.PrivateKey, s.Certificate.Leaf = key, cert
	if len(cert.URIs) > 0 {
		s.ID = cert.URIs[0].String()
	}
	return s
}

func (a *authority) bundle() Bundle {
	return Bundle{TrustDomain: a.domain, Certificates: []*x509.Certificate{a.root}}
}

// side is one proxy.
type side struct {
	id    Identity
	trust Trust
}

func newSide(t testing.TB, s *SVID, trusted ...Bundle) *side {
	t.Helper()
	out := &side{}
	if s != nil {
		out.id.Set(s)
	}
	if err := out.trust.SetBundles(trusted); err != nil {
		t.Fatal(err)
	}
	return out
}
