package handshake

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"time"
)

// leaf is a certificate with its private key (PKCS #8). Parts get it by a pipe: it never lies in a file.
type leaf struct {
	Certificate, Key []byte // DER
}

// credentials are made anew for each measurement and good for a day.
type credentials struct {
	authority      []byte // DER
	server, client leaf   // client is empty unless it has to prove who it is
}

const (
	trustDomain = "bench.mesh.local"
	serverName  = "server." + trustDomain
)

// newCredentials makes an authority like a mesh's own, ECDSA P-256, and what it has signed.
func newCredentials(key string, mutual bool) (*credentials, error) {
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench"}, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(0, 0, 1),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	c := &credentials{}
	if c.authority, err = x509.CreateCertificate(rand.Reader, template, template, signer.Public(), signer); err != nil {
		return nil, err
	}
	if c.server, err = newLeaf("server", key, template, signer); err == nil && mutual {
		c.client, err = newLeaf("client", key, template, signer)
	}
	return c, err
}

// newLeaf is an SVID of the mesh that has a DNS name too.
func newLeaf(name, key string, authority *x509.Certificate, signer crypto.Signer) (leaf, error) {
	private, err := newKey(key)
	if err != nil {
		return leaf{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: authority.NotBefore, NotAfter: authority.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:    []string{name + "." + trustDomain},
		URIs:        []*url.URL{{Scheme: "spiffe", Host: trustDomain, Path: "/workload/" + name}},
	}
	der, err1 := x509.CreateCertificate(rand.Reader, template, authority, private.Public(), signer)
	pkcs8, err2 := x509.MarshalPKCS8PrivateKey(private)
	return leaf{der, pkcs8}, errors.Join(err1, err2)
}

func newKey(kind string) (crypto.Signer, error) {
	switch kind {
	case "rsa2048":
		return rsa.GenerateKey(rand.Reader, 2048)
	case "rsa3072":
		return rsa.GenerateKey(rand.Reader, 3072)
	case "rsa4096":
		return rsa.GenerateKey(rand.Reader, 4096)
	case "ecdsa-p256":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	return nil, fmt.Errorf("no kind of key is called %q", kind)
}

// parse returns what the leaf holds.
func (l leaf) parse() (*x509.Certificate, crypto.PrivateKey, error) {
	certificate, err1 := x509.ParseCertificate(l.Certificate)
	key, err2 := x509.ParsePKCS8PrivateKey(l.Key)
	return certificate, key, errors.Join(err1, err2)
}
