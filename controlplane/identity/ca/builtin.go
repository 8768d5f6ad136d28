package ca

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"sync"
	"time"

	"github.com/hauberk-mesh/hauberk/accel/keyprovider"
	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/controlplane/identity/secret"
	"github.com/hauberk-mesh/hauberk/controlplane/store"
)

const (
	rootLife         = 10 * 365 * 24 * time.Hour
	intermediateLife = 365 * 24 * time.Hour
	// clockSkew is how far a verifier's clock may be behind ours.
	clockSkew = 10 * time.Second
)

// Builtin is the authority inside the control plane: per mesh a root and one intermediate that signs the leaves, ECDSA
// P-256, kept in the store. The intermediate is constrained to the mesh's trust domain.
type Builtin struct {
	store     store.Store
	resources Resources
	keys      keyprovider.Provider
	zone      string
	logger    *slog.Logger

	mu     sync.Mutex // guards below
	opened map[string]*authority
}

// Options are what NewBuiltin needs. All but Zone are required.
type Options struct {
	Store     store.Store
	Resources Resources
	Keys      keyprovider.Provider
	Zone      string // default api.DefaultZone
	Logger    *slog.Logger
}

// NewBuiltin returns the authority. It makes nothing before EnsureMesh.
func NewBuiltin(o Options) *Builtin {
	if o.Zone == "" {
		o.Zone = api.DefaultZone
	}
	return &Builtin{
		store: o.Store, resources: o.Resources, keys: o.Keys, zone: o.Zone, logger: o.Logger,
		opened: map[string]*authority{},
	}
}

// authority is the opened keys of one mesh. Immutable.
type authority struct {
	root, intermediate       *x509.Certificate
	rootKey, intermediateKey keyprovider.Key
	// The revisions at which the two records were read: others mean that another control plane has renewed them.
	rootAt, intermediateAt store.Revision
}

func rootAt(mesh string) api.Key         { return secret.Key(mesh, "ca-root") }
func intermediateAt(mesh string) api.Key { return secret.Key(mesh, "ca-intermediate") }

// EnsureMesh implements Authority.
func (b *Builtin) EnsureMesh(ctx context.Context, mesh string) error {
	domain, err := b.trustDomain(ctx, mesh)
	if err != nil {
		return fmt.Errorf("authority of mesh %s: %w", mesh, err)
	}
	// Losing a race against another control plane shows as a conflict; what it wrote is then read.
	const attempts = 5
	for range attempts {
		if err = b.ensure(ctx, mesh, domain); !errors.Is(err, store.ErrConflict) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("authority of mesh %s: %w", mesh, err)
	}
	return nil
}

func (b *Builtin) ensure(ctx context.Context, mesh, domain string) error {
	a, err := b.open(ctx, mesh)
	if errors.Is(err, store.ErrNotFound) {
		if err := b.create(ctx, mesh, domain); err != nil {
			return err
		}
		a, err = b.open(ctx, mesh)
	}
	if err != nil {
		return err
	}
	if why := a.stale(domain, time.Now()); why != "" {
		if err := b.renew(ctx, mesh, domain, a, why); err != nil {
			return err
		}
	}
	return ensureTrust(ctx, b.resources, mesh, domain, a.root)
}

func (b *Builtin) trustDomain(ctx context.Context, mesh string) (string, error) {
	identity, err := InForce(ctx, b.resources, mesh)
	if err != nil {
		return "", err
	}
	return identity.TrustDomainOf(mesh, b.zone)
}

// open returns the mesh's keys, parsed again only when their records have changed.
func (b *Builtin) open(ctx context.Context, mesh string) (*authority, error) {
	root, err := b.store.Get(ctx, rootAt(mesh))
	if err != nil {
		return nil, fmt.Errorf("root: %w", err)
	}
	intermediate, err := b.store.Get(ctx, intermediateAt(mesh))
	if err != nil {
		return nil, fmt.Errorf("intermediate: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if a := b.opened[mesh]; a != nil && a.rootAt == root.Revision && a.intermediateAt == intermediate.Revision {
		return a, nil
	}
	a := &authority{rootAt: root.Revision, intermediateAt: intermediate.Revision}
	if a.rootKey, a.root, err = secret.Open(ctx, root, b.keys); err != nil {
		return nil, err
	}
	if a.intermediateKey, a.intermediate, err = secret.Open(ctx, intermediate, b.keys); err != nil {
		return nil, err
	}
	if a.root == nil || a.intermediate == nil {
		return nil, errors.New("a stored key has no certificate: the store is damaged")
	}
	b.opened[mesh] = a
	return a, nil
}

// create writes root and intermediate in one transaction, if nobody has before.
func (b *Builtin) create(ctx context.Context, mesh, domain string) error {
	rootKey, err := b.keys.Generate(ctx, keyprovider.ECDSAP256)
	if err != nil {
		return fmt.Errorf("root: %w", err)
	}
	now := time.Now()
	template := rootTemplate(mesh, now)
	root, err := sign(template, template, rootKey.Public(), rootKey)
	if err != nil {
		return fmt.Errorf("root: %w", err)
	}
	key, cert, err := b.newIntermediate(ctx, mesh, domain, root, rootKey, now)
	if err != nil {
		return err
	}
	first, err := secret.Op(rootAt(mesh), b.keys.Name(), rootKey, root, store.IfAbsent)
	if err != nil {
		return err
	}
	second, err := secret.Op(intermediateAt(mesh), b.keys.Name(), key, cert, store.IfAbsent)
	if err != nil {
		return err
	}
	if _, err := b.store.Txn(ctx, first, second); err != nil {
		return fmt.Errorf("store root and intermediate: %w", err)
	}
	b.logger.InfoContext(ctx, "authority made", "mesh", mesh, "trust_domain", domain, "root_expires", root.NotAfter, "intermediate_expires", cert.NotAfter)
	return nil
}

// stale says why the intermediate must be replaced; "" if it need not.
func (a *authority) stale(domain string, now time.Time) string {
	if len(a.intermediate.PermittedURIDomains) != 1 || a.intermediate.PermittedURIDomains[0] != domain {
		return "the mesh's trust domain is another now"
	}
	// A root in its last year can't give a longer one: then half of what there is must do.
	half := a.intermediate.NotBefore.Add(a.intermediate.NotAfter.Sub(a.intermediate.NotBefore) / 2)
	if now.After(half) {
		return "it has passed half its life"
	}
	return ""
}

func (b *Builtin) renew(ctx context.Context, mesh, domain string, a *authority, why string) error {
	now := time.Now()
	if !now.Before(a.root.NotAfter) {
		return fmt.Errorf("root expired at %s: rotate the authority", a.root.NotAfter.UTC().Format(time.RFC3339))
	}
	key, cert, err := b.newIntermediate(ctx, mesh, domain, a.root, a.rootKey, now)
	if err != nil {
		return err
	}
	op, err := secret.Op(intermediateAt(mesh), b.keys.Name(), key, cert, store.IfRevision(a.intermediateAt))
	if err != nil {
		return err
	}
	if _, err := b.store.Txn(ctx, op); err != nil {
		return fmt.Errorf("store intermediate: %w", err)
	}
	b.logger.InfoContext(ctx, "intermediate renewed", "mesh", mesh, "trust_domain", domain, "why", why, "expires", cert.NotAfter)
	return nil
}

func (b *Builtin) newIntermediate(ctx context.Context, mesh, domain string, root *x509.Certificate, rootKey keyprovider.Key, now time.Time) (keyprovider.Key, *x509.Certificate, error) {
	key, err := b.keys.Generate(ctx, keyprovider.ECDSAP256)
	if err != nil {
		return nil, nil, fmt.Errorf("intermediate: %w", err)
	}
	cert, err := sign(intermediateTemplate(mesh, domain, root, now), root, key.Public(), rootKey)
	if err != nil {
		return nil, nil, fmt.Errorf("intermediate: %w", err)
	}
	return key, cert, nil
}

// Sign implements Authority.
func (b *Builtin) Sign(ctx context.Context, mesh string, l Leaf) ([]*x509.Certificate, error) {
	a, err := b.open(ctx, mesh)
	if err != nil {
		return nil, fmt.Errorf("authority of mesh %s: %w", mesh, err)
	}
	if l.Life <= 0 {
		return nil, fmt.Errorf("authority of mesh %s: a leaf of %s has no life", mesh, l.Life)
	}
	now := time.Now()
	template := &x509.Certificate{
		Subject:               l.Subject,
		URIs:                  []*url.URL{l.ID.URL()},
		NotBefore:             now.Add(-clockSkew),
		NotAfter:              earlier(now.Add(l.Life), a.intermediate.NotAfter),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true, // and not a CA
	}
	leaf, err := sign(template, a.intermediate, l.PublicKey, a.intermediateKey)
	if err != nil {
		return nil, fmt.Errorf("authority of mesh %s: leaf of %s: %w", mesh, l.ID, err)
	}
	return []*x509.Certificate{leaf, a.intermediate}, nil
}

// Roots implements Authority.
func (b *Builtin) Roots(ctx context.Context, mesh string) (string, []*x509.Certificate, error) {
	a, err := b.open(ctx, mesh)
	if err != nil {
		return "", nil, fmt.Errorf("authority of mesh %s: %w", mesh, err)
	}
	return a.intermediate.PermittedURIDomains[0], []*x509.Certificate{a.root}, nil
}

// sign lets crypto/x509 choose a random serial number (RFC 5280 section 4.1.2.2).
func sign(template, parent *x509.Certificate, public any, signer keyprovider.Key) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, signer)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}
