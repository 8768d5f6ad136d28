package identity

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hauberk-mesh/hauberk/accel/keyprovider"
	"github.com/hauberk-mesh/hauberk/internal/atomicfile"
)

const (
	anchorLife = 10 * 365 * 24 * time.Hour
	serverLife = 90 * 24 * time.Hour
	// skew is how far a client's clock may be behind ours.
	skew = 10 * time.Second
)

// Anchor is the control plane's own authority, for its API and xDS ports and apart from every mesh's. Its certificate is
// what clients are given to know the control plane by; its key signs nothing but server certificates of this process.
type Anchor struct {
	cert  *x509.Certificate
	key   keyprovider.Key
	keys  keyprovider.Provider
	hosts []string
	file  string

	mu      sync.Mutex // guards below
	serving *tls.Certificate
}

// AnchorOptions are what OpenAnchor needs. DataDir, Keys and Logger are required.
type AnchorOptions struct {
	DataDir string // holds ca.crt (0644) and ca.key (0600)
	Keys    keyprovider.Provider
	// Hosts are names and addresses in server certificates besides localhost, 127.0.0.1, ::1 and the host's name.
	Hosts  []string
	Logger *slog.Logger
}

// AnchorFile is the certificate that clients are given.
func AnchorFile(dataDir string) string { return filepath.Join(dataDir, "ca.crt") }

// OpenAnchor loads the anchor of a data directory, or makes it at the first start. What is on disk and damaged is an
// error: a new anchor would lock out every client that knows the old one.
func OpenAnchor(ctx context.Context, o AnchorOptions) (*Anchor, error) {
	certFile, keyFile := AnchorFile(o.DataDir), filepath.Join(o.DataDir, "ca.key")
	a := &Anchor{keys: o.Keys, hosts: o.Hosts, file: certFile}
	certPEM, certErr := readIfThere(certFile)
	handle, keyErr := readIfThere(keyFile)
	err := errors.Join(certErr, keyErr)
	switch {
	case err != nil:
	case certPEM == nil && handle == nil:
		err = a.create(ctx, certFile, keyFile)
	case handle == nil:
		err = fmt.Errorf("%s is there but %s is not: restore it, or remove both and give every client the new certificate", certFile, keyFile)
	case certPEM == nil:
		// The key is written first, so this is what a crash in the first start leaves. A certificate made anew of the
		// same key and name is as good as the old one, even to clients that know the old one.
		o.Logger.WarnContext(ctx, "anchor certificate was missing and is made anew of its key", "file", certFile)
		err = a.recreate(ctx, certFile, keyFile, handle)
	default:
		err = a.load(ctx, certFile, certPEM, keyFile, handle)
	}
	if err != nil {
		return nil, fmt.Errorf("control plane anchor: %w", err)
	}
	if _, err := a.serverCertificate(); err != nil {
		return nil, fmt.Errorf("control plane anchor: %w", err)
	}
	return a, nil
}

// Certificate is the anchor's own.
func (a *Anchor) Certificate() *x509.Certificate { return a.cert }

// File is where Certificate lies, in PEM.
func (a *Anchor) File() string { return a.file }

// Pool is what a client of this control plane verifies its ports with.
func (a *Anchor) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

func readIfThere(path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && len(b) == 0 {
		return nil, fmt.Errorf("%s is empty: restore it", path)
	}
	return b, err
}

func (a *Anchor) create(ctx context.Context, certFile, keyFile string) error {
	key, err := a.keys.Generate(ctx, keyprovider.ECDSAP256)
	if err != nil {
		return err
	}
	handle, err := key.Handle()
	if err != nil {
		return err
	}
	if err := atomicfile.Write(keyFile, handle, 0o600); err != nil {
		return err
	}
	return a.certify(key, certFile)
}

func (a *Anchor) recreate(ctx context.Context, certFile, keyFile string, handle []byte) error {
	key, err := a.openKey(ctx, keyFile, handle)
	if err != nil {
		return err
	}
	return a.certify(key, certFile)
}

func (a *Anchor) openKey(ctx context.Context, keyFile string, handle []byte) (keyprovider.Key, error) {
	info, err := os.Stat(keyFile)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s is open to others (%v): chmod 600 it, and think about who may have read it", keyFile, info.Mode().Perm())
	}
	key, err := a.keys.Open(ctx, handle)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", keyFile, err)
	}
	return key, nil
}

func (a *Anchor) certify(key keyprovider.Key, certFile string) error {
	now := time.Now()
	template := &x509.Certificate{
		Subject:               pkix.Name{Organization: []string{"hauberk"}, CommonName: "hauberk control plane"},
		NotBefore:             now.Add(-skew),
		NotAfter:              now.Add(anchorLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	cert, err := signCertificate(template, template, key.Public(), key)
	if err != nil {
		return err
	}
	a.cert, a.key = cert, key
	return atomicfile.Write(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}), 0o644)
}

func (a *Anchor) load(ctx context.Context, certFile string, certPEM []byte, keyFile string, handle []byte) error {
	block, rest := pem.Decode(certPEM)
	if block == nil || block.Type != "CERTIFICATE" || len(bytes.TrimSpace(rest)) != 0 {
		return fmt.Errorf("%s is not one certificate in PEM: restore it", certFile)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return fmt.Errorf("%s: %w: restore it", certFile, err)
	}
	key, err := a.openKey(ctx, keyFile, handle)
	if err != nil {
		return err
	}
	if certified, ok := cert.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); !ok || !certified.Equal(key.Public()) {
		return fmt.Errorf("%s and %s do not belong together: restore the pair", certFile, keyFile)
	}
	if now := time.Now(); now.After(cert.NotAfter) {
		return fmt.Errorf("%s expired at %s: remove it (and keep %s) to have it made anew", certFile, cert.NotAfter.UTC().Format(time.RFC3339), keyFile)
	}
	a.cert, a.key = cert, key
	return nil
}

// serverCertificate is the present one, made anew at each start and after two thirds of its life.
func (a *Anchor) serverCertificate() (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	if a.serving != nil && now.Before(a.serving.Leaf.NotAfter.Add(-serverLife/3)) {
		return a.serving, nil
	}
	key, err := a.keys.Generate(context.Background(), keyprovider.ECDSAP256)
	if err != nil {
		return nil, fmt.Errorf("server certificate: %w", err)
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{Organization: []string{"hauberk"}, CommonName: "hauberk control plane server"},
		NotBefore:             now.Add(-skew),
		NotAfter:              earlier(now.Add(serverLife), a.cert.NotAfter),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	addHosts(template, a.hosts)
	leaf, err := signCertificate(template, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, fmt.Errorf("server certificate: %w", err)
	}
	a.serving = &tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
	return a.serving, nil
}

func addHosts(c *x509.Certificate, configured []string) {
	hosts := []string{"localhost", "127.0.0.1", "::1"}
	if name, err := os.Hostname(); err == nil && name != "" {
		hosts = append(hosts, name)
	}
	for _, h := range append(hosts, configured...) {
		if ip := net.ParseIP(h); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, h)
		}
	}
}

func signCertificate(template, parent *x509.Certificate, public crypto.PublicKey, signer crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, signer)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
