package dataplane

import (
	"bufio"
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/anypb"

	"github.com/hauberk-mesh/hauberk/accel/keyprovider/memory"
	"github.com/hauberk-mesh/hauberk/controlplane/ir"
	"github.com/hauberk-mesh/hauberk/controlplane/xds/translate"
	"github.com/hauberk-mesh/hauberk/dataplane/tls"
	"github.com/hauberk-mesh/hauberk/dataplane/xdsclient"
	"github.com/hauberk-mesh/hauberk/internal/leak"
	"github.com/hauberk-mesh/hauberk/internal/memconn"
	"github.com/hauberk-mesh/hauberk/policy/all/filters"
)

func TestMain(m *testing.M) { leak.Main(m) }

const token = "a-token"

// mesh is two proxies, of the services fe and be, and be's application, all in memory. There is no control plane: tests
// hand configurations to Apply.
type mesh struct {
	net     *memconn.Network
	ca      *authority
	fe, be  *Proxy
	version uint64
	bound   []string // what was asked of Listen
}

func (m *mesh) config(t testing.TB, name string) Config {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "token")
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return Config{
		Node:     Node{Mesh: "default", Name: name + "-1", Service: name, Workload: name, Zone: "default"},
		Resource: []byte(`{}`), ControlPlane: "https://127.0.0.1:5678", CA: []byte(m.ca.pem()), TokenFile: file,
		Filters: filters.Factories(), Keys: memory.New(), Logger: slog.New(slog.DiscardHandler),
		Listen: func(_ context.Context, _, addr string) (net.Listener, error) {
			m.bound = append(m.bound, addr)
			return m.net.Listen(addr)
		},
		Dial:      m.net.Dial,
		DrainTime: 5 * time.Second,
	}
}

func newMesh(t testing.TB) *mesh {
	t.Helper()
	m := &mesh{net: &memconn.Network{}, ca: newAuthority(t)}
	m.fe, m.be = m.proxy(t, "fe"), m.proxy(t, "be")
	l, err := m.net.Listen("127.0.0.1:8080")
	if err != nil {
		t.Fatal(err)
	}
	app := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "hello "+r.URL.Path) })}
	go func() { _ = app.Serve(l) }()
	t.Cleanup(func() { _ = app.Close() })
	return m
}

// proxy makes one with an SVID, as if it had joined, and ends it with the test.
func (m *mesh) proxy(t testing.TB, service string) *Proxy {
	t.Helper()
	p, err := New(m.config(t, service))
	if err != nil {
		t.Fatal(err)
	}
	leaf, key := m.ca.svid(t, service+"-1", service)
	svid, err := tls.NewSVID([]*x509.Certificate{leaf}, key)
	if err != nil {
		t.Fatal(err)
	}
	p.id.Set(svid)
	p.engine.Start(context.Background())
	t.Cleanup(func() {
		p.engine.Stop()
		if g := p.engine.Graph(); g != nil {
			g.Release(nil)
		}
	})
	return p
}

func (m *mesh) apply(t testing.TB, p *Proxy, c *ir.Proxy) error {
	t.Helper()
	m.version++
	c.Trust = []ir.TrustBundle{{TrustDomain: "d", PEM: []string{m.ca.pem()}}}
	return p.Apply(t.Context(), &xdsclient.Update{Generation: m.version, Resources: onTheWire(t, c)})
}

func onTheWire(t testing.TB, c *ir.Proxy) map[string]map[string]*anypb.Any {
	t.Helper()
	s, err := translate.Proxy(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]map[string]*anypb.Any{}
	for typeURL, byName := range s {
		out[typeURL] = map[string]*anypb.Any{}
		for name, r := range byName {
			out[typeURL][name] = r.Any
		}
	}
	return out
}

func (m *mesh) mustApply(t testing.TB, p *Proxy, c *ir.Proxy) {
	t.Helper()
	if err := m.apply(t, p, c); err != nil {
		t.Fatal(err)
	}
}

func feConfig() *ir.Proxy {
	const name = "outbound|be|80"
	return &ir.Proxy{
		Name: "fe-1",
		Outbounds: []*ir.Listener{{
			Name: name, Address: "127.0.0.1", Port: 10001, Protocol: ir.HTTP, Service: "be", ServicePort: 80, PortName: "http",
			Routes: []*ir.Route{{Name: "default", PathPrefix: "/", Cluster: name}},
		}},
		Clusters: []*ir.Cluster{{
			Name: name, Protocol: ir.HTTP, Service: "be", ServicePort: 80, TLS: &ir.UpstreamTLS{PeerIDs: []string{"spiffe://d/workload/be"}, SNI: "be"},
			Endpoints: &ir.Endpoints{Cluster: name, List: []ir.Endpoint{{Dataplane: "be-1", Address: "127.0.0.1", Port: 15080}}},
			Probe:     ir.Probe{Kind: ir.ProbeMesh},
		}},
	}
}

func beConfig(allow ...ir.PermissionEntry) *ir.Proxy {
	const name = "inbound|http"
	return &ir.Proxy{
		Name: "be-1",
		Inbounds: []*ir.Listener{{
			Name: name, Address: "127.0.0.1", Port: 15080, Protocol: ir.HTTP, Service: "be", ServicePort: 80, PortName: "http",
			TLS: &ir.InboundTLS{Mode: ir.Strict}, Permission: &ir.Permission{Allow: allow},
			Routes: []*ir.Route{{Name: "default", PathPrefix: "/", Cluster: name}},
		}},
		Clusters: []*ir.Cluster{{
			Name: name, Protocol: ir.HTTP, Service: "be", Endpoints: &ir.Endpoints{Cluster: name, List: []ir.Endpoint{{Address: "127.0.0.1", Port: 8080}}},
		}},
	}
}

var allowFE = ir.PermissionEntry{Rule: "MeshTrafficPermission/fe#rules[0].allow[0]", SPIFFEID: &ir.StringMatch{Type: ir.Exact, Value: "spiffe://d/workload/fe"}}

// get asks for a path at an address of the memory network.
func (m *mesh) get(t testing.TB, addr, path string) (int, string) {
	t.Helper()
	c, err := m.net.Dial(t.Context(), "tcp", addr)
	if err != nil {
		return 0, err.Error()
	}
	defer c.Close()
	fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", path, addr)
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(body)
}

// TestConfigurationInForce: what Apply took holds at the next request, through both proxies.
func TestConfigurationInForce(t *testing.T) {
	m := newMesh(t)
	m.mustApply(t, m.fe, feConfig())
	m.mustApply(t, m.be, beConfig())
	if status, _ := m.get(t, "127.0.0.1:10001", "/a"); status != 403 {
		t.Errorf("without a permission: %d", status)
	}
	m.mustApply(t, m.be, beConfig(allowFE))
	if status, body := m.get(t, "127.0.0.1:10001", "/a"); status != 200 || body != "hello /a" {
		t.Errorf("allowed: %d %q", status, body)
	}
	revoked := beConfig(allowFE)
	revoked.Revoked = []string{"spiffe://d/workload/fe"}
	m.mustApply(t, m.be, revoked)
	m.fe.id.Set(m.fe.id.Get()) // a new epoch, so that the next request shakes hands anew
	if status, _ := m.get(t, "127.0.0.1:10001", "/a"); status != 503 {
		t.Errorf("revoked: %d", status)
	}
	m.mustApply(t, m.be, beConfig(allowFE))
	other := feConfig()
	other.Clusters[0].TLS.PeerIDs = []string{"spiffe://d/workload/other"}
	m.mustApply(t, m.fe, other)
	if status, _ := m.get(t, "127.0.0.1:10001", "/a"); status != 503 {
		t.Errorf("the server is somebody else: %d", status)
	}
}

// TestRefusedConfiguration: a configuration that cannot be put in force whole changes nothing.
func TestRefusedConfiguration(t *testing.T) {
	m := newMesh(t)
	m.mustApply(t, m.be, beConfig(allowFE))
	m.mustApply(t, m.fe, feConfig())
	before := m.fe.engine.Graph()

	taken := feConfig()
	second := *taken.Outbounds[0]
	second.Name, second.Port = "outbound|be|81", 10002
	third := *taken.Outbounds[0]
	third.Name, third.Port = "outbound|be|82", 8080 // the application has it
	taken.Outbounds = append(taken.Outbounds, &second, &third)
	err := m.apply(t, m.fe, taken)
	if err == nil || !strings.Contains(err.Error(), `listener "outbound|be|82": bind 127.0.0.1:8080`) {
		t.Errorf("an address that is taken: %v", err)
	}
	if status, reason := m.get(t, "127.0.0.1:10002", "/"); status != 0 {
		t.Errorf("what was bound before the failure is still there: %d %s", status, reason)
	}

	third.Port = 10002
	if err := m.apply(t, m.fe, taken); err == nil || !strings.Contains(err.Error(), `listeners "outbound|be|81" and "outbound|be|82": both want 127.0.0.1:10002`) {
		t.Errorf("one address twice: %v", err)
	}

	broken := feConfig()
	broken.Clusters = nil
	if err := m.apply(t, m.fe, broken); err == nil {
		t.Error("a route to nowhere is taken")
	}
	if m.fe.engine.Graph() != before {
		t.Error("a refused configuration is in force")
	}
	if status, body := m.get(t, "127.0.0.1:10001", "/a"); status != 200 {
		t.Errorf("after refusals: %d %q", status, body)
	}
}

// TestListenersComeAndGo: sockets are kept by address, so that a renamed listener refuses nobody.
func TestListenersComeAndGo(t *testing.T) {
	m := newMesh(t)
	m.mustApply(t, m.be, beConfig(allowFE))
	c := feConfig()
	m.mustApply(t, m.fe, c)
	bound := len(m.bound)
	c.Outbounds[0].Name = "outbound|be|8080"
	m.mustApply(t, m.fe, c)
	if len(m.bound) != bound {
		t.Errorf("a renamed listener has a new socket: %q", m.bound[bound:])
	}
	if status, _ := m.get(t, "127.0.0.1:10001", "/"); status != 200 {
		t.Errorf("renamed: %d", status)
	}
	c.Outbounds[0].Port = 10009
	m.mustApply(t, m.fe, c)
	if status, _ := m.get(t, "127.0.0.1:10009", "/"); status != 200 {
		t.Errorf("moved: %d", status)
	}
	deadline := time.Now().Add(5 * time.Second)
	for {
		if status, _ := m.get(t, "127.0.0.1:10001", "/"); status == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the old address is still served")
		}
	}
}

// TestRunWithoutControlPlane: a proxy comes up from its state directory, serves, and drains when told.
func TestRunWithoutControlPlane(t *testing.T) {
	m := newMesh(t)
	m.mustApply(t, m.be, beConfig(allowFE))

	cfg := m.config(t, "fe")
	cfg.StateDir = t.TempDir()
	cfg.AdminAddr = "127.0.0.1:9901"
	if err := os.WriteFile(filepath.Join(cfg.StateDir, "svid.pem"), m.ca.kept(t, "fe-1", "fe"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := feConfig()
	c.Trust = []ir.TrustBundle{{TrustDomain: "d", PEM: []string{m.ca.pem()}}}
	keepConfiguration(t, cfg, c)

	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- p.Run(context.Background()) }()
	waitReady(t, m)
	if status, body := m.get(t, "127.0.0.1:10001", "/a"); status != 200 {
		t.Errorf("%d %q", status, body)
	}
	if p.Generation() != 42 || p.Identity() != "spiffe://d/workload/fe" {
		t.Errorf("generation %d of %s", p.Generation(), p.Identity())
	}
	drain, err := http.NewRequest("POST", "http://127.0.0.1:9901/drain", nil)
	if err != nil {
		t.Fatal(err)
	}
	drain.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	p.Admin().ServeHTTP(w, drain)
	if w.Code != 200 {
		t.Errorf("drain: %d %s", w.Code, w.Body)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if status, _ := m.get(t, "127.0.0.1:10001", "/"); status != 0 {
		t.Errorf("after the drain: %d", status)
	}
}

func waitReady(t *testing.T, m *mesh) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		status, why := m.get(t, "127.0.0.1:9901", "/ready")
		if status == 200 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not ready: %d %s", status, why)
		}
		time.Sleep(5 * time.Millisecond) // a real proxy with its own goroutines: there is nothing to wait on but its answer
	}
}

// keepConfiguration writes the state directory's configuration as a client that took it would.
func keepConfiguration(t *testing.T, cfg Config, c *ir.Proxy) {
	t.Helper()
	versions := map[string]map[string]string{}
	resources := onTheWire(t, c)
	for typeURL, byName := range resources {
		versions[typeURL] = map[string]string{}
		for name := range byName {
			versions[typeURL][name] = "1"
		}
	}
	(&Proxy{cfg: cfg, log: cfg.Logger}).keep(&xdsclient.State{Generation: 42, Resources: resources, Versions: versions})
	info, err := os.Stat(filepath.Join(cfg.StateDir, configFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v %v", info, err)
	}
}

// TestDamagedState: a file that went bad costs the kept configuration, not the start.
func TestDamagedState(t *testing.T) {
	m := newMesh(t)
	cfg := m.config(t, "fe")
	cfg.StateDir = t.TempDir()
	if err := os.WriteFile(filepath.Join(cfg.StateDir, configFile), []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if p, err := New(cfg); err != nil || p.restored {
		t.Errorf("restored %v, %v", p.restored, err)
	}
}

// TestStateDirComesBack: a state dir that somebody removed while the proxy ran is made again with the next configuration.
func TestStateDirComesBack(t *testing.T) {
	m := newMesh(t)
	cfg := m.config(t, "fe")
	cfg.StateDir = filepath.Join(t.TempDir(), "state")
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(cfg.StateDir); err != nil {
		t.Fatal(err)
	}
	p.keep(&xdsclient.State{Generation: 7})
	if info, err := os.Stat(cfg.StateDir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("state dir: %v, %v", info, err)
	}
	if _, err := os.Stat(filepath.Join(cfg.StateDir, configFile)); err != nil {
		t.Error(err)
	}
}

// TestNothingNewIsNoNews: the log tells of a configuration at info only if it is another one, so that a reconnect does not
// look like a change.
func TestNothingNewIsNoNews(t *testing.T) {
	name := map[string][]string{xdsclient.TypeCluster: {"a"}}
	for what, c := range map[string]struct {
		update *xdsclient.Update
		want   int
	}{
		"empty":   {&xdsclient.Update{Changed: map[string][]string{xdsclient.TypeCluster: nil}}, 0},
		"changed": {&xdsclient.Update{Changed: name}, 1},
		"both":    {&xdsclient.Update{Changed: name, Removed: name}, 2},
	} {
		if got := changes(c.update); got != c.want {
			t.Errorf("%s: %d changes, want %d", what, got, c.want)
		}
	}
}

func TestReady(t *testing.T) {
	m := newMesh(t)
	p, err := New(m.config(t, "x"))
	if err != nil {
		t.Fatal(err)
	}
	expect := func(p *Proxy, want string) {
		t.Helper()
		if got := strings.Join(p.unready(), "; "); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	expect(p, "no SVID yet")
	expect(m.fe, "no configuration in force")
	m.mustApply(t, m.fe, feConfig())
	expect(m.fe, "the control plane has not taken the acknowledgement of this proxy's first configuration")
	m.fe.restored = true
	expect(m.fe, "")
	m.fe.engine.BeginDrain()
	expect(m.fe, "draining")
}

// TestAdminShows: every page is there, is JSON where it should be, and holds no secret.
func TestAdminShows(t *testing.T) {
	m := newMesh(t)
	m.mustApply(t, m.be, beConfig(allowFE))
	m.mustApply(t, m.fe, feConfig())
	m.get(t, "127.0.0.1:10001", "/seen")
	h := m.fe.Admin()
	for path, want := range map[string]string{
		"/config_dump": `"outbound|be|80"`, "/clusters": `"127.0.0.1:15080"`, "/listeners": `"127.0.0.1:10001"`,
		"/certs": `spiffe://d/workload/fe`, "/decisions?path=/seen": `"/seen"`, "/stats/prometheus": "istio_requests_total",
		"/stats/prometheus?": "\ngo_goroutines ", "/stats/prometheus?2": "\nprocess_open_fds ",
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "http://127.0.0.1:9901"+path, nil))
		if w.Code != 200 || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d, without %s: %s", path, w.Code, want, w.Body)
		}
		if !strings.HasPrefix(path, "/stats") && !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s: not JSON", path)
		}
		if s := w.Body.String(); strings.Contains(s, "PRIVATE KEY") || strings.Contains(s, token) {
			t.Errorf("%s shows a secret", path)
		}
	}
}

func TestConfigErrors(t *testing.T) {
	m := newMesh(t)
	for _, c := range []struct {
		want string
		edit func(*Config)
	}{
		{"dataplane: mesh and name must be set", func(c *Config) { c.Node.Name = "" }},
		{"dataplane: the control plane's address must be set", func(c *Config) { c.ControlPlane = "" }},
		{`dataplane: a token file must be set; "hauberk token create dataplane" makes a token`, func(c *Config) { c.TokenFile = "" }},
		{"dataplane: no key provider", func(c *Config) { c.Keys = nil }},
		{"dataplane: the control plane's CA holds no PEM certificate", func(c *Config) { c.CA = []byte("x") }},
	} {
		cfg := m.config(t, "fe")
		c.edit(&cfg)
		if _, err := New(cfg); err == nil || err.Error() != c.want {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}

// TestAddressComesBack: a listener that goes gives its address back at once, so that the next configuration can have it.
func TestAddressComesBack(t *testing.T) {
	m := newMesh(t)
	for range 20 {
		m.mustApply(t, m.fe, feConfig())
		moved := feConfig()
		moved.Outbounds[0].Port = 10009
		m.mustApply(t, m.fe, moved)
	}
}

// TestReadinessIsWhatIsTrue: what is told of an application is its present state, whichever event comes last.
func TestReadinessIsWhatIsTrue(t *testing.T) {
	m := newMesh(t)
	var told []string
	m.be.setReadiness = func(inbound string, ready bool, reason string) {
		told = append(told, fmt.Sprint(inbound, " ", ready, reason))
	}
	m.mustApply(t, m.be, beConfig(allowFE))
	m.be.tellReadiness("inbound|http") // it is down, which the news that it answers again has overtaken
	m.be.tellReadiness("inbound|gone") // of a configuration before
	if got := strings.Join(told, ", "); got != "http true, http true" {
		t.Errorf("told: %s", got)
	}
}
