package batch

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/hauberk-mesh/hauberk/accel/keyprovider"
)

// Real handshakes: with key exchange by RSA it is Decrypt that serves, else Sign; with and without the kernels.
func TestHandshakes(t *testing.T) {
	std := func(b *backend) { b.unfit = func() Status { return Status{BackendStd, ReasonCPU, "switched off"} } }
	for backend, change := range map[string]func(*backend){"kernels": nil, "standard library": std} {
		p := newFit(t, change, nil)
		key := importKey(t, p, keyOf(t, 2048))
		cert := selfSigned(t, key)
		for name, c := range map[string]*tls.Config{
			"TLS 1.2 RSA":    {MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256}},
			"TLS 1.2 ECDHE":  {MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}},
			"TLS 1.3":        {MinVersion: tls.VersionTLS13},
			"TLS 1.3 mutual": {MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAndVerifyClientCert},
		} {
			for _, clients := range []int{1, 64} {
				t.Run(fmt.Sprintf("%s/%s/%d", backend, name, clients), func(t *testing.T) {
					handshakes(t, c, cert, key, clients)
				})
			}
		}
		s := queueOf(p, keyprovider.RSA2048)
		if ops := s.Operations(); (ops > 0) != (change == nil) {
			t.Errorf("%s: the queue computed %d", backend, ops)
		}
		t.Logf("%s: fill %.2f, batches %v", backend, s.Fill(), s.Batches)
	}
}

func selfSigned(t *testing.T, key keyprovider.Key) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, DNSNames: []string{"test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func handshakes(t *testing.T, c *tls.Config, cert *x509.Certificate, key keyprovider.Key, clients int) {
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	bind := func(ctx context.Context) *tls.Certificate {
		return &tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: keyprovider.Bind(ctx, key), Leaf: cert}
	}
	server, client := c.Clone(), c.Clone()
	server.GetCertificate = func(h *tls.ClientHelloInfo) (*tls.Certificate, error) { return bind(h.Context()), nil }
	server.ClientCAs = roots
	client.RootCAs, client.ServerName, client.ClientAuth = roots, "test", tls.NoClientCert
	client.GetClientCertificate = func(i *tls.CertificateRequestInfo) (*tls.Certificate, error) { return bind(i.Context()), nil }

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	var group sync.WaitGroup
	for range clients {
		group.Go(func() {
			conn, err := l.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			group.Go(func() { serveEcho(t, tls.Server(conn, server)) })
		})
		group.Go(func() {
			if err := echo(l.Addr().String(), client); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
}

func serveEcho(t *testing.T, conn *tls.Conn) {
	defer func() { _ = conn.Close() }()
	if err := conn.HandshakeContext(t.Context()); err != nil {
		t.Error(err)
		return
	}
	_, _ = io.CopyN(conn, conn, 5)
}

func echo(addr string, c *tls.Config) error {
	conn, err := tls.Dial("tcp", addr, c)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write([]byte("hello")); err != nil {
		return err
	}
	got := make([]byte, 5)
	if _, err := io.ReadFull(conn, got); err != nil {
		return err
	}
	if !bytes.Equal(got, []byte("hello")) {
		return errors.New("another echo")
	}
	return nil
}

func TestECDSAHandshakes(t *testing.T) {
	p := newFit(t, nil, nil)
	key := importKey(t, p, newP256(t))
	cert := selfSigned(t, key)
	c := &tls.Config{MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAndVerifyClientCert}
	handshakes(t, c, cert, key, 1) // by the standard library
	warm(t, p, key)
	before := queueOf(p, keyprovider.ECDSAP256).Operations()
	for _, clients := range []int{1, 64} {
		handshakes(t, c, cert, key, clients)
	}
	s := queueOf(p, keyprovider.ECDSAP256)
	if n := s.Operations() - before; n != 130 {
		t.Errorf("the kernels made %d of 130 signatures", n)
	}
	t.Logf("fill %.2f, batches %v", s.Fill(), s.Batches)
}
