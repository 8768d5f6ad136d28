package interop

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"text/template"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/bootstrap"
	"github.com/hauberk-mesh/hauberk/dataplane/standalone"
	"github.com/hauberk-mesh/hauberk/policy/all/filters"
)

// oracle is the environment variable that puts another proxy, which reads the same files, in the place of ours: with
// HAUBERK_INTEROP_PROXY=envoy the tests tell what they ask that Envoy does not do.
const oracle = "HAUBERK_INTEROP_PROXY"

// links are what a chain of two sidecars is made from: client -> egress -mTLS, HTTP/2-> ingress -> server.
type links struct {
	server  string // address of the server
	h2      bool   // the server speaks HTTP/2 with prior knowledge; otherwise HTTP/1.1
	tls     bool   // the client is to speak TLS, with ALPN for either version
	filters string // of the ingress, before its router, YAML
}

// hop is one proxy's part of the template.
type hop struct {
	Name, Direction  string
	Codec            string // "" is AUTO
	Port, To         string
	TLSIn, ClientTLS bool
	TLSOut, H2Out    bool
	Filters          string
	Cert, Key, CA    string
}

const hopFile = `node: {id: "{{.Name}}", cluster: interop}
static_resources:
  listeners:
  - name: in
    address: {socket_address: {address: 127.0.0.1, port_value: {{.Port}}}}
    traffic_direction: {{.Direction}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: in
          codec_type: {{or .Codec "AUTO"}}
          stream_idle_timeout: 60s
          normalize_path: true
          merge_slashes: true
          path_with_escaped_slashes_action: REJECT_REQUEST
          http_protocol_options: {accept_http_10: true, default_host_for_http_10: ten.example}
          http2_protocol_options: {allow_connect: true, max_concurrent_streams: 100, initial_stream_window_size: 65536, initial_connection_window_size: 1048576}
          upgrade_configs: [{upgrade_type: websocket}]
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {prefix: "/"}
                route: {cluster: up, timeout: 0s}
          http_filters:
{{.Filters}}
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
{{if .TLSIn}}      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          require_client_certificate: {{.ClientTLS}}
          common_tls_context:
            tls_params: {tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3}
            alpn_protocols: [h2, http/1.1]
            tls_certificates:
            - {certificate_chain: {filename: "{{.Cert}}"}, private_key: {filename: "{{.Key}}"}}
{{if .ClientTLS}}            validation_context: {trusted_ca: {filename: "{{.CA}}"}}
{{end}}{{end}}  clusters:
  - name: up
    type: STATIC
    connect_timeout: 5s
    load_assignment:
      cluster_name: up
      endpoints:
      - lb_endpoints:
        - endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: {{.To}}}}}
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: { {{if .H2Out}}http2_protocol_options: {allow_connect: true, initial_stream_window_size: 65536, initial_connection_window_size: 1048576}{{else}}http_protocol_options: {}{{end}} }
{{if .TLSOut}}    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        sni: localhost
        common_tls_context:
          tls_params: {tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3}
          alpn_protocols: [h2]
          tls_certificates:
          - {certificate_chain: {filename: "{{.Cert}}"}, private_key: {filename: "{{.Key}}"}}
          validation_context: {trusted_ca: {filename: "{{.CA}}"}}
{{end}}`

// newChain runs both sidecars and returns where the client has to connect, and whom it trusts if it speaks TLS.
func newChain(t testing.TB, l links) (addr string, trust *tls.Config) {
	t.Helper()
	addr, ca := newChainFiles(t, l)
	text, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	return addr, &tls.Config{RootCAs: pool, ServerName: "localhost"}
}

// newChainFiles is newChain for programs: whom they trust is a file.
func newChainFiles(t testing.TB, l links) (addr, ca string) {
	t.Helper()
	dir := t.TempDir()
	certificates(t, dir)
	certs := hop{Cert: filepath.Join(dir, "leaf.crt"), Key: filepath.Join(dir, "leaf.key"), CA: filepath.Join(dir, "ca.crt")}
	_, serverPort, err := net.SplitHostPort(l.server)
	if err != nil {
		t.Fatal(err)
	}
	ingress := certs
	ingress.Name, ingress.Direction = "ingress", "INBOUND"
	ingress.TLSIn, ingress.ClientTLS, ingress.To, ingress.H2Out, ingress.Filters = true, true, serverPort, l.h2, l.filters
	middle := run(t, ingress)
	egress := certs
	egress.Name, egress.Direction = "egress", "OUTBOUND"
	egress.TLSIn, egress.To, egress.H2Out, egress.TLSOut = l.tls, portOf(middle), true, true
	return run(t, egress), certs.CA
}

func portOf(addr string) string {
	_, p, _ := net.SplitHostPort(addr)
	return p
}

// run starts one proxy and waits until it serves.
func run(t testing.TB, h hop) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = l.Addr().String()
	h.Port = portOf(addr)
	var text bytes.Buffer
	if err := template.Must(template.New(h.Name).Parse(hopFile)).Execute(&text, h); err != nil {
		t.Fatal(err)
	}
	if program := os.Getenv(oracle); program != "" {
		_ = l.Close()
		runProgram(t, program, addr, text.Bytes())
		return addr
	}
	file, err := bootstrap.Parse(h.Name+".yaml", text.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	log := &logBuffer{}
	p, err := standalone.New(standalone.Config{
		Bootstrap: file, Filters: filters.Factories(), Logger: slog.New(slog.NewTextHandler(log, nil)), DrainTime: 2 * time.Second,
		// The socket is bound already: no other process can have taken the port meanwhile.
		Listen: func(_ context.Context, network, at string) (net.Listener, error) {
			if network != "tcp" || at != addr {
				return nil, fmt.Errorf("nobody was to listen on %s %s", network, at)
			}
			return l, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("%s: %v", h.Name, err)
		}
		_ = l.Close()
		if t.Failed() {
			t.Logf("--- log of %s\n%s", h.Name, log)
		}
	})
	awaitReady(t, addr, func() bool { return len(p.Unready()) == 0 }, ended)
	return addr
}

// runProgram starts an Envoy, or whatever else reads its files.
func runProgram(t testing.TB, program, addr string, config []byte) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "envoy.yaml")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-c", file, "--concurrency", "1", "--use-dynamic-base-id", "-l", "warning")
	log := &logBuffer{}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("--- log of %s\n%s", program, log)
		}
	})
	awaitReady(t, addr, func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	}, ended)
}

func awaitReady(t testing.TB, addr string, ready func() bool, ended chan error) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ready(); time.Sleep(5 * time.Millisecond) { // nothing tells it
		select {
		case err := <-ended:
			ended <- nil
			t.Fatalf("the proxy of %s ended: %v", addr, err)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("the proxy of %s is not ready", addr)
		}
	}
}

// logBuffer is what a proxy wrote.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// certificates writes an authority and one leaf for both ends of both hops.
func certificates(t testing.TB, dir string) {
	t.Helper()
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "interop"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "localhost"}, NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"ca.crt": {Type: "CERTIFICATE", Bytes: caDER}, "leaf.crt": {Type: "CERTIFICATE", Bytes: der}, "leaf.key": {Type: "PRIVATE KEY", Bytes: keyDER},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// serve runs an HTTP server that speaks HTTP/1.1 and HTTP/2 with prior knowledge, and returns its address.
func serve(t testing.TB, h http.Handler) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h, Protocols: protocols()}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l)
	}()
	t.Cleanup(func() {
		_ = s.Close()
		<-done
	})
	return l.Addr().String()
}

// protocols are both that are spoken without TLS.
func protocols() *http.Protocols {
	p := &http.Protocols{}
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(true)
	return p
}

// nobody is an address of loopback where nobody listens.
func nobody(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
