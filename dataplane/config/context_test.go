package config_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/anypb"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"github.com/hauberk-mesh/hauberk/accel/keyprovider/batch"
	"github.com/hauberk-mesh/hauberk/accel/keyprovider/memory"
	"github.com/hauberk-mesh/hauberk/dataplane/config"
	"github.com/hauberk-mesh/hauberk/dataplane/keyring"
	htls "github.com/hauberk-mesh/hauberk/dataplane/tls"
	"github.com/hauberk-mesh/hauberk/dataplane/upstream"
	"github.com/hauberk-mesh/hauberk/internal/memconn"
)

const (
	atContext = "transport_socket.typed_config."
	atCommon  = atContext + "common_tls_context."
)

// pems are texts that YAML refers to as $NAME.
type pems map[string]string

// in puts each text in as a JSON string.
func (p pems) in(text string) string {
	names := make([]string, 0, len(p))
	for name := range p {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return len(b) - len(a) })
	for _, name := range names {
		quoted, _ := json.Marshal(p[name])
		text = strings.ReplaceAll(text, "$"+name, string(quoted))
	}
	return text
}

// resources are a listener with one opaque chain and a cluster, each with its transport socket if there is one, and secrets.
func resources(t testing.TB, downstream, upstream string, secrets ...string) config.Resources {
	t.Helper()
	socket := func(kind, text string) string {
		if text == "" {
			return ""
		}
		return fmt.Sprintf(`, transport_socket: {name: tls, typed_config: {"@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.%sTlsContext, %s}}`, kind, text)
	}
	l, c := &listenerv3.Listener{}, &clusterv3.Cluster{}
	parse(t, `{name: l, address: {socket_address: {address: 127.0.0.1, port_value: 1}}, traffic_direction: INBOUND, filter_chains: [{
		filters: [{name: tcp, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: x, cluster: c}}]`+
		socket("Downstream", downstream)+`}]}`, l)
	parse(t, `{name: c, type: STATIC, load_assignment: {cluster_name: c, endpoints: [{lb_endpoints: [
		{endpoint: {hostname: a.example.com, address: {socket_address: {address: 127.0.0.1, port_value: 2}}}}]}]}`+socket("Upstream", upstream)+`}`, c)
	in := config.Resources{
		config.TypeListener: {"l": packed(t, l)}, config.TypeCluster: {"c": packed(t, c)}, config.TypeSecret: {},
	}
	for _, text := range secrets {
		s := &tlsv3.Secret{}
		parse(t, text, s)
		in[config.TypeSecret][s.GetName()] = packed(t, s)
	}
	return in
}

func serverOf(t testing.TB, p pems, context string, secrets ...string) (*tls.Config, error) {
	t.Helper()
	for i := range secrets {
		secrets[i] = p.in(secrets[i])
	}
	g, err := standAlone(t).Build(nil, 1, resources(t, p.in(context), "", secrets...))
	if err != nil {
		return nil, err
	}
	return g.Listeners["l"].Chains[0].TLS, nil
}

func clientOf(t testing.TB, p pems, context string, secrets ...string) (*upstream.TLS, error) {
	t.Helper()
	for i := range secrets {
		secrets[i] = p.in(secrets[i])
	}
	g, err := standAlone(t).Build(nil, 1, resources(t, "", p.in(context), secrets...))
	if err != nil {
		return nil, err
	}
	return g.Clusters["c"].Spec().TLS, nil
}

// shake shakes hands in memory and passes a byte each way, since a server of TLS 1.3 judges its client only after the client
// is done.
func shake(t testing.TB, client, server *tls.Config) (c, s tls.ConnectionState, cErr, sErr error) {
	t.Helper()
	a, b := memconn.Pair(&net.TCPAddr{Port: 1}, &net.TCPAddr{Port: 2})
	near, far := tls.Client(a, client), tls.Server(b, server)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer b.Close()
		if sErr = far.Handshake(); sErr == nil {
			_, sErr = far.Write([]byte{1})
		}
		s = far.ConnectionState()
		if sErr == nil {
			_, _ = far.Read(make([]byte, 1)) // the client's end
		}
	}()
	if cErr = near.Handshake(); cErr == nil {
		_, cErr = near.Read(make([]byte, 1))
	}
	c = near.ConnectionState()
	a.Close()
	<-done
	return c, s, cErr, sErr
}

// says compares an error with what it must hold; "" is none.
func says(t *testing.T, name string, err error, want string) {
	t.Helper()
	if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
		t.Errorf("%s: got %v, want %q", name, err, want)
	}
}

// world is what the tests below need: two authorities, a server's certificate and clients'.
type world struct {
	pems
	ca, other                        *issuer
	server, client, stranger, lapsed pair
}

func newWorld(t testing.TB) *world {
	w := &world{ca: newIssuer(t, "ca"), other: newIssuer(t, "other")}
	w.server, w.client = w.ca.issue(t, forAll), w.ca.issue(t, forAll)
	w.stranger = w.other.issue(t, forAll)
	w.lapsed = w.ca.issue(t, func(c *x509.Certificate) { forAll(c); c.NotAfter = time.Now().Add(-time.Minute) })
	w.pems = pems{
		"CA": w.ca.certPEM(), "OTHER": w.other.certPEM(), "CERT": w.server.certPEM(), "KEY": w.server.keyPEM(),
		"CLIENT": w.client.certPEM(), "CLIENTKEY": w.client.keyPEM(), "SPKI": w.server.spki(), "HASH": w.server.hash(),
		"CLIENTHASH": w.client.hash(), "STRANGERKEY": w.stranger.keyPEM(), "STRANGER": w.stranger.certPEM(),
	}
	return w
}

const (
	ownCertificate = `tls_certificates: [{certificate_chain: {inline_string: $CERT}, private_key: {inline_string: $KEY}}]`
	trustCA        = `validation_context: {trusted_ca: {inline_string: $CA}}`
)

// TestDownstreamTrust: which clients a listener lets in.
func TestDownstreamTrust(t *testing.T) {
	w := newWorld(t)
	serverOnly := w.ca.issue(t, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })
	w.pems["CRL"] = w.ca.crl(t, time.Now().Add(time.Hour), w.client)
	w.pems["EMPTYCRL"], w.pems["OLDCRL"] = w.ca.crl(t, time.Now().Add(time.Hour)), w.ca.crl(t, time.Now().Add(-time.Second))
	w.pems["OTHERCRL"] = w.other.crl(t, time.Now().Add(time.Hour))
	spiffe := `validation_context: {custom_validator_config: {name: envoy.tls.cert_validator.spiffe, typed_config: {
		"@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig,
		trust_domains: [{name: DOMAIN, trust_bundle: {inline_string: $CA}}]}}}`
	for _, tc := range []struct {
		name     string
		peer     string // of the common context
		required bool
		client   *pair
		want     string // "": let in
	}{
		{"nobody asked", ``, false, nil, ""},
		{"nobody asked, one offered", ``, false, &w.stranger, ""},
		{"optional, none", trustCA, false, nil, ""},
		{"optional, good", trustCA, false, &w.client, ""},
		{"optional, stranger", trustCA, false, &w.stranger, "does not lead to a trusted authority"},
		{"required, none", trustCA, true, nil, "client didn't provide a certificate"},
		{"required, good", trustCA, true, &w.client, ""},
		{"required, stranger", trustCA, true, &w.stranger, "does not lead to a trusted authority"},
		{"required, expired", trustCA, true, &w.lapsed, "expired at"},
		{"required, for servers", trustCA, true, &serverOnly, "incompatible key usage"},
		{"pinned", `validation_context: {verify_certificate_hash: [$CLIENTHASH]}`, true, &w.client, ""},
		{"pinned, another one", `validation_context: {verify_certificate_hash: [$HASH]}`, true, &w.client, "pinned"},
		{"pinned, expired", `validation_context: {verify_certificate_hash: ["` + w.lapsed.hash() + `"]}`, true, &w.lapsed, "expired at"},
		{"pin and authority", `validation_context: {trusted_ca: {inline_string: $OTHER}, verify_certificate_hash: [$CLIENTHASH]}`, true, &w.client, "trusted authority"},
		{"revoked", `validation_context: {trusted_ca: {inline_string: $CA}, crl: {inline_string: $CRL}}`, true, &w.client, "is revoked since"},
		{"not revoked", `validation_context: {trusted_ca: {inline_string: $CA}, crl: {inline_string: $EMPTYCRL}}`, true, &w.client, ""},
		{"old list", `validation_context: {trusted_ca: {inline_string: $CA}, crl: {inline_string: $OLDCRL}}`, true, &w.client, "was to be replaced"},
		{"another's list", `validation_context: {trusted_ca: {inline_string: $CA}, crl: {inline_string: $OTHERCRL}}`, true, &w.client, "there is no revocation list"},
		{"leaf's list", `validation_context: {trusted_ca: {inline_string: $CA}, crl: {inline_string: $CRL}, only_verify_leaf_cert_crl: true}`, true, &w.client, "is revoked since"},
		{"SPIFFE", strings.Replace(spiffe, "DOMAIN", "example.org", 1), true, &w.client, ""},
		{"SPIFFE, another domain", strings.Replace(spiffe, "DOMAIN", "example.com", 1), true, &w.client, "trust domain example.org is not trusted"},
		{"name", `validation_context: {trusted_ca: {inline_string: $CA}, match_typed_subject_alt_names: [{san_type: URI, matcher: {prefix: "spiffe://example.org/"}}]}`, true, &w.client, ""},
		{"another name", `validation_context: {trusted_ca: {inline_string: $CA}, match_typed_subject_alt_names: [{san_type: URI, matcher: {exact: "spiffe://example.org/x"}}]}`, true, &w.client, `wanted URI exact "spiffe://example.org/x"`},
	} {
		server, err := serverOf(t, w.pems, fmt.Sprintf("require_client_certificate: %t, common_tls_context: {%s, %s}", tc.required, ownCertificate, tc.peer))
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		client := &tls.Config{RootCAs: w.ca.pool(), ServerName: "a.example.com"}
		if tc.client != nil {
			c := tc.client.tls()
			// Whatever the server says of the authorities that it knows: hostile clients do not care.
			client.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &c, nil }
		}
		_, s, cErr, sErr := shake(t, client, server)
		says(t, tc.name, sErr, tc.want)
		if tc.want != "" && cErr == nil {
			t.Errorf("%s: the client did not hear of it", tc.name)
		}
		if asked := tc.peer != "" && tc.client != nil; tc.want == "" && asked != (len(s.PeerCertificates) == 1) {
			t.Errorf("%s: %d certificates", tc.name, len(s.PeerCertificates))
		}
	}
}

// TestUpstreamTrust: which servers a cluster believes.
func TestUpstreamTrust(t *testing.T) {
	w := newWorld(t)
	names := func(text string) string {
		return `validation_context: {trusted_ca: {inline_string: $CA}, match_typed_subject_alt_names: [` + text + `]}`
	}
	clientOnly := w.ca.issue(t, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })
	for _, tc := range []struct {
		name, peer string
		server     *pair
		want       string
	}{
		{"authority", trustCA, &w.server, ""},
		{"another authority", trustCA, &w.stranger, "trusted authority"},
		{"expired", trustCA, &w.lapsed, "expired at"},
		{"for clients", trustCA, &clientOnly, "incompatible key usage"},
		{"anybody, as was said", `validation_context: {trust_chain_verification: ACCEPT_UNTRUSTED}`, &w.stranger, ""},
		{"DNS", names(`{san_type: DNS, matcher: {exact: A.example.com}}`), &w.server, ""},
		{"DNS by the certificate's wildcard", names(`{san_type: DNS, matcher: {exact: b.wild.example.com}}`), &w.server, ""},
		{"wildcards are one label", names(`{san_type: DNS, matcher: {exact: c.b.wild.example.com}}`), &w.server, "wanted DNS"},
		{"DNS, other", names(`{san_type: DNS, matcher: {exact: example.com}}`), &w.server, "wanted DNS"},
		{"URI", names(`{san_type: URI, matcher: {exact: "spiffe://example.org/ns/a/sa/cart"}}`), &w.server, ""},
		{"a URI is no DNS name", names(`{san_type: DNS, matcher: {contains: cart}}`), &w.server, "wanted DNS"},
		{"IP", names(`{san_type: IP_ADDRESS, matcher: {exact: 10.0.0.1}}`), &w.server, ""},
		{"IP, other", names(`{san_type: IP_ADDRESS, matcher: {exact: 10.0.0.2}}`), &w.server, "wanted IP_ADDRESS"},
		{"an address is no DNS name", names(`{san_type: DNS, matcher: {exact: 10.0.0.1}}`), &w.server, "wanted DNS"},
		{"mail", names(`{san_type: EMAIL, matcher: {suffix: "@example.com"}}`), &w.server, ""},
		{"prefix", names(`{san_type: URI, matcher: {prefix: "spiffe://example.org/ns/a/"}}`), &w.server, ""},
		{"prefix without case", names(`{san_type: URI, matcher: {prefix: "SPIFFE://example.org/", ignore_case: true}}`), &w.server, ""},
		{"prefix with case", names(`{san_type: URI, matcher: {prefix: "SPIFFE://example.org/"}}`), &w.server, "wanted URI"},
		{"exact without case", names(`{san_type: URI, matcher: {exact: "spiffe://example.org/ns/a/sa/CART", ignore_case: true}}`), &w.server, ""},
		{"contains", names(`{san_type: URI, matcher: {contains: /sa/}}`), &w.server, ""},
		{"regex", names(`{san_type: URI, matcher: {safe_regex: {regex: "spiffe://example.org/ns/[a-z]/sa/cart"}}}`), &w.server, ""},
		{"a regex is for the whole name", names(`{san_type: URI, matcher: {safe_regex: {regex: "example.org"}}}`), &w.server, "wanted URI"},
		{"a regex with alternatives too", names(`{san_type: URI, matcher: {safe_regex: {regex: "x|spiffe"}}}`), &w.server, "wanted URI"},
		{"one of two", names(`{san_type: DNS, matcher: {exact: x}}, {san_type: DNS, matcher: {exact: a.example.com}}`), &w.server, ""},
		{"the old form", `validation_context: {trusted_ca: {inline_string: $CA}, match_subject_alt_names: [{exact: ops@example.com}]}`, &w.server, ""},
		{"the old form, other", `validation_context: {trusted_ca: {inline_string: $CA}, match_subject_alt_names: [{exact: example.com}]}`, &w.server, "wanted"},
		{"key pinned", `validation_context: {verify_certificate_spki: [$SPKI]}`, &w.server, ""},
		{"another key pinned", `validation_context: {verify_certificate_spki: [$SPKI]}`, &w.client, "pinned"},
		{"one of both pins", `validation_context: {trusted_ca: {inline_string: $CA}, verify_certificate_spki: [$SPKI], verify_certificate_hash: [$CLIENTHASH]}`, &w.client, ""},
	} {
		u, err := clientOf(t, w.pems, "sni: a.example.com, common_tls_context: {"+tc.peer+"}")
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		c := tc.server.tls()
		_, _, cErr, _ := shake(t, u.Config, &tls.Config{Certificates: []tls.Certificate{c}})
		says(t, tc.name, cErr, tc.want)
		if u.Unverified != strings.Contains(tc.peer, "ACCEPT") {
			t.Errorf("%s: unverified %t", tc.name, u.Unverified)
		}
	}
}

// TestNameOfServer: auto_sni_san_validation has the server prove the name that it was asked for.
func TestNameOfServer(t *testing.T) {
	w := newWorld(t)
	server := &tls.Config{Certificates: []tls.Certificate{w.server.tls()}}
	for sni, want := range map[string]string{"a.example.com": "", "x.wild.example.com": "", "b.example.com": `wanted "b.example.com"`} {
		u, err := clientOf(t, w.pems, "sni: "+sni+", auto_sni_san_validation: true, common_tls_context: {"+trustCA+"}")
		if err != nil {
			t.Fatal(err)
		}
		_, s, cErr, _ := shake(t, u.Config, server)
		says(t, sni, cErr, want)
		if s.ServerName != sni {
			t.Errorf("asked for %q", s.ServerName)
		}
	}
	if u, err := clientOf(t, w.pems, "auto_host_sni: true, common_tls_context: {"+trustCA+"}"); err != nil || !u.HostSNI {
		t.Errorf("%+v, %v", u, err)
	}
}

// TestClientCertificate: a cluster shows the certificate that it was given, and an old session is not taken up again.
func TestClientCertificate(t *testing.T) {
	w := newWorld(t)
	u, err := clientOf(t, w.pems, `max_session_keys: 5, common_tls_context: {tls_certificates: [
		{certificate_chain: {inline_string: $CLIENT}, private_key: {inline_string: $CLIENTKEY}}], `+trustCA+`}`)
	if err != nil {
		t.Fatal(err)
	}
	server := &tls.Config{Certificates: []tls.Certificate{w.server.tls()}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: w.ca.pool()}
	for range 2 {
		_, s, cErr, sErr := shake(t, u.Config, server)
		if cErr != nil || sErr != nil || !s.PeerCertificates[0].Equal(w.client.cert) || s.DidResume {
			t.Errorf("%v, %v, resumed %t", cErr, sErr, s.DidResume)
		}
	}
}

// TestCertificateBySNI: of several certificates the client gets that of the name that it asks for, whose key it can use.
func TestCertificateBySNI(t *testing.T) {
	w := newWorld(t)
	wild, exact := w.ca.issue(t, forNames("*.example.com")), w.ca.issue(t, forNames("b.example.com"))
	rsa := w.ca.issue(t, func(c *x509.Certificate) { c.DNSNames, c.PublicKeyAlgorithm = []string{"b.example.com"}, x509.RSA })
	context := "common_tls_context: {tls_certificates: ["
	for i, p := range []pair{wild, exact, rsa} {
		w.pems[fmt.Sprint("C", i)], w.pems[fmt.Sprint("K", i)] = p.certPEM(), p.keyPEM()
		context += fmt.Sprintf("{certificate_chain: {inline_string: $C%d}, private_key: {inline_string: $K%d}},", i, i)
	}
	server, err := serverOf(t, w.pems, "full_scan_certs_on_sni_mismatch: true, "+strings.TrimSuffix(context, ",")+"]}")
	if err != nil {
		t.Fatal(err)
	}
	onlyRSA := []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
	for _, tc := range []struct {
		sni    string
		suites []uint16
		want   pair
	}{
		{"b.example.com", nil, exact}, {"a.example.com", nil, wild}, {"x.test", nil, wild}, {"", nil, wild},
		{"b.example.com", onlyRSA, rsa}, {"x.test", onlyRSA, rsa}, {"c.a.example.com", nil, wild},
	} {
		client := &tls.Config{ServerName: tc.sni, InsecureSkipVerify: true, CipherSuites: tc.suites}
		if tc.suites != nil {
			client.MaxVersion = tls.VersionTLS12
		}
		c, _, cErr, _ := shake(t, client, server)
		if cErr != nil || !c.PeerCertificates[0].Equal(tc.want.cert) {
			t.Errorf("%q %v: %v, %v", tc.sni, tc.suites, cErr, c.PeerCertificates[0].DNSNames)
		}
	}
}

// TestContextsRefuse: what is refused is refused with its path.
func TestContextsRefuse(t *testing.T) {
	w := newWorld(t)
	missing := filepath.Join(t.TempDir(), "none.pem")
	w.pems["MISSING"], w.pems["DIRECTORY"] = missing, t.TempDir()
	down := func(s string) string { return "filter_chains[0]." + s }
	for _, tc := range []struct{ side, context, want string }{
		{"down", `common_tls_context: {}`, down(atCommon) + "tls_certificates: is empty: a server has to present a certificate"},
		{"down", `require_client_certificate: true, common_tls_context: {` + ownCertificate + `}`, down(atContext) + "require_client_certificate: needs a validation_context that says whom to trust, or any certificate would do"},
		{"down", `common_tls_context: {` + ownCertificate + `, validation_context: {trust_chain_verification: ACCEPT_UNTRUSTED}}`, down(atCommon) + "validation_context.trust_chain_verification: ACCEPT_UNTRUSTED is not honoured on a listener: any client could be anybody"},
		{"up", `common_tls_context: {}`, atCommon + "validation_context: says nobody to trust, and any server would be believed: set trusted_ca, or trust_chain_verification: ACCEPT_UNTRUSTED if that is what you want"},
		{"up", `common_tls_context: {validation_context: {}}`, atCommon + "validation_context: says nobody to trust"},
		{"up", `common_tls_context: {validation_context: {trust_chain_verification: ACCEPT_UNTRUSTED, trusted_ca: {inline_string: $CA}}}`, atCommon + "validation_context.trusted_ca: has no effect beside trust_chain_verification: ACCEPT_UNTRUSTED"},
		{"up", `common_tls_context: {validation_context: {match_typed_subject_alt_names: [{san_type: DNS, matcher: {exact: x}}]}}`, atCommon + "validation_context: names without trusted_ca prove nothing: anybody can write them into a certificate"},
		{"up", `common_tls_context: {validation_context: {trusted_ca: {inline_string: $CA}, match_typed_subject_alt_names: [{matcher: {exact: x}}]}}`, atCommon + "validation_context.match_typed_subject_alt_names[0].san_type: SAN_TYPE_UNSPECIFIED is not honoured, only DNS, URI, IP_ADDRESS and EMAIL"},
		{"up", `common_tls_context: {validation_context: {trusted_ca: {inline_string: $CA}, match_typed_subject_alt_names: [{san_type: DNS, matcher: {prefix: ""}}]}}`, atCommon + "validation_context.match_typed_subject_alt_names[0].matcher.prefix: is empty"},
		{"up", `common_tls_context: {validation_context: {trusted_ca: {inline_string: $CA}, match_typed_subject_alt_names: [{san_type: DNS, matcher: {safe_regex: {regex: "("}}}]}}`, atCommon + "validation_context.match_typed_subject_alt_names[0].matcher.safe_regex.regex: error parsing regexp"},
		{"up", `common_tls_context: {validation_context: {trusted_ca: {inline_string: $CA}, match_typed_subject_alt_names: [{san_type: DNS}]}}`, atCommon + "validation_context.match_typed_subject_alt_names[0].matcher: is not set"},
		{"up", `common_tls_context: {validation_context: {trusted_ca: {inline_string: x}}}`, atCommon + "validation_context.trusted_ca: holds no PEM certificate"},
		{"up", `common_tls_context: {validation_context: {trusted_ca: {inline_string: $KEY}}}`, atCommon + "validation_context.trusted_ca: holds a PRIVATE KEY, only certificates belong here"},
		{"up", `common_tls_context: {validation_context: {trusted_ca: {environment_variable: X}}}`, atCommon + "validation_context.trusted_ca.environment_variable: is not honoured"},
		{"up", `common_tls_context: {validation_context: {trusted_ca: {filename: $MISSING}}}`, atCommon + "validation_context.trusted_ca: filename: stat " + missing},
		{"up", `common_tls_context: {validation_context: {trusted_ca: {filename: $DIRECTORY}}}`, "is no regular file"},
		{"up", `common_tls_context: {validation_context: {trusted_ca: {inline_string: $CA}, allow_expired_certificate: true}}`, atCommon + "validation_context.allow_expired_certificate: is not honoured"},
		{"up", `common_tls_context: {validation_context: {trusted_ca: {inline_string: $CA}, max_verify_depth: 1}}`, atCommon + "validation_context.max_verify_depth: is not honoured"},
		{"up", `common_tls_context: {validation_context: {trusted_ca: {inline_string: $CA}, crl: {inline_string: x}}}`, atCommon + "validation_context.crl: "},
		{"up", `common_tls_context: {validation_context: {crl: {inline_string: x}}}`, atCommon + "validation_context: crl and watched_directory need trusted_ca"},
		{"up", `common_tls_context: {validation_context: {trusted_ca: {inline_string: $CA}, only_verify_leaf_cert_crl: true}}`, atCommon + "validation_context.only_verify_leaf_cert_crl: needs crl"},
		{"up", `common_tls_context: {validation_context: {trusted_ca: {inline_string: $CA}, watched_directory: {path: /x}}}`, atCommon + "validation_context.watched_directory: needs a path, and something that is read from files"},
		{"up", `common_tls_context: {validation_context: {verify_certificate_spki: [x]}}`, atCommon + `validation_context.verify_certificate_spki[0]: "x" is no SHA-256 sum in base64`},
		{"up", `common_tls_context: {validation_context: {verify_certificate_hash: [x]}}`, atCommon + `validation_context.verify_certificate_hash[0]: "x" is no SHA-256 sum in hexadecimal`},
		{"up", `allow_renegotiation: true, common_tls_context: {` + trustCA + `}`, atContext + "allow_renegotiation: is not honoured"},
		{"up", `auto_sni_san_validation: true, common_tls_context: {` + trustCA + `}`, atContext + "auto_sni_san_validation: needs sni or auto_host_sni"},
		{"up", `sni: x, auto_sni_san_validation: true, common_tls_context: {validation_context: {trust_chain_verification: ACCEPT_UNTRUSTED}}`, atContext + "auto_sni_san_validation: needs a validation_context"},
		{"up", `common_tls_context: {key_log: {path: /x}, ` + trustCA + `}`, atCommon + "key_log: is not honoured"},
		{"up", `common_tls_context: {tls_params: {tls_minimum_protocol_version: TLSv1_0}, ` + trustCA + `}`, atCommon + "tls_params.tls_minimum_protocol_version: TLSv1_0 is not honoured: TLS below 1.2 is broken"},
		{"up", `common_tls_context: {tls_params: {tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_2}, ` + trustCA + `}`, atCommon + "tls_params: the minimum version is above the maximum"},
		{"up", `common_tls_context: {tls_params: {cipher_suites: [DES-CBC3-SHA]}, ` + trustCA + `}`, atCommon + `tls_params.cipher_suites[0]: "DES-CBC3-SHA" is not honoured`},
		{"up", `common_tls_context: {tls_params: {cipher_suites: ["[AES128-SHA"]}, ` + trustCA + `}`, atCommon + `tls_params.cipher_suites[0]: "[AES128-SHA": the bracket is not closed`},
		{"up", `common_tls_context: {tls_params: {ecdh_curves: [P-224]}, ` + trustCA + `}`, atCommon + `tls_params.ecdh_curves[0]: "P-224" is not honoured`},
		{"up", `common_tls_context: {tls_params: {signature_algorithms: [x]}, ` + trustCA + `}`, atCommon + "tls_params.signature_algorithms: is not honoured"},
		{"up", `common_tls_context: {tls_certificates: [{certificate_chain: {inline_string: $CERT}}], ` + trustCA + `}`, atCommon + "tls_certificates[0].private_key: is not set"},
		{"up", `common_tls_context: {tls_certificates: [{certificate_chain: {inline_string: $CERT}, private_key: {inline_string: $CLIENTKEY}}], ` + trustCA + `}`, atCommon + "tls_certificates[0]: tls: private key does not match public key"},
		{"up", `common_tls_context: {tls_certificates: [{private_key_provider: {provider_name: x}}], ` + trustCA + `}`, atCommon + `tls_certificates[0].private_key_provider.provider_name: "x" is not honoured, only cryptomb and qat`},
		{"up", `common_tls_context: {tls_certificates: [{password: {inline_string: x}}], ` + trustCA + `}`, atCommon + "tls_certificates[0].password: is not honoured"},
		{"up", `common_tls_context: {tls_certificates: [{ocsp_staple: {inline_string: x}}], ` + trustCA + `}`, atCommon + "tls_certificates[0].ocsp_staple: is not honoured"},
		{"up", `common_tls_context: {` + ownCertificate + `, tls_certificate_sds_secret_configs: [{name: x}], ` + trustCA + `}`, atCommon + "tls_certificate_sds_secret_configs: is not for a context that has tls_certificates"},
		{"up", `common_tls_context: {tls_certificate_sds_secret_configs: [{name: x}], ` + trustCA + `}`, atCommon + `tls_certificate_sds_secret_configs[0]: names the secret "x", which was not sent`},
		{"up", `common_tls_context: {tls_certificate_sds_secret_configs: [{name: peers}], ` + trustCA + `}`, atCommon + `tls_certificate_sds_secret_configs[0]: the secret "peers" holds no tls_certificate`},
		{"up", `common_tls_context: {validation_context_sds_secret_config: {name: peers, sds_config: {path: /x}}}`, atCommon + "validation_context_sds_secret_config.sds_config.path: is not honoured"},
		{"down", `session_timeout: 1s, common_tls_context: {` + ownCertificate + `}`, down(atContext) + "session_timeout: is not honoured"},
		{"down", `session_ticket_keys: {}, common_tls_context: {` + ownCertificate + `}`, down(atContext) + "session_ticket_keys: is not honoured"},
		{"down", `ocsp_staple_policy: MUST_STAPLE, common_tls_context: {` + ownCertificate + `}`, down(atContext) + "ocsp_staple_policy: is not honoured"},
	} {
		var err error
		const peers = `{name: peers, validation_context: {trusted_ca: {inline_string: $CA}}}`
		resource := `cluster "c": `
		if tc.side == "up" {
			_, err = clientOf(t, w.pems, tc.context, peers)
		} else {
			_, err = serverOf(t, w.pems, tc.context, peers)
			resource = `listener "l": `
		}
		if err == nil || !strings.HasPrefix(err.Error(), resource) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s\n got %v\nwant %s", tc.context, err, tc.want)
		}
	}
}

// heap is package memory under batch's name.
type heap struct{ *memory.Provider }

func (heap) Name() string { return batch.Name }

// FuzzContexts: any bytes as a cluster or a secret of stand-alone mode give an error or a graph, never a panic.
func FuzzContexts(f *testing.F) {
	w := newWorld(f)
	context := w.in("common_tls_context: {" + ownCertificate + ", " + trustCA + "}")
	in := resources(f, context, context, w.in(`{name: s, validation_context: {trusted_ca: {inline_string: $CA}}}`))
	types := []string{config.TypeCluster, config.TypeListener, config.TypeSecret}
	for i, typeURL := range types {
		for _, a := range in[typeURL] {
			f.Add(byte(i), a.Value)
		}
	}
	accelerated := resources(f, w.in(`common_tls_context: {tls_certificates: [{certificate_chain: {inline_string: $CERT},
		private_key_provider: {provider_name: cryptomb, typed_config: {`+cryptomb+`, poll_delay: 1s, private_key: {inline_string: $KEY}}}}]}`), "")
	f.Add(byte(1), accelerated[config.TypeListener]["l"].Value)
	b := config.New(config.Deps{
		Identity: &htls.Identity{}, Trust: &htls.Trust{}, StandAlone: true, Resolver: hosts{},
		Keys: keyring.New(memory.New(), heap{memory.New()}), Getenv: func(string) string { return w.server.keyPEM() },
	})
	f.Fuzz(func(t *testing.T, kind byte, value []byte) {
		typeURL := types[int(kind)%len(types)]
		changed := config.Resources{}
		for u, byName := range in {
			changed[u] = byName
		}
		for name, a := range in[typeURL] {
			changed[typeURL] = map[string]*anypb.Any{name: {TypeUrl: a.TypeUrl, Value: value}}
		}
		g, err := b.Build(nil, 1, changed)
		if (g == nil) == (err == nil) {
			t.Fatalf("neither or both of graph and error: %v", err)
		}
		if g != nil {
			g.Release(nil)
		}
	})
}
