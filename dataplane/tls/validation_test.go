package tls

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// signer is an authority below another one, or at the top.
type signer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newSigner(t testing.TB, name string, serial int64, by *signer) *signer {
	t.Helper()
	s := &signer{key: newKey(t)}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	if by == nil {
		s.cert = create(t, template, template, s.key, s.key)
	} else {
		s.cert = create(t, template, by.cert, s.key, by.key)
	}
	return s
}

func (s *signer) leaf(t testing.TB, serial int64) *x509.Certificate {
	t.Helper()
	return create(t, &x509.Certificate{
		SerialNumber: big.NewInt(serial), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(12 * time.Hour), DNSNames: []string{"a.test"},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, s.cert, newKey(t), s.key)
}

func (s *signer) list(t testing.TB, lasts time.Duration, revoked ...int64) *x509.RevocationList {
	t.Helper()
	return s.special(t, &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(lasts)}, revoked...)
}

func (s *signer) special(t testing.TB, l *x509.RevocationList, revoked ...int64) *x509.RevocationList {
	t.Helper()
	for _, n := range revoked {
		l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: big.NewInt(n), RevocationTime: time.Now()})
	}
	der, err := x509.CreateRevocationList(rand.Reader, l, s.cert, s.key)
	if err != nil {
		t.Fatal(err)
	}
	out, err := x509.ParseRevocationList(der)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestRevocationOfAChain: every certificate of the chain is looked up in its own issuer's list.
func TestRevocationOfAChain(t *testing.T) {
	root := newSigner(t, "root", 1, nil)
	middle := newSigner(t, "middle", 2, root)
	fake := newSigner(t, "middle", 2, nil) // of the same name
	chain := []*x509.Certificate{middle.leaf(t, 3), middle.cert}
	for _, tc := range []struct {
		name     string
		lists    []*x509.RevocationList
		leafOnly bool
		want     string
	}{
		{"none asked for", nil, false, ""},
		{"good", []*x509.RevocationList{root.list(t, time.Hour), middle.list(t, time.Hour)}, false, ""},
		{"leaf", []*x509.RevocationList{root.list(t, time.Hour), middle.list(t, time.Hour, 3)}, false, "(serial 3) is revoked"},
		{"intermediate", []*x509.RevocationList{root.list(t, time.Hour, 2), middle.list(t, time.Hour)}, false, "(serial 2) is revoked"},
		{"intermediate, leaf alone asked", []*x509.RevocationList{root.list(t, time.Hour, 2), middle.list(t, time.Hour)}, true, ""},
		{"root's list missing", []*x509.RevocationList{middle.list(t, time.Hour)}, false, `no revocation list of "CN=root"`},
		{"root's list missing, leaf alone asked", []*x509.RevocationList{middle.list(t, time.Hour)}, true, ""},
		{"the serial of another issuer", []*x509.RevocationList{root.list(t, time.Hour, 3), middle.list(t, time.Hour)}, false, ""},
		{"forged", []*x509.RevocationList{root.list(t, time.Hour), fake.list(t, time.Hour)}, false, `of "CN=middle" is not signed by it`},
		{"forged before the true one", []*x509.RevocationList{root.list(t, time.Hour), fake.list(t, time.Hour), middle.list(t, time.Hour, 3)}, false, "(serial 3) is revoked"},
		{"not yet", []*x509.RevocationList{root.list(t, time.Hour), middle.special(t, &x509.RevocationList{
			Number: big.NewInt(1), ThisUpdate: time.Now().Add(time.Hour), NextUpdate: time.Now().Add(2 * time.Hour)})}, false, "holds from"},
	} {
		a := NewAuthorities([]*x509.Certificate{root.cert}, tc.lists, tc.leafOnly)
		for range 2 { // from the memory of chains too
			err := a.check(chain, asServer)
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
			}
		}
	}
	if err := NewAuthorities([]*x509.Certificate{root.cert}, nil, false).check(chain, asClient); err == nil {
		t.Error("a server's certificate was taken for a client's")
	}
}

// TestListEnds: what was found good under a list is judged again when that list has ended.
func TestListEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := newSigner(t, "root", 1, nil)
		a := NewAuthorities([]*x509.Certificate{root.cert}, []*x509.RevocationList{root.list(t, time.Hour)}, false)
		chain := []*x509.Certificate{root.leaf(t, 3)}
		if err := a.check(chain, asServer); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour + time.Second)
		if err := a.check(chain, asServer); err == nil || !strings.Contains(err.Error(), "was to be replaced") {
			t.Error(err)
		}
	})
}

// TestParseCRLs: lists that speak of a part of the certificates alone can't be read as whole ones.
func TestParseCRLs(t *testing.T) {
	root := newSigner(t, "root", 1, nil)
	whole := root.list(t, time.Hour, 3)
	delta := root.special(t, &x509.RevocationList{Number: big.NewInt(2), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour),
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 27}, Critical: true, Value: []byte{2, 1, 1}}}})
	inPEM := func(l ...*x509.RevocationList) (out []byte) {
		for _, l := range l {
			out = append(out, pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: l.Raw})...)
		}
		return out
	}
	for name, tc := range map[string]struct {
		text []byte
		n    int
		want string
	}{
		"PEM": {inPEM(whole), 1, ""}, "two": {inPEM(whole, whole), 2, ""}, "DER": {whole.Raw, 1, ""},
		"delta": {inPEM(delta), 0, "critical extension 2.5.29.27"}, "nothing": {nil, 0, "malformed"}, "text": {[]byte("x"), 0, "malformed"},
		"certificate": {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.cert.Raw}), 0, "holds a CERTIFICATE"},
	} {
		got, err := ParseCRLs(tc.text)
		if len(got) != tc.n || (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %d, %v, want %q", name, len(got), err, tc.want)
		}
	}
}

// TestNobodyIsTrusted: what was set up to trust nobody trusts nobody.
func TestNobodyIsTrusted(t *testing.T) {
	root := newSigner(t, "root", 1, nil)
	chain := []*x509.Certificate{root.leaf(t, 3)}
	if err := (&Validation{}).check(chain, asServer, "a.test"); err == nil {
		t.Error("an empty validation believes")
	}
	all := &Validation{Authorities: func() *Authorities { return NewAuthorities([]*x509.Certificate{root.cert}, nil, false) }, ServerName: true}
	for name, want := range map[string]bool{"a.test": true, "b.test": false, "": false} {
		if err := all.check(chain, asServer, name); (err == nil) != want {
			t.Errorf("%q: %v", name, err)
		}
	}
	if err := all.check(nil, asServer, "a.test"); err == nil {
		t.Error("no certificate is good")
	}
	for range maxChain {
		chain = append(chain, root.cert)
	}
	if err := all.check(chain, asServer, "a.test"); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Error(err)
	}
	c := ClientContext{}.Config()
	if err := c.VerifyConnection(stateOf(chain[:1])); err == nil {
		t.Error("a client without a validation believes")
	}
}
