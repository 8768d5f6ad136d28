package config_test

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hauberk-mesh/hauberk/accel/keyprovider"
	"github.com/hauberk-mesh/hauberk/accel/keyprovider/batch"
	"github.com/hauberk-mesh/hauberk/accel/keyprovider/memory"
	"github.com/hauberk-mesh/hauberk/dataplane/config"
	"github.com/hauberk-mesh/hauberk/dataplane/keyring"
	htls "github.com/hauberk-mesh/hauberk/dataplane/tls"
)

// keyWorld is an RSA certificate in files, inline and in the environment, and a builder whose keys are batched.
type keyWorld struct {
	*world
	rsa    pair
	batch  *batch.Provider
	ring   *keyring.Ring
	builds *config.Builder
}

func newKeyWorld(t *testing.T) *keyWorld {
	t.Helper()
	w := &keyWorld{world: newWorld(t), batch: batch.New(batch.Options{})}
	t.Cleanup(w.batch.Close)
	w.rsa = w.ca.issue(t, func(c *x509.Certificate) { forAll(c); c.PublicKeyAlgorithm = x509.RSA })
	w.ring = keyring.New(w.batch, memory.New())
	key := filepath.Join(t.TempDir(), "tls.key")
	if err := os.WriteFile(key, []byte(w.rsa.keyPEM()), 0o600); err != nil {
		t.Fatal(err)
	}
	w.pems["RSACERT"], w.pems["RSAKEY"], w.pems["KEYFILE"] = w.rsa.certPEM(), w.rsa.keyPEM(), key
	w.builds = config.New(config.Deps{
		Identity: &htls.Identity{}, Trust: &htls.Trust{}, StandAlone: true, Keys: w.ring,
		Getenv: func(name string) string {
			if name == "TLS_KEY" {
				return w.rsa.keyPEM()
			}
			return ""
		},
	})
	return w
}

func (w *keyWorld) build(t *testing.T, certificate string, secrets ...string) (*config.Graph, error) {
	t.Helper()
	return w.builds.Build(nil, 1, resources(t, w.in(`common_tls_context: {tls_certificates: [`+certificate+`]}`), "", secrets...))
}

const (
	cryptomb = `"@type": type.googleapis.com/envoy.extensions.private_key_providers.cryptomb.v3alpha.CryptoMbPrivateKeyMethodConfig`
	qat      = `"@type": type.googleapis.com/envoy.extensions.private_key_providers.qat.v3alpha.QatPrivateKeyMethodConfig`
)

func accelerated(name, typed, more string) string {
	return fmt.Sprintf(`{certificate_chain: {inline_string: $RSACERT}, private_key_provider: {provider_name: %s, typed_config: {%s}}%s}`, name, typed, more)
}

// TestPrivateKeyProvider: certificates whose keys come from anywhere shake hands, by TLS 1.3 and 1.2, and say who has the key.
func TestPrivateKeyProvider(t *testing.T) {
	w := newKeyWorld(t)
	for name, c := range map[string]string{
		"nothing said":  `{certificate_chain: {inline_string: $RSACERT}, private_key: {inline_string: $RSAKEY}}`,
		"plain, env":    `{certificate_chain: {inline_string: $RSACERT}, private_key: {environment_variable: TLS_KEY}}`,
		"ECDSA":         `{certificate_chain: {inline_string: $CERT}, private_key: {inline_string: $KEY}}`,
		"cryptomb":      accelerated("cryptomb", cryptomb+`, poll_delay: 0.01s, private_key: {inline_string: $RSAKEY}`, ""),
		"cryptomb file": accelerated("cryptomb", cryptomb+`, private_key: {filename: $KEYFILE}`, ""),
		"cryptomb env":  accelerated("cryptomb", cryptomb+`, private_key: {environment_variable: TLS_KEY}`, ""),
		"qat":           accelerated("qat", qat+`, poll_delay: 0.005s, private_key: {inline_string: $RSAKEY}`, ""),
		"key outside":   accelerated("cryptomb", cryptomb+`, poll_delay: 0.01s`, ", private_key: {inline_string: $RSAKEY}"),
		"key twice":     accelerated("cryptomb", cryptomb+`, private_key: {filename: $KEYFILE}`, ", private_key: {inline_string: $RSAKEY}"),
		"cryptomb fallback": `{certificate_chain: {inline_string: $RSACERT}, private_key: {inline_string: $RSAKEY},
			private_key_provider: {provider_name: cryptomb, fallback: true, typed_config: {` + cryptomb + `, private_key: {inline_string: $RSAKEY}}}}`,
	} {
		g, err := w.build(t, c)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		server := g.Listeners["l"].Chains[0].TLS
		presented, err := server.GetCertificate(&tls.ClientHelloInfo{})
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := keyring.Of(presented.PrivateKey); got != "batch" {
			t.Errorf("%s: its key is kept by %q", name, got)
		}
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			server := server.Clone()
			server.MinVersion = tls.VersionTLS12
			client := &tls.Config{RootCAs: w.ca.pool(), ServerName: "a.example.com", MaxVersion: version}
			if state, _, cErr, sErr := shake(t, client, server); cErr != nil || sErr != nil || state.Version != version {
				t.Errorf("%s: %v, %v", name, cErr, sErr)
			}
		}
		g.Release(nil)
	}
	if b := w.batch; b.Status().Backend == batch.BackendIFMA {
		for _, q := range b.Stats().Queues {
			if q.Algorithm == "rsa-2048" && q.Operations() == 0 {
				t.Error("no signature was batched")
			}
		}
	}
}

// TestStaticRSA: a client of TLS 1.2 without forward secrecy has the server decrypt.
func TestStaticRSA(t *testing.T) {
	w := newKeyWorld(t)
	g, err := w.builds.Build(nil, 1, resources(t, w.in(`common_tls_context: {tls_params: {tls_minimum_protocol_version: TLSv1_2, cipher_suites: [AES128-GCM-SHA256]},
		tls_certificates: [{certificate_chain: {inline_string: $RSACERT}, private_key: {inline_string: $RSAKEY}}]}`), ""))
	if err != nil {
		t.Fatal(err)
	}
	client := &tls.Config{
		RootCAs: w.ca.pool(), ServerName: "a.example.com", MaxVersion: tls.VersionTLS12,
		CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256},
	}
	if _, _, cErr, sErr := shake(t, client, g.Listeners["l"].Chains[0].TLS); cErr != nil || sErr != nil {
		t.Errorf("%v, %v", cErr, sErr)
	}
}

// TestMemoryIsChosen: what a certificate asks for comes before what the process was started with.
func TestMemoryIsChosen(t *testing.T) {
	w := newKeyWorld(t)
	w.builds = config.New(config.Deps{Identity: &htls.Identity{}, Trust: &htls.Trust{}, StandAlone: true, Keys: keyring.New(memory.New(), w.batch)})
	for want, c := range map[string]string{
		"memory": `{certificate_chain: {inline_string: $RSACERT}, private_key: {inline_string: $RSAKEY}}`,
		"batch":  accelerated("cryptomb", cryptomb+`, private_key: {inline_string: $RSAKEY}`, ""),
	} {
		g, err := w.build(t, c)
		if err != nil {
			t.Fatal(err)
		}
		presented, err := g.Listeners["l"].Chains[0].TLS.GetCertificate(&tls.ClientHelloInfo{})
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := keyring.Of(presented.PrivateKey); got != want {
			t.Errorf("kept by %q, want %q", got, want)
		}
	}
}

func TestPrivateKeyProviderRefuses(t *testing.T) {
	w := newKeyWorld(t)
	const at = `listener "l": filter_chains[0].transport_socket.typed_config.common_tls_context.tls_certificates[0]`
	provider := func(text string) string {
		return `{certificate_chain: {inline_string: $RSACERT}, private_key_provider: {` + text + `}}`
	}
	for certificate, want := range map[string]string{
		provider(`fallback: true`):                                                                                ".private_key_provider.provider_name: is not set: write cryptomb",
		provider(`provider_name: pkcs11`):                                                                         `.private_key_provider.provider_name: "pkcs11" is not honoured, only cryptomb and qat`,
		provider(`provider_name: pkcs11, fallback: true`):                                                         `.private_key_provider.provider_name: "pkcs11" is not honoured, only cryptomb and qat`,
		provider(`provider_name: cryptomb`):                                                                       ".private_key_provider.typed_config: is not set",
		accelerated("cryptomb", qat, ""):                                                                          `.private_key_provider.typed_config: type "type.googleapis.com/envoy.extensions.private_key_providers.qat.v3alpha.QatPrivateKeyMethodConfig" is not honoured here, only envoy.extensions.private_key_providers.cryptomb`,
		accelerated("cryptomb", cryptomb, ""):                                                                     ".private_key_provider.typed_config.private_key: is not set, and neither is private_key of the certificate",
		accelerated("qat", qat+`, private_key: {inline_string: x}`, ""):                                           ": tls: failed to find any PEM data in key input",
		accelerated("qat", qat+`, private_key: {inline_string: $KEY}`, ""):                                        ": tls: private key type does not match public key type",
		accelerated("qat", qat+`, private_key: {filename: /nowhere/tls.key}`, ""):                                 ".private_key_provider.typed_config.private_key: filename: stat /nowhere/tls.key: no such file or directory",
		accelerated("qat", qat+`, private_key: {environment_variable: OTHER}`, ""):                                ".private_key_provider.typed_config.private_key: environment_variable: OTHER is not set or empty",
		accelerated("qat", qat+`, private_key: {inline_string: $RSAKEY, watched_directory: {path: /}}`, ""):       ".private_key_provider.typed_config.private_key.watched_directory: is not honoured",
		accelerated("qat", qat+`, private_key: {inline_string: $RSAKEY}`, ", private_key: {inline_string: $KEY}"): ".private_key: tls: private key type does not match public key type",
		accelerated("qat", qat+`, private_key: {inline_string: $RSAKEY}`, ", pkcs12: {inline_string: x}"):         ".pkcs12: is not honoured",
	} {
		_, err := w.build(t, certificate)
		if err == nil || !strings.HasPrefix(err.Error(), at+want) {
			t.Errorf("%s\n got %v\nwant %s", certificate, err, at+want)
		}
		if err != nil && strings.Contains(err.Error(), "PRIVATE KEY") {
			t.Error("an error shows a key")
		}
	}
	// Without a provider that batches, and without an environment, both are said.
	bare := config.New(config.Deps{Identity: &htls.Identity{}, Trust: &htls.Trust{}, StandAlone: true})
	for certificate, want := range map[string]string{
		accelerated("qat", qat+`, private_key: {inline_string: $RSAKEY}`, ""):                          ".private_key_provider.provider_name: this proxy has no key provider \"batch\", only memory",
		`{certificate_chain: {inline_string: $RSACERT}, private_key: {environment_variable: TLS_KEY}}`: ".private_key: environment_variable: this proxy was given no environment to read it from",
	} {
		_, err := bare.Build(nil, 1, resources(t, w.in(`common_tls_context: {tls_certificates: [`+certificate+`]}`), ""))
		if err == nil || err.Error() != at+want {
			t.Errorf("%s\n got %v\nwant %s", certificate, err, at+want)
		}
	}
}

// full takes no key.
type full struct{ *memory.Provider }

func (full) Import(context.Context, crypto.PrivateKey) (keyprovider.Key, error) {
	return nil, errors.New("no room")
}

// TestProviderRefusesAKey: it is said which, and nothing is left on the heap instead.
func TestProviderRefusesAKey(t *testing.T) {
	w := newKeyWorld(t)
	w.builds = config.New(config.Deps{Identity: &htls.Identity{}, Trust: &htls.Trust{}, StandAlone: true, Keys: keyring.New(full{memory.New()})})
	_, err := w.build(t, `{certificate_chain: {inline_string: $RSACERT}, private_key: {inline_string: $RSAKEY}}`)
	if want := "common_tls_context.tls_certificates[0].private_key: no room"; err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestPrivateKeyProviderNotes: what of it has no effect is told, in a secret too, and the key is not shown.
func TestPrivateKeyProviderNotes(t *testing.T) {
	w := newKeyWorld(t)
	provider := `{provider_name: cryptomb, fallback: true, typed_config: {` + cryptomb + `, poll_delay: 0.01s, private_key: {inline_string: $RSAKEY}}}`
	for where, build := range map[string]func() (*config.Graph, error){
		"filter_chains[0].transport_socket.typed_config.common_tls_context.tls_certificates[0]": func() (*config.Graph, error) {
			return w.build(t, `{certificate_chain: {inline_string: $RSACERT}, private_key_provider: `+provider+`}`)
		},
		`secret "s".tls_certificate`: func() (*config.Graph, error) {
			return w.builds.Build(nil, 1, resources(t, `common_tls_context: {tls_certificate_sds_secret_configs: [{name: s}]}`, "",
				w.in(`{name: s, tls_certificate: {certificate_chain: {inline_string: $RSACERT}, private_key_provider: `+provider+`}}`)))
		},
	} {
		g, err := build()
		if err != nil {
			t.Fatal(err)
		}
		told := map[string]bool{}
		for _, n := range g.Accepted() {
			told[n.Resource+" "+strings.ReplaceAll(n.Path, `secret "s": `, `secret "s".`)] = true
		}
		for _, field := range []string{"fallback", "typed_config.poll_delay"} {
			if name := `listener "l" ` + where + ".private_key_provider." + field; !told[name] {
				t.Errorf("%s is not told: %v", name, told)
			}
		}
		dump, err := g.Dump()
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(dump)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "PRIVATE KEY") || !strings.Contains(string(text), "cryptomb") {
			t.Errorf("%s: shown as %s", where, text)
		}
	}
}

// TestKeysOfReloads: files that are replaced bring their new key to the provider, and shake hands with it.
func TestKeysOfReloads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, dir := newKeyWorld(t), t.TempDir()
		cert, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
		write(t, cert, w.rsa.certPEM())
		write(t, key, w.rsa.keyPEM())
		g, err := w.build(t, fmt.Sprintf(`{certificate_chain: {filename: %q}, watched_directory: {path: %q},
			private_key_provider: {provider_name: cryptomb, typed_config: {%s, private_key: {filename: %q}}}}`, cert, dir, cryptomb, key))
		if err != nil {
			t.Fatal(err)
		}
		defer g.Release(nil)
		server := g.Listeners["l"].Chains[0].TLS
		next := w.ca.issue(t, func(c *x509.Certificate) { forAll(c); c.PublicKeyAlgorithm = x509.RSA })
		for _, p := range []pair{w.rsa, next} {
			write(t, cert, p.certPEM())
			write(t, key, p.keyPEM())
			time.Sleep(2 * time.Second)
			state, _, cErr, sErr := shake(t, &tls.Config{RootCAs: w.ca.pool(), ServerName: "a.example.com"}, server)
			if cErr != nil || sErr != nil || !state.PeerCertificates[0].Equal(p.cert) {
				t.Errorf("%v, %v", cErr, sErr)
			}
			presented, err := server.GetCertificate(&tls.ClientHelloInfo{})
			if err != nil {
				t.Fatal(err)
			}
			if got, _ := keyring.Of(presented.PrivateKey); got != "batch" {
				t.Errorf("kept by %q", got)
			}
		}
	})
}

// TestOneKeyOfMany: chains, listeners and rebuilds that have the same certificate share what keeps its key.
func TestOneKeyOfMany(t *testing.T) {
	w := newKeyWorld(t)
	const certificate = `{certificate_chain: {inline_string: $RSACERT}, private_key: {inline_string: $RSAKEY}}`
	var keys []any
	for range 2 {
		g, err := w.build(t, certificate)
		if err != nil {
			t.Fatal(err)
		}
		presented, err := g.Listeners["l"].Chains[0].TLS.GetCertificate(&tls.ClientHelloInfo{})
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, presented.PrivateKey)
	}
	if keys[0] != keys[1] {
		t.Error("one key is kept twice")
	}
}
