package config_test

import (
	"crypto/tls"
	"crypto/x509"
	"slices"
	"strings"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"github.com/hauberk-mesh/hauberk/dataplane/config"
)

// TestParameters: versions, suites, key exchanges and ALPN are what was written.
func TestParameters(t *testing.T) {
	w := newWorld(t)
	rsa := w.ca.issue(t, func(c *x509.Certificate) { forAll(c); c.PublicKeyAlgorithm = x509.RSA })
	w.pems["RSA"], w.pems["RSAKEY"] = rsa.certPEM(), rsa.keyPEM()
	const rsaCertificate = `tls_certificates: [{certificate_chain: {inline_string: $RSA}, private_key: {inline_string: $RSAKEY}}]`
	for _, tc := range []struct {
		name, common string
		client       *tls.Config
		want         string
		check        func(tls.ConnectionState) bool
	}{
		{"1.3 where nothing is said", ownCertificate, &tls.Config{}, "", func(s tls.ConnectionState) bool { return s.Version == tls.VersionTLS13 }},
		{"1.2 for who has no better", ownCertificate, &tls.Config{MaxVersion: tls.VersionTLS12}, "", func(s tls.ConnectionState) bool { return s.Version == tls.VersionTLS12 }},
		{"1.1 never", ownCertificate, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, "unsupported versions", nil},
		{"minimum", ownCertificate + `, tls_params: {tls_minimum_protocol_version: TLSv1_3}`, &tls.Config{MaxVersion: tls.VersionTLS12}, "unsupported versions", nil},
		{"maximum", ownCertificate + `, tls_params: {tls_maximum_protocol_version: TLSv1_2}`, &tls.Config{}, "", func(s tls.ConnectionState) bool { return s.Version == tls.VersionTLS12 }},
		{"suite", ownCertificate + `, tls_params: {tls_maximum_protocol_version: TLSv1_2, cipher_suites: [ECDHE-ECDSA-AES256-GCM-SHA384]}`, &tls.Config{}, "",
			func(s tls.ConnectionState) bool {
				return s.CipherSuite == tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
			}},
		{"suites in brackets", ownCertificate + `, tls_params: {tls_maximum_protocol_version: TLSv1_2, cipher_suites: ["[ECDHE-ECDSA-AES256-GCM-SHA384|ECDHE-ECDSA-CHACHA20-POLY1305]"]}`,
			&tls.Config{CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256}}, "", nil},
		{"suite of others", ownCertificate + `, tls_params: {cipher_suites: [ECDHE-ECDSA-AES256-GCM-SHA384]}`,
			&tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}}, "no cipher suite", nil},
		{"suite for an old peer", rsaCertificate + `, tls_params: {tls_maximum_protocol_version: TLSv1_2, cipher_suites: [AES128-GCM-SHA256]}`,
			&tls.Config{CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256}}, "", nil},
		{"curve", ownCertificate + `, tls_params: {ecdh_curves: [P-384]}`, &tls.Config{CurvePreferences: []tls.CurveID{tls.CurveP384, tls.X25519}}, "",
			func(s tls.ConnectionState) bool { return s.CurveID == tls.CurveP384 }},
		{"curve of others", ownCertificate + `, tls_params: {ecdh_curves: [P-384]}`, &tls.Config{CurvePreferences: []tls.CurveID{tls.X25519}}, "key exchange", nil},
		{"post-quantum", ownCertificate + `, tls_params: {ecdh_curves: [X25519MLKEM768]}`, &tls.Config{}, "",
			func(s tls.ConnectionState) bool { return s.CurveID == tls.X25519MLKEM768 }},
		{"ALPN", ownCertificate + `, alpn_protocols: [h2, http/1.1]`, &tls.Config{NextProtos: []string{"http/1.1"}}, "",
			func(s tls.ConnectionState) bool { return s.NegotiatedProtocol == "http/1.1" }},
		{"ALPN in order", ownCertificate + `, alpn_protocols: [h2, http/1.1]`, &tls.Config{NextProtos: []string{"http/1.1", "h2"}}, "",
			func(s tls.ConnectionState) bool { return s.NegotiatedProtocol == "h2" }},
		{"no ALPN", ownCertificate + `, alpn_protocols: [h2]`, &tls.Config{}, "", func(s tls.ConnectionState) bool { return s.NegotiatedProtocol == "" }},
		{"other ALPN", ownCertificate + `, alpn_protocols: [h2]`, &tls.Config{NextProtos: []string{"smtp"}}, "unsupported application protocols", nil},
	} {
		server, err := serverOf(t, w.pems, "common_tls_context: {"+tc.common+"}")
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		tc.client.RootCAs, tc.client.ServerName = w.ca.pool(), "a.example.com"
		_, s, _, sErr := shake(t, tc.client, server)
		if says(t, tc.name, sErr, tc.want); tc.check != nil && !tc.check(s) {
			t.Errorf("%s: version %x suite %x curve %v ALPN %q", tc.name, s.Version, s.CipherSuite, s.CurveID, s.NegotiatedProtocol)
		}
	}
	if _, err := serverOf(t, w.pems, "require_sni: true, common_tls_context: {"+ownCertificate+"}"); err != nil {
		t.Error(err)
	} else {
		server, _ := serverOf(t, w.pems, "require_sni: true, common_tls_context: {"+ownCertificate+"}")
		_, _, _, sErr := shake(t, &tls.Config{InsecureSkipVerify: true}, server)
		says(t, "no SNI", sErr, "names no server")
	}
}

// TestUpstreamALPN: what is offered follows from how the cluster speaks, unless the context says it. Opaque TCP offers nothing.
func TestUpstreamALPN(t *testing.T) {
	w := newWorld(t)
	for protocol, want := range map[string]string{
		`{}`: "http/1.1", `{explicit_http_config: {http_protocol_options: {}}}`: "http/1.1",
		`{explicit_http_config: {http2_protocol_options: {}}}`: "h2", `{auto_config: {}}`: "h2 http/1.1",
	} {
		for _, own := range []string{"", "alpn_protocols: [x], "} {
			in := resources(t, "", w.in("common_tls_context: {"+own+trustCA+"}"))
			m := &clusterv3.Cluster{}
			if err := in[config.TypeCluster]["c"].UnmarshalTo(m); err != nil {
				t.Fatal(err)
			}
			if protocol != "{}" {
				options := &clusterv3.Cluster{}
				parse(t, `{typed_extension_protocol_options: {envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {
					"@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, `+strings.TrimPrefix(protocol, "{")+`}}`, options)
				m.TypedExtensionProtocolOptions = options.TypedExtensionProtocolOptions
			}
			in[config.TypeCluster]["c"] = packed(t, m)
			delete(in, config.TypeListener)
			g, err := standAlone(t).Build(nil, 1, in)
			if err != nil {
				t.Fatal(err)
			}
			u := g.Clusters["c"].Spec().TLS
			http, opaque := strings.Join(u.Config.NextProtos, " "), strings.Join(u.Opaque.NextProtos, " ")
			if own == "" && (http != want || opaque != "") || own != "" && (http != "x" || opaque != "x") {
				t.Errorf("%s %s: HTTP offers %q, TCP %q", protocol, own, http, opaque)
			}
		}
	}
}

// TestALPNOfTheMesh: what the control plane offers is offered, on both sides, and all else stays as strict as it is.
func TestALPNOfTheMesh(t *testing.T) {
	in, offered := onTheWire(t, everything(t), nil), []string{"h2", "http/1.1"}
	l, c := &listenerv3.Listener{}, &clusterv3.Cluster{}
	d, u := &tlsv3.DownstreamTlsContext{}, &tlsv3.UpstreamTlsContext{}
	for _, err := range []error{in[config.TypeListener]["inbound|strict"].UnmarshalTo(l), in[config.TypeCluster]["outbound|cart|80"].UnmarshalTo(c)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	socket, up := l.GetFilterChains()[0].GetTransportSocket(), c.GetTransportSocket()
	for _, err := range []error{socket.GetTypedConfig().UnmarshalTo(d), up.GetTypedConfig().UnmarshalTo(u)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	d.CommonTlsContext.AlpnProtocols, u.CommonTlsContext.AlpnProtocols = offered, offered
	socket.ConfigType, up.ConfigType = &corev3.TransportSocket_TypedConfig{TypedConfig: packed(t, d)}, &corev3.TransportSocket_TypedConfig{TypedConfig: packed(t, u)}
	in[config.TypeListener]["inbound|strict"], in[config.TypeCluster]["outbound|cart|80"] = packed(t, l), packed(t, c)
	g, err := builder().Build(nil, 1, in)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Release(nil)
	server := g.Listeners["inbound|strict"].Chains[0].TLS
	client := g.Clusters["outbound|cart|80"].Spec().TLS.Config
	for side, c := range map[string]*tls.Config{"server": server, "client": client} {
		if !slices.Equal(c.NextProtos, offered) || c.MinVersion != tls.VersionTLS13 || !c.SessionTicketsDisabled || c.VerifyConnection == nil {
			t.Errorf("%s: ALPN %q, from %x, tickets off %t", side, c.NextProtos, c.MinVersion, c.SessionTicketsDisabled)
		}
	}
	if server.ClientAuth != tls.RequireAnyClientCert {
		t.Errorf("the server asks for %s", server.ClientAuth)
	}
}
