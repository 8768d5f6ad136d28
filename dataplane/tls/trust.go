package tls

import (
	"crypto/x509"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// Bundle is the authorities of one trust domain.
type Bundle struct {
	TrustDomain  string
	Certificates []*x509.Certificate
}

func (b Bundle) same(o Bundle) bool {
	return b.TrustDomain == o.TrustDomain && slices.EqualFunc(b.Certificates, o.Certificates, (*x509.Certificate).Equal)
}

// Trust is whom the proxy believes at this moment. The zero value believes nobody. All methods are safe for concurrent
// use, and a verification sees bundles and revocations of one moment.
type Trust struct {
	mu      sync.Mutex // serialises writers
	current atomic.Pointer[trusted]
}

// trusted is one moment's truth: a generation of bundles with an epoch of revocations. Immutable but for its cache, which is
// as short-lived as it: whatever changes, nothing that was believed before is believed unseen.
type trusted struct {
	bundles *bundles
	final   bool // SetBundles has been called: Seed has no effect any more
	revoked map[string]struct{}

	verified chainCache
}

// bundles are authorities in the forms in which they are asked for.
type bundles struct {
	domains []string // sorted, for errors
	list    []Bundle
	pools   map[string]*x509.CertPool
}

// SetBundles replaces all bundles. Two of one trust domain add up. Each configuration says anew whom to trust, mostly the same:
// that changes nothing, and keeps what is known of chains.
func (t *Trust) SetBundles(list []Bundle) error { return t.setBundles(list, true) }

// Seed sets bundles until SetBundles is called for the first time: what came with an SVID or lay on disk serves until the
// configuration stream says what is true, and never overwrites that.
func (t *Trust) Seed(list []Bundle) error { return t.setBundles(list, false) }

// Add trusts more than before, until SetBundles is called next. A proxy that joins a control plane that has lost its store
// needs it: the configuration in force knows only the old authority, and none can come before the new SVID is used.
func (t *Trust) Add(list []Bundle) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.load()
	b, err := newBundles(slices.Concat(old.bundles.list, list))
	if err != nil {
		return err
	}
	t.current.Store(&trusted{bundles: b, final: old.final, revoked: old.revoked})
	return nil
}

func (t *Trust) setBundles(list []Bundle, final bool) error {
	b, err := newBundles(list)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.load()
	if old.final && !final {
		return nil
	}
	if old.final == final && slices.EqualFunc(old.bundles.list, b.list, Bundle.same) {
		return nil
	}
	t.current.Store(&trusted{bundles: b, final: final, revoked: old.revoked})
	return nil
}

// SetRevoked replaces the SPIFFE IDs whose handshakes are refused. The same ones again change nothing.
func (t *Trust) SetRevoked(ids []string) {
	revoked := make(map[string]struct{}, len(ids))
	for _, id := range ids {
		revoked[id] = struct{}{}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.load()
	if maps.Equal(old.revoked, revoked) {
		return
	}
	t.current.Store(&trusted{bundles: old.bundles, final: old.final, revoked: revoked})
}

// Clone returns a Trust that begins with what this one holds and goes its own way.
func (t *Trust) Clone() *Trust {
	c := new(Trust)
	c.current.Store(t.load())
	return c
}

// Bundles returns what is trusted now, sorted by trust domain. Shared: do not change it.
func (t *Trust) Bundles() []Bundle { return t.load().bundles.list }

// Revoked tells whether handshakes of a SPIFFE ID are refused.
func (t *Trust) Revoked(id string) bool {
	_, yes := t.load().revoked[id]
	return yes
}

var nobody = &trusted{bundles: &bundles{}} // immutable: without pools nothing is ever cached in it

func (t *Trust) load() *trusted {
	if c := t.current.Load(); c != nil {
		return c
	}
	return nobody
}

func newBundles(list []Bundle) (*bundles, error) {
	b := &bundles{pools: map[string]*x509.CertPool{}}
	certs := map[string][]*x509.Certificate{}
	for _, in := range list {
		td, err := spiffeid.TrustDomainFromString(in.TrustDomain)
		if err != nil {
			return nil, fmt.Errorf("trust bundle %q: is not of a trust domain: %w", in.TrustDomain, err)
		}
		for _, c := range in.Certificates {
			if !c.IsCA {
				return nil, fmt.Errorf("trust bundle of %s: certificate %q is not a CA", td, c.Subject)
			}
		}
		for _, c := range in.Certificates {
			if !slices.ContainsFunc(certs[td.Name()], c.Equal) {
				certs[td.Name()] = append(certs[td.Name()], c)
			}
		}
	}
	for name, all := range certs {
		pool := x509.NewCertPool()
		for _, c := range all {
			pool.AddCert(c)
		}
		b.pools[name] = pool
		b.domains = append(b.domains, name)
		b.list = append(b.list, Bundle{TrustDomain: name, Certificates: all})
	}
	slices.Sort(b.domains)
	slices.SortFunc(b.list, func(x, y Bundle) int { return strings.Compare(x.TrustDomain, y.TrustDomain) })
	return b, nil
}

// role is the side on which the peer stands.
type role uint8

const (
	asClient role = iota
	asServer
)

func (r role) usage() x509.ExtKeyUsage {
	if r == asServer {
		return x509.ExtKeyUsageServerAuth
	}
	return x509.ExtKeyUsageClientAuth
}

// VerifyClient checks the chain that a caller presented and returns its SPIFFE ID. The error is a *Refusal.
func (t *Trust) VerifyClient(chain []*x509.Certificate) (string, error) {
	return t.verify(chain, asClient)
}

// VerifyServer does the same for a server, which must besides be one of wanted. None wanted: nobody is acceptable.
func (t *Trust) VerifyServer(chain []*x509.Certificate, wanted []string) (string, error) {
	id, err := t.verify(chain, asServer)
	if err != nil {
		return id, err
	}
	if !slices.Contains(wanted, id) {
		return id, refuse(id, "wanted %s", oneOf(wanted))
	}
	return id, nil
}

// maxChain is how many certificates a peer may present: leaf and a few intermediates. Longer ones only cost CPU.
const maxChain = 6

// verify is X509-SVID validation (SPIFFE X509-SVID section 5): one SPIFFE ID in a leaf that is no CA, a chain to the
// bundle of that ID's own trust domain, and time. Another domain's bundle never counts, so a mesh can't speak for another.
func (t *Trust) verify(chain []*x509.Certificate, peer role) (string, error) {
	now, trust := time.Now(), t.load()
	if len(chain) == 0 {
		return "", refuse("", "it presented no certificate")
	}
	if len(chain) > maxChain {
		return "", refuse("", "it presented %d certificates, more than %d", len(chain), maxChain)
	}
	key := sumOf(chain, peer)
	if v, ok := trust.verified.find(key, now); ok {
		return v.id, nil
	}
	leaf := chain[0]
	spiffe, err := leafID(leaf)
	if err != nil {
		return "", refuse("", "its leaf %v", err)
	}
	id := spiffe.String()
	if _, yes := trust.revoked[id]; yes {
		return id, refuse(id, "that identity is revoked")
	}
	domain := spiffe.TrustDomain().Name()
	pool := trust.bundles.pools[domain]
	if pool == nil {
		return id, refuse(id, "trust domain %s is not trusted here, only %s", domain, oneOf(trust.bundles.domains))
	}
	if err := inTime(leaf, now); err != nil {
		return id, refuse(id, "%v", err)
	}
	intermediates := x509.NewCertPool()
	for _, c := range chain[1:] {
		intermediates.AddCert(c)
	}
	paths, err := leaf.Verify(x509.VerifyOptions{
		Roots: pool, Intermediates: intermediates, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{peer.usage()},
	})
	if err != nil {
		return id, refuse(id, "its chain does not lead to the bundle of %s: %v", domain, err)
	}
	from, until := span(paths[0])
	trust.verified.add(key, verified{id, from, until})
	return id, nil
}

func inTime(leaf *x509.Certificate, now time.Time) error {
	if now.After(leaf.NotAfter) {
		return fmt.Errorf("its leaf expired at %s, %s ago", leaf.NotAfter.UTC().Format(time.RFC3339), now.Sub(leaf.NotAfter).Round(time.Second))
	}
	if now.Before(leaf.NotBefore) {
		return fmt.Errorf("its leaf is not valid before %s, in %s: compare the clocks", leaf.NotBefore.UTC().Format(time.RFC3339), leaf.NotBefore.Sub(now).Round(time.Second))
	}
	return nil
}
