package world

import (
	"cmp"
	"maps"
	"slices"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/api/resource"
)

// services makes those anew that an explicit MeshService or a dataplane touched.
func (s *step) services(explicit map[string]bool) {
	for name := range explicit {
		s.members[name] = s.choose(name)
		s.dirty[name] = true
	}
	cloned := false
	for name := range s.dirty {
		if len(s.members[name]) == 0 {
			delete(s.members, name)
		}
		was := s.old.Services[name]
		is := s.makeService(name, was)
		if is == was {
			continue
		}
		if !cloned {
			s.next.Services, cloned = maps.Clone(s.old.Services), true
		}
		set(s.next.Services, name, is)
		if !sameShape(was, is) {
			s.change.Services[name] = true
		}
		if !sameEndpoints(was, is) {
			s.change.Endpoints[name] = true
		}
	}
}

// choose finds a service's members among all dataplanes.
func (s *step) choose(name string) map[string]bool {
	members := map[string]bool{}
	explicit := s.explicit[name]
	for _, d := range s.next.Dataplanes {
		if explicit != nil && Serves(name, explicit, d) ||
			explicit == nil && d.Service == name {
			members[d.Name] = true
		}
	}
	return members
}

// Serves tells whether an explicit service has a dataplane among its servers.
//
// Labels that a proxy has sent with its registration are its own word, but for those that its certificate proves (service,
// workload). A selector that asks for none of these would let every proxy of the mesh join the service, be sent its
// requests and have its identity counted among the service's. So such a proxy serves only what its certificate entitles it
// to. What a user applied is taken as it is.
func Serves(service string, e *resource.MeshService, d *Dataplane) bool {
	labels, want := d.Resource.Metadata.Labels, e.Selector.DataplaneLabels
	if !want.Matches(labels) {
		return false
	}
	if labels[api.LabelOrigin] != api.OriginDataplane {
		return true
	}
	if len(e.Identities) > 0 {
		return slices.ContainsFunc(e.Identities, func(id resource.ServiceIdentity) bool { return id.Value == d.SPIFFEID })
	}
	_, byService := want.MatchLabels[api.LabelService]
	_, byWorkload := want.MatchLabels[api.LabelWorkload]
	return byService || byWorkload || d.Service == service
}

// makeService returns was itself if nothing changed, nil if there is no such service, and keeps the Endpoints of ports whose
// content is the same.
func (s *step) makeService(name string, was *Service) *Service {
	members := make([]*Dataplane, 0, len(s.members[name]))
	for member := range s.members[name] {
		members = append(members, s.next.Dataplanes[member])
	}
	slices.SortFunc(members, func(a, b *Dataplane) int { return cmp.Compare(a.Name, b.Name) })

	is := &Service{Name: name}
	var drafts []draft
	if e := s.explicit[name]; e != nil {
		drafts = explicitPorts(e.WithDefaults(), members)
		for _, id := range e.Identities {
			is.Identities = append(is.Identities, id.Value)
		}
	} else {
		is.Generated = true
		drafts = generatedPorts(members)
	}
	if is.Generated && len(members) == 0 {
		return nil
	}
	if len(is.Identities) == 0 {
		for _, d := range members {
			if d.SPIFFEID != "" {
				is.Identities = append(is.Identities, d.SPIFFEID)
			}
		}
	}
	slices.Sort(is.Identities)
	is.Identities = slices.Compact(is.Identities)
	for _, d := range drafts {
		is.Ports = append(is.Ports, d.port(was))
	}
	slices.SortFunc(is.Ports, func(a, b Port) int { return cmp.Or(cmp.Compare(a.Port, b.Port), cmp.Compare(a.Name, b.Name)) })
	if was != nil && sameShape(was, is) && sameEndpoints(was, is) {
		return was
	}
	return is
}

// draft is a port while its endpoints are collected.
type draft struct {
	name     string
	number   uint32
	protocol string
	list     []Endpoint
}

// generatedPorts has one port for each inbound name. Where dataplanes disagree, which registration prevents and a user's
// apply does not, the one whose name sorts first decides, and the inbound that disagrees is no endpoint: a caller would
// speak to it in the wrong way.
func generatedPorts(members []*Dataplane) []draft {
	var drafts []draft
	byName, byNumber := map[string]int{}, map[uint32]bool{}
	for _, d := range members {
		for i := range d.Spec.Inbounds {
			in := &d.Spec.Inbounds[i]
			at, known := byName[in.Name]
			switch {
			case !known && byNumber[in.Port]:
				continue
			case !known:
				at = len(drafts)
				drafts = append(drafts, draft{name: in.Name, number: in.Port, protocol: in.Protocol})
				byName[in.Name], byNumber[in.Port] = at, true
			case drafts[at].number != in.Port || drafts[at].protocol != in.Protocol:
				continue
			}
			drafts[at].list = append(drafts[at].list, endpoint(d, in))
		}
	}
	return drafts
}

// explicitPorts are those that the user lists. Without appProtocol, the first dataplane that has the inbound decides.
func explicitPorts(e *resource.MeshService, members []*Dataplane) []draft {
	drafts := make([]draft, len(e.Ports))
	for i, p := range e.Ports {
		d := &drafts[i]
		*d = draft{name: p.Name, number: p.Port, protocol: p.AppProtocol}
		for _, m := range members {
			for j := range m.Spec.Inbounds {
				in := &m.Spec.Inbounds[j]
				if in.Name != p.TargetPort {
					continue
				}
				if d.protocol == "" {
					d.protocol = in.Protocol
				}
				if p.AppProtocol != "" || d.protocol == in.Protocol {
					d.list = append(d.list, endpoint(m, in))
				}
			}
		}
		if d.protocol == "" {
			d.protocol = resource.ProtocolTCP
		}
	}
	return drafts
}

func endpoint(d *Dataplane, in *resource.Inbound) Endpoint {
	_, unready := d.Unready[in.Name]
	return Endpoint{Dataplane: d.Name, Address: d.Spec.Address, Port: in.ListenPort, Unready: unready, Labels: d.Resource.Metadata.Labels}
}

// port finishes a draft.
func (d *draft) port(was *Service) Port {
	slices.SortFunc(d.list, func(a, b Endpoint) int {
		return cmp.Or(cmp.Compare(a.Address, b.Address), cmp.Compare(a.Port, b.Port), cmp.Compare(a.Dataplane, b.Dataplane))
	})
	p := Port{Name: d.name, Port: d.number, Protocol: d.protocol, Endpoints: &Endpoints{List: d.list}}
	if was != nil {
		for _, old := range was.Ports {
			if old.Name == d.name && slices.EqualFunc(old.Endpoints.List, d.list, sameEndpoint) {
				p.Endpoints = old.Endpoints
			}
		}
	}
	return p
}

func sameEndpoint(a, b Endpoint) bool {
	return a.Dataplane == b.Dataplane && a.Address == b.Address && a.Port == b.Port && a.Unready == b.Unready &&
		maps.Equal(a.Labels, b.Labels)
}

// sameShape compares all but endpoints.
func sameShape(a, b *Service) bool {
	return a != nil && b != nil && a.Generated == b.Generated && slices.Equal(a.Identities, b.Identities) &&
		slices.EqualFunc(a.Ports, b.Ports, func(p, q Port) bool {
			return p.Name == q.Name && p.Port == q.Port && p.Protocol == q.Protocol
		})
}

func sameEndpoints(a, b *Service) bool {
	return a != nil && b != nil && slices.EqualFunc(a.Ports, b.Ports, func(p, q Port) bool { return p.Endpoints == q.Endpoints })
}
