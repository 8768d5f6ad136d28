package tls

import (
	"crypto/x509"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestCacheHonoursExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority(t, "a.default.mesh.local")
		s := a.leaf(t, "web", nil)
		trust := &newSide(t, nil, a.bundle()).trust
		chain := []*x509.Certificate{s.Certificate.Leaf, a.mid}
		for range 2 {
			if id, err := trust.VerifyClient(chain); err != nil || id != s.ID {
				t.Fatal(id, err)
			}
		}
		time.Sleep(2 * time.Minute) // the leaf lives one
		if _, err := trust.VerifyClient(chain); err == nil || !strings.Contains(err.Error(), "expired") {
			t.Errorf("after the leaf's end: %v", err)
		}
	})
}

// A chain that was found good in one role says nothing about the other.
func TestCacheKnowsRoles(t *testing.T) {
	a := newAuthority(t, "a.default.mesh.local")
	s := a.leaf(t, "web", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })
	trust := &newSide(t, nil, a.bundle()).trust
	chain := []*x509.Certificate{s.Certificate.Leaf, a.mid}
	if _, err := trust.VerifyClient(chain); err != nil {
		t.Fatal(err)
	}
	if _, err := trust.VerifyServer(chain, []string{s.ID}); err == nil {
		t.Error("a client's leaf was accepted of a server")
	}
}

func TestSeedYieldsToBundles(t *testing.T) {
	a, b := newAuthority(t, "a.org"), newAuthority(t, "b.org")
	var trust Trust
	trust.SetRevoked([]string{"spiffe://a.org/x"})
	domains := func() string {
		var out []string
		for _, b := range trust.Bundles() {
			out = append(out, b.TrustDomain)
		}
		return strings.Join(out, " ")
	}
	trust.Seed([]Bundle{a.bundle()})
	if domains() != "a.org" {
		t.Errorf("seeded, it trusts %q", domains())
	}
	trust.SetBundles([]Bundle{b.bundle(), a.bundle()})
	trust.Seed([]Bundle{a.bundle()})
	if domains() != "a.org b.org" {
		t.Errorf("a late seed left %q", domains())
	}
	if !trust.Revoked("spiffe://a.org/x") {
		t.Error("bundles have undone a revocation")
	}
	c := newAuthority(t, "c.org")
	trust.Add([]Bundle{c.bundle(), a.bundle()})
	if domains() != "a.org b.org c.org" || len(trust.Bundles()[0].Certificates) != 1 {
		t.Errorf("after an addition it trusts %q", domains())
	}
	trust.SetBundles([]Bundle{b.bundle(), a.bundle()})
	clone := trust.Clone()
	clone.SetBundles(nil)
	if domains() != "a.org b.org" || len(clone.Bundles()) != 0 {
		t.Error("a clone is not apart")
	}
}

func TestBundlesMustBeAuthorities(t *testing.T) {
	a := newAuthority(t, "a.org")
	leaf := a.leaf(t, "web", nil).Certificate.Leaf
	var trust Trust
	if err := trust.SetBundles([]Bundle{{TrustDomain: "a.org", Certificates: []*x509.Certificate{leaf}}}); err == nil {
		t.Error("a leaf was taken for an authority")
	}
	if err := trust.SetBundles([]Bundle{{TrustDomain: "A b"}}); err == nil {
		t.Error("a bad trust domain was taken")
	}
}

func TestNewSVIDChecksTheKey(t *testing.T) {
	a := newAuthority(t, "a.org")
	s := a.leaf(t, "web", nil)
	chain := []*x509.Certificate{s.Certificate.Leaf, a.mid}
	if _, err := NewSVID(chain, newKey(t)); err == nil || !strings.Contains(err.Error(), "not the one") {
		t.Errorf("another key: %v", err)
	}
	if _, err := NewSVID(nil, newKey(t)); err == nil {
		t.Error("no chain was taken")
	}
}

func BenchmarkVerify(b *testing.B) {
	a := newAuthority(b, "a.default.mesh.local")
	s := a.leaf(b, "web", nil)
	chain := []*x509.Certificate{s.Certificate.Leaf, a.mid}
	trust := &newSide(b, nil, a.bundle()).trust
	b.Run("cached", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := trust.VerifyClient(chain); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("new", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			forget(trust)
			if _, err := trust.VerifyClient(chain); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// A stranger chooses every word of its certificates: what it says must not fill the log.
func TestRefusalsAreShort(t *testing.T) {
	long := strings.Repeat("x", 50_000)
	us, them := newAuthority(t, "mesh.local"), newAuthority(t, "mesh.local")
	them.mid.Subject.CommonName = long
	for name, leaf := range map[string]*SVID{
		"path":   them.leaf(t, long, nil),
		"query":  them.leaf(t, "cart", func(c *x509.Certificate) { c.URIs[0].RawQuery = long }),
		"scheme": them.leaf(t, "cart", func(c *x509.Certificate) { c.URIs[0].Scheme = long }),
		"issuer": them.leaf(t, "cart", nil),
	} {
		side := newSide(t, nil, us.bundle())
		_, err := side.trust.VerifyClient([]*x509.Certificate{leaf.Certificate.Leaf, them.mid})
		if err == nil || len(err.Error()) > 2*maxReason {
			t.Errorf("%s: %d bytes", name, len(err.Error()))
		}
	}
}
