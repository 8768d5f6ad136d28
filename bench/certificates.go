package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/hauberk-mesh/hauberk/accel/keyprovider/batch"
)

// The kinds of key that certificates are made for: a mesh's own, and what gateways often have.
const (
	ec      = "ec"
	rsa2048 = "rsa"
)

// writeCertificates makes ca.crt, and for each kind of key KIND.crt, KIND.key and KIND.pem (both) for either end of mutual
// TLS, good for a day.
func writeCertificates(dir string) error {
	now := time.Now()
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench"}, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(0, 0, 1),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	caKey, err1 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ecKey, err2 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	rsaKey, err3 := rsa.GenerateKey(rand.Reader, 2048)
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		return err
	}
	if err := writePEM(dir, "ca.crt", &pem.Block{Type: "CERTIFICATE", Bytes: der}); err != nil {
		return err
	}
	return errors.Join(writeLeaf(dir, ec, ecKey, ca, caKey), writeLeaf(dir, rsa2048, rsaKey, ca, caKey))
}

func writeLeaf(dir, kind string, key crypto.Signer, ca *x509.Certificate, caKey crypto.Signer) error {
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "localhost"}, NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err1 := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
	pkcs8, err2 := x509.MarshalPKCS8PrivateKey(key)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	crt, private := &pem.Block{Type: "CERTIFICATE", Bytes: der}, &pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}
	return errors.Join(writePEM(dir, kind+".crt", crt), writePEM(dir, kind+".key", private), writePEM(dir, kind+".pem", crt, private))
}

func writePEM(dir, name string, blocks ...*pem.Block) error {
	var text []byte
	for _, b := range blocks {
		text = append(text, pem.EncodeToMemory(b)...)
	}
	return os.WriteFile(filepath.Join(dir, name), text, 0o600)
}

// clientTLS is the load generator's side of TLS with a server of that kind of key. It believes that server's certificate alone,
// which is a full verification and spares it the authority's signature. certified: it proves who it is by a key of the same
// kind, with which it signs as fast as can be: see batch.
func clientTLS(dir, kind string, certified bool) (_ *tls.Config, closing func(), err error) {
	server, err := os.ReadFile(filepath.Join(dir, kind+".crt"))
	if err != nil {
		return nil, nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(server) {
		return nil, nil, fmt.Errorf("%s.crt holds no certificate", kind)
	}
	c := &tls.Config{
		RootCAs: roots, ServerName: "localhost", MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{tls.X25519},
		NextProtos: []string{"http/1.1"},
	}
	if !certified {
		return c, func() {}, nil
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, kind+".crt"), filepath.Join(dir, kind+".key"))
	if err != nil {
		return nil, nil, err
	}
	keys := batch.New(batch.Options{})
	if pair.PrivateKey, err = keys.Import(context.Background(), pair.PrivateKey); err != nil {
		keys.Close()
		return nil, nil, err
	}
	c.Certificates = []tls.Certificate{pair}
	return c, keys.Close, nil
}
