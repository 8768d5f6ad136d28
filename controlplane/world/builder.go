package world

import (
	"fmt"
	"log/slog"
	"maps"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/api/resource"
	"github.com/hauberk-mesh/hauberk/controlplane/store"
)

// Builder makes each World from the one before and what a transaction changed. The cost of a step is that of what changed
// and of copying the pointers of one mesh's maps; it never reads the store.
// One goroutine at a time may use it; the Worlds that it gave are everybody's.
type Builder struct {
	registry *api.Registry
	log      *slog.Logger
	meshes   map[string]*realm
	world    *World
}

// NewBuilder begins with an empty World of generation 0.
func NewBuilder(registry *api.Registry, log *slog.Logger) *Builder {
	return &Builder{registry: registry, log: log, meshes: map[string]*realm{}, world: empty()}
}

func empty() *World { return &World{Meshes: map[string]*Mesh{}} }

// World is the newest.
func (b *Builder) World() *World { return b.world }

// Load takes all that a store holds at a revision. The Builder must be new.
func (b *Builder) Load(records []store.Record, at store.Revision) *Update {
	e := store.Event{Revision: at, Changes: make([]store.Change, len(records))}
	for i := range records {
		e.Changes[i] = store.Change{Key: records[i].Key, New: &records[i]}
	}
	return b.Apply(e)
}

// Apply makes the next World. Each transaction makes one, also one that no mesh takes notice of.
func (b *Builder) Apply(e store.Event) *Update {
	touched := map[string]*touched{}
	for _, c := range e.Changes {
		b.take(touched, c)
	}
	u := &Update{Old: b.world, New: &World{Generation: e.Revision, Meshes: b.world.Meshes}, Changed: map[string]*Change{}}
	if len(touched) > 0 {
		u.New.Meshes = maps.Clone(b.world.Meshes)
	}
	for name, t := range touched {
		r := b.meshes[name]
		m, change := r.rebuild(t, e.Revision)
		before := u.Old.Meshes[name]
		switch {
		case r.resource != nil:
			u.New.Meshes[name] = m
			if before == nil {
				change = everything(m)
			}
		case before != nil: // the Mesh is gone; what else there was of it waits for its return
			delete(u.New.Meshes, name)
			change = everything(before)
		default:
			change = nil
		}
		if !change.empty() {
			u.Changed[name] = change
		}
		if r.vacant() {
			delete(b.meshes, name)
		}
	}
	b.world = u.New
	return u
}

// take files one record under its mesh. What this build cannot read is left out, and if it could have said who may do what,
// the mesh says that it is: see Mesh.Unreadable.
func (b *Builder) take(all map[string]*touched, c store.Change) {
	kind, known := b.registry.Kind(c.Key.Kind)
	if !known || !indexed(kind) {
		return
	}
	var res *api.Resource
	var err error
	if c.New != nil {
		if res, err = store.DecodeRecord(b.registry, *c.New); err != nil {
			b.log.Error("a stored resource is left out", "key", c.Key.String(), "error", err)
			res = nil
		}
	}
	name := c.Key.Mesh
	if c.Key.Kind == kindMesh {
		name = c.Key.Name
	}
	if b.meshes[name] == nil {
		b.meshes[name] = newRealm(name, b.log)
	}
	if all[name] == nil {
		all[name] = &touched{dataplanes: map[string]bool{}, services: map[string]bool{}, policies: map[string]bool{}}
	}
	b.meshes[name].put(all[name], kind, c.Key.Name, res)
	if decides(kind) {
		b.meshes[name].note(all[name], c.Key, err)
	}
}

// decides tells whether a resource of the kind, or its absence, decides who may do what. Without a dataplane or a service
// there is only less to reach.
func decides(kind api.Kind) bool {
	switch kind.Name {
	case kindIdentity, kindTrust, kindRevocation:
		return true
	}
	return kind.IsPolicy
}

// The kinds beside policies that a World is made of.
const (
	kindMesh       = "Mesh"
	kindDataplane  = "Dataplane"
	kindInsight    = "DataplaneInsight"
	kindService    = "MeshService"
	kindIdentity   = "MeshIdentity"
	kindTrust      = "MeshTrust"
	kindRevocation = "IdentityRevocation"
)

func indexed(kind api.Kind) bool {
	switch kind.Name {
	case kindMesh, kindDataplane, kindInsight, kindService, kindIdentity, kindTrust, kindRevocation:
		return true
	}
	return kind.IsPolicy
}

// touched is what a transaction wrote in one mesh.
type touched struct {
	mesh, identity, trust, revoked bool
	unreadable                     bool
	dataplanes                     map[string]bool // themselves or their insight
	services                       map[string]bool // explicit ones
	policies                       map[string]bool // kinds
}

// put files a resource (nil: it is gone) and notes what has to be made anew.
func (r *realm) put(t *touched, kind api.Kind, name string, res *api.Resource) {
	switch kind.Name {
	case kindMesh:
		r.resource, t.mesh = res, true
	case kindDataplane:
		set(r.dataplanes, name, res)
		t.dataplanes[name] = true
	case kindInsight:
		set(r.insights, name, spec[resource.DataplaneInsight](res))
		t.dataplanes[name] = true
	case kindService:
		set(r.explicit, name, spec[resource.MeshService](res))
		t.services[name] = true
	case kindIdentity:
		set(r.identities, name, spec[resource.MeshIdentity](res))
		t.identity = true
	case kindTrust:
		set(r.trusts, name, spec[resource.MeshTrust](res))
		t.trust = true
	case kindRevocation:
		set(r.revocations, name, spec[resource.IdentityRevocation](res))
		t.revoked = true
	default:
		if r.policies[kind.Name] == nil {
			r.policies[kind.Name] = map[string]*api.Resource{}
		}
		set(r.policies[kind.Name], name, res)
		t.policies[kind.Name] = true
	}
}

// note keeps why a record could not be read; nil: it could, or is gone.
func (r *realm) note(t *touched, key api.Key, unreadable error) {
	was, known := r.unreadable[key]
	switch {
	case unreadable == nil && !known, unreadable != nil && known && was == unreadable.Error():
		return
	case unreadable == nil:
		delete(r.unreadable, key)
	default:
		r.unreadable[key] = unreadable.Error()
	}
	t.unreadable = true
}

// set stores a value, or removes the key for nil.
func set[T any](m map[string]*T, name string, v *T) {
	if v == nil {
		delete(m, name)
	} else {
		m[name] = v
	}
}

// spec is the resource's spec; nil for nil.
func spec[T any](res *api.Resource) *T {
	if res == nil {
		return nil
	}
	s, ok := res.Spec.(*T)
	if !ok { // the registry has another type under the kind's name: a mistake of the program
		panic(fmt.Sprintf("world: the spec of %s is a %T", res.Key(), res.Spec))
	}
	return s
}

// everything is the Change of a mesh that came or went.
func everything(m *Mesh) *Change {
	c := newChange()
	c.MeshWide = true
	for name := range m.Dataplanes {
		c.Dataplanes[name] = true
	}
	for name := range m.Services {
		c.Services[name] = true
		c.Endpoints[name] = true
	}
	for kind := range m.Policies {
		c.Policies[kind] = true
	}
	return c
}

func newChange() *Change {
	return &Change{Dataplanes: map[string]bool{}, Services: map[string]bool{}, Endpoints: map[string]bool{}, Policies: map[string]bool{}}
}

func (c *Change) empty() bool {
	return c == nil || !c.MeshWide && len(c.Dataplanes)+len(c.Services)+len(c.Endpoints)+len(c.Policies) == 0
}
