package listener_test

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	hhttp "github.com/hauberk-mesh/hauberk/dataplane/http"
	"github.com/hauberk-mesh/hauberk/dataplane/listener"
	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
	"github.com/hauberk-mesh/hauberk/dataplane/upstream"
)

// authority signs leaves for tests.
type authority struct {
	t    testing.TB
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pool *x509.CertPool
}

func newAuthority(t testing.TB) *authority {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Unix(0, 0), NotAfter: time.Now().Add(1000000 * time.Hour), KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, _ := x509.ParseCertificate(der)
	a := &authority{t: t, key: key, cert: cert, pool: x509.NewCertPool()}
	a.pool.AddCert(cert)
	return a
}

func (a *authority) leaf(id string, life time.Duration) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	u, _ := url.Parse(id)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(2), URIs: []*url.URL{u}, DNSNames: []string{"mesh"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(life),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func (a *authority) server(id string) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{a.leaf(id, time.Hour)}, ClientCAs: a.pool, ClientAuth: tls.RequireAndVerifyClientCert,
		MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true}
}

func (a *authority) client(id string) *upstream.TLS {
	return &upstream.TLS{Key: id, Config: &tls.Config{Certificates: []tls.Certificate{a.leaf(id, time.Hour)}, RootCAs: a.pool,
		ServerName: "mesh", MinVersion: tls.VersionTLS13}}
}

const (
	idFrontend = "spiffe://default.default.mesh.local/workload/frontend"
	idBackend  = "spiffe://default.default.mesh.local/workload/backend"
)

// mesh is an egress in front of ingresses, each in front of an application.
func mesh(t testing.TB, n network, ca *authority, apps ...string) (egress *proxy, ingress []*proxy) {
	var addrs []string
	for _, app := range apps {
		in := start(t, n, proxyOptions{direction: telemetry.Inbound, endpoints: []string{app}, serverTLS: ca.server(idBackend),
			http: func(s *hhttp.Spec) { s.OwnID = func() string { return idBackend }; s.OwnService = "backend" }})
		ingress = append(ingress, in)
		addrs = append(addrs, in.addr)
	}
	egress = start(t, n, proxyOptions{endpoints: addrs, clientTLS: ca.client(idFrontend),
		http:    func(s *hhttp.Spec) { s.OwnID = func() string { return idFrontend } },
		cluster: func(s *upstream.Spec) { s.Probe.Kind = upstream.ProbeMesh }})
	return egress, ingress
}

func TestTwoHops(t *testing.T) {
	eachNetwork(t, func(t *testing.T, n network) {
		ca := newAuthority(t)
		egress, ingress := mesh(t, n, ca, backend(t, n, echo))
		c := egress.client()
		big := bytes.Repeat([]byte("x"), 3<<20)
		for _, body := range [][]byte{[]byte("hi"), big, []byte("again")} {
			resp, err := c.Post("http://backend/", "text/plain", bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || !bytes.Equal(got, body) || resp.StatusCode != 200 {
				t.Fatalf("%d: %d bytes, %v", resp.StatusCode, len(got), err)
			}
		}
		out, in := egress.rec.wait(t, 3)[0], ingress[0].rec.wait(t, 3)[0]
		if out.SourceID != idFrontend || out.DestinationID != idBackend || out.TLSVersion != tls.VersionTLS13 {
			t.Errorf("egress %+v", out)
		}
		if in.SourceID != idFrontend || in.DestinationID != idBackend || in.SourceService != "frontend" || in.RequestID != out.RequestID || in.RequestID == "" {
			t.Errorf("ingress %+v", in)
		}
		if got := egress.clusters[0].Endpoints()[0].ConnectionsTotal; got != 1 {
			t.Errorf("%d connections between the proxies", got)
		}
	})
}

// An application that is gone costs no request: its ingress says that nothing was processed, and the egress goes elsewhere.
func TestUnprocessedIsRetried(t *testing.T) {
	n := memory()
	ca := newAuthority(t)
	egress, ingress := mesh(t, n, ca, "127.0.0.1:1", backend(t, n, echo))
	c := egress.client()
	for i := range 20 {
		resp, err := c.Post("http://backend/", "text/plain", strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		got, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 200 || string(got) != "body" || resp.Header.Get("hauberk-unprocessed") != "" {
			t.Fatalf("request %d: %d %q %v", i, resp.StatusCode, got, resp.Header)
		}
	}
	egress.rec.wait(t, 20)
	asked := 0
	for _, r := range ingress[0].rec.wait(t, 0) {
		if r.Method == "POST" {
			asked++
		}
	}
	if asked > 1 {
		t.Errorf("%d requests went to the dead one", asked)
	}
	if !egress.clusters[0].Endpoints()[0].Down {
		t.Error("the dead one is not down")
	}
}

// With nobody else left, the refusal reaches the caller with its reason but without the mesh's private word.
func TestUnprocessedAtLast(t *testing.T) {
	n := memory()
	ca := newAuthority(t)
	egress, _ := mesh(t, n, ca, "127.0.0.1:1")
	resp, err := egress.client().Get("http://backend/")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 503 || resp.Header.Get("x-hauberk-reason") != "app_unreachable" || resp.Header.Get("hauberk-unprocessed") != "" {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
	if r := egress.rec.wait(t, 1)[0]; r.Details != "via_upstream" || r.Reason != "app_unreachable" || !r.Unprocessed {
		t.Errorf("%+v", r)
	}
}

func TestRefusedHandshakes(t *testing.T) {
	eachNetwork(t, func(t *testing.T, n network) {
		ca, stranger := newAuthority(t), newAuthority(t)
		app := backend(t, n, echo)
		_, ingress := mesh(t, n, ca, app)
		other := ca.client(idFrontend)
		other.Config.Certificates = []tls.Certificate{stranger.leaf(idFrontend, time.Hour)}
		egress := start(t, n, proxyOptions{endpoints: []string{ingress[0].addr}, clientTLS: other})
		resp, err := egress.client().Get("http://backend/")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		r := egress.rec.wait(t, 1)[0]
		if resp.StatusCode != 503 || r.Flags != "UF" || r.Reason != "connect_failed" || !strings.Contains(r.TransportFailure, "certificate") {
			t.Errorf("%d %+v", resp.StatusCode, r)
		}
		// Plaintext and other noise on a TLS port end without an HTTP answer.
		for _, noise := range []string{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\x00\x00\x00\x00\x00\x00", strings.Repeat("A", 70000)} {
			if got := ingress[0].raw(noise); strings.Contains(got, "HTTP") {
				t.Errorf("got %q", got)
			}
		}
		eventually(t, "four handshake errors", func() bool { return ingress[0].l.Stats().HandshakeErrors >= 4 })
	})
}

func TestPermissive(t *testing.T) {
	eachNetwork(t, func(t *testing.T, n network) {
		ca := newAuthority(t)
		in := start(t, n, proxyOptions{direction: telemetry.Inbound, endpoints: []string{backend(t, n, echo)},
			spec: func(s *listener.Spec) {
				plain := *s.Chains[0]
				secure := plain
				secure.TLS, secure.Match.Transport, plain.Match.Transport = ca.server(idBackend), listener.TLS, listener.RawBuffer
				s.Sniff, s.Chains = true, []*listener.Chain{&secure, &plain}
			}})
		egress := start(t, n, proxyOptions{endpoints: []string{in.addr}, clientTLS: ca.client(idFrontend)})
		plain := in.conn()
		pr := bufio.NewReader(plain)
		if resp, body := ask(t, plain, pr, "POST", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi"); resp.StatusCode != 200 || body != "hi" {
			t.Fatal(resp.StatusCode, body)
		}
		in.rec.wait(t, 1)
		resp, err := egress.client().Get("http://backend/")
		if err != nil || resp.StatusCode != 200 {
			t.Fatal(resp, err)
		}
		resp.Body.Close()
		recs := in.rec.wait(t, 2)
		if recs[0].SourceID != "" || recs[0].TLSVersion != 0 || recs[1].SourceID != idFrontend {
			t.Errorf("%+v", recs)
		}
		// Strict from now on: the open plaintext connection ends without an answer, the other one goes on.
		strict := *in.spec.Load()
		secure := *strict.Chains[0]
		secure.Match = listener.Match{}
		strict.Sniff, strict.Chains = false, []*listener.Chain{&secure}
		in.spec.Store(&strict)
		fmt.Fprint(plain, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		if b, _ := io.ReadAll(pr); len(b) != 0 {
			t.Errorf("plaintext is answered: %q", b)
		}
		if resp, err = egress.client().Get("http://backend/"); err != nil || resp.StatusCode != 200 {
			t.Fatal(resp, err)
		}
		resp.Body.Close()
	})
}

func TestPeerExpires(t *testing.T) {
	n := memory()
	ca := newAuthority(t)
	_, ingress := mesh(t, n, ca, backend(t, n, echo))
	short := ca.client(idFrontend)
	short.Config.Certificates = []tls.Certificate{ca.leaf(idFrontend, 1500*time.Millisecond)}
	raw := ingress[0].conn()
	c := tls.Client(raw, short.Config)
	r := bufio.NewReader(c)
	if resp, _ := ask(t, c, r, "GET", "GET / HTTP/1.1\r\nHost: h\r\n\r\n"); resp.StatusCode != 200 {
		t.Fatal(resp.StatusCode)
	}
	// X.509 has whole seconds: at most so long until it is over.
	deadline := time.Now().Add(10 * time.Second)
	for {
		resp, _ := ask(t, c, r, "GET", "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		if resp.StatusCode == 503 {
			if resp.Header.Get("x-hauberk-reason") != "peer_expired" || resp.Header.Get("hauberk-unprocessed") != "1" || !resp.Close {
				t.Errorf("%v", resp.Header)
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the connection outlives its certificate")
		}
		time.Sleep(50 * time.Millisecond) // certificates live in real time
	}
}

// An identity that changed takes its pooled connections with it.
func TestEpoch(t *testing.T) {
	n := memory()
	ca := newAuthority(t)
	_, ingress := mesh(t, n, ca, backend(t, n, echo))
	var epoch atomic.Uint64
	tc := ca.client(idFrontend)
	tc.Epoch = epoch.Load
	egress := start(t, n, proxyOptions{endpoints: []string{ingress[0].addr}, clientTLS: tc})
	for i, want := range []int64{1, 1, 2, 2} {
		if i == 2 {
			epoch.Add(1)
		}
		resp, err := egress.client().Get("http://backend/")
		if err != nil || resp.StatusCode != 200 {
			t.Fatal(resp, err)
		}
		resp.Body.Close()
		if got := egress.clusters[0].Endpoints()[0].ConnectionsTotal; got != want {
			t.Errorf("request %d: %d connections, want %d", i, got, want)
		}
	}
}
