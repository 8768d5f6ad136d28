package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	identityv1 "github.com/hauberk-mesh/hauberk/wire/identity/v1"
)

// TestRefusedPeers shows a server's inbound what it must not let in; each refusal's reason is in its log.
func TestRefusedPeers(t *testing.T) {
	m := newMesh(t)
	m.apply("apiVersion: hauberk.io/v1alpha1\nkind: Mesh\nmetadata: {name: other}\n")
	m.apply("apiVersion: hauberk.io/v1alpha1\nkind: Mesh\nmetadata: {name: brief}\n")
	m.apply(`apiVersion: hauberk.io/v1alpha1
kind: MeshIdentity
metadata: {name: identity, labels: {hauberk.io/mesh: brief}}
spec:
  provider: {type: Bundled, bundled: {autogenerate: {enabled: true}, certificateParameters: {expiry: 10s}}}
`)
	server := m.sidecar(dataplane{service: "server", app: newApp(t, "one").addr})
	client := m.sidecar(dataplane{service: "client", outbounds: []string{"server"}})
	stranger := m.sidecar(dataplane{mesh: "other", service: "client", outbounds: []string{"server"}})
	m.allow("default", "server", "client")
	ours := client.svid()

	// The good one first: otherwise this test could not fail.
	if err := shakeHands(server.inbound, &ours); err != nil {
		t.Fatalf("the client's own SVID is refused: %v", err)
	}

	forgedHere := forge(t, spiffeID("default", "client"), time.Hour)
	forgedThere := forge(t, "spiffe://elsewhere.example/workload/client", time.Hour)
	theirs := stranger.svid()
	for name, c := range map[string]struct {
		cert   *tls.Certificate
		reason string
	}{
		"no client certificate":                {nil, "certificate"},
		"another authority, the same name":     {&forgedHere, "chain does not lead"},
		"another trust domain":                 {&forgedThere, "trust domain elsewhere.example is not trusted"},
		"the same service of another mesh":     {&theirs, "trust domain other.default.mesh.local is not trusted"},
		"a stolen certificate without its key": {withoutKey(t, ours), "signature"},
	} {
		t.Run(name, func(t *testing.T) {
			before := len(server.logs.String())
			if err := shakeHands(server.inbound, c.cert); err == nil {
				t.Fatal("the handshake was accepted")
			}
			eventually(t, 10*time.Second, fmt.Sprintf("the log gives the reason (%q)", c.reason), func() bool {
				return strings.Contains(server.logs.String()[before:], c.reason)
			})
		})
	}

	t.Run("an expired certificate", func(t *testing.T) {
		brief := m.sidecar(dataplane{mesh: "brief", service: "server", app: newApp(t, "brief").addr})
		caller := m.sidecar(dataplane{mesh: "brief", service: "client", outbounds: []string{"server"}})
		old := caller.svid()
		if err := shakeHands(brief.inbound, &old); err != nil {
			t.Fatalf("while it lives it is refused: %v", err)
		}
		time.Sleep(time.Until(old.Leaf.NotAfter) + time.Second) // a leaf of 10 s, on the clock of three processes
		if err := shakeHands(brief.inbound, &old); err == nil {
			t.Fatal("the handshake was accepted")
		}
		eventually(t, 10*time.Second, "the log says that it expired", func() bool { return strings.Contains(brief.logs.String(), "expired") })
	})
}

// TestWrongService: a server that proves an identity of the mesh, but not one of the service that was called, is refused.
func TestWrongService(t *testing.T) {
	m := newMesh(t)
	server := m.sidecar(dataplane{service: "server", app: newApp(t, "one").addr})
	other := m.sidecar(dataplane{service: "other", app: newApp(t, "other").addr})
	client := m.sidecar(dataplane{service: "client", outbounds: []string{"server"}})
	m.allow("default", "server", "client")
	svid := other.svid()

	// From here on somebody with a good identity of another service answers at the server's address.
	server.kill()
	l, err := tls.Listen("tcp", server.inbound, &tls.Config{Certificates: []tls.Certificate{svid}, ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS13})
	if err != nil {
		t.Fatal(err)
	}
	impostor := &http.Server{ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "impostor") })}
	go func() { _ = impostor.Serve(l) }()
	t.Cleanup(func() { _ = impostor.Close() })

	if got := statusOf("http://" + client.outbound["server"] + "/"); got != http.StatusServiceUnavailable {
		t.Errorf("status %d, want 503", got)
	}
	want := fmt.Sprintf("%s, wanted %s", spiffeID("default", "other"), spiffeID("default", "server"))
	for _, part := range strings.Split(want, ", wanted ") {
		eventually(t, 10*time.Second, "the caller's log names "+part, func() bool { return strings.Contains(client.logs.String(), part) })
	}
}

// TestTokenForAnotherName: a token buys the dataplane that it names and no other.
func TestTokenForAnotherName(t *testing.T) {
	m := newMesh(t)
	token := m.hauberk("token", "create", "dataplane", "--name", "cart-1", "--service", "cart")
	thief := m.describe(dataplane{service: "payments", app: newApp(t, "thief").addr, token: token})
	thief.start()
	eventually(t, 20*time.Second, "the thief's log says why it is refused", func() bool {
		log := thief.logs.String()
		return strings.Contains(log, "cart") && strings.Contains(log, "payments")
	})
	if statusOf("http://"+thief.admin+"/ready") == http.StatusOK {
		t.Error("a dataplane with another one's token is ready")
	}
	if out := m.hauberk("get", "dataplanes"); strings.Contains(out, "payments") {
		t.Errorf("it was registered:\n%s", out)
	}
}

// TestCSRForAnotherName: the control plane writes the SAN; a request that asks for somebody else's is refused.
func TestCSRForAnotherName(t *testing.T) {
	m := newMesh(t)
	token := strings.TrimSpace(m.hauberk("token", "create", "dataplane", "--name", "cart-1", "--service", "cart"))
	want, _ := url.Parse(spiffeID("default", "payments"))
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{URIs: []*url.URL{want}}, key)
	if err != nil {
		t.Fatal(err)
	}
	creds, err := credentials.NewClientTLSFromFile(filepath.Join(m.dir, "ca.crt"), "")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient(m.xds, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	join := func(token string) error {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
		_, err := identityv1.NewIdentityServiceClient(conn).Join(ctx, &identityv1.JoinRequest{Csr: csr})
		return err
	}
	if err := join(token); status.Code(err) == codes.OK {
		t.Error("the request was granted")
	}
	eventually(t, 10*time.Second, "the control plane's log names what was asked for", func() bool {
		return strings.Contains(m.control.logs.String(), want.String())
	})
	if err := join("not.a.token"); status.Code(err) != codes.Unauthenticated {
		t.Errorf("a token that is none: %v, want Unauthenticated", err)
	}
	if strings.Contains(m.control.logs.String(), token) {
		t.Error("the token is in the log")
	}
}

// TestRevocation: a revoked identity is refused by every proxy at once, and gets no further SVID; a revoked token ends the
// streams of what it bought.
func TestRevocation(t *testing.T) {
	m := newMesh(t)
	server := m.sidecar(dataplane{service: "server", app: newApp(t, "one").addr})
	client := m.sidecar(dataplane{service: "client", outbounds: []string{"server"}})
	m.allow("default", "server", "client")
	svid := client.svid()
	if err := shakeHands(server.inbound, &svid); err != nil {
		t.Fatal(err)
	}
	m.hauberk("identity", "revoke", spiffeID("default", "client"))
	eventually(t, 10*time.Second, "the server refuses the revoked identity", func() bool { return shakeHands(server.inbound, &svid) != nil })
	eventually(t, 10*time.Second, "the log says that it is revoked", func() bool { return strings.Contains(server.logs.String(), "revoked") })

	token := m.hauberk("token", "create", "dataplane", "--name", "client-9", "--service", "client")
	again := m.describe(dataplane{service: "client", name: "client-9", token: token, outbounds: []string{"server"}})
	again.start()
	eventually(t, 10*time.Second, "a new dataplane of that identity is told that it is revoked", func() bool {
		return strings.Contains(again.logs.String(), "revoked")
	})

	var id string
	for line := range strings.Lines(m.hauberk("token", "list")) {
		if f := strings.Fields(line); len(f) > 1 && strings.Contains(line, "server-1") {
			id = f[0]
		}
	}
	if id == "" {
		t.Fatal("token list does not show the server's token")
	}
	m.hauberk("token", "revoke", id)
	eventually(t, 10*time.Second, "the server's stream has ended", func() bool {
		out, _, _ := m.try("", "status", "-o", "json")
		return !strings.Contains(out, `"connected": true`) || !connected(out, "server-1")
	})
}

// connected reads the JSON of status coarsely: the flag that follows the dataplane's name.
func connected(status, dataplane string) bool {
	_, after, ok := strings.Cut(status, `"`+dataplane+`"`)
	if !ok {
		return false
	}
	flag := strings.Index(after, `"connected": `)
	return flag >= 0 && strings.HasPrefix(after[flag:], `"connected": true`)
}

// shakeHands connects as a peer would, and returns why it was refused. In TLS 1.3 the client is done before the server has
// judged it, so a request is made too.
func shakeHands(addr string, cert *tls.Certificate) error {
	c := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13} // the server's judgement is what is tested
	if cert != nil {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	}
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 10 * time.Second}, "tcp", addr, c)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := fmt.Fprint(conn, "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 1))
	return err
}

// svid reads what the sidecar keeps in its state dir: a thief's view.
func (s *sidecar) svid() tls.Certificate {
	t := s.mesh.t
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, "state", "svid.pem"))
	if err != nil {
		t.Fatal(err)
	}
	var cert tls.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		switch {
		case block.Type == "CERTIFICATE" && len(block.Headers) == 0:
			cert.Certificate = append(cert.Certificate, block.Bytes)
		case block.Type == "HAUBERK KEY HANDLE":
			inner, _ := pem.Decode(block.Bytes)
			if cert.PrivateKey, err = x509.ParsePKCS8PrivateKey(inner.Bytes); err != nil {
				t.Fatal(err)
			}
		}
	}
	if cert.Leaf, err = x509.ParseCertificate(cert.Certificate[0]); err != nil {
		t.Fatal(err)
	}
	return cert
}

// forge makes a leaf for id under an authority that nobody trusts.
func forge(t *testing.T, id string, life time.Duration) tls.Certificate {
	t.Helper()
	key := func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	uri, _ := url.Parse(id)
	caKey, leafKey := key(), key()
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "forger"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(life), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(life), URIs: []*url.URL{uri}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, leafKey.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	root, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der, root}, PrivateKey: leafKey}
}

// withoutKey shows a real leaf with a key that is not its own.
func withoutKey(t *testing.T, c tls.Certificate) *tls.Certificate {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: c.Certificate, PrivateKey: k}
}
