package standalone

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hauberk-mesh/hauberk/accel/keyprovider"
	"github.com/hauberk-mesh/hauberk/accel/keyprovider/batch"
	"github.com/hauberk-mesh/hauberk/accel/keyprovider/memory"
)

// TestKeyProviders: clients shake hands with a certificate of RSA in a file, and the admin port says who has its key.
func TestKeyProviders(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		BasicConstraintsValid: true, IsCA: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, keyFile := filepath.Join(t.TempDir(), "server.crt"), filepath.Join(t.TempDir(), "server.key")
	chain := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	private := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	for file, text := range map[string][]byte{cert: chain, keyFile: private} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const cryptomb = `private_key_provider: {provider_name: cryptomb, typed_config: {
		"@type": type.googleapis.com/envoy.extensions.private_key_providers.cryptomb.v3alpha.CryptoMbPrivateKeyMethodConfig, private_key: {filename: %q}}}`
	for _, c := range []struct{ first, key, want string }{
		{"batch", `private_key: {filename: %q}`, "batch"}, {"memory", `private_key: {filename: %q}`, "memory"}, {"memory", cryptomb, "batch"},
	} {
		b := batch.New(batch.Options{})
		h := newHost(t)
		socket := fmt.Sprintf(`transport_socket: {name: tls, typed_config: {
      "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext,
      common_tls_context: {tls_certificates: [{certificate_chain: {filename: %q}, `+c.key+`}]}}}`, cert, keyFile)
		text := strings.Replace(hello, "    - filters:", "    - "+strings.ReplaceAll(socket, "\n", " ")+"\n      filters:", 1)
		p := h.proxy("tls.yaml", text, func(cfg *Config) {
			cfg.Keys, cfg.MoreKeys = b, []keyprovider.Provider{memory.New()}
			if c.first == "memory" {
				cfg.Keys, cfg.MoreKeys = memory.New(), []keyprovider.Provider{b}
			}
		})
		stop := h.run(p)
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(chain)
		client := &http.Client{Transport: &http.Transport{
			DialContext: h.net.Dial, DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "localhost"},
		}}
		if status, body := h.get(client, "https://127.0.0.1:8080/"); status != 200 || body != "hello" {
			t.Errorf("%d %q", status, body)
		}
		if w := h.admin(p, "GET", "/certs"); !strings.Contains(w.Body.String(), `"keyProvider": "`+c.want+`"`) {
			t.Errorf("%s and %s: %s", c.first, c.key, w.Body)
		}
		w := h.admin(p, "GET", "/stats/prometheus")
		for _, want := range []string{`provider="` + c.first + `"`, `hauberk_tls_batch_size_bucket{key="rsa-2048"`, `hauberk_tls_key_fallbacks_total{reason="cpu"}`} {
			if !strings.Contains(w.Body.String(), want) {
				t.Errorf("%s: no %s", c.first, want)
			}
		}
		for _, page := range []string{"/config_dump", "/certs", "/stats/prometheus"} {
			if w := h.admin(p, "GET", page); strings.Contains(w.Body.String(), "PRIVATE KEY") {
				t.Errorf("%s shows a key", page)
			}
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		b.Close()
	}
}
