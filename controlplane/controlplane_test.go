package controlplane

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hauberk-mesh/hauberk/accel/keyprovider/memory"
	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/api/resource"
	"github.com/hauberk-mesh/hauberk/controlplane/rest"
	"github.com/hauberk-mesh/hauberk/controlplane/rest/client"
	"github.com/hauberk-mesh/hauberk/controlplane/world"
	"github.com/hauberk-mesh/hauberk/internal/leak"
	"github.com/hauberk-mesh/hauberk/policy/all"
)

func TestMain(m *testing.M) { leak.Main(m) }

func kinds() []api.Kind { return append(resource.Kinds(), all.Kinds()...) }

// running is a control plane in this process, and a client with its operator's credential.
type running struct {
	*ControlPlane
	*client.Client
	dir  string
	logs *buffer
	stop func()
}

func start(t *testing.T, dir string) *running {
	t.Helper()
	r := &running{dir: dir, logs: &buffer{}}
	cp, err := New(Config{
		DataDir: dir, APIAddr: "127.0.0.1:0", XDSAddr: "127.0.0.1:0", Kinds: kinds(), Policies: all.Policies(),
		DefaultPolicies: all.DefaultResources, Keys: memory.New(), Version: "v-test", Logger: slog.New(slog.NewTextHandler(r.logs, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- cp.Run(ctx) }()
	select {
	case <-cp.Ready():
	case err := <-ended:
		cancel()
		t.Fatalf("ended before it was ready: %v\n%s", err, r.logs)
	}
	r.ControlPlane = cp
	r.Client = operator(t, dir, cp.Addresses())
	r.stop = sync.OnceFunc(func() {
		r.Close()
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("ended with %v", err)
			}
		case <-time.After(20 * time.Second):
			t.Errorf("did not stop\n%s", r.logs)
		}
	})
	t.Cleanup(r.stop)
	return r
}

func operator(t *testing.T, dir string, a Addresses) *client.Client {
	t.Helper()
	anchor, err := os.ReadFile(filepath.Join(dir, AnchorFile))
	if err != nil {
		t.Fatal(err)
	}
	token, err := os.ReadFile(filepath.Join(dir, AdminTokenFile))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(anchor)
	return client.New(&url.URL{Scheme: "https", Host: a.API}, pool, strings.TrimSpace(string(token)), api.NewRegistry(kinds()...))
}

// names are those of a kind in a mesh.
func (r *running) names(t *testing.T, plural, mesh string) string {
	t.Helper()
	list, err := r.List(t.Context(), plural, mesh)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, one := range list {
		all = append(all, one.Metadata.Name)
	}
	return strings.Join(all, " ")
}

const aMesh = "apiVersion: hauberk.io/v1alpha1\nkind: Mesh\nmetadata: {name: payments}\nspec: {skipCreatingInitialPolicies: [MeshTimeout]}\n"

func TestFirstStartAndRestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	first := start(t, dir)
	for plural, want := range map[string]string{
		"meshes":                 "default",
		"meshidentities":         "identity",
		"meshtrusts":             "identity",
		"meshtlses":              "mesh-tls-all-default",
		"meshtimeouts":           "mesh-timeout-all-default mesh-timeout-to-all-default",
		"meshtrafficpermissions": "",
	} {
		if got := first.names(t, plural, "default"); got != want {
			t.Errorf("%s: %q, want %q", plural, got, want)
		}
	}
	applied, err := first.Apply(t.Context(), []byte(aMesh))
	if err != nil {
		t.Fatal(err)
	}
	if got := first.names(t, "meshtlses", "payments"); got != "mesh-tls-all-payments" {
		t.Errorf("defaults of the new mesh: %q", got)
	}
	if got := first.names(t, "meshtimeouts", "payments"); got != "" {
		t.Errorf("a kind that the mesh skips came all the same: %q", got)
	}
	if p, err := first.Propagation(t.Context(), "payments", applied.Generation, 10*time.Second); err != nil || !p.Done {
		t.Errorf("propagation to nobody: %+v, %v", p, err)
	}
	trust := first.names(t, "meshtrusts", "default")
	first.awaitTrust(t, "payments")
	first.stop()

	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		info, statErr := d.Info()
		if err != nil || statErr != nil {
			return err
		}
		if open := info.Mode().Perm() & 0o077; open != 0 && filepath.Base(path) != AnchorFile {
			t.Errorf("%s is open to others: %v", path, info.Mode())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}

	before, _ := os.ReadFile(filepath.Join(dir, AdminTokenFile))
	second := start(t, dir)
	after, _ := os.ReadFile(filepath.Join(dir, AdminTokenFile))
	if !bytes.Equal(before, after) {
		t.Error("the admin credential was made anew")
	}
	if got := second.names(t, "meshes", "default"); got != "default payments" {
		t.Errorf("meshes after the restart: %q", got)
	}
	if got := second.names(t, "meshtrusts", "default"); got != trust {
		t.Errorf("trust after the restart: %q", got)
	}
	if strings.Contains(second.logs.String(), "authority made") {
		t.Errorf("an authority was made anew:\n%s", second.logs)
	}

	// A mesh that is deleted does not come back while another is there.
	if _, err := second.Delete(t.Context(), "meshes", "default", ""); err != nil {
		t.Fatal(err)
	}
	second.stop()
	if got := start(t, dir).names(t, "meshes", "default"); got != "payments" {
		t.Errorf("meshes after the deletion and a restart: %q", got)
	}
}

func TestRemoveMesh(t *testing.T) {
	cp := start(t, t.TempDir())
	if _, err := cp.Apply(t.Context(), []byte(aMesh)); err != nil {
		t.Fatal(err)
	}
	for _, mesh := range []string{"default", "payments"} {
		if _, err := cp.CreateToken(t.Context(), rest.TokenRequest{Type: "dataplane", Mesh: mesh, Name: "a", Service: "a"}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := cp.Delete(t.Context(), "meshes", "default", ""); err != nil {
		t.Fatal(err)
	}
	// The operator's own token was stored under it, and still works; the dataplane's is gone.
	tokens, err := cp.Tokens(t.Context(), "*")
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, r := range tokens {
		spec := r.Spec.(*resource.Token)
		left = append(left, r.Mesh()+" "+spec.Type)
	}
	if got := strings.Join(left, ", "); got != "default user, payments dataplane" {
		t.Errorf("tokens left: %s", got)
	}
	if got := cp.names(t, "meshtlses", "payments"); got == "" {
		t.Error("the other mesh lost its policies")
	}
	// It can be made again, with a new authority.
	if _, err := cp.Apply(t.Context(), []byte("apiVersion: hauberk.io/v1alpha1\nkind: Mesh\nmetadata: {name: default}\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := cp.CreateToken(t.Context(), rest.TokenRequest{Type: "dataplane", Name: "a", Service: "a"}); err != nil {
		t.Error(err)
	}
}

// TestForgetMeshes: what is in memory of a mesh goes with it, and not when it merely changes.
func TestForgetMeshes(t *testing.T) {
	updates := make(chan *world.Update, 2)
	changed := map[string]*world.Change{"a": {MeshWide: true}, "b": {MeshWide: true}}
	updates <- &world.Update{New: &world.World{Meshes: map[string]*world.Mesh{"a": {}, "b": {}}}, Changed: changed}
	updates <- &world.Update{New: &world.World{Meshes: map[string]*world.Mesh{"b": {}}}, Changed: changed}
	close(updates)
	var forgotten []string
	forgetMeshes(updates, func(mesh string) { forgotten = append(forgotten, mesh) })
	if !slices.Equal(forgotten, []string{"a"}) {
		t.Errorf("forgotten: %v", forgotten)
	}
}

// TestStrangersAtTheDoors: bytes that are no TLS, plain HTTP, a connection that says nothing: nothing comes of it.
func TestStrangersAtTheDoors(t *testing.T) {
	cp := start(t, t.TempDir())
	for _, addr := range []string{cp.Addresses().API, cp.Addresses().XDS} {
		for _, hello := range []string{"", "GET / HTTP/1.1\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\x16\x03\x01\xff\xff"} {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Write([]byte(hello)); err != nil {
				t.Error(err)
			}
			conn.Close()
		}
		if _, err := tls.Dial("tcp", addr, &tls.Config{MaxVersion: tls.VersionTLS12, InsecureSkipVerify: true}); err == nil {
			t.Errorf("%s speaks TLS 1.2", addr)
		}
	}
	if _, err := cp.Version(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestAuthorityFollowsTheMesh: a mesh that is applied has an authority without anybody having joined.
func TestAuthorityFollowsTheMesh(t *testing.T) {
	cp := start(t, t.TempDir())
	if _, err := cp.Apply(t.Context(), []byte(aMesh)); err != nil {
		t.Fatal(err)
	}
	cp.awaitTrust(t, "payments")
}

// awaitTrust waits until a mesh has its authority, which follows the Mesh.
func (r *running) awaitTrust(t *testing.T, mesh string) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for r.names(t, "meshtrusts", mesh) == "" {
		if time.Now().After(deadline) {
			t.Fatalf("no MeshTrust came\n%s", r.logs)
		}
		time.Sleep(5 * time.Millisecond) // the API can only be asked
	}
}

func TestAddressesAreLeft(t *testing.T) {
	cp := start(t, t.TempDir())
	b, err := os.ReadFile(filepath.Join(cp.dir, AddressesFile))
	if err != nil {
		t.Fatal(err)
	}
	var a Addresses
	if err := json.Unmarshal(b, &a); err != nil || a != cp.Addresses() || strings.HasSuffix(a.API, ":0") {
		t.Errorf("%s, %v; want %+v", b, err, cp.Addresses())
	}
}

func TestNewRefuses(t *testing.T) {
	good := Config{DataDir: "d", Kinds: kinds(), Keys: memory.New(), DefaultPolicies: all.DefaultResources}
	for what, spoil := range map[string]func(*Config){
		"no data dir": func(c *Config) { c.DataDir = "" },
		"store":       func(c *Config) { c.Store = "postgres" },
		"keys":        func(c *Config) { c.Keys = nil },
	} {
		c := good
		spoil(&c)
		if _, err := New(c); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
	if _, err := New(good); err != nil {
		t.Error(err)
	}
}

func TestPortIsTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dir := filepath.Join(t.TempDir(), "data")
	cp, err := New(Config{DataDir: dir, APIAddr: l.Addr().String(), XDSAddr: "127.0.0.1:0", Kinds: kinds(), Keys: memory.New(), DefaultPolicies: all.DefaultResources})
	if err != nil {
		t.Fatal(err)
	}
	if err := cp.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "another control plane") {
		t.Errorf("error: %v", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) > 0 {
		t.Errorf("the data was touched: %v", entries)
	}
}

// buffer is a log that may be read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *buffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *buffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
