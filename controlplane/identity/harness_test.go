package identity

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"testing"

	keymemory "github.com/hauberk-mesh/hauberk/accel/keyprovider/memory"
	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/api/resource"
	"github.com/hauberk-mesh/hauberk/controlplane/identity/ca"
	"github.com/hauberk-mesh/hauberk/controlplane/store"
	"github.com/hauberk-mesh/hauberk/controlplane/store/memory"
	"github.com/hauberk-mesh/hauberk/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// plane is the identity side of a control plane on a memory store, without its ports.
type plane struct {
	ctx       context.Context
	store     store.Store
	registry  *api.Registry
	resources *store.Resources
	keys      *keymemory.Provider
	authority *ca.Builtin
	tokens    *Tokens
	service   *Service
	log       *logBuffer
	logger    *slog.Logger
}

func newPlane(t testing.TB) *plane {
	t.Helper()
	log := &logBuffer{}
	p := &plane{
		ctx: t.Context(), registry: api.NewRegistry(resource.Kinds()...), keys: keymemory.New(), log: log,
		logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	p.store = memory.New(memory.Options{})
	t.Cleanup(func() { p.store.Close() })
	p.resources = store.NewResources(p.store, p.registry)
	p.addMesh(t, "default")
	p.addMesh(t, "other")
	p.start(t)
	return p
}

// start makes everything that reads its state from the store, as a (re)start of the control plane does.
func (p *plane) start(t testing.TB) {
	t.Helper()
	tokens, err := NewTokens(p.ctx, TokensOptions{Store: p.store, Resources: p.resources, Keys: p.keys, Logger: p.logger})
	if err != nil {
		t.Fatal(err)
	}
	p.tokens = tokens
	p.authority = ca.NewBuiltin(ca.Options{Store: p.store, Resources: p.resources, Keys: p.keys, Logger: p.logger})
	p.service = NewService(ServiceOptions{Authority: p.authority, Resources: p.resources, Logger: p.logger})
}

func (p *plane) addMesh(t testing.TB, name string) {
	t.Helper()
	p.put(t, &api.Resource{APIVersion: api.APIVersion, Kind: "Mesh", Metadata: api.Meta{Name: name}, Spec: &resource.Mesh{}})
	p.put(t, &api.Resource{
		APIVersion: api.APIVersion, Kind: "MeshIdentity",
		Metadata: api.Meta{Name: "identity", Labels: map[string]string{api.LabelMesh: name}},
		Spec:     &resource.MeshIdentity{Provider: resource.IdentityProvider{Type: "Bundled"}},
	})
}

func (p *plane) put(t testing.TB, r *api.Resource) {
	t.Helper()
	if _, err := p.resources.Put(t.Context(), r); err != nil {
		t.Fatal(err)
	}
}

func (p *plane) dataplaneToken(t testing.TB, c DataplaneClaims) (string, DataplaneClaims) {
	t.Helper()
	token, c, err := p.tokens.IssueDataplane(p.ctx, c, 0)
	if err != nil {
		t.Fatal(err)
	}
	return token, c
}

// logBuffer is a log that a test may read while others write.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
