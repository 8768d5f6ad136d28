package interop

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// intended tells of a header field whether the two may differ in it: who they are, what time it is, what Envoy says to itself,
// our reasons, and values that are drawn. Envoy answers Expect by itself where this proxy asks the backend, and takes TE for a
// field of the whole way where it belongs to the connection.
func intended(name string) bool {
	name = strings.ToLower(name)
	return strings.HasPrefix(name, "x-envoy-") ||
		slices.Contains([]string{"server", "date", "x-hauberk-reason", "x-request-id", "expect", "connection"}, name)
}

// TestEnvoy runs Envoy and this proxy on the same files, asks both the same, and compares what comes back and what the backend
// saw: status, header fields but for the intended differences, and body.
func TestEnvoy(t *testing.T) {
	b := newBackends(t)
	for _, file := range []string{"http.yaml", "tls.yaml"} {
		t.Run(file, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join("testdata", file))
			if err != nil {
				t.Fatal(err)
			}
			filled := b.names.Replace(string(text))
			theirs, ours := startEnvoy(t, filled), startHauberk(t, filled)
			for _, c := range comparisons(b) {
				if c.file != file {
					continue
				}
				t.Run(c.name, func(t *testing.T) {
					want, got := c.ask(theirs), c.ask(ours)
					if diff := cmp.Diff(want, got); diff != "" {
						t.Errorf("envoy -, hauberk +\n%s", diff)
					}
				})
			}
		})
	}
}

// comparison is one thing to ask. What it returns has to be equal.
type comparison struct {
	file, name string
	ask        func(s *side) string
}

// backends are what the proxies lead to: an HTTP server that says what it saw, the same behind TLS, an echo of bytes, and a
// port where nobody is.
type backends struct {
	names  *strings.Replacer // what puts ports and files into a text
	roots  *x509.CertPool
	client tls.Certificate
}

func newBackends(t *testing.T) *backends {
	t.Helper()
	b := &backends{roots: x509.NewCertPool()}
	dir := t.TempDir()
	caKey, ca := certificate(t, nil, nil, "authority")
	key, cert := certificate(t, ca, caKey, "one.example.com", "*.example.com", "mutual.example.org")
	b.roots.AddCert(ca)
	b.client = tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	file := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}

	plain, secured, echo, dead := listen(t), listen(t), listen(t), listen(t)
	_ = dead.Close()
	serve := func(l net.Listener) {
		s := &http.Server{Handler: http.HandlerFunc(sayWhatWasSeen), Protocols: &http.Protocols{}}
		s.Protocols.SetHTTP1(true)
		s.Protocols.SetUnencryptedHTTP2(true)
		go func() { _ = s.Serve(l) }()
		t.Cleanup(func() { _ = s.Close() })
	}
	serve(plain)
	serve(tls.NewListener(secured, &tls.Config{Certificates: []tls.Certificate{b.client}}))
	go serveEcho(echo)
	b.names = strings.NewReplacer(
		"TLSBACKEND", port(secured), "BACKEND", port(plain), "ECHO", port(echo), "DEAD", port(dead),
		"CERTIFICATE", file("proxy.crt", "CERTIFICATE", cert.Raw), "PRIVATE", file("proxy.key", "PRIVATE KEY", der), "ROOTS", file("ca.crt", "CERTIFICATE", ca.Raw),
	)
	return b
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func port(l net.Listener) string { return fmt.Sprint(l.Addr().(*net.TCPAddr).Port) }

func certificate(t *testing.T, parent *x509.Certificate, signer *ecdsa.PrivateKey, names ...string) (*ecdsa.PrivateKey, *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: names[0]},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
	}
	if parent == nil {
		parent, signer, template.IsCA, template.BasicConstraintsValid, template.KeyUsage = template, key, true, true, x509.KeyUsageCertSign
	} else {
		template.DNSNames = names
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return key, c
}

// sayWhatWasSeen answers with the request as it came. /slow never answers, /ws becomes an echo.
func sayWhatWasSeen(w http.ResponseWriter, r *http.Request) {
	switch {
	case strings.HasPrefix(r.URL.Path, "/slow"):
		<-r.Context().Done()
		return
	case r.Header.Get("Upgrade") == "websocket":
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) // RFC 6455, section 4.2.2
		fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n\r\n",
			base64.StdEncoding.EncodeToString(sum[:]))
		_, _ = io.Copy(c, rw)
		return
	}
	body, err := io.ReadAll(r.Body)
	w.Header().Set("X-Backend", "seen")
	w.Header().Set("X-Internal", "secret")
	w.Header().Add("X-Added", "zero")
	fmt.Fprintf(w, "%s %s %s host=%s\n%sbody=%d %v\n", r.Method, r.RequestURI, r.Proto, r.Host, fields(r.Header), len(body), err)
	for _, name := range slices.Sorted(maps.Keys(r.Trailer)) {
		fmt.Fprintf(w, "trailer %s: %s\n", name, r.Trailer[name])
	}
}

// fields are header fields, sorted, without those that are meant to differ.
func fields(h http.Header) string {
	var out strings.Builder
	for _, name := range slices.Sorted(maps.Keys(h)) {
		if !intended(name) && !(name == "Content-Length" && h.Get(name) == "0") { // Envoy says of some methods that there is no body
			fmt.Fprintf(&out, "%s: %q\n", strings.ToLower(name), h[name])
		}
	}
	return out.String()
}

func serveEcho(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			_, _ = io.Copy(c, c)
		}()
	}
}

// raw sends HTTP/1 as it is written, with \n for \r\n, and reads as many responses as there are.
func raw(listener, text string, responses int) func(*side) string {
	return func(s *side) string { return exchange(s.dial(listener), text, responses) }
}

func exchange(c net.Conn, text string, responses int) string {
	defer c.Close()
	if _, err := io.WriteString(c, strings.ReplaceAll(text, "\n", "\r\n")); err != nil {
		return "write failed"
	}
	var out strings.Builder
	r := bufio.NewReader(c)
	method, _, _ := strings.Cut(text, " ")
	for range responses {
		resp, err := http.ReadResponse(r, &http.Request{Method: method})
		if err != nil {
			fmt.Fprintln(&out, "closed without a response")
			break
		}
		out.WriteString(response(resp))
	}
	return out.String()
}

// response is all of one that is to be compared. The length is in the body; the body of an error is each proxy's own.
func response(r *http.Response) string {
	defer r.Body.Close()
	r.Header.Del("Content-Length")
	own := r.Header.Get("X-Backend") == "" && r.StatusCode >= 400
	closed := fmt.Sprintf(" close=%v", r.Close)
	if own {
		r.Header.Del("Content-Type")
		closed = "" // Envoy closes more often than it has to
	}
	body, err := io.ReadAll(r.Body)
	if own {
		body = nil
	}
	if err != nil {
		err = errors.New("cut short")
	}
	return fmt.Sprintf("%d %s%s\n%s\n%s%s%v\n", r.StatusCode, r.Proto, closed, fields(r.Header), body, fields(r.Trailer), err)
}

// get is a plain request of HTTP/1.1.
func get(listener, target string, headers ...string) func(*side) string {
	return raw(listener, "GET "+target+" HTTP/1.1\nHost: a.example.com\n"+lines(headers)+"\n", 1)
}

func lines(headers []string) string {
	var out strings.Builder
	for _, h := range headers {
		out.WriteString(h + "\n")
	}
	return out.String()
}

// h2c asks over HTTP/2 without TLS.
func h2c(listener, method, path, body string) func(*side) string {
	return func(s *side) string {
		t := &http.Transport{Protocols: &http.Protocols{}}
		t.Protocols.SetUnencryptedHTTP2(true)
		return over(s, t, listener, "http", method, path, body)
	}
}

func over(s *side, t *http.Transport, listener, scheme, method, path, body string) string {
	defer t.CloseIdleConnections()
	t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) { return s.dial(listener), nil }
	req, err := http.NewRequest(method, scheme+"://a.example.com"+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r, err := t.RoundTrip(req)
	if err != nil {
		return "no response"
	}
	return response(r)
}

// overTLS asks for a server name.
func (b *backends) overTLS(listener, name string, h2, withCertificate bool) func(*side) string {
	return func(s *side) string {
		config := &tls.Config{ServerName: name, RootCAs: b.roots}
		if withCertificate {
			config.Certificates = []tls.Certificate{b.client}
		}
		t := &http.Transport{TLSClientConfig: config, Protocols: &http.Protocols{}}
		t.Protocols.SetHTTP1(!h2)
		t.Protocols.SetHTTP2(h2)
		return over(s, t, listener, "https", "GET", "/", "")
	}
}

// echoed sends text and returns what comes back until the other side ends too.
func echoed(c net.Conn, text string) string {
	defer c.Close()
	if _, err := io.WriteString(c, text); err != nil {
		return "write failed"
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		return "close failed"
	}
	var out bytes.Buffer
	_, err := out.ReadFrom(c)
	return fmt.Sprintf("%s %v", out.String(), err)
}
