// Package dataplanes publishes connected proxies: a connected dataplane is a registered endpoint, and stays one for a lease
// after its connection is lost. It writes Dataplane resources (label origin "dataplane") and DataplaneInsights.
//
// It does not know how proxies connect, nor who they are: whoever calls Connect has authenticated them. It never deletes a
// Dataplane that a user has applied, and a control plane that starts withdraws nobody before a lease counted from its start
// has run out. Start at Manager.Connect.
package dataplanes

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/api/resource"
	"github.com/hauberk-mesh/hauberk/controlplane/store"
	"github.com/hauberk-mesh/hauberk/controlplane/world"
)

// DefaultLease is how long a dataplane stays published without a connection.
const DefaultLease = 30 * time.Second

// Worlds is what the Manager needs of world.Watcher.
type Worlds interface {
	WaitFor(ctx context.Context, revision store.Revision) (*world.World, error)
}

// Options of a Manager. All but Lease and Logger must be set.
type Options struct {
	Store    store.Store
	Registry *api.Registry
	World    Worlds
	Lease    time.Duration // default DefaultLease
	Logger   *slog.Logger  // default slog.Default
}

// Manager is the table of leases. Make it with New; Run it before proxies connect.
type Manager struct {
	store     store.Store
	resources *store.Resources
	registry  *api.Registry
	world     Worlds
	lease     time.Duration
	log       *slog.Logger

	// writing is held from the reading of what a write depends on to the end of the write, so that of two dataplanes that
	// contradict each other the second one sees the first. Taken before mu.
	writing sync.Mutex
	written store.Revision // guarded by writing: our last, which a World must have before it can be asked

	mu      sync.Mutex // guards all below
	table   map[id]*entry
	ctx     context.Context // of Run, for withdrawals; nil before
	stopped bool
}

// id names a dataplane in all meshes.
type id struct{ mesh, name string }

func (i id) key(kind string) api.Key { return api.Key{Kind: kind, Mesh: i.mesh, Name: i.name} }

// entry is a dataplane that is connected, or that was and has a lease, or that has told its readiness and connects soon.
type entry struct {
	session *Session    // the live one; nil: none
	lease   *time.Timer // nil: none is running
	left    bool        // it has withdrawn itself and drains; its session's end leaves nothing to withdraw
	// readiness that came before the registration; it is published with it, so that an endpoint which is not ready is
	// never published as ready.
	readiness []resource.InboundInsight
	// nextTell is when its readiness may be written again.
	nextTell time.Time
}

// New makes a Manager.
func New(o Options) *Manager {
	if o.Lease == 0 {
		o.Lease = DefaultLease
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return &Manager{
		store:     o.Store,
		resources: store.NewResources(o.Store, o.Registry),
		registry:  o.Registry,
		world:     o.World,
		lease:     o.Lease,
		log:       o.Logger,
		table:     map[id]*entry{},
	}
}

// Run gives a lease to every dataplane that an earlier control plane has published, and withdraws those whose lease runs
// out until ctx ends. Call it once.
func (m *Manager) Run(ctx context.Context) error {
	m.mu.Lock()
	m.ctx = ctx
	m.mu.Unlock()
	defer m.stop()

	records, _, err := m.store.List(ctx, store.Selector{Kind: kindDataplane})
	if err != nil {
		return m.ended(ctx, err)
	}
	m.mu.Lock()
	for _, r := range records {
		// One that this version cannot read is left alone: it may be a user's.
		if res, err := store.DecodeRecord(m.registry, r); err == nil && registered(res) {
			m.startLease(id{r.Key.Mesh, r.Key.Name})
		}
	}
	m.mu.Unlock()
	<-ctx.Done()
	return nil
}

func (m *Manager) ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("dataplanes: %w", err)
}

// stop ends all leases without withdrawing anybody, and waits for a withdrawal that is under way.
func (m *Manager) stop() {
	m.mu.Lock()
	m.stopped = true
	for _, e := range m.table {
		e.stopLease()
	}
	m.mu.Unlock()
	m.writing.Lock()
	defer m.writing.Unlock()
}

// Connected names the dataplanes of a mesh that have a live session.
func (m *Manager) Connected(mesh string) map[string]bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	names := map[string]bool{}
	for i, e := range m.table {
		if i.mesh == mesh && e.session != nil {
			names[i.name] = true
		}
	}
	return names
}

// startLease begins or renews the lease of a dataplane that is not connected. The caller holds mu.
func (m *Manager) startLease(i id) {
	e := m.entry(i)
	if m.stopped || e.session != nil {
		return
	}
	e.stopLease()
	e.lease = time.AfterFunc(m.lease, func() { m.expire(i, e) })
}

// entry finds or makes one. The caller holds mu.
func (m *Manager) entry(i id) *entry {
	if m.table[i] == nil {
		m.table[i] = &entry{}
	}
	return m.table[i]
}

func (e *entry) stopLease() {
	if e.lease != nil {
		e.lease.Stop()
		e.lease = nil
	}
}

// expire is the lease's end, in the timer's goroutine.
func (m *Manager) expire(i id, e *entry) {
	m.writing.Lock()
	defer m.writing.Unlock()
	m.mu.Lock()
	ctx := m.ctx
	over := !m.stopped && ctx != nil && m.table[i] == e && e.session == nil
	m.mu.Unlock()
	if !over {
		return // it came back while the timer fired
	}
	if err := m.withdraw(ctx, i); err != nil {
		if ctx.Err() != nil {
			return // the control plane stops; its next start gives new leases
		}
		m.log.Error("a dataplane whose lease ran out could not be withdrawn, and gets another lease", "mesh", i.mesh, "dataplane", i.name, "error", err)
		m.mu.Lock()
		m.startLease(i)
		m.mu.Unlock()
		return
	}
	m.log.Info("dataplane withdrawn, it did not come back within its lease", "mesh", i.mesh, "dataplane", i.name, "lease", m.lease)
}

// withdraw deletes what registration has written, and forgets the entry unless it has a live session. The caller holds
// writing.
func (m *Manager) withdraw(ctx context.Context, i id) error {
	if err := m.unpublish(ctx, i); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.table[i]; e != nil {
		e.stopLease()
		e.readiness = nil
		if e.left = true; e.session == nil {
			delete(m.table, i)
		}
	}
	return nil
}

func (m *Manager) unpublish(ctx context.Context, i id) error {
	for {
		record, err := m.store.Get(ctx, i.key(kindDataplane))
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		res, err := store.DecodeRecord(m.registry, record)
		if err != nil {
			return err
		}
		if !registered(res) {
			return nil // a user has applied it: it is not ours to delete
		}
		ops := []store.Op{{Key: record.Key, If: store.IfRevision(record.Revision)}}
		if insight, err := m.store.Get(ctx, i.key(kindInsight)); err == nil {
			ops = append(ops, store.Op{Key: insight.Key, If: store.IfRevision(insight.Revision)})
		}
		revision, err := m.store.Txn(ctx, ops...)
		if err == nil {
			m.written = revision
			return nil
		}
		if !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
}

const (
	kindDataplane = "Dataplane"
	kindInsight   = "DataplaneInsight"
)

// registered tells whether a Dataplane was written by this package.
func registered(res *api.Resource) bool {
	return res.Metadata.Labels[api.LabelOrigin] == api.OriginDataplane
}
