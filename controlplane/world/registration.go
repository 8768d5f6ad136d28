package world

import (
	"fmt"
	"maps"
	"slices"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/api/resource"
)

// CheckRegistration refuses a Dataplane whose inbounds contradict those of other dataplanes of its service: callers know a
// port by its name and its number, and must find the same behind both whichever endpoint they get. The dataplane of this
// name itself may change as it likes.
func CheckRegistration(m *Mesh, name string, spec *resource.Dataplane, labels map[string]string) error {
	service := labels[api.LabelService]
	if m == nil || service == "" {
		return nil
	}
	others := claims(m, service, name)
	for _, in := range spec.WithDefaults().Inbounds {
		for _, c := range others {
			switch {
			case c.name == in.Name && c.port != in.Port:
				return fmt.Errorf("inbound %q of service %q has port %d on dataplane %q and %d on %q: give both the same port, or the inbound another name",
					in.Name, service, c.port, c.dataplane, in.Port, name)
			case c.name == in.Name && c.protocol != in.Protocol:
				return fmt.Errorf("inbound %q of service %q has protocol %s on dataplane %q and %s on %q: give both the same protocol, or the inbound another name and port",
					in.Name, service, c.protocol, c.dataplane, in.Protocol, name)
			case c.name != in.Name && c.port == in.Port:
				return fmt.Errorf("port %d of service %q is inbound %q on dataplane %q and %q on %q: give both the same name and protocol, or the inbound another port",
					in.Port, service, c.name, c.dataplane, in.Name, name)
			}
		}
	}
	return nil
}

// claim is one inbound of one dataplane.
type claim struct {
	dataplane, name string
	port            uint32
	protocol        string
}

// claims has each port of a service once, as some dataplane but the named one has it.
func claims(m *Mesh, service, except string) (list []claim) {
	s := m.Services[service]
	if s == nil {
		return nil
	}
	if !s.Generated { // its ports are the user's; what counts is what the label would have yielded
		for _, other := range slices.Sorted(maps.Keys(m.Dataplanes)) {
			d := m.Dataplanes[other]
			if d.Service != service || d.Name == except {
				continue
			}
			for _, in := range d.Spec.Inbounds {
				list = append(list, claim{d.Name, in.Name, in.Port, in.Protocol})
			}
		}
		return list
	}
	for _, p := range s.Ports {
		for _, e := range p.Endpoints.List {
			if e.Dataplane != except {
				list = append(list, claim{e.Dataplane, p.Name, p.Port, p.Protocol})
				break
			}
		}
	}
	return list
}
