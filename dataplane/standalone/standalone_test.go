package standalone

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/bootstrap"
	"github.com/hauberk-mesh/hauberk/internal/leak"
	"github.com/hauberk-mesh/hauberk/internal/memconn"
	"github.com/hauberk-mesh/hauberk/policy/all/filters"
)

func TestMain(m *testing.M) { leak.Main(m) }

// host is proxies and backends that share a network in memory.
type host struct {
	t   *testing.T
	net *memconn.Network
}

func newHost(t *testing.T) *host { return &host{t: t, net: &memconn.Network{}} }

// proxy makes one from a bootstrap's text.
func (h *host) proxy(name, text string, edit func(*Config)) *Proxy {
	h.t.Helper()
	b, err := bootstrap.Parse(name, []byte(text))
	if err != nil {
		h.t.Fatal(err)
	}
	cfg := Config{
		Bootstrap: b, Filters: filters.Factories(), Logger: slog.New(slog.NewTextHandler(h.t.Output(), nil)), Version: "v",
		Listen: func(_ context.Context, _, addr string) (net.Listener, error) { return h.net.Listen(addr) },
		Dial:   h.net.Dial, DrainTime: 5 * time.Second,
	}
	if edit != nil {
		edit(&cfg)
	}
	p, err := New(cfg)
	if err != nil {
		h.t.Fatal(err)
	}
	return p
}

// run runs p until the test ends, and returns when it serves.
func (h *host) run(p *Proxy) (stop func() error) {
	h.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	ended := false
	stop = func() error {
		if ended {
			return nil
		}
		ended = true
		cancel()
		return <-done
	}
	h.t.Cleanup(func() {
		if err := stop(); err != nil {
			h.t.Error(err)
		}
	})
	select {
	case <-p.begun:
	case err := <-done:
		ended = true
		h.t.Fatalf("ended at once: %v", err)
	}
	return stop
}

func (h *host) backend(addr string, handler http.HandlerFunc) {
	h.t.Helper()
	l, err := h.net.Listen(addr)
	if err != nil {
		h.t.Fatal(err)
	}
	s := &http.Server{Handler: handler, Protocols: &http.Protocols{}}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	go func() { _ = s.Serve(l) }()
	h.t.Cleanup(func() { _ = s.Close() })
}

// client speaks one version of HTTP to everybody.
func (h *host) client(http2 bool) *http.Client {
	t := &http.Transport{DialContext: h.net.Dial, Protocols: &http.Protocols{}}
	t.Protocols.SetHTTP1(!http2)
	t.Protocols.SetUnencryptedHTTP2(http2)
	h.t.Cleanup(t.CloseIdleConnections)
	return &http.Client{Transport: t}
}

func (h *host) get(c *http.Client, url string) (int, string) {
	h.t.Helper()
	r, err := c.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return 0, err.Error()
	}
	return r.StatusCode, string(body)
}

// pair writes an authority and a certificate for localhost with its key, and returns what puts their names into a text.
func pair(t *testing.T) *strings.Replacer {
	t.Helper()
	dir := t.TempDir()
	file := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	make := func(template, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*ecdsa.PrivateKey, *x509.Certificate) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if signer == nil {
			signer = key
		}
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
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
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	caKey, caCert := make(ca, ca, nil)
	key, cert := make(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, KeyUsage: x509.KeyUsageDigitalSignature,
	}, caCert, caKey)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return strings.NewReplacer(
		"CERTIFICATE", file("proxy.crt", "CERTIFICATE", cert.Raw), "KEY", file("proxy.key", "PRIVATE KEY", der), "AUTHORITY", file("ca.crt", "CERTIFICATE", caCert.Raw),
	)
}

func testdata(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestTwoHops sends requests through an egress and an ingress proxy with mutual TLS between them. The files are those with which
// the proxy is measured: HTTP/1.1 or HTTP/2 all the way, and HTTP/2 between the two whatever is outside.
func TestTwoHops(t *testing.T) {
	for _, c := range []struct {
		files string
		http2 bool
		proto string // of the backend's side
	}{
		{"same1", false, "HTTP/1.1"}, {"same2", true, "HTTP/2.0"}, {"between2", false, "HTTP/1.1"}, {"all2", true, "HTTP/2.0"}, {"all2", false, "HTTP/2.0"},
	} {
		t.Run(fmt.Sprint(c.files, " ", c.http2), func(t *testing.T) {
			h, names := newHost(t), pair(t)
			h.backend("127.0.0.1:10003", func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				fmt.Fprintf(w, "%s %s %s %d", r.Method, r.URL.Path, r.Proto, len(body))
			})
			for _, role := range []string{"ingress", "egress"} {
				name := c.files + "-" + role + ".yaml"
				h.run(h.proxy(name, names.Replace(testdata(t, name)), nil))
			}
			client := h.client(c.http2)
			for range 3 {
				if status, body := h.get(client, "http://127.0.0.1:10001/a/b"); status != 200 || body != "GET /a/b "+c.proto+" 0" {
					t.Errorf("%d %s", status, body)
				}
			}
			r, err := client.Post("http://127.0.0.1:10001/up", "text/plain", strings.NewReader(strings.Repeat("x", 1<<20)))
			if err != nil {
				t.Fatal(err)
			}
			defer r.Body.Close()
			if body, err := io.ReadAll(r.Body); err != nil || string(body) != "POST /up "+c.proto+" 1048576" {
				t.Errorf("%s %v", body, err)
			}
		})
	}
}

const hello = `
node: {id: n, cluster: c}
admin: {address: {socket_address: {address: 127.0.0.1, port_value: 9901}}}
static_resources:
  listeners:
  - name: in
    address: {socket_address: {address: 127.0.0.1, port_value: 8080}}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: in
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {prefix: "/"}
                direct_response: {status: 200, body: {inline_string: "hello"}}
          http_filters:
          - name: router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
`

func (h *host) admin(p *Proxy, method, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	p.Admin().ServeHTTP(w, httptest.NewRequest(method, "http://127.0.0.1:9901"+path, nil))
	return w
}

// TestDrain: requests in flight end, new connections are refused.
func TestDrain(t *testing.T) {
	h := newHost(t)
	p := h.proxy("envoy.yaml", hello, nil)
	stop := h.run(p)
	c, err := h.net.Dial(t.Context(), "tcp", "127.0.0.1:8080")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := bufio.NewReader(c)
	ask := func() *http.Response {
		fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		return resp
	}
	if resp := ask(); resp.StatusCode != 200 || resp.Close {
		t.Errorf("before the drain: %+v", resp)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if _, err := h.net.Dial(t.Context(), "tcp", "127.0.0.1:8080"); err == nil {
		t.Error("accepts after the drain")
	}
}

// TestRefusedStart: what is wrong is named with file, line and path, and nothing listens.
func TestRefusedStart(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{`direct_response: {status: 200, body: {inline_string: "hello"}}`, `route: {cluster: nowhere}`,
			`envoy.yaml:20: static_resources.listeners[0].filter_chains[0].filters[0].typed_config.route_config.virtual_hosts[0].routes[0].route.cluster: cluster "nowhere" was not sent`},
		{"port_value: 8080", "port_value: 9901", "envoy.yaml:6: static_resources.listeners[0]: bind 127.0.0.1:9901: "},
	} {
		h := newHost(t)
		p := h.proxy("envoy.yaml", strings.Replace(hello, c.old, c.new, 1), nil)
		err := p.Run(t.Context())
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got  %v\nwant %s", err, c.want)
		}
		if _, err := h.net.Dial(t.Context(), "tcp", "127.0.0.1:8080"); err == nil {
			t.Error("listens all the same")
		}
	}
}

// TestDocumentation: the first file of docs/proxy.md runs as it is, the second one is understood.
func TestDocumentation(t *testing.T) {
	text, err := os.ReadFile("../../docs/proxy.md")
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, part := range strings.Split(string(text), "```yaml\n")[1:] {
		file, _, _ := strings.Cut(part, "```")
		files = append(files, file)
	}
	if len(files) != 2 {
		t.Fatalf("%d files", len(files))
	}
	h := newHost(t)
	h.backend("127.0.0.1:8081", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "shop") })
	h.run(h.proxy("docs/proxy.md", files[0], nil))
	client := h.client(false)
	for path, want := range map[string]string{"/health": "fine\n", "/a": "shop", "/b/../health": "fine\n"} {
		if status, body := h.get(client, "http://127.0.0.1:8080"+path); status != 200 || body != want {
			t.Errorf("%s: %d %q", path, status, body)
		}
	}
	if _, err := h.proxy("docs/proxy.md", files[1], nil).Check(); err != nil {
		t.Error(err)
	}
}

// TestAdmin asks all pages, and what changes something.
func TestAdmin(t *testing.T) {
	h := newHost(t)
	level := &slog.LevelVar{}
	p := h.proxy("envoy.yaml", hello, func(c *Config) { c.LogLevel = level })
	h.run(p)
	client := h.client(false)
	if status, body := h.get(client, "http://127.0.0.1:8080/"); status != 200 || body != "hello" {
		t.Errorf("%d %q", status, body)
	}
	for _, c := range []struct {
		method, path string
		status       int
		body         string
	}{
		{"GET", "/ready", 200, "LIVE"}, {"GET", "/listeners", 200, `"127.0.0.1:8080"`}, {"GET", "/clusters", 200, "[]"}, {"GET", "/certs", 200, "[]"},
		{"GET", "/config_dump", 200, `"inline_string": "hello"`}, {"GET", "/stats", 200, "listener.127.0.0.1_8080.downstream_cx_total: 1\n"},
		{"GET", "/stats?filter=^server.live$", 200, "server.live: 1\n"}, {"GET", "/stats?format=json&filter=live", 200, `{"stats":[{"name":"server.live","value":1}]}`},
		{"GET", "/stats?format=prometheus", 200, "envoy_server_live 1"}, {"GET", "/stats?filter=(", 400, "filter"}, {"GET", "/stats?format=xml", 400, "format"},
		{"GET", "/stats/prometheus", 200, "istio_requests_total"}, {"GET", "/server_info", 200, `"state": "LIVE"`}, {"GET", "/help", 200, "/quitquitquit"},
		{"GET", "/", 200, "/quitquitquit"}, {"GET", "/none", 404, ""}, {"GET", "/quitquitquit", 405, ""},
		{"POST", "/logging?level=warn", 200, "level: warn"}, {"POST", "/logging?level=x", 400, "must be debug"}, {"POST", "/reopen_logs", 200, "OK"},
		{"POST", "/upgrade", 404, "cannot hand over"},
		{"POST", "/healthcheck/fail", 200, "OK"}, {"GET", "/ready", 503, "healthcheck/fail"}, {"GET", "/server_info", 200, `"state": "DRAINING"`},
		{"POST", "/healthcheck/ok", 200, "OK"}, {"GET", "/ready", 200, "LIVE"},
	} {
		if w := h.admin(p, c.method, c.path); w.Code != c.status || !strings.Contains(w.Body.String(), c.body) {
			t.Errorf("%s %s: %d %s", c.method, c.path, w.Code, w.Body)
		}
	}
	if level.Level() != slog.LevelWarn {
		t.Errorf("level %v", level.Level())
	}
	for _, header := range []string{"Origin", "Sec-Fetch-Site"} {
		w, r := httptest.NewRecorder(), httptest.NewRequest("POST", "http://127.0.0.1:9901/quitquitquit", nil)
		r.Header.Set(header, "https://evil.example")
		if p.Admin().ServeHTTP(w, r); w.Code != 403 {
			t.Errorf("a web page may end the proxy: %s, %d", header, w.Code)
		}
	}
	if w := h.admin(p, "POST", "/drain_listeners?graceful"); w.Code != 200 {
		t.Errorf("%d", w.Code)
	}
	if _, err := h.net.Dial(t.Context(), "tcp", "127.0.0.1:8080"); err == nil {
		t.Error("accepts after /drain_listeners")
	}
	if w := h.admin(p, "POST", "/quitquitquit"); w.Code != 200 {
		t.Errorf("%d", w.Code)
	}
}
