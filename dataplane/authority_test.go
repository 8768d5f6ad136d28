package dataplane

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/url"
	"testing"
	"time"

	"github.com/hauberk-mesh/hauberk/accel/keyprovider"
	"github.com/hauberk-mesh/hauberk/accel/keyprovider/memory"
)

// authority signs SVIDs of the trust domain "d".
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "root"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	return &authority{cert: sign(t, template, template, &key.PublicKey, key), key: key}
}

func sign(t testing.TB, template, parent *x509.Certificate, public any, by *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, by)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (a *authority) pem() string { return string(pemOf(a.cert, nil)) }

func pemOf(c *x509.Certificate, headers map[string]string) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Headers: headers, Bytes: c.Raw})
}

// svid is a leaf with its key, as an identity service would sign it.
func (a *authority) svid(t testing.TB, name, service string) (*x509.Certificate, keyprovider.Key) {
	t.Helper()
	key, err := memory.New().Generate(context.Background(), keyprovider.ECDSAP256)
	if err != nil {
		t.Fatal(err)
	}
	id := &url.URL{Scheme: "spiffe", Host: "d", Path: "/workload/" + service}
	leaf := sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(2), URIs: []*url.URL{id},
		Subject:   pkix.Name{CommonName: name, Organization: []string{"default"}, OrganizationalUnit: []string{service}},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, key.Public(), a.key)
	return leaf, key
}

// kept is the content of the identity's state file (package identity, state.go).
func (a *authority) kept(t testing.TB, name, service string) []byte {
	leaf, key := a.svid(t, name, service)
	handle, err := key.Handle()
	if err != nil {
		t.Fatal(err)
	}
	out := pemOf(leaf, nil)
	out = append(out, pem.EncodeToMemory(&pem.Block{Type: "HAUBERK KEY HANDLE", Headers: map[string]string{"Provider": "memory"}, Bytes: handle})...)
	return append(out, pemOf(a.cert, map[string]string{"Trust-Domain": "d"})...)
}
