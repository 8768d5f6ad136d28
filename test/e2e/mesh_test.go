package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// mesh is a control plane in a process of its own, and the sidecars that tests add.
type mesh struct {
	t       *testing.T
	dir     string // data dir of the control plane
	api     string
	xds     string
	control *process
}

func newMesh(t *testing.T) *mesh {
	t.Helper()
	m := &mesh{t: t, dir: filepath.Join(t.TempDir(), "control-plane"), api: freeAddr(t), xds: freeAddr(t)}
	m.startControlPlane()
	return m
}

// startControlPlane starts it, or starts it again on the same data.
func (m *mesh) startControlPlane() {
	m.t.Helper()
	m.control = start(m.t, "control-plane", "control-plane", "run", "--data-dir", m.dir, "--api-addr", m.api, "--xds-addr", m.xds)
	eventually(m.t, 30*time.Second, "the control plane answers", func() bool {
		_, _, code := output(m.t, "", "get", "meshes", "--data-dir", m.dir, "--api-addr", m.api)
		return code == 0
	})
}

// hauberk runs a client verb and fails the test unless it exits 0.
func (m *mesh) hauberk(args ...string) string {
	m.t.Helper()
	out, errs, code := m.try("", args...)
	if code != 0 {
		m.t.Fatalf("hauberk %s: exit %d\n%s%s", strings.Join(args, " "), code, out, errs)
	}
	return out
}

func (m *mesh) try(stdin string, args ...string) (stdout, stderr string, code int) {
	m.t.Helper()
	return output(m.t, stdin, append(args, "--data-dir", m.dir, "--api-addr", m.api)...)
}

// apply applies YAML and waits until every proxy that it affects runs it.
func (m *mesh) apply(yaml string) {
	m.t.Helper()
	if out, errs, code := m.try(yaml, "apply", "-f", "-", "--wait"); code != 0 {
		m.t.Fatalf("apply: exit %d\n%s%s\n%s", code, out, errs, yaml)
	}
}

// allow lets callers (workloads of the mesh's trust domain; "*" is everybody in it) call a service.
func (m *mesh) allow(meshName, service string, callers ...string) {
	m.t.Helper()
	var entries strings.Builder
	for _, c := range callers {
		match := fmt.Sprintf("{type: Exact, value: %q}", spiffeID(meshName, c))
		if c == "*" {
			match = fmt.Sprintf("{type: Prefix, value: %q}", spiffeID(meshName, ""))
		}
		fmt.Fprintf(&entries, "      - spiffeID: %s\n", match)
	}
	m.apply(fmt.Sprintf(`apiVersion: hauberk.io/v1alpha1
kind: MeshTrafficPermission
metadata: {name: allow-%s, labels: {hauberk.io/mesh: %s}}
spec:
  targetRef: {kind: Dataplane, labels: {hauberk.io/service: %s}}
  rules:
  - default:
      allow:
%s`, service, meshName, service, &entries))
}

func spiffeID(meshName, workload string) string {
	return "spiffe://" + meshName + ".default.mesh.local/workload/" + workload
}

// sidecar is one proxy process and the application behind it.
type sidecar struct {
	*process
	mesh     *mesh
	meshName string
	name     string
	service  string
	admin    string
	dir      string            // files: token, state
	inbound  string            // address that other proxies dial; "" without inbound
	outbound map[string]string // service -> address of the local outbound
	args     []string
}

// dataplane describes a sidecar to start.
type dataplane struct {
	mesh      string // default "default"
	name      string // default service + "-1"
	service   string
	app       string // host:port of the application; "" is no inbound
	protocol  string // default http
	outbounds []string
	token     string   // a token other than the right one
	args      []string // further flags
}

func (m *mesh) sidecar(d dataplane) *sidecar {
	m.t.Helper()
	s := m.describe(d)
	s.start()
	s.ready()
	return s
}

// describe writes the files of a sidecar and does not start it.
func (m *mesh) describe(d dataplane) *sidecar {
	m.t.Helper()
	d.mesh = or(d.mesh, "default")
	d.name = or(d.name, d.service+"-1")
	s := &sidecar{mesh: m, meshName: d.mesh, name: d.name, service: d.service, admin: freeAddr(m.t), dir: filepath.Join(m.t.TempDir(), d.name), outbound: map[string]string{}}
	dir := s.dir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		m.t.Fatal(err)
	}

	var y strings.Builder
	fmt.Fprintf(&y, "apiVersion: hauberk.io/v1alpha1\nkind: Dataplane\nmetadata: {name: %s, labels: {hauberk.io/mesh: %s, hauberk.io/service: %s}}\nspec:\n  address: 127.0.0.1\n", d.name, d.mesh, d.service)
	if d.app != "" {
		s.inbound = freeAddr(m.t)
		fmt.Fprintf(&y, "  inbounds:\n  - {name: main, port: 80, listenPort: %s, targetPort: %s, protocol: %s}\n", port(s.inbound), port(d.app), or(d.protocol, "http"))
	}
	if len(d.outbounds) > 0 {
		y.WriteString("  outbounds:\n")
		for _, to := range d.outbounds {
			s.outbound[to] = freeAddr(m.t)
			fmt.Fprintf(&y, "  - {port: %s, backendRef: {kind: MeshService, name: %s, port: 80}}\n", port(s.outbound[to]), to)
		}
	}
	file := filepath.Join(dir, "dataplane.yaml")
	write(m.t, file, y.String())

	token := d.token
	if token == "" {
		token = m.hauberk("token", "create", "dataplane", "--name", d.name, "--service", d.service, "--mesh", d.mesh)
	}
	write(m.t, filepath.Join(dir, "token"), token)
	s.args = append([]string{"dataplane", "run", "--file", file, "--control-plane", "https://" + m.xds, "--token-file", filepath.Join(dir, "token"),
		"--ca-file", filepath.Join(m.dir, "ca.crt"), "--admin-addr", s.admin, "--state-dir", filepath.Join(dir, "state")}, d.args...)
	return s
}

func (s *sidecar) start() { s.process = start(s.mesh.t, s.name, s.args...) }

// ready waits for /ready.
func (s *sidecar) ready() {
	s.mesh.t.Helper()
	eventually(s.mesh.t, 30*time.Second, s.name+" is ready", func() bool {
		select {
		case <-s.done:
			s.mesh.t.Fatalf("%s ended\n%s", s.name, s.logs.tail(40))
		default:
		}
		return statusOf("http://"+s.admin+"/ready") == http.StatusOK
	})
}

func statusOf(url string) int {
	resp, err := http.Get(url)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// adminGet returns the body of a page of the proxy's admin port.
func (s *sidecar) adminGet(path string) string {
	s.mesh.t.Helper()
	resp, err := http.Get("http://" + s.admin + path)
	if err != nil {
		s.mesh.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.mesh.t.Fatal(err)
	}
	return string(body)
}

// app is a real HTTP server that says who it is. It can go away and come back on the same port.
type app struct {
	t      *testing.T
	addr   string
	name   string
	server *httptest.Server
}

func newApp(t *testing.T, name string) *app {
	a := &app{t: t, name: name, addr: "127.0.0.1:0"}
	a.up()
	t.Cleanup(a.down)
	return a
}

func (a *app) up() {
	a.t.Helper()
	l, err := net.Listen("tcp", a.addr)
	if err != nil {
		a.t.Fatal(err)
	}
	a.addr = l.Addr().String()
	a.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("x-app", a.name)
		fmt.Fprintf(w, "%s %s\n", a.name, r.URL.Path)
	}))
	_ = a.server.Listener.Close()
	a.server.Listener = l
	a.server.Start()
}

// down ends it as a crash would: open connections are cut.
func (a *app) down() {
	if a.server != nil {
		a.server.CloseClientConnections()
		a.server.Close()
		a.server = nil
	}
}

// lastPort is the last one that freeAddr has given; where it begins depends on the process, since test binaries run side by side.
var lastPort = func() *atomic.Int32 {
	var n atomic.Int32
	n.Store(int32(10000 + os.Getpid()*97%20000))
	return &n
}()

// freeAddr finds a port of loopback that is free now. Addresses are handed to other processes, so it cannot be kept open; it is
// below those that the kernel gives to whoever asks for any (32768 and up), in no order: an admin port took an inbound's once.
func freeAddr(t *testing.T) string {
	t.Helper()
	for range 1000 {
		lastPort.CompareAndSwap(32000, 10000)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", lastPort.Add(1)))
		if err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("no port of loopback is free")
	return ""
}

func port(addr string) string {
	_, p, _ := net.SplitHostPort(addr)
	return p
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
