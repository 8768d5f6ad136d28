package tls

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// known tells whether a Trust believes a chain without checking a signature.
func known(tr *Trust, chain []*x509.Certificate, peer role) bool {
	_, ok := tr.load().verified.find(sumOf(chain, peer), time.Now())
	return ok
}

// TestChangesEmptyTheCache: other bundles and other revocations, more of them or fewer, and the same ones again, which change
// nothing. A clone goes its own way.
func TestChangesEmptyTheCache(t *testing.T) {
	a, b := newAuthority(t, "a.org"), newAuthority(t, "b.org")
	s := a.leaf(t, "web", nil)
	chain := []*x509.Certificate{s.Certificate.Leaf, a.mid}
	trust := &newSide(t, nil, a.bundle()).trust
	learn := func() {
		t.Helper()
		if id, err := trust.VerifyClient(chain); err != nil || id != s.ID || !known(trust, chain, asClient) {
			t.Fatalf("%q, %v, known %t", id, err, known(trust, chain, asClient))
		}
	}
	for _, c := range []struct {
		name   string
		change func() error
		stays  bool
	}{
		{"the same bundle", func() error { return trust.SetBundles([]Bundle{a.bundle()}) }, true},
		{"the same, said twice", func() error { return trust.SetBundles([]Bundle{a.bundle(), a.bundle()}) }, true},
		{"another domain's", func() error { return trust.SetBundles([]Bundle{a.bundle(), b.bundle()}) }, false},
		{"in another order", func() error { return trust.SetBundles([]Bundle{b.bundle(), a.bundle()}) }, true},
		{"more for the same domain", func() error {
			return trust.SetBundles([]Bundle{a.bundle(), {TrustDomain: "a.org", Certificates: []*x509.Certificate{b.root}}})
		}, false},
		{"an addition", func() error { return trust.Add([]Bundle{b.bundle()}) }, false},
		{"a seed, too late", func() error { return trust.Seed([]Bundle{b.bundle()}) }, true},
		{"a revocation", func() error { trust.SetRevoked([]string{"spiffe://a.org/other"}); return nil }, false},
		{"the same revocation", func() error { trust.SetRevoked([]string{"spiffe://a.org/other"}); return nil }, true},
		{"another revocation", func() error { trust.SetRevoked([]string{"spiffe://a.org/another"}); return nil }, false},
		{"none", func() error { trust.SetRevoked(nil); return nil }, false},
		{"nobody's clone", func() error { return trust.Clone().SetBundles(nil) }, true},
	} {
		learn()
		if err := c.change(); err != nil {
			t.Fatal(c.name, err)
		}
		if known(trust, chain, asClient) != c.stays {
			t.Errorf("after %s the chain is known: %t", c.name, !c.stays)
		}
	}
	learn()
	trust.SetRevoked([]string{s.ID})
	if _, err := trust.VerifyClient(chain); err == nil || !strings.Contains(err.Error(), "revoked") {
		t.Errorf("revoked: %v", err)
	}
	trust.SetRevoked(nil)
	learn()
	if err := trust.SetBundles([]Bundle{b.bundle()}); err != nil {
		t.Fatal(err)
	}
	if _, err := trust.VerifyClient(chain); err == nil || !strings.Contains(err.Error(), "not trusted here") {
		t.Errorf("without its bundle: %v", err)
	}
	if known(trust, chain, asServer) || known(trust, chain[:1], asClient) {
		t.Error("another role or another chain is known")
	}
}

// TestCacheHonoursTheWholePath: an intermediate that ends before its leaf does, or begins after it, is seen at each handshake.
func TestCacheHonoursTheWholePath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority(t, "a.org") // for an hour
		s := a.leaf(t, "web", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(48 * time.Hour) })
		chain := []*x509.Certificate{s.Certificate.Leaf, a.mid}
		trust := &newSide(t, nil, a.bundle()).trust
		if _, err := trust.VerifyClient(chain); err != nil {
			t.Fatal(err)
		}
		if _, ok := trust.load().verified.find(sumOf(chain, asClient), a.mid.NotBefore.Add(-time.Second)); ok {
			t.Error("it was good before its intermediate was")
		}
		time.Sleep(time.Hour + time.Second)
		if _, err := trust.VerifyClient(chain); err == nil || !strings.Contains(err.Error(), "does not lead") {
			t.Errorf("after the intermediate's end: %v", err)
		}
	})
}

// TestRefusedAreNotKept: strangers get nothing into the cache.
func TestRefusedAreNotKept(t *testing.T) {
	a, b := newAuthority(t, "a.org"), newAuthority(t, "a.org")
	trust := &newSide(t, nil, a.bundle()).trust
	for range 10 {
		if _, err := trust.VerifyClient([]*x509.Certificate{b.leaf(t, "web", nil).Certificate.Leaf, b.mid}); err == nil {
			t.Fatal("a stranger was believed")
		}
	}
	if c := &trust.load().verified; len(c.young)+len(c.old) != 0 {
		t.Errorf("%d entries", len(c.young)+len(c.old))
	}
}

// TestCacheIsBounded: chains that come once push each other out, and not those that are used.
func TestCacheIsBounded(t *testing.T) {
	var c chainCache
	now := time.Now()
	v := verified{id: "x", from: now, until: now.Add(time.Hour)}
	sum := func(i int) (s chainSum) {
		s[0], s[1], s[2], s[3] = byte(i), byte(i>>8), byte(i>>16), 1
		return s
	}
	used := chainSum{0xff}
	c.add(used, v)
	for i := range 5 * cacheHalf {
		c.add(sum(i), v)
		if i%(cacheHalf/2) == 0 {
			if _, ok := c.find(used, now); !ok {
				t.Fatalf("what is used is gone after %d others", i)
			}
		}
		if n := len(c.young) + len(c.old); n > 2*cacheHalf {
			t.Fatalf("%d entries", n)
		}
	}
	if _, ok := c.find(sum(0), now); ok {
		t.Error("what came once is kept for ever")
	}
	if _, ok := c.find(sum(5*cacheHalf-1), now); !ok {
		t.Error("what came last is gone")
	}
	if _, ok := c.find(used, now.Add(time.Hour+1)); ok {
		t.Error("it outlives its time")
	}
}

// TestCRLReload: a list that is read anew is a new judge, who knows no chain.
func TestCRLReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := newSigner(t, "root", 1, nil)
		chain := []*x509.Certificate{root.leaf(t, 3)}
		path := filepath.Join(t.TempDir(), "crl.pem")
		write := func(serials ...int64) {
			text := pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: root.list(t, time.Hour, serials...).Raw})
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write()
		file, err := NewWatched([]string{path}, func() (*Authorities, error) {
			text, err := os.ReadFile(path)
			if err != nil {
				return nil, err
			}
			lists, err := ParseCRLs(text)
			return NewAuthorities([]*x509.Certificate{root.cert}, lists, false), err
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		peer := &Validation{Authorities: file.Get}
		for range 2 {
			if err := peer.check(chain, asServer, ""); err != nil {
				t.Fatal(err)
			}
		}
		if _, ok := file.Get().verified.find(sumOf(chain, asServer), time.Now()); !ok {
			t.Error("a good chain was not kept")
		}
		write(3)
		time.Sleep(checkEvery)
		if err := peer.check(chain, asServer, ""); err == nil || !strings.Contains(err.Error(), "is revoked since") {
			t.Errorf("after the list was replaced: %v", err)
		}
	})
}

// BenchmarkMutualHandshake is both ends of a mutual handshake between two proxies: with what each knows of the other's chain and
// without, and with each key exchange.
func BenchmarkMutualHandshake(b *testing.B) {
	for _, c := range []struct {
		name  string
		keeps bool
		opts  Options
	}{
		{"P-256/known", true, Options{}}, {"P-256/new", false, Options{}}, {"SecP256r1MLKEM768/known", true, Options{PostQuantum: true}},
		{"X25519/known", true, Options{Curves: []tls.CurveID{tls.X25519}}}, {"X25519MLKEM768/known", true, Options{Curves: []tls.CurveID{tls.X25519MLKEM768}}},
	} {
		b.Run(c.name, func(b *testing.B) {
			a := newAuthority(b, "a.org")
			forever := func(c *x509.Certificate) { c.NotAfter = time.Now().Add(time.Hour) }
			web, cart := newSide(b, a.leaf(b, "web", forever), a.bundle()), newSide(b, a.leaf(b, "cart", forever), a.bundle())
			client := ClientConfigWith(&web.id, &web.trust, []string{cart.id.ID()}, "", c.opts)
			server := ServerConfig(&cart.id, &cart.trust, c.opts)
			b.ReportAllocs()
			defer cpu(b)()
			for b.Loop() {
				if !c.keeps {
					forget(&web.trust)
					forget(&cart.trust)
				}
				stepped(b, client, server)
			}
		})
	}
}

func forget(tr *Trust) {
	now := tr.load()
	tr.current.Store(&trusted{bundles: now.bundles, final: now.final, revoked: now.revoked})
}

// stepped shakes hands over a pair of sockets.
func stepped(b *testing.B, client, server *tls.Config) {
	c, s := loopback(b)
	done := make(chan error, 1)
	y := NewServer(s, server)
	go func() { done <- y.Handshake() }()
	if err := NewClient(c, client).Handshake(); err != nil {
		b.Fatal(err)
	}
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	c.Close()
	s.Close()
}
