package policytest

import (
	"fmt"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/api/resource"
	"github.com/hauberk-mesh/hauberk/controlplane/ir"
)

// Proxies are the dataplanes among resources, as a policy finds them: listeners, default routes and clusters, in the
// naming of package resolve. An outbound speaks the protocol of the dataplane whose service it names, or http.
func Proxies(all []*api.Resource) []*ir.Proxy {
	var proxies []*ir.Proxy
	for _, r := range all {
		spec, ok := r.Spec.(*resource.Dataplane)
		if !ok {
			continue
		}
		p := &ir.Proxy{
			Mesh: r.Mesh(), Name: r.Metadata.Name, Zone: resource.ZoneOf(r.Metadata), Labels: r.Metadata.Labels,
			Service: resource.ServiceOf(r.Metadata), Workload: resource.WorkloadOf(r.Metadata),
		}
		spec = spec.WithDefaults()
		for i := range spec.Inbounds {
			in := &spec.Inbounds[i]
			p.Inbounds = append(p.Inbounds, add(p, &ir.Listener{
				Name: "inbound|" + in.Name, Address: spec.Address, Port: in.ListenPort, Protocol: ir.Protocol(in.Protocol),
				Service: p.Service, ServicePort: in.Port, PortName: in.Name, Permission: &ir.Permission{},
			}))
		}
		for _, o := range spec.Outbounds {
			port, protocol := destination(all, o.BackendRef)
			p.Outbounds = append(p.Outbounds, add(p, &ir.Listener{
				Name: fmt.Sprintf("outbound|%s|%d", o.BackendRef.Name, o.BackendRef.Port), Address: "127.0.0.1", Port: o.Port,
				Protocol: protocol, Service: o.BackendRef.Name, ServicePort: o.BackendRef.Port, PortName: port,
			}))
		}
		proxies = append(proxies, p)
	}
	return proxies
}

func add(p *ir.Proxy, l *ir.Listener) *ir.Listener {
	p.Clusters = append(p.Clusters, &ir.Cluster{
		Name: l.Name, Protocol: l.Protocol, Service: l.Service, ServicePort: l.ServicePort, PortName: l.PortName,
		Endpoints: &ir.Endpoints{Cluster: l.Name},
	})
	if !l.Protocol.IsHTTP() {
		l.Cluster = l.Name
		return l
	}
	l.Routes = []*ir.Route{{Name: "default", PathPrefix: "/", Cluster: l.Name}}
	return l
}

func destination(all []*api.Resource, ref api.BackendRef) (port string, protocol ir.Protocol) {
	for _, r := range all {
		spec, ok := r.Spec.(*resource.Dataplane)
		if !ok || resource.ServiceOf(r.Metadata) != ref.Name {
			continue
		}
		for i := range spec.Inbounds {
			if in := &spec.Inbounds[i]; in.Port == ref.Port {
				return in.NameOrDefault(), ir.Protocol(in.ProtocolOrDefault())
			}
		}
	}
	return "", ir.HTTP
}
