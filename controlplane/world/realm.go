package world

import (
	"cmp"
	"log/slog"
	"maps"
	"slices"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/api/resource"
	"github.com/hauberk-mesh/hauberk/controlplane/store"
)

// realm is what the Builder keeps of one mesh between two steps: the resources by name, and the Mesh that was made of them.
// It exists as soon as any resource names the mesh, and is published only while there is the Mesh resource itself.
type realm struct {
	name string
	log  *slog.Logger

	resource    *api.Resource
	dataplanes  map[string]*api.Resource
	insights    map[string]*resource.DataplaneInsight
	explicit    map[string]*resource.MeshService
	identities  map[string]*resource.MeshIdentity
	trusts      map[string]*resource.MeshTrust
	revocations map[string]*resource.IdentityRevocation
	policies    map[string]map[string]*api.Resource
	unreadable  map[api.Key]string // why

	// members are the dataplanes of each service, so that a change of one dataplane rebuilds its services alone.
	members map[string]map[string]bool
	built   *Mesh
}

func newRealm(name string, log *slog.Logger) *realm {
	return &realm{
		name: name, log: log.With("mesh", name),
		dataplanes:  map[string]*api.Resource{},
		insights:    map[string]*resource.DataplaneInsight{},
		explicit:    map[string]*resource.MeshService{},
		identities:  map[string]*resource.MeshIdentity{},
		trusts:      map[string]*resource.MeshTrust{},
		revocations: map[string]*resource.IdentityRevocation{},
		policies:    map[string]map[string]*api.Resource{},
		unreadable:  map[api.Key]string{},
		members:     map[string]map[string]bool{},
		built: &Mesh{
			Name:       name,
			Dataplanes: map[string]*Dataplane{},
			Services:   map[string]*Service{},
			Policies:   map[string][]*api.Resource{},
			Consumers:  map[string]map[string]bool{},
		},
	}
}

// vacant tells whether nothing is left of the mesh.
func (r *realm) vacant() bool {
	policies := 0
	for _, p := range r.policies {
		policies += len(p)
	}
	return r.resource == nil && policies+len(r.dataplanes)+len(r.insights)+len(r.explicit)+
		len(r.identities)+len(r.trusts)+len(r.revocations)+len(r.unreadable) == 0
}

// rebuild makes the next Mesh: it shares with the last one all that t does not touch.
func (r *realm) rebuild(t *touched, at store.Revision) (*Mesh, *Change) {
	next := *r.built
	next.Generation, next.Resource = at, r.resource
	s := &step{realm: r, old: r.built, next: &next, change: newChange(), dirty: map[string]bool{}}
	s.change.MeshWide = t.mesh || t.identity || t.trust || t.revoked || t.unreadable
	if t.trust {
		next.Trust = r.sortedTrust()
	}
	if t.revoked {
		next.Revoked = r.sortedRevoked()
	}
	if t.identity {
		next.Identity = r.identityInForce()
	}
	if t.unreadable {
		next.Unreadable = r.sortedUnreadable()
	}
	s.policies(t.policies)
	s.dataplanes(t)
	s.services(t.services)
	r.built = &next
	return s.next, s.change
}

// identityInForce is, of several, the one whose name sorts first.
func (r *realm) identityInForce() *resource.MeshIdentity {
	if len(r.identities) == 0 {
		return nil
	}
	return r.identities[slices.Min(slices.Collect(maps.Keys(r.identities)))]
}

func (r *realm) sortedTrust() []*resource.MeshTrust {
	var list []*resource.MeshTrust
	for _, name := range slices.Sorted(maps.Keys(r.trusts)) {
		list = append(list, r.trusts[name])
	}
	slices.SortStableFunc(list, func(a, b *resource.MeshTrust) int { return cmp.Compare(a.TrustDomain, b.TrustDomain) })
	return list
}

func (r *realm) sortedRevoked() []string {
	var ids []string
	for _, v := range r.revocations {
		ids = append(ids, v.SpiffeID)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

func (r *realm) sortedUnreadable() []Unreadable {
	var list []Unreadable
	for key, reason := range r.unreadable {
		list = append(list, Unreadable{Key: key, Reason: reason})
	}
	slices.SortFunc(list, func(a, b Unreadable) int { return cmp.Compare(a.Key.String(), b.Key.String()) })
	return list
}

// step is one rebuild under way.
type step struct {
	*realm
	old, next *Mesh
	change    *Change
	dirty     map[string]bool // services to make anew
}

func (s *step) policies(kinds map[string]bool) {
	if len(kinds) == 0 {
		return
	}
	s.next.Policies = maps.Clone(s.old.Policies)
	for kind := range kinds {
		s.change.Policies[kind] = true
		var list []*api.Resource
		for _, name := range slices.Sorted(maps.Keys(s.realm.policies[kind])) {
			list = append(list, s.realm.policies[kind][name])
		}
		if list == nil {
			delete(s.next.Policies, kind)
		} else {
			s.next.Policies[kind] = list
		}
	}
}

// dataplanes makes those anew whose resource, insight or identity changed.
func (s *step) dataplanes(t *touched) {
	names := t.dataplanes
	if t.identity {
		names = maps.Clone(names)
		for name := range s.realm.dataplanes {
			names[name] = true
		}
	}
	if len(names) == 0 {
		return
	}
	s.next.Dataplanes = maps.Clone(s.old.Dataplanes)
	consumers := &consumers{of: s.old.Consumers}
	for name := range names {
		was, is := s.old.Dataplanes[name], s.makeDataplane(name)
		set(s.next.Dataplanes, name, is)
		if was != nil || is != nil {
			s.changed(name, was, is, consumers)
		}
	}
	s.next.Consumers = consumers.of
}

// changed notes what follows from a dataplane that was and is; nil where it came or went.
func (s *step) changed(name string, was, is *Dataplane, consumers *consumers) {
	if was == nil || is == nil || was.Resource != is.Resource {
		s.change.Dataplanes[name] = true
		consumers.update(name, was, is)
	}
	join := func(service string, member bool) {
		if !member && !s.members[service][name] {
			return
		}
		s.dirty[service] = true
		if !member {
			delete(s.members[service], name)
			return
		}
		if s.members[service] == nil {
			s.members[service] = map[string]bool{}
		}
		s.members[service][name] = true
	}
	for _, d := range []*Dataplane{was, is} {
		if d != nil && d.Service != "" && s.explicit[d.Service] == nil {
			join(d.Service, is != nil && is.Service == d.Service)
		}
	}
	for service, e := range s.explicit {
		join(service, is != nil && Serves(service, e, is))
	}
}

func (s *step) makeDataplane(name string) *Dataplane {
	res := s.realm.dataplanes[name]
	if res == nil {
		return nil
	}
	d := &Dataplane{
		Name:     name,
		Resource: res,
		Service:  resource.ServiceOf(res.Metadata),
		Workload: resource.WorkloadOf(res.Metadata),
		Zone:     resource.ZoneOf(res.Metadata),
	}
	if was := s.old.Dataplanes[name]; was != nil && was.Resource == res {
		d.Spec = was.Spec
	} else {
		d.Spec = spec[resource.Dataplane](res).WithDefaults()
	}
	if s.next.Identity != nil {
		id, err := s.next.Identity.SPIFFEIDOf(s.name, d.Zone, d.Workload)
		if err != nil { // without an identity nobody accepts it as a peer, which is the safe reading
			s.log.Error("dataplane has no identity", "dataplane", name, "error", err)
		}
		d.SPIFFEID = id
	}
	if insight := s.insights[name]; insight != nil {
		for _, in := range insight.Inbounds {
			if in.Ready {
				continue
			}
			if d.Unready == nil {
				d.Unready = map[string]string{}
			}
			d.Unready[in.Name] = in.Reason
		}
	}
	return d
}

// consumers is Mesh.Consumers, copied as far as it is changed.
type consumers struct {
	of     map[string]map[string]bool
	cloned map[string]bool // services whose set is ours to change; nil: not even the outer map is
}

func (c *consumers) update(name string, was, is *Dataplane) {
	before, after := destinations(was), destinations(is)
	for service := range before {
		if !after[service] {
			delete(c.own(service), name)
			if len(c.of[service]) == 0 {
				delete(c.of, service)
				delete(c.cloned, service)
			}
		}
	}
	for service := range after {
		if !before[service] {
			c.own(service)[name] = true
		}
	}
}

func (c *consumers) own(service string) map[string]bool {
	if c.cloned == nil {
		c.of, c.cloned = maps.Clone(c.of), map[string]bool{}
	}
	if !c.cloned[service] {
		clone := maps.Clone(c.of[service])
		if clone == nil {
			clone = map[string]bool{}
		}
		c.of[service], c.cloned[service] = clone, true
	}
	return c.of[service]
}

// destinations are the services that a dataplane has an outbound to, whether or not they exist.
func destinations(d *Dataplane) map[string]bool {
	if d == nil {
		return nil
	}
	names := map[string]bool{}
	for _, o := range d.Spec.Outbounds {
		if o.BackendRef.Kind == kindService {
			names[o.BackendRef.Name] = true
		}
	}
	return names
}
