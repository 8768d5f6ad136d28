package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/api/resource"
	"github.com/hauberk-mesh/hauberk/controlplane/ir"
	"github.com/hauberk-mesh/hauberk/controlplane/report"
	"github.com/hauberk-mesh/hauberk/controlplane/store"
	"github.com/hauberk-mesh/hauberk/controlplane/store/memory"
	"github.com/hauberk-mesh/hauberk/controlplane/why"
	"github.com/hauberk-mesh/hauberk/controlplane/world"
	"github.com/hauberk-mesh/hauberk/internal/leak"
	"github.com/hauberk-mesh/hauberk/policy"
	"github.com/hauberk-mesh/hauberk/policy/all"
)

func TestMain(m *testing.M) { leak.Main(m) }

const goodToken = "token-of-alice"

// fixture is the API over a real store in memory, and over small stand-ins for everything that lives elsewhere.
type fixture struct {
	t       *testing.T
	handler http.Handler
	store   store.Store
	logs    *lockedBuffer

	// The tests set these.
	world     *world.World
	statuses  []ProxyStatus
	edges     []report.Edge
	decisions []report.Decision
	keys      map[string]report.KeyProvider
	// wantedKeys is what policies ask of every proxy.
	wantedKeys ir.KeyProvider
	wait       func(ctx context.Context, mesh string, generation uint64) (Propagation, error)
	verdict    why.Verdict
	issued     []TokenRequest
	revoked    []string
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	registry := api.NewRegistry(append(resource.Kinds(), all.Kinds()...)...)
	s := memory.New(memory.Options{})
	t.Cleanup(func() { _ = s.Close() })
	f := &fixture{t: t, store: s, logs: &lockedBuffer{}, world: &world.World{Meshes: map[string]*world.Mesh{}}}
	f.handler = Handler(Options{
		Registry: registry, Resources: store.NewResources(s, registry), Meshes: f, Worlds: f, Proxies: f, Reports: f, Policies: f, Credentials: f,
		Version: "v-test", Logger: slog.New(slog.NewTextHandler(f.logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	f.ok("POST", "/apply", "apiVersion: hauberk.io/v1alpha1\nkind: Mesh\nmetadata: {name: default}\n")
	return f
}

// do asks with a good token.
func (f *fixture) do(method, path, body string) *httptest.ResponseRecorder {
	return f.as("Bearer "+goodToken, method, Prefix+path, body)
}

func (f *fixture) as(authorization, method, path, body string) *httptest.ResponseRecorder {
	q := httptest.NewRequest(method, path, strings.NewReader(body))
	if authorization != "" {
		q.Header.Set("Authorization", authorization)
	}
	w := httptest.NewRecorder()
	f.handler.ServeHTTP(w, q)
	return w
}

// ok asks, wants a success, and returns the body.
func (f *fixture) ok(method, path, body string) []byte {
	f.t.Helper()
	w := f.do(method, path, body)
	if w.Code >= 300 {
		f.t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
	}
	return w.Body.Bytes()
}

// refused asks, wants a status, and returns the error.
func (f *fixture) refused(method, path, body string, status int) Error {
	f.t.Helper()
	w := f.do(method, path, body)
	var e Error
	if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || e.Message == "" || w.Code != status {
		f.t.Fatalf("%s %s: %d %s, want status %d and an error", method, path, w.Code, w.Body, status)
	}
	return e
}

func decode[T any](t *testing.T, body []byte) T {
	t.Helper()
	var v T
	d := json.NewDecoder(bytes.NewReader(body))
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return v
}

// Meshes

func (f *fixture) Defaults(mesh *api.Resource) ([]*api.Resource, error) {
	return []*api.Resource{{
		APIVersion: api.APIVersion, Kind: "MeshIdentity", Spec: &resource.MeshIdentity{Provider: resource.IdentityProvider{Type: "Bundled"}},
		Metadata: api.Meta{Name: "identity", Labels: map[string]string{api.LabelMesh: mesh.Metadata.Name, api.LabelOrigin: api.OriginDefault}},
	}}, nil
}

func (f *fixture) Remove(ctx context.Context, mesh string) (store.Revision, error) {
	return f.store.Txn(ctx, store.Op{Key: api.Key{Kind: "Mesh", Name: mesh}})
}

// Worlds

func (f *fixture) Current() *world.World { return f.world }

func (f *fixture) WaitFor(context.Context, store.Revision) (*world.World, error) { return f.world, nil }

// Proxies

func (f *fixture) Status(string) []ProxyStatus { return f.statuses }

func (f *fixture) Wait(ctx context.Context, mesh string, generation uint64) (Propagation, error) {
	return f.wait(ctx, mesh, generation)
}

// Reports

func (f *fixture) KeyProviders(string) map[string]report.KeyProvider { return f.keys }

func (f *fixture) Edges(string, time.Duration) []report.Edge { return f.edges }

func (f *fixture) Decisions(_ context.Context, _ string, dataplanes []string, q report.Filter) []report.Decision {
	var out []report.Decision
	for _, d := range f.decisions {
		for _, name := range dataplanes {
			if d.Dataplane == name && (q.RequestID == "" || q.RequestID == d.RequestID) &&
				(q.Peer == "" || q.Peer == d.Source || q.Peer == d.Destination) {
				out = append(out, d)
			}
		}
	}
	return out
}

// Policies

func (f *fixture) Proxy(m *world.Mesh, dataplane string) (*ir.Proxy, error) {
	d := m.Dataplanes[dataplane]
	if d == nil {
		return nil, errors.New("no such dataplane")
	}
	p := &ir.Proxy{Mesh: m.Name, Name: dataplane, Service: d.Service, SPIFFEID: d.SPIFFEID, KeyProvider: f.wantedKeys}
	for _, in := range d.Spec.Inbounds {
		p.Inbounds = append(p.Inbounds, &ir.Listener{
			Name: "inbound|" + in.Name, PortName: in.Name, Protocol: ir.Protocol(in.Protocol), Service: d.Service, ServicePort: in.Port,
			TLS: &ir.InboundTLS{Mode: ir.Strict}, Permission: &ir.Permission{},
		})
	}
	for _, o := range d.Spec.Outbounds {
		p.Outbounds = append(p.Outbounds, &ir.Listener{Service: o.BackendRef.Name, ServicePort: o.BackendRef.Port})
	}
	return p, nil
}

func (f *fixture) Explain(_ *world.Mesh, p *ir.Proxy) []policy.Contribution {
	return []policy.Contribution{{Kind: "MeshTimeout", On: "inbound|http", Field: "idleTimeout", Value: "2h", Origin: "MeshTimeout/slow"}}
}

func (f *fixture) Judge(why.Call) why.Verdict { return f.verdict }

func (f *fixture) Warnings(_ *world.Mesh, applied []*api.Resource) []string {
	return []string{fmt.Sprintf("looked at %d", len(applied))}
}

// Credentials

func (f *fixture) User(_ context.Context, bearer string) (string, error) {
	if bearer != goodToken {
		return "", errors.New("not good")
	}
	return "alice", nil
}

func (f *fixture) Issue(_ context.Context, t TokenRequest) (IssuedToken, error) {
	f.issued = append(f.issued, t)
	return IssuedToken{ID: "id-1", Token: "secret-token", Expires: time.Unix(0, 0).UTC()}, nil
}

func (f *fixture) RevokeToken(_ context.Context, id string) error {
	if id != "id-1" {
		return fmt.Errorf("token: %w", store.ErrNotFound)
	}
	f.revoked = append(f.revoked, id)
	return nil
}

func (f *fixture) RevokeIdentity(_ context.Context, mesh, id string) error {
	f.revoked = append(f.revoked, mesh+" "+id)
	return nil
}

// mesh fills the world with a client, and a server with one HTTP inbound.
func (f *fixture) mesh() *world.Mesh {
	dp := func(name, service string, spec *resource.Dataplane) *world.Dataplane {
		return &world.Dataplane{Name: name, Service: service, Spec: spec, SPIFFEID: "spiffe://default.default.mesh.local/workload/" + service}
	}
	m := &world.Mesh{
		Name: "default",
		Dataplanes: map[string]*world.Dataplane{
			"client-1": dp("client-1", "client", &resource.Dataplane{Outbounds: []resource.Outbound{{Port: 10001, BackendRef: api.BackendRef{Name: "server", Port: 80}}}}),
			"server-1": dp("server-1", "server", &resource.Dataplane{Inbounds: []resource.Inbound{{Name: "http", Port: 80, Protocol: "http"}}}),
		},
		Services: map[string]*world.Service{
			"server": {Name: "server", Generated: true, Ports: []world.Port{{Name: "http", Port: 80, Protocol: "http",
				Endpoints: &world.Endpoints{List: []world.Endpoint{{Dataplane: "server-1", Address: "127.0.0.1", Port: 15080}}}}}},
		},
		Policies: map[string][]*api.Resource{"MeshTimeout": {{Kind: "MeshTimeout", Metadata: api.Meta{Name: "slow"}}}},
	}
	f.world = &world.World{Generation: 7, Meshes: map[string]*world.Mesh{"default": m}}
	f.statuses = []ProxyStatus{{Dataplane: "client-1", Connected: true, Generation: 7}, {Dataplane: "server-1", Connected: true, Generation: 7}}
	return m
}

// lockedBuffer is a log that tests may read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

var _ io.Writer = (*lockedBuffer)(nil)
