package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/hauberk-mesh/hauberk/api"
)

// Resources is the typed layer over a Store. Kinds that are not in its registry do not exist for it: records of such kinds
// (secrets of the control plane, above all) are read and written through the Store and by nobody else.
//
// It keeps two fields of a resource's metadata: resourceVersion, which is the revision of the record and is not stored in
// it, and creationTimestamp, which is that of the first write whatever later ones say.
type Resources struct {
	store    Store
	registry *api.Registry
}

// NewResources makes the layer. Both arguments stay the caller's.
func NewResources(s Store, registry *api.Registry) *Resources {
	return &Resources{store: s, registry: registry}
}

// Outcome is what Apply did to one resource.
type Outcome string

// The outcomes, in the words of kubectl.
const (
	Created    Outcome = "created"
	Configured Outcome = "configured"
	Unchanged  Outcome = "unchanged"
)

// Result is the outcome of one resource of an ApplyResults.
type Result struct {
	Key     api.Key
	Outcome Outcome
}

// Get returns the resource or ErrNotFound.
func (r *Resources) Get(ctx context.Context, key api.Key) (*api.Resource, error) {
	if err := r.known(key.Kind); err != nil {
		return nil, err
	}
	record, err := r.store.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	return DecodeRecord(r.registry, record)
}

// List returns the resources of a kind sorted by key; mesh "" is all meshes. One that cannot be read is an error: whoever
// decides by a list must not take a part for the whole.
func (r *Resources) List(ctx context.Context, kind, mesh string) ([]*api.Resource, error) {
	if err := r.known(kind); err != nil {
		return nil, err
	}
	records, _, err := r.store.List(ctx, Selector{Kind: kind, Mesh: mesh})
	if err != nil {
		return nil, err
	}
	list := make([]*api.Resource, 0, len(records))
	for _, record := range records {
		res, err := DecodeRecord(r.registry, record)
		if err != nil {
			return nil, err
		}
		list = append(list, res)
	}
	return list, nil
}

// Put is Apply of one.
func (r *Resources) Put(ctx context.Context, res *api.Resource) (Revision, error) {
	return r.Apply(ctx, []*api.Resource{res})
}

// Apply creates or replaces all resources in one transaction, or none. A resource that carries a resourceVersion is
// refused with ErrConflict if the stored one has another. Those that change nothing are not written; if none changes
// anything, the revision is the present one.
func (r *Resources) Apply(ctx context.Context, all []*api.Resource) (Revision, error) {
	revision, _, err := r.ApplyResults(ctx, all)
	return revision, err
}

// ApplyResults is Apply that tells what it did, in the order of its argument.
func (r *Resources) ApplyResults(ctx context.Context, all []*api.Resource) (Revision, []Result, error) {
	for {
		p, err := r.plan(ctx, all)
		if err != nil {
			return 0, nil, err
		}
		if len(p.ops) == 0 {
			return p.read, p.results, nil
		}
		revision, err := r.store.Txn(ctx, p.ops...)
		if !errors.Is(err, ErrConflict) {
			return revision, p.results, err
		}
		// Somebody wrote between our reading and our writing. Read again: whether the caller minds, its resourceVersions say.
	}
}

// Create writes all resources in one transaction if none of them exists; otherwise ErrConflict, and nothing is written.
func (r *Resources) Create(ctx context.Context, all ...*api.Resource) (Revision, error) {
	ops := make([]Op, 0, len(all))
	for _, res := range all {
		op, err := r.Replace(nil, res)
		if err != nil {
			return 0, err
		}
		ops = append(ops, op)
	}
	return r.store.Txn(ctx, ops...)
}

// Replace is the Op that writes a resource in the place of a record (nil: where there is none), for a transaction that
// must not happen if somebody has written there meanwhile.
func (r *Resources) Replace(old *Record, res *api.Resource) (Op, error) {
	op := Op{Key: res.Key(), If: IfAbsent}
	if old != nil {
		op.If = IfRevision(old.Revision)
	}
	var err error
	op.Value, err = r.encode(res, old)
	return op, err
}

// Delete returns ErrNotFound where there is none.
func (r *Resources) Delete(ctx context.Context, key api.Key) (Revision, error) {
	if err := r.known(key.Kind); err != nil {
		return 0, err
	}
	return r.store.Txn(ctx, Op{Key: key})
}

// plan is what Apply would do to the store as it is now.
type plan struct {
	ops     []Op
	results []Result
	read    Revision // of the store when planning began
}

func (r *Resources) plan(ctx context.Context, all []*api.Resource) (p plan, err error) {
	if p.read, err = r.current(ctx); err != nil {
		return p, err
	}
	seen := make(map[api.Key]bool, len(all))
	for _, res := range all {
		key := res.Key()
		if seen[key] {
			return p, fmt.Errorf("%s is there twice", key)
		}
		seen[key] = true
		op, outcome, err := r.planOne(ctx, res)
		if err != nil {
			return p, err
		}
		p.results = append(p.results, Result{Key: key, Outcome: outcome})
		if outcome != Unchanged {
			p.ops = append(p.ops, op)
		}
	}
	return p, nil
}

func (r *Resources) planOne(ctx context.Context, res *api.Resource) (Op, Outcome, error) {
	key := res.Key()
	wanted, err := versionOf(res)
	if err != nil {
		return Op{}, "", err
	}
	old, err := r.store.Get(ctx, key)
	if errors.Is(err, ErrNotFound) {
		if wanted != 0 {
			return Op{}, "", fmt.Errorf("%s, which should be at %d, is gone: %w", key, wanted, ErrConflict)
		}
		op, err := r.Replace(nil, res)
		return op, Created, err
	}
	if err != nil {
		return Op{}, "", err
	}
	if wanted != 0 && wanted != old.Revision {
		return Op{}, "", fmt.Errorf("%s is at %d, not at %d: %w", key, old.Revision, wanted, ErrConflict)
	}
	op, err := r.Replace(&old, res)
	if err == nil && bytes.Equal(op.Value, old.Value) {
		return Op{}, Unchanged, nil
	}
	return op, Configured, err
}

// current is the present revision. Records of a kind that has no name do not exist, so that nothing is copied.
func (r *Resources) current(ctx context.Context) (Revision, error) {
	_, revision, err := r.store.List(ctx, Selector{Kind: "\x00"})
	return revision, err
}

// encode is the stored form: without the revision, which the record has, and with the creation time of the old one.
func (r *Resources) encode(res *api.Resource, old *Record) ([]byte, error) {
	created := time.Now().UTC().Truncate(time.Second)
	if old != nil {
		if was, err := DecodeRecord(r.registry, *old); err == nil && was.Metadata.CreationTime != nil {
			created = *was.Metadata.CreationTime
		}
	}
	stored := *res
	stored.Metadata.ResourceVersion, stored.Metadata.CreationTime = "", &created
	return r.registry.Encode(&stored)
}

func (r *Resources) known(kind string) error {
	if _, ok := r.registry.Kind(kind); !ok {
		return fmt.Errorf("kind %q is unknown to this build", kind)
	}
	return nil
}

// versionOf is the revision that a resource carries, 0 if none.
func versionOf(res *api.Resource) (Revision, error) {
	v := res.Metadata.ResourceVersion
	if v == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%s: metadata.resourceVersion %q is not a revision: remove it, or write it as get shows it", res.Key(), v)
	}
	return Revision(n), nil
}

// DecodeRecord makes the resource that a record holds, with its resourceVersion. An error means that a newer version of
// Hauberk wrote it, or that the kind is none of the registry's.
func DecodeRecord(registry *api.Registry, record Record) (*api.Resource, error) {
	res, err := registry.DecodeJSON(record.Value)
	if err != nil {
		return nil, fmt.Errorf("%s as stored at %d cannot be read: %w", record.Key, record.Revision, err)
	}
	if res.Key() != record.Key {
		return nil, fmt.Errorf("%s as stored at %d says that it is %s", record.Key, record.Revision, res.Key())
	}
	res.Metadata.ResourceVersion = strconv.FormatUint(uint64(record.Revision), 10)
	return res, nil
}
