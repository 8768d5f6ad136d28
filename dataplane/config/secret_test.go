package config_test

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// TestSecrets: certificates and trust by name.
func TestSecrets(t *testing.T) {
	w := newWorld(t)
	const (
		certificate = `{name: cert, tls_certificate: {certificate_chain: {inline_string: $CERT}, private_key: {inline_string: $KEY}}}`
		trust       = `{name: peers, validation_context: {trusted_ca: {inline_string: $CA}}}`
		overADS     = `sds_config: {ads: {}, resource_api_version: V3}`
	)
	for name, peer := range map[string]string{
		"alone":    `validation_context_sds_secret_config: {name: peers, ` + overADS + `}`,
		"static":   `validation_context_sds_secret_config: {name: peers}`,
		"combined": `combined_validation_context: {default_validation_context: {match_typed_subject_alt_names: [{san_type: DNS, matcher: {exact: a.example.com}}]}, validation_context_sds_secret_config: {name: peers, ` + overADS + `}}`,
	} {
		context := `common_tls_context: {tls_certificate_sds_secret_configs: [{name: cert, ` + overADS + `}], ` + peer + `}`
		server, err := serverOf(t, w.pems, "require_client_certificate: true, "+context, certificate, trust)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		u, err := clientOf(t, w.pems, context, certificate, trust)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		c, s, cErr, sErr := shake(t, u.Config, server)
		if cErr != nil || sErr != nil || len(c.PeerCertificates) != 1 || len(s.PeerCertificates) != 1 {
			t.Errorf("%s: %v, %v", name, cErr, sErr)
		}
		bad := &tls.Config{Certificates: []tls.Certificate{w.stranger.tls()}}
		if _, _, cErr, _ := shake(t, u.Config, bad); cErr == nil {
			t.Errorf("%s: believes a stranger", name)
		}
	}
}

// TestSecretThatChanges: what names it is built anew, and what does not is left alone.
func TestSecretThatChanges(t *testing.T) {
	w := newWorld(t)
	const context = `common_tls_context: {tls_certificate_sds_secret_configs: [{name: cert}], validation_context: {trusted_ca: {inline_string: $CA}}}`
	secret := func(name, which string) string {
		return w.in(fmt.Sprintf(`{name: %s, tls_certificate: {certificate_chain: {inline_string: $%s}, private_key: {inline_string: $%sKEY}}}`, name, which, which))
	}
	w.pems["CERTKEY"] = w.pems["KEY"]
	b := standAlone(t)
	first, err := b.Build(nil, 1, resources(t, w.in(context), w.in(context), secret("cert", "CERT"), secret("other", "CERT")))
	if err != nil {
		t.Fatal(err)
	}
	same, err := b.Build(first, 2, resources(t, w.in(context), w.in(context), secret("cert", "CERT"), secret("other", "CLIENT")))
	if err != nil {
		t.Fatal(err)
	}
	if same.Clusters["c"] != first.Clusters["c"] || same.Listeners["l"] != first.Listeners["l"] {
		t.Error("another secret changed, and they were built anew")
	}
	changed, err := b.Build(first, 3, resources(t, w.in(context), w.in(context), secret("cert", "CLIENT"), secret("other", "CERT")))
	if err != nil {
		t.Fatal(err)
	}
	if changed.Clusters["c"] == first.Clusters["c"] || changed.Listeners["l"] == first.Listeners["l"] {
		t.Error("the secret changed, and what names it did not")
	}
	if changed.Clusters["c"].Spec().TLS.Key == first.Clusters["c"].Spec().TLS.Key {
		t.Error("connections with the old certificate would be used again")
	}
	if _, err := b.Build(first, 4, resources(t, w.in(context), w.in(context))); err == nil || !strings.Contains(err.Error(), `names the secret "cert", which was not sent`) {
		t.Errorf("gone: %v", err)
	}
}

// TestPrivateKeysAreNotShown in /config_dump, wherever they stand.
func TestPrivateKeysAreNotShown(t *testing.T) {
	w := newWorld(t)
	context := w.in("common_tls_context: {" + ownCertificate + ", " + trustCA + "}")
	g, err := standAlone(t).Build(nil, 1, resources(t, context, context,
		w.in(`{name: s, tls_certificate: {certificate_chain: {inline_string: $CERT}, private_key: {inline_string: $KEY}}}`)))
	if err != nil {
		t.Fatal(err)
	}
	dump, err := g.Dump()
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(dump)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), `"private_key":"[redacted]"`); n != 3 || strings.Contains(string(text), "PRIVATE KEY") {
		t.Errorf("%d keys redacted in %s", n, text)
	}
}

// TestSecretsRefuse: a secret is what it says, and in a mesh there is only the trust.
func TestSecretsRefuse(t *testing.T) {
	w := newWorld(t)
	for _, tc := range []struct{ secret, want string }{
		{`{name: s}`, `secret "s": holds neither tls_certificate nor validation_context`},
		{`{name: s, generic_secret: {}}`, `secret "s": generic_secret: is not honoured`},
		{`{name: s, session_ticket_keys: {}}`, `secret "s": session_ticket_keys: is not honoured`},
	} {
		_, err := standAlone(t).Build(nil, 1, resources(t, "", "", tc.secret))
		if err == nil || err.Error() != tc.want {
			t.Errorf("%s: %v, want %s", tc.secret, err, tc.want)
		}
	}
	in := resources(t, "", "", w.in(`{name: s, tls_certificate: {private_key: {inline_string: $KEY}}}`))
	if _, err := builder().Build(nil, 1, in); err == nil || !strings.Contains(err.Error(), `secret "s": is not honoured, only "trust"`) {
		t.Errorf("a private key by the stream of a mesh: %v", err)
	}
	for _, context := range []string{"common_tls_context: {" + ownCertificate + "}", "require_client_certificate: true, common_tls_context: {" + ownCertificate + "}"} {
		if _, err := builder().Build(nil, 1, resources(t, w.in(context), "")); err == nil || errors.Unwrap(err) == nil {
			t.Errorf("a private key in a listener of a mesh: %v", err)
		}
	}
}
