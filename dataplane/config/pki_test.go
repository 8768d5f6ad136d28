package config_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"testing"
	"time"
)

// issuer is a certificate authority; pair is what it issues, or what it is itself.
type issuer struct{ pair }

type pair struct {
	cert *x509.Certificate
	key  crypto.Signer
	more []byte // certificates that belong to the chain, PEM
}

func newIssuer(t testing.TB, name string) *issuer {
	t.Helper()
	return &issuer{issue(t, nil, func(c *x509.Certificate) {
		c.Subject.CommonName, c.IsCA, c.BasicConstraintsValid = name, true, true
		c.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
		c.ExtKeyUsage = nil
	})}
}

// issue makes a certificate for anything; edit says for what.
func (i *issuer) issue(t testing.TB, edit func(*x509.Certificate)) pair {
	t.Helper()
	return issue(t, i, edit)
}

func issue(t testing.TB, by *issuer, edit func(*x509.Certificate)) pair {
	t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: serial, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	edit(c)
	var key crypto.Signer
	if c.PublicKeyAlgorithm == x509.RSA {
		c.PublicKeyAlgorithm = 0
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	} else {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	parent, signer := c, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return pair{cert: cert, key: key}
}

// forNames are for DNS names.
func forNames(names ...string) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.DNSNames = names }
}

// forAll has a name of each kind.
func forAll(c *x509.Certificate) {
	id, _ := url.Parse("spiffe://example.org/ns/a/sa/cart")
	c.DNSNames = []string{"a.example.com", "*.wild.example.com"}
	c.URIs, c.IPAddresses, c.EmailAddresses = []*url.URL{id}, []net.IP{net.IPv4(10, 0, 0, 1)}, []string{"ops@example.com"}
}

func (p pair) certPEM() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.cert.Raw})) + string(p.more)
}

func (p pair) keyPEM() string {
	der, err := x509.MarshalPKCS8PrivateKey(p.key)
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func (p pair) spki() string {
	sum := sha256.Sum256(p.cert.RawSubjectPublicKeyInfo)
	return base64.StdEncoding.EncodeToString(sum[:])
}

func (p pair) hash() string {
	sum := sha256.Sum256(p.cert.Raw)
	return hex.EncodeToString(sum[:])
}

func (p pair) tls() tls.Certificate {
	c, err := tls.X509KeyPair([]byte(p.certPEM()), []byte(p.keyPEM()))
	if err != nil {
		panic(err)
	}
	return c
}

func (i *issuer) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(i.cert)
	return p
}

// crl revokes.
func (i *issuer) crl(t testing.TB, until time.Time, revoked ...pair) string {
	t.Helper()
	l := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: until}
	for _, r := range revoked {
		l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{
			SerialNumber: r.cert.SerialNumber, RevocationTime: time.Now().Add(-time.Minute),
		})
	}
	der, err := x509.CreateRevocationList(rand.Reader, l, i.cert, i.key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}))
}
