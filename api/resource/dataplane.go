package resource

import "github.com/hauberk-mesh/hauberk/api"

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
	// Protocol is http or tcp; default tcp.
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
