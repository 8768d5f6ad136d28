package resource

import (
	"cmp"
	"fmt"
	"sort"

	"github.com/hauberk-mesh/hauberk/api"
)

// MeshService is what callers name. The label hauberk.io/service on dataplanes yields one by itself; an explicit one of the
// same name overrides it.
type MeshService struct {
	// Selector chooses the dataplanes that serve it. A proxy may give itself any label but those that its certificate proves,
	// so one that has registered itself is chosen only by a selector that asks for hauberk.io/service or hauberk.io/workload,
	// if its own service is this one, or if Identities lists its SPIFFE ID.
	Selector Selector      `json:"selector"`
	Ports    []ServicePort `json:"ports"`
	// Identities are the SPIFFE IDs one of which a server of this service must prove. Default: those of the selected
	// dataplanes.
	Identities []ServiceIdentity `json:"identities,omitempty"`
}

// Selector chooses dataplanes.
type Selector struct {
	DataplaneLabels LabelSelector `json:"dataplaneLabels"`
}

// LabelSelector holds where all labels are present with these values. An empty one holds nowhere.
type LabelSelector struct {
	MatchLabels map[string]string `json:"matchLabels"`
}

// ServicePort is one port of a service.
type ServicePort struct {
	Name string `json:"name,omitempty"`
	Port uint32 `json:"port"`
	// TargetPort is the name of the inbound; default Name.
	TargetPort  string `json:"targetPort,omitempty"`
	AppProtocol string `json:"appProtocol,omitempty"` // default: the inbound's protocol
}

// ServiceIdentity is Kuma's form. Type is SpiffeID.
type ServiceIdentity struct {
	Type  string `json:"type"`
	Value string `json:"value"`
}

// MeshServiceKind describes MeshService.
func MeshServiceKind() api.Kind {
	return short(api.DefineKind("MeshService", "meshservices", validateMeshService), "meshservice", "ms", "msvc")
}

// Matches tells whether the selector chooses a dataplane with these labels.
func (s LabelSelector) Matches(labels map[string]string) bool {
	for k, v := range s.MatchLabels {
		if got, has := labels[k]; !has || got != v {
			return false
		}
	}
	return len(s.MatchLabels) > 0
}

// NameOrDefault is the port's name: that of the inbound where it has none of its own.
func (p *ServicePort) NameOrDefault() string { return cmp.Or(p.Name, p.TargetPort) }

// TargetPortOrDefault is the name of the inbound.
func (p *ServicePort) TargetPortOrDefault() string { return cmp.Or(p.TargetPort, p.Name) }

// WithDefaults is a copy in which the ports' names are filled in. AppProtocol stays empty: it is the inbound's.
func (s *MeshService) WithDefaults() *MeshService {
	out := *s
	out.Ports = append([]ServicePort(nil), s.Ports...)
	for i := range out.Ports {
		p := &out.Ports[i]
		p.Name, p.TargetPort = p.NameOrDefault(), p.TargetPortOrDefault()
	}
	return &out
}

func validateMeshService(meta api.Meta, s *MeshService) (ps api.Problems) {
	if message, fix := api.CheckDNSLabel(meta.Name); message != "" {
		ps.Add("metadata.name", message, fix)
	}
	ps = append(ps, checkSelector("spec.selector.dataplaneLabels.matchLabels", s.Selector.DataplaneLabels.MatchLabels)...)
	if len(s.Ports) == 0 {
		ps.Add("spec.ports", "is empty", "list at least one port, as {port: 80, targetPort: http}")
	}
	names, ports := map[string]int{}, map[uint32]int{}
	for i := range s.Ports {
		p := &s.Ports[i]
		at := fmt.Sprintf("spec.ports[%d]", i)
		port(&ps, at+".port", p.Port, false)
		if first, twice := seen(ports, p.Port, i); twice && p.Port != 0 {
			ps.Add(at+".port", fmt.Sprintf("%d is the port of spec.ports[%d] too", p.Port, first), "give each entry a port of its own")
		}
		if p.NameOrDefault() == "" {
			ps.Add(at+".targetPort", "is missing", "write the name of the dataplanes' inbound, as http")
		} else if first, twice := seen(names, p.NameOrDefault(), i); twice {
			ps.Add(at+".name", fmt.Sprintf("%q is the name of spec.ports[%d] too", p.NameOrDefault(), first), "give each port a name of its own")
		}
		checkPortName(&ps, at+".name", p.Name)
		checkPortName(&ps, at+".targetPort", p.TargetPort)
		ps = append(ps, checkProtocol(at+".appProtocol", p.AppProtocol)...)
	}
	for i, id := range s.Identities {
		at := fmt.Sprintf("spec.identities[%d]", i)
		if id.Type != "SpiffeID" {
			ps.Add(at+".type", fmt.Sprintf("%q is not a type of identity", id.Type), "write SpiffeID")
		}
		if err := api.CheckSPIFFEID(id.Value); err != nil {
			ps.Add(at+".value", "is not a SPIFFE ID: "+err.Error(), "write it whole, as spiffe://default.default.mesh.local/workload/cart")
		}
	}
	return ps
}

func checkPortName(ps *api.Problems, field, name string) {
	if name == "" {
		return
	}
	if message, fix := api.CheckDNSLabel(name); message != "" {
		ps.Add(field, message, fix)
	}
}

func checkSelector(field string, labels map[string]string) (ps api.Problems) {
	if len(labels) == 0 {
		ps.Add(field, "is empty and selects nothing", "name the labels of the dataplanes, as {app: cart}")
	}
	keys := make([]string, 0, len(labels))
	for k := range labels {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for _, k := range keys {
		at := fmt.Sprintf("%s[%s]", field, k)
		if message, fix := api.CheckLabelKey(k); message != "" {
			ps.Add(at, message, fix)
		}
		if message, fix := api.CheckLabelValue(labels[k]); message != "" {
			ps.Add(at, message, fix)
		}
	}
	return ps
}
