package dataplane

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/hauberk-mesh/hauberk/accel/keyprovider"
	"github.com/hauberk-mesh/hauberk/accel/keyprovider/batch"
	"github.com/hauberk-mesh/hauberk/controlplane/ir"
)

// TestKeyProvider: what the mesh wants is used from then on, and taken back; what this proxy does not have refuses the generation.
func TestKeyProvider(t *testing.T) {
	m := newMesh(t)
	b := batch.New(batch.Options{})
	defer b.Close()
	cfg := m.config(t, "fe")
	cfg.MoreKeys = []keyprovider.Provider{b}
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	p.engine.Start(t.Context())
	t.Cleanup(func() {
		p.engine.Stop()
		p.engine.Graph().Release(nil)
	})
	wants := func(keys ir.KeyProvider) error {
		c := feConfig()
		c.KeyProvider = keys
		return m.apply(t, p, c)
	}
	for _, step := range []struct {
		wanted ir.KeyProvider
		want   string
	}{{"", "memory"}, {ir.KeysBatched, "batch"}, {ir.KeysBatched, "batch"}, {ir.KeysInMemory, "memory"}, {ir.KeysBatched, "batch"}, {"", "memory"}} {
		if err := wants(step.wanted); err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		p.Admin().ServeHTTP(w, httptest.NewRequest("GET", "http://127.0.0.1:9901/stats/prometheus", nil))
		if text := `provider="` + step.want + `"`; p.keys.Current().Name() != step.want || !strings.Contains(w.Body.String(), text) {
			t.Errorf("wanted %q, has %s", step.wanted, p.keys.Current().Name())
		}
	}
	// m.fe was started with memory alone.
	c := feConfig()
	c.KeyProvider = ir.KeysBatched
	if err := m.apply(t, m.fe, c); err == nil || err.Error() != `settings "settings": key_provider: this proxy has no key provider "batch", only memory` {
		t.Errorf("got %v", err)
	}
}
