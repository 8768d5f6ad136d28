package tls

import (
	"crypto/tls"
	"testing"
)

// TestKeyExchange: what two of our proxies agree on, without a round trip for it, with either setting on either side, as it is
// while a mesh changes from one to the other; and with those of a version that left the choice to crypto/tls.
func TestKeyExchange(t *testing.T) {
	a := newAuthority(t, "a.default.mesh.local")
	web, cart := newSide(t, a.leaf(t, "web", nil), a.bundle()), newSide(t, a.leaf(t, "cart", nil), a.bundle())
	own := func(pq bool) Options { return Options{PostQuantum: pq} }
	const hybrid = tls.SecP256r1MLKEM768
	theirs := Options{Curves: []tls.CurveID{ // all that crypto/tls has: what a configuration without a word asks for
		tls.X25519MLKEM768, tls.SecP256r1MLKEM768, tls.SecP384r1MLKEM1024, tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521}}
	old12 := func(o Options) Options { o.MinVersion = tls.VersionTLS12; return o }
	for name, c := range map[string]struct {
		client, server Options
		want           tls.CurveID
	}{
		"neither":                      {own(false), own(false), tls.CurveP256},
		"both":                         {own(true), own(true), hybrid},
		"the client first":             {own(true), own(false), tls.CurveP256},
		"the server first":             {own(false), own(true), tls.CurveP256},
		"an older client":              {theirs, own(false), tls.X25519},
		"an older client, server on":   {theirs, own(true), tls.X25519MLKEM768},
		"an older server":              {own(false), theirs, tls.CurveP256},
		"an older server, client on":   {own(true), theirs, hybrid},
		"a client of X25519 alone":     {Options{Curves: []tls.CurveID{tls.X25519}}, own(true), tls.X25519},
		"named by the configuration":   {Options{Curves: []tls.CurveID{tls.CurveP384}}, Options{Curves: []tls.CurveID{tls.CurveP384}, PostQuantum: true}, tls.CurveP384},
		"TLS 1.2 allowed":              {old12(own(true)), old12(own(true)), hybrid},
		"TLS 1.2, which has no hybrid": {Options{MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12, PostQuantum: true}, old12(own(true)), tls.CurveP256},
	} {
		t.Run(name, func(t *testing.T) {
			atClient, atServer, clientErr, serverErr := shake(t,
				ClientConfigWith(&web.id, &web.trust, []string{cart.id.ID()}, "", c.client), ServerConfig(&cart.id, &cart.trust, c.server))
			if clientErr != nil || serverErr != nil {
				t.Fatal(clientErr, serverErr)
			}
			if atServer.CurveID != c.want || atClient.CurveID != c.want {
				t.Errorf("server has %s, client %s, want %s", atServer.CurveID, atClient.CurveID, c.want)
			}
			if atServer.HelloRetryRequest || atClient.HelloRetryRequest {
				t.Error("a HelloRetryRequest was needed")
			}
		})
	}
}

// TestGatewayKeyExchange: who runs the proxy by itself has Go's choice: browsers' and OpenSSL's first shares are good.
func TestGatewayKeyExchange(t *testing.T) {
	a := newAuthority(t, "a.default.mesh.local")
	own := &a.leaf(t, "cart", nil).Certificate
	server := ServerContext{Options: Options{PostQuantum: true}, Certificates: func() []*tls.Certificate { return []*tls.Certificate{own} }}.Config()
	if server.CurvePreferences != nil {
		t.Errorf("%v", server.CurvePreferences)
	}
	for name, c := range map[string]struct {
		shares []tls.CurveID
		want   tls.CurveID
	}{
		"today's browsers, OpenSSL 3.5": {[]tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256, tls.CurveP384}, tls.X25519MLKEM768},
		"OpenSSL 3.0, older browsers":   {[]tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384}, tls.X25519},
		"a FIPS client":                 {[]tls.CurveID{tls.CurveP256, tls.CurveP384}, tls.CurveP256},
		"our own cluster":               {nil, tls.X25519MLKEM768},
	} {
		t.Run(name, func(t *testing.T) {
			client := ClientContext{Options: Options{Curves: c.shares}, Untrusted: true}.Config()
			_, state, clientErr, serverErr := shake(t, client, server)
			if clientErr != nil || serverErr != nil || state.CurveID != c.want || state.HelloRetryRequest {
				t.Errorf("%v %v, %s, retry %t", clientErr, serverErr, state.CurveID, state.HelloRetryRequest)
			}
		})
	}
}

func TestCurveNames(t *testing.T) {
	for name, want := range map[string]tls.CurveID{"X25519": tls.X25519, "P-256": tls.CurveP256, "P-384": tls.CurveP384, "P-521": tls.CurveP521,
		"X25519MLKEM768": tls.X25519MLKEM768, "SecP256r1MLKEM768": tls.SecP256r1MLKEM768, "SecP384r1MLKEM1024": tls.SecP384r1MLKEM1024} {
		if got, ok := Curve(name); !ok || got != want {
			t.Errorf("%s: %v %t", name, got, ok)
		}
	}
	if _, ok := Curve("P-224"); ok {
		t.Error("P-224 is known")
	}
}
