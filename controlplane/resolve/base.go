package resolve

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/hauberk-mesh/hauberk/api/resource"
	"github.com/hauberk-mesh/hauberk/controlplane/ir"
	"github.com/hauberk-mesh/hauberk/controlplane/world"
)

// loopback is where applications listen and where they find their outbounds.
const loopback = "127.0.0.1"

// furtherAttempts is how often a request that provably did nothing is tried on another endpoint.
const furtherAttempts = 2

// base is the configuration before any policy: strict, denying everybody, without timeouts.
func (r *Resolver) base(m *world.Mesh, dataplane string) (*ir.Proxy, error) {
	dp := m.Dataplanes[dataplane]
	if dp == nil {
		return nil, fmt.Errorf("dataplane %s does not exist in mesh %s", dataplane, m.Name)
	}
	p := &ir.Proxy{
		Mesh: m.Name, Name: dp.Name, Zone: dp.Zone, Service: dp.Service, Workload: dp.Workload, SPIFFEID: dp.SPIFFEID,
		Labels: maps.Clone(dp.Resource.Metadata.Labels),
		Trust:  r.trust.bundles(m), Revoked: m.Revoked,
	}
	for i := range dp.Spec.Inbounds {
		addInbound(p, dp, &dp.Spec.Inbounds[i])
	}
	for _, o := range dp.Spec.Outbounds {
		r.addOutbound(p, m, o)
	}
	slices.SortFunc(p.Clusters, func(a, b *ir.Cluster) int { return cmp.Compare(a.Name, b.Name) })
	return p, nil
}

func addInbound(p *ir.Proxy, dp *world.Dataplane, in *resource.Inbound) {
	name := "inbound|" + in.Name
	p.Clusters = append(p.Clusters, &ir.Cluster{
		Name: name, Protocol: ir.Protocol(in.Protocol),
		Service: dp.Service, ServicePort: in.Port, PortName: in.Name,
		Endpoints: &ir.Endpoints{Cluster: name, List: []ir.Endpoint{application(in)}},
		Probe:     applicationProbe(in),
	})
	p.Inbounds = append(p.Inbounds, listener(&ir.Listener{
		Name: name, Address: dp.Spec.Address, Port: in.ListenPort, Protocol: ir.Protocol(in.Protocol),
		Service: dp.Service, ServicePort: in.Port, PortName: in.Name,
		TLS: &ir.InboundTLS{Mode: ir.Strict}, Permission: &ir.Permission{},
	}, 0))
}

func application(in *resource.Inbound) ir.Endpoint {
	if in.Target != "" {
		return ir.Endpoint{Address: in.Target}
	}
	return ir.Endpoint{Address: loopback, Port: in.TargetPort}
}

func applicationProbe(in *resource.Inbound) ir.Probe {
	if in.Probe == nil {
		return ir.Probe{Kind: ir.ProbeConnect}
	}
	p := ir.Probe{Kind: ir.ProbeConnect, Interval: in.Probe.IntervalOrDefault()}
	if in.Probe.HTTP != nil {
		p.Kind, p.Path = ir.ProbeHTTP, in.Probe.HTTP.Path
	}
	return p
}

// addOutbound: a service or port that is not there (yet) gives a listener all the same, so that the application gets an
// answer with a reason and not a refused connection. It has no endpoints and trusts nobody.
func (r *Resolver) addOutbound(p *ir.Proxy, m *world.Mesh, o resource.Outbound) {
	ref := o.BackendRef
	name := "outbound|" + ref.Name + "|" + strconv.FormatUint(uint64(ref.Port), 10)
	c := &ir.Cluster{
		Name: name, Protocol: ir.HTTP, Service: ref.Name, ServicePort: ref.Port,
		TLS: &ir.UpstreamTLS{PeerIDs: []string{}, SNI: ref.Name + "." + m.Name}, Probe: ir.Probe{Kind: ir.ProbeMesh},
	}
	if svc, port := find(m, ref.Name, ref.Port); port != nil {
		c.Protocol, c.PortName = ir.Protocol(port.Protocol), port.Name
		c.TLS = &ir.UpstreamTLS{PeerIDs: svc.Identities, SNI: port.Name + "." + svc.Name + "." + m.Name}
		c.Endpoints = r.endpoints.get(name, port.Endpoints)
		if !c.Protocol.IsHTTP() {
			c.Probe.Kind = ir.ProbeConnect
		}
	} else {
		c.Endpoints = &ir.Endpoints{Cluster: name}
	}
	p.Clusters = append(p.Clusters, c)
	p.Outbounds = append(p.Outbounds, listener(&ir.Listener{
		Name: name, Address: loopback, Port: o.Port, Protocol: c.Protocol,
		Service: c.Service, ServicePort: c.ServicePort, PortName: c.PortName,
	}, furtherAttempts))
}

// listener leads l to the cluster of its own name.
func listener(l *ir.Listener, attempts uint32) *ir.Listener {
	if !l.Protocol.IsHTTP() {
		l.Cluster = l.Name
		return l
	}
	l.Routes = []*ir.Route{{Name: "default", PathPrefix: "/", Cluster: l.Name, Retry: ir.Retry{Attempts: attempts}}}
	return l
}

func find(m *world.Mesh, service string, port uint32) (*world.Service, *world.Port) {
	svc := m.Services[service]
	if svc == nil {
		return nil, nil
	}
	for i := range svc.Ports {
		if svc.Ports[i].Port == port {
			return svc, &svc.Ports[i]
		}
	}
	return nil, nil
}
