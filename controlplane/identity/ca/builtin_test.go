package ca

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/hauberk-mesh/hauberk/accel/keyprovider"
	keymemory "github.com/hauberk-mesh/hauberk/accel/keyprovider/memory"
	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/api/resource"
	"github.com/hauberk-mesh/hauberk/controlplane/store"
	"github.com/hauberk-mesh/hauberk/controlplane/store/memory"
	"github.com/hauberk-mesh/hauberk/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

var _ Authority = (*Builtin)(nil)

type fixture struct {
	store     store.Store
	resources *store.Resources
}

func newFixture(t *testing.T) *fixture {
	s := memory.New(memory.Options{})
	t.Cleanup(func() { s.Close() })
	return &fixture{store: s, resources: store.NewResources(s, api.NewRegistry(resource.Kinds()...))}
}

func (f *fixture) builtin() *Builtin {
	return NewBuiltin(Options{Store: f.store, Resources: f.resources, Keys: keymemory.New(), Logger: slog.New(slog.DiscardHandler)})
}

func (f *fixture) setTrustDomain(t *testing.T, domain string) {
	t.Helper()
	_, err := f.resources.Put(t.Context(), &api.Resource{
		APIVersion: api.APIVersion, Kind: "MeshIdentity", Metadata: api.Meta{Name: "identity"},
		Spec: &resource.MeshIdentity{SpiffeID: &resource.SpiffeIDTemplate{TrustDomain: domain}, Provider: resource.IdentityProvider{Type: "Bundled"}},
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) trusts(t *testing.T, mesh string) map[string]*resource.MeshTrust {
	t.Helper()
	list, err := f.resources.List(t.Context(), "MeshTrust", mesh)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]*resource.MeshTrust{}
	for _, r := range list {
		out[r.Metadata.Name] = r.Spec.(*resource.MeshTrust)
	}
	return out
}

func leafFor(t *testing.T, id string, life time.Duration) Leaf {
	t.Helper()
	key, err := keymemory.New().Generate(t.Context(), keyprovider.ECDSAP256)
	if err != nil {
		t.Fatal(err)
	}
	return Leaf{ID: spiffeid.RequireFromString(id), Subject: pkix.Name{CommonName: "cart-1"}, PublicKey: key.Public(), Life: life}
}

func verify(b *Builtin, mesh string, chain []*x509.Certificate) error {
	_, roots, err := b.Roots(context.Background(), mesh)
	if err != nil {
		return err
	}
	o := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: time.Now(),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	for _, r := range roots {
		o.Roots.AddCert(r)
	}
	for _, c := range chain[1:] {
		o.Intermediates.AddCert(c)
	}
	_, err = chain[0].Verify(o)
	return err
}

func TestSign(t *testing.T) {
	f := newFixture(t)
	b, ctx := f.builtin(), t.Context()
	for _, mesh := range []string{"a", "b"} {
		if err := b.EnsureMesh(ctx, mesh); err != nil {
			t.Fatal(err)
		}
	}
	before := time.Now()
	chain, err := b.Sign(ctx, "a", leafFor(t, "spiffe://a.default.mesh.local/workload/cart", time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if err := verify(b, "a", chain); err != nil {
		t.Error(err)
	}
	if err := verify(b, "b", chain); err == nil {
		t.Error("a leaf of mesh a leads to the root of mesh b")
	}
	leaf := chain[0]
	if len(chain) != 2 || leaf.IsCA || !leaf.BasicConstraintsValid || leaf.KeyUsage != x509.KeyUsageDigitalSignature || len(leaf.ExtKeyUsage) != 2 {
		t.Errorf("chain of %d, leaf %+v", len(chain), leaf.KeyUsage)
	}
	if len(leaf.URIs) != 1 || len(leaf.DNSNames)+len(leaf.IPAddresses)+len(leaf.EmailAddresses) != 0 {
		t.Errorf("names %v %v", leaf.URIs, leaf.DNSNames)
	}
	if skew := before.Sub(leaf.NotBefore); skew < clockSkew-2*time.Second || skew > clockSkew+2*time.Second {
		t.Errorf("backdated by %s", skew)
	}
	if d := leaf.NotAfter.Sub(before.Add(time.Hour)); d < -2*time.Second || d > 5*time.Second {
		t.Errorf("ends %s from where it should", d)
	}
	// Even the authority itself can't speak for another domain.
	foreign, err := b.Sign(ctx, "a", leafFor(t, "spiffe://b.default.mesh.local/workload/cart", time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if err := verify(b, "a", foreign); err == nil {
		t.Error("an identity of another trust domain verifies")
	}
	if _, err := b.Sign(ctx, "a", leafFor(t, "spiffe://a.default.mesh.local/workload/cart", 0)); err == nil {
		t.Error("signed a leaf without a life")
	}
	if _, err := b.Sign(ctx, "unknown", leafFor(t, "spiffe://a.default.mesh.local/workload/cart", time.Hour)); err == nil {
		t.Error("signed for a mesh without an authority")
	}
}

func TestStartsAgree(t *testing.T) {
	f := newFixture(t)
	var starting sync.WaitGroup
	planes := make([]*Builtin, 4)
	for i := range planes {
		planes[i] = f.builtin()
		starting.Go(func() {
			if err := planes[i].EnsureMesh(context.Background(), "default"); err != nil {
				t.Error(err)
			}
		})
	}
	starting.Wait()
	_, first, err := planes[0].Roots(t.Context(), "default")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range planes[1:] {
		if _, roots, err := p.Roots(t.Context(), "default"); err != nil || !roots[0].Equal(first[0]) {
			t.Errorf("another root (%v)", err)
		}
	}
	trust := f.trusts(t, "default")
	if len(trust) != 1 || trust["identity"] == nil || !holds(trust["identity"], first[0]) || trust["identity"].TrustDomain != "default.default.mesh.local" {
		t.Errorf("trust %+v", trust)
	}
	_, at, _ := f.store.List(t.Context(), store.Selector{})
	if err := f.builtin().EnsureMesh(t.Context(), "default"); err != nil {
		t.Fatal(err)
	}
	if _, now, _ := f.store.List(t.Context(), store.Selector{}); now != at {
		t.Error("a start with nothing to do wrote something")
	}
}

func TestIntermediateIsRenewedAtHalfLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		b, ctx := f.builtin(), t.Context()
		ensure := func() []*x509.Certificate {
			t.Helper()
			if err := b.EnsureMesh(ctx, "default"); err != nil {
				t.Fatal(err)
			}
			chain, err := b.Sign(ctx, "default", leafFor(t, "spiffe://default.default.mesh.local/workload/cart", resource.MaxLeafExpiry))
			if err != nil {
				t.Fatal(err)
			}
			if err := verify(b, "default", chain); err != nil {
				t.Error(err)
			}
			return chain
		}
		first := ensure()
		time.Sleep(intermediateLife/2 - time.Hour)
		if again := ensure(); !again[1].Equal(first[1]) {
			t.Error("renewed before half life")
		}
		time.Sleep(2 * time.Hour)
		second := ensure()
		if second[1].Equal(first[1]) {
			t.Error("not renewed after half life")
		}
		// Without EnsureMesh an old authority still never signs beyond its own end.
		time.Sleep(intermediateLife - 24*time.Hour)
		last, err := b.Sign(ctx, "default", leafFor(t, "spiffe://default.default.mesh.local/workload/cart", resource.MaxLeafExpiry))
		if err != nil || last[0].NotAfter.After(last[1].NotAfter) {
			t.Errorf("leaf ends %v after its intermediate (%v)", last[0].NotAfter.Sub(last[1].NotAfter), err)
		}
	})
}

func TestTrustDomainChanges(t *testing.T) {
	f := newFixture(t)
	b, ctx := f.builtin(), t.Context()
	if err := b.EnsureMesh(ctx, "default"); err != nil {
		t.Fatal(err)
	}
	f.setTrustDomain(t, "example.org")
	if err := b.EnsureMesh(ctx, "default"); err != nil {
		t.Fatal(err)
	}
	chain, err := b.Sign(ctx, "default", leafFor(t, "spiffe://example.org/workload/cart", time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if err := verify(b, "default", chain); err != nil {
		t.Error(err)
	}
	domains := map[string]bool{}
	for _, trust := range f.trusts(t, "default") {
		domains[trust.TrustDomain] = true
	}
	if !domains["default.default.mesh.local"] || !domains["example.org"] || len(domains) != 2 {
		t.Errorf("trusted domains %v", domains)
	}
}

func TestUsersBundlesStay(t *testing.T) {
	f, other := newFixture(t), newFixture(t)
	b, ctx := f.builtin(), t.Context()
	if err := other.builtin().EnsureMesh(ctx, "default"); err != nil {
		t.Fatal(err)
	}
	// The user has replaced the authority's MeshTrust by one of another root in the same domain.
	theirs := other.trusts(t, "default")["identity"]
	_, err := f.resources.Put(ctx, &api.Resource{APIVersion: api.APIVersion, Kind: "MeshTrust", Metadata: api.Meta{Name: "identity"}, Spec: theirs})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.EnsureMesh(ctx, "default"); err != nil {
		t.Fatal(err)
	}
	if trust := f.trusts(t, "default")["identity"]; len(trust.CABundles) != 2 {
		t.Errorf("%d bundles instead of both", len(trust.CABundles))
	}
}
