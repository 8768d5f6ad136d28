package resource

import (
	"cmp"
	"time"

	"github.com/hauberk-mesh/hauberk/api"
)

// Dataplane is one proxy and the workload behind it.
type Dataplane struct {
	// Address is the IP at which other proxies reach this one.
	Address   string     `json:"address"`
	Inbounds  []Inbound  `json:"inbounds,omitempty"`
	Outbounds []Outbound `json:"outbounds,omitempty"`
}

// Inbound is one port of the workload.
type Inbound struct {
	// Name is the port's name in the MeshService; default the protocol ("http"), so that it must be given only where there
	// are several.
	Name string `json:"name,omitempty"`
	// Port is the service's port as clients name it.
	Port uint32 `json:"port"`
	// ListenPort is where the proxy accepts; default Port.
	ListenPort uint32 `json:"listenPort,omitempty"`
	// TargetPort is the application on 127.0.0.1; default Port. Target, "unix:///path", is instead of it.
	TargetPort uint32 `json:"targetPort,omitempty"`
	Target     string `json:"target,omitempty"`
	// Protocol is http, http2, grpc or tcp; default tcp.
	Protocol string `json:"protocol,omitempty"`
	// Probe is how the proxy asks the application whether it answers. Without one it connects.
	Probe *Probe `json:"probe,omitempty"`
}

// Probe of an application.
type Probe struct {
	HTTP     *HTTPProbe    `json:"http,omitempty"`
	Interval *api.Duration `json:"interval,omitempty"` // default 1s
}

// HTTPProbe is a GET whose answer must be 200 to 399.
type HTTPProbe struct {
	Path string `json:"path"`
}

// Outbound is a service that the workload calls at 127.0.0.1:Port.
type Outbound struct {
	Port       uint32         `json:"port"`
	BackendRef api.BackendRef `json:"backendRef"`
}

// The protocols of this version: what the application behind an inbound speaks. Clients may speak HTTP/1.1 or HTTP/2 to each of
// the first three.
const (
	ProtocolHTTP  = "http" // HTTP/1.1
	ProtocolHTTP2 = "http2"
	ProtocolGRPC  = "grpc"
	ProtocolTCP   = "tcp"
)

// DefaultProbeInterval is how often an application is probed where its inbound says nothing.
const DefaultProbeInterval = time.Second

// DataplaneKind describes Dataplane.
func DataplaneKind() api.Kind {
	return short(api.DefineKind("Dataplane", "dataplanes", validateDataplane), "dataplane", "dp", "dps")
}

// ProtocolOrDefault is the protocol, tcp where none is named.
func (i *Inbound) ProtocolOrDefault() string { return cmp.Or(i.Protocol, ProtocolTCP) }

// NameOrDefault is the name, the protocol where none is given.
func (i *Inbound) NameOrDefault() string { return cmp.Or(i.Name, i.ProtocolOrDefault()) }

// ListenPortOrDefault is where the proxy accepts.
func (i *Inbound) ListenPortOrDefault() uint32 { return cmp.Or(i.ListenPort, i.Port) }

// TargetPortOrDefault is the application's port on 127.0.0.1; 0 if it is behind a Unix socket (Target).
func (i *Inbound) TargetPortOrDefault() uint32 {
	if i.Target != "" {
		return 0
	}
	return cmp.Or(i.TargetPort, i.Port)
}

// IntervalOrDefault is the time between two probes. A nil Probe has the default.
func (p *Probe) IntervalOrDefault() time.Duration {
	if p == nil || p.Interval == nil || p.Interval.Duration == 0 {
		return DefaultProbeInterval
	}
	return p.Interval.Duration
}

// WithDefaults is a copy in which names, ports, protocols and kinds of references are filled in. Probes are shared.
func (d *Dataplane) WithDefaults() *Dataplane {
	out := &Dataplane{Address: d.Address}
	for _, in := range d.Inbounds {
		in.Name, in.ListenPort, in.TargetPort, in.Protocol =
			in.NameOrDefault(), in.ListenPortOrDefault(), in.TargetPortOrDefault(), in.ProtocolOrDefault()
		out.Inbounds = append(out.Inbounds, in)
	}
	for _, o := range d.Outbounds {
		o.BackendRef.Kind = cmp.Or(o.BackendRef.Kind, "MeshService")
		out.Outbounds = append(out.Outbounds, o)
	}
	return out
}

// ServiceOf is the service that a Dataplane belongs to by its label; "" is none.
func ServiceOf(m api.Meta) string { return m.Labels[api.LabelService] }

// WorkloadOf is the last part of a Dataplane's SPIFFE ID: its label, else its service, else its own name.
func WorkloadOf(m api.Meta) string {
	return cmp.Or(cmp.Or(m.Labels[api.LabelWorkload], ServiceOf(m)), m.Name)
}

// ZoneOf is the zone that a Dataplane runs in.
func ZoneOf(m api.Meta) string { return cmp.Or(m.Labels[api.LabelZone], api.DefaultZone) }
