package tls

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/hauberk-mesh/hauberk/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// shake lets two configurations shake hands over loopback and returns what each side says. Both states are of complete
// handshakes where their error is nil.
func shake(t testing.TB, client, server *tls.Config) (fromClient, fromServer tls.ConnectionState, clientErr, serverErr error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	type result struct {
		state tls.ConnectionState
		err   error
	}
	served := make(chan result, 1)
	go func() {
		raw, err := l.Accept()
		if err != nil {
			served <- result{err: err}
			return
		}
		conn := tls.Server(raw, server)
		defer conn.Close()
		if err = conn.Handshake(); err == nil {
			_, err = conn.Write([]byte("x"))
		}
		served <- result{conn.ConnectionState(), err}
	}()
	raw, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	raw.SetDeadline(time.Now().Add(10 * time.Second))
	conn := tls.Client(raw, client)
	if clientErr = conn.Handshake(); clientErr == nil {
		_, clientErr = io.ReadFull(conn, make([]byte, 1)) // in TLS 1.3 the server's refusal comes after the client's handshake
	}
	fromClient = conn.ConnectionState()
	conn.Close()
	raw.Close()
	r := <-served
	return fromClient, r.state, clientErr, r.err
}

func TestMutualHandshakeProvesBothIDs(t *testing.T) {
	a := newAuthority(t, "default.default.mesh.local")
	web, cart := newSide(t, a.leaf(t, "web", nil), a.bundle()), newSide(t, a.leaf(t, "cart", nil), a.bundle())
	client := ClientConfigWith(&web.id, &web.trust, []string{"spiffe://default.default.mesh.local/workload/cart"}, "cart", Options{ALPN: []string{"http/1.1"}})
	server := ServerConfig(&cart.id, &cart.trust, Options{ALPN: []string{"http/1.1"}})
	for range 2 { // the second one meets the cache
		atClient, atServer, clientErr, serverErr := shake(t, client, server)
		if clientErr != nil || serverErr != nil {
			t.Fatal(clientErr, serverErr)
		}
		if got := PeerID(atClient); got != cart.id.ID() {
			t.Errorf("client saw %q", got)
		}
		if got := PeerID(atServer); got != web.id.ID() {
			t.Errorf("server saw %q", got)
		}
		if atServer.Version != tls.VersionTLS13 || atServer.NegotiatedProtocol != "http/1.1" || atServer.ServerName != "cart" || atServer.DidResume {
			t.Errorf("version %x, ALPN %q, SNI %q, resumed %v", atServer.Version, atServer.NegotiatedProtocol, atServer.ServerName, atServer.DidResume)
		}
	}
}

// Each row is a caller that the server must refuse, with a reason that names what is wrong.
func TestServerRefuses(t *testing.T) {
	home, foreign := newAuthority(t, "a.default.mesh.local"), newAuthority(t, "b.default.mesh.local")
	impostor := newAuthority(t, "a.default.mesh.local") // same name, another root: the mesh of that name elsewhere
	uri := func(s string) func(*x509.Certificate) {
		return func(c *x509.Certificate) {
			u, err := url.Parse(s)
			if err != nil {
				t.Fatal(err)
			}
			c.URIs = []*url.URL{u}
		}
	}
	for name, c := range map[string]struct {
		svid *SVID
		want string
	}{
		"other trust domain":         {foreign.leaf(t, "web", nil), "spiffe://b.default.mesh.local/workload/web, refused: trust domain b.default.mesh.local is not trusted here, only a.default.mesh.local"},
		"same domain, other root":    {impostor.leaf(t, "web", nil), "its chain does not lead to the bundle of a.default.mesh.local"},
		"foreign root, our domain":   {foreign.leaf(t, "web", uri("spiffe://a.default.mesh.local/workload/web")), "its chain does not lead to the bundle"},
		"expired":                    {home.leaf(t, "web", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) }), "its leaf expired at"},
		"not valid yet":              {home.leaf(t, "web", func(c *x509.Certificate) { c.NotBefore = time.Now().Add(30 * time.Second) }), "compare the clocks"},
		"no URI":                     {home.leaf(t, "web", func(c *x509.Certificate) { c.URIs = nil; c.DNSNames = []string{"web"} }), "has 0 URI SANs"},
		"two URIs":                   {home.leaf(t, "web", func(c *x509.Certificate) { c.URIs = append(c.URIs, c.URIs[0]) }), "has 2 URI SANs"},
		"no SPIFFE ID":               {home.leaf(t, "web", uri("https://a.default.mesh.local/web")), "https://a.default.mesh.local/web"},
		"a trust domain only":        {home.leaf(t, "web", uri("spiffe://a.default.mesh.local")), "no workload's"},
		"a CA":                       {home.leaf(t, "web", func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }), "is a CA"},
		"may sign certificates":      {home.leaf(t, "web", func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCRLSign }), "may sign"},
		"no digital signature":       {home.leaf(t, "web", func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }), "may not be used for signatures"},
		"for servers only":           {home.leaf(t, "web", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }), "incompatible key usage"},
		"without its intermediate":   {short(home.leaf(t, "web", nil)), "its chain does not lead"},
		"more certificates than six": {long(home.leaf(t, "web", nil)), "more than 6"},
	} {
		t.Run(name, func(t *testing.T) {
			server := newSide(t, home.leaf(t, "cart", nil), home.bundle())
			client := newSide(t, c.svid, home.bundle())
			_, _, clientErr, serverErr := shake(t,
				ClientConfig(&client.id, &client.trust, []string{server.id.ID()}, ""),
				ServerConfig(&server.id, &server.trust, Options{}))
			var r *Refusal
			if !errors.As(serverErr, &r) || !strings.Contains(serverErr.Error(), c.want) {
				t.Errorf("server says %v, want a refusal with %q", serverErr, c.want)
			}
			if clientErr == nil {
				t.Error("client noticed nothing")
			}
		})
	}
}

func short(s *SVID) *SVID {
	s.Certificate.Certificate = s.Certificate.Certificate[:1]
	return s
}

func long(s *SVID) *SVID {
	for len(s.Certificate.Certificate) <= maxChain {
		s.Certificate.Certificate = append(s.Certificate.Certificate, s.Certificate.Certificate[1])
	}
	return s
}

func TestServerRefusesWhoHasNoCertificateOrOldTLS(t *testing.T) {
	a := newAuthority(t, "a.default.mesh.local")
	server, client := newSide(t, a.leaf(t, "cart", nil), a.bundle()), newSide(t, a.leaf(t, "web", nil), a.bundle())
	config := ServerConfig(&server.id, &server.trust, Options{})

	_, _, clientErr, serverErr := shake(t, &tls.Config{InsecureSkipVerify: true}, config)
	if serverErr == nil || !strings.Contains(serverErr.Error(), "didn't provide a certificate") || clientErr == nil {
		t.Errorf("without a certificate: server says %v, client %v", serverErr, clientErr)
	}

	old := ClientConfigWith(&client.id, &client.trust, []string{server.id.ID()}, "", Options{MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12})
	_, _, clientErr, serverErr = shake(t, old, config)
	if serverErr == nil || !strings.Contains(serverErr.Error(), "unsupported versions") || clientErr == nil {
		t.Errorf("TLS 1.2: server says %v, client %v", serverErr, clientErr)
	}
	// Where a policy allows TLS 1.2 the same verification holds.
	from12 := Options{MinVersion: tls.VersionTLS12}
	if _, _, clientErr, serverErr = shake(t, old, ServerConfig(&server.id, &server.trust, from12)); clientErr != nil || serverErr != nil {
		t.Errorf("TLS 1.2 allowed: %v, %v", clientErr, serverErr)
	}
	server.trust.SetRevoked([]string{client.id.ID()})
	if _, _, _, serverErr = shake(t, old, ServerConfig(&server.id, &server.trust, from12)); serverErr == nil || !strings.Contains(serverErr.Error(), "revoked") {
		t.Errorf("TLS 1.2, revoked: %v", serverErr)
	}
}

func TestClientRefusesOtherServers(t *testing.T) {
	a, b := newAuthority(t, "a.default.mesh.local"), newAuthority(t, "b.default.mesh.local")
	cart := "spiffe://a.default.mesh.local/workload/cart"
	client := newSide(t, a.leaf(t, "web", nil), a.bundle())
	for name, c := range map[string]struct {
		svid   *SVID
		wanted []string
		want   string
	}{
		"another service":       {a.leaf(t, "payments", nil), []string{cart}, "peer presented spiffe://a.default.mesh.local/workload/payments, refused: wanted " + cart},
		"nobody is expected":    {a.leaf(t, "cart", nil), nil, "wanted nobody"},
		"several are expected":  {a.leaf(t, "cart", nil), []string{cart + "-1", cart + "-2"}, "wanted one of " + cart + "-1, " + cart + "-2"},
		"same name, other mesh": {b.leaf(t, "cart", nil), []string{"spiffe://b.default.mesh.local/workload/cart"}, "trust domain b.default.mesh.local is not trusted"},
		"for clients only":      {a.leaf(t, "cart", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), []string{cart}, "incompatible key usage"},
	} {
		t.Run(name, func(t *testing.T) {
			server := newSide(t, c.svid, a.bundle())
			_, _, clientErr, serverErr := shake(t,
				ClientConfig(&client.id, &client.trust, c.wanted, ""), ServerConfig(&server.id, &server.trust, Options{}))
			if clientErr == nil || !strings.Contains(clientErr.Error(), c.want) {
				t.Errorf("client says %v, want %q", clientErr, c.want)
			}
			if serverErr == nil {
				t.Error("server noticed nothing")
			}
		})
	}
}

// A configuration is made once; what changes later counts in the next handshake, cached chains or not.
func TestConfigFollowsChanges(t *testing.T) {
	a, b := newAuthority(t, "a.default.mesh.local"), newAuthority(t, "a.default.mesh.local")
	server, client := newSide(t, a.leaf(t, "cart", nil), a.bundle()), newSide(t, a.leaf(t, "web", nil), a.bundle())
	clientConfig := ClientConfig(&client.id, &client.trust, []string{server.id.ID()}, "")
	serverConfig := ServerConfig(&server.id, &server.trust, Options{})
	try := func(wantServer string) {
		t.Helper()
		_, _, clientErr, serverErr := shake(t, clientConfig, serverConfig)
		if wantServer == "" {
			if clientErr != nil || serverErr != nil {
				t.Fatal(clientErr, serverErr)
			}
		} else if serverErr == nil || !strings.Contains(serverErr.Error(), wantServer) {
			t.Fatalf("server says %v, want %q", serverErr, wantServer)
		}
	}
	try("")
	server.trust.SetRevoked([]string{client.id.ID()})
	try("that identity is revoked")
	server.trust.SetRevoked(nil)
	try("")
	server.trust.SetBundles([]Bundle{b.bundle()})
	try("its chain does not lead")
	server.trust.SetBundles([]Bundle{a.bundle(), b.bundle()}) // both, as while an authority is rotated
	try("")

	epoch := client.id.Epoch()
	client.id.Set(b.leaf(t, "web", nil))
	if client.id.Epoch() != epoch+1 {
		t.Errorf("epoch went from %d to %d", epoch, client.id.Epoch())
	}
	_, atServer, _, err := shake(t, clientConfig, serverConfig)
	if err != nil || !atServer.PeerCertificates[0].Equal(client.id.Get().Certificate.Leaf) {
		t.Errorf("after the rotation the old leaf was presented (%v)", err)
	}
}

func TestNoSVIDYet(t *testing.T) {
	a := newAuthority(t, "a.default.mesh.local")
	none, other := newSide(t, nil, a.bundle()), newSide(t, a.leaf(t, "web", nil), a.bundle())
	_, _, _, serverErr := shake(t, ClientConfig(&other.id, &other.trust, []string{"x"}, ""), ServerConfig(&none.id, &none.trust, Options{}))
	if serverErr == nil || !strings.Contains(serverErr.Error(), "has not joined") {
		t.Errorf("server says %v", serverErr)
	}
	if none.id.Get() != nil || none.id.ID() != "" || none.id.Epoch() != 0 {
		t.Error("an empty identity is somebody")
	}
}
