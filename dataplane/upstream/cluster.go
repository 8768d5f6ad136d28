// Package upstream is where requests and connections go: clusters of endpoints, the connections that are kept to them, and
// what the proxy has seen of their health.
//
// A Cluster is immutable and cheap: each change of configuration builds new ones. What lives long is the Endpoint, with its
// idle connections, health and counters; clusters of successive configurations share it. It is not a balancer (lb) and
// does not decide what is tried again (resilience). Start at Build, Cluster.Pick and Cluster.Connect.
package upstream

import (
	"context"
	"net"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/upstream/lb"
)

// Defaults where a Spec leaves a field zero.
const (
	DefaultConnectTimeout = 5 * time.Second
	DefaultProbeInterval  = 500 * time.Millisecond
)

// Deps are what a cluster needs of the proxy. All functions are called concurrently.
type Deps struct {
	// Dial opens a transport connection; nil uses net.Dialer. network is "tcp" or "unix".
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// OnHealth is told when an endpoint stops or starts to answer. It must not block. Nil: nobody.
	OnHealth func(cluster, endpoint string, up bool, reason string)
}

// Cluster is a set of endpoints that are used alike. It is immutable and safe for concurrent use.
type Cluster struct {
	spec    Spec
	deps    Deps
	members []member
	picker  *lb.RoundRobin
}

// member is an endpoint's place in one cluster; what the configuration says of it is not the endpoint's own.
type member struct {
	*Endpoint
	unready bool
	name    string
}

// Build makes a cluster. Endpoints of prev (nil: none) with equal address, TLS key, protocol and probe are taken over with their
// connections and health. prev stays usable: call Release on the one of the two that is given up.
func Build(prev *Cluster, spec Spec, deps Deps) *Cluster {
	if deps.Dial == nil {
		deps.Dial = (&net.Dialer{}).DialContext
	}
	if spec.ConnectTimeout <= 0 {
		spec.ConnectTimeout = DefaultConnectTimeout
	}
	if spec.Probe.Interval <= 0 {
		spec.Probe.Interval = DefaultProbeInterval
	}
	c := &Cluster{spec: spec, deps: deps}
	old := map[key]*Endpoint{}
	if prev != nil {
		c.picker = prev.picker
		for _, m := range prev.members {
			old[m.key] = m.Endpoint
		}
	} else {
		c.picker = lb.NewRoundRobin()
	}
	seen := map[key]bool{}
	for _, e := range spec.Endpoints {
		k := spec.key(e)
		if seen[k] {
			continue
		}
		seen[k] = true
		ep := old[k]
		if ep == nil || ep.retired() {
			ep = newEndpoint(k)
		}
		c.members = append(c.members, member{Endpoint: ep, unready: e.Unready, name: e.Name})
	}
	return c
}

// Release gives c up. Endpoints that keep does not share are retired: idle connections close, those in use close when they
// are done, probing stops. keep is the cluster that replaces c, or, if c was never put to use, the one that stays; nil
// keeps nothing.
func (c *Cluster) Release(keep *Cluster) {
	kept := map[*Endpoint]bool{}
	if keep != nil {
		for _, m := range keep.members {
			kept[m.Endpoint] = true
		}
	}
	for _, m := range c.members {
		if !kept[m.Endpoint] {
			m.retire()
		}
	}
}

// Name is the cluster's name on the wire.
func (c *Cluster) Name() string { return c.spec.Name }

// Service is the destination as telemetry names it.
func (c *Cluster) Service() string { return c.spec.Service }

// HTTP tells whether its endpoints speak HTTP.
func (c *Cluster) HTTP() bool { return c.spec.HTTP }

// Spec is what the cluster was built from, defaults filled in.
func (c *Cluster) Spec() Spec { return c.spec }

// Size is how many endpoints there are.
func (c *Cluster) Size() int { return len(c.members) }

// Pick chooses an endpoint that is not in tried, or nil. Ones that do not answer are chosen only if no other is left.
func (c *Cluster) Pick(tried []*Endpoint) *Endpoint {
	i := c.picker.Pick(len(c.members), func(i int) lb.Tier {
		m := &c.members[i]
		for _, t := range tried {
			if t == m.Endpoint {
				return lb.Excluded
			}
		}
		switch {
		case m.Down():
			return lb.Down
		case m.unready:
			return lb.Unready
		}
		return lb.Ready
	})
	if i < 0 {
		return nil
	}
	return c.members[i].Endpoint
}

// Ready tells whether some endpoint answered last time, or was never asked.
func (c *Cluster) Ready() bool {
	for i := range c.members {
		if !c.members[i].Down() && !c.members[i].unready {
			return true
		}
	}
	return false
}

// Status is what /clusters shows of one endpoint.
type Status struct {
	Address string `json:"address"`
	Name    string `json:"name,omitempty"` // of the dataplane
	Unready bool   `json:"unready,omitempty"`
	Down    bool   `json:"down,omitempty"`
	Reason  string `json:"reason,omitempty"` // why it is down

	ConnectionsActive int64 `json:"connectionsActive"`
	ConnectionsIdle   int64 `json:"connectionsIdle"`
	ConnectionsTotal  int64 `json:"connectionsTotal"`
	ConnectFailures   int64 `json:"connectFailures"`
	RequestsActive    int64 `json:"requestsActive"`
	RequestsTotal     int64 `json:"requestsTotal"`
	RequestErrors     int64 `json:"requestErrors"`
}

// Endpoints tells the present state of each endpoint, in the order of the Spec.
func (c *Cluster) Endpoints() []Status {
	out := make([]Status, 0, len(c.members))
	for _, m := range c.members {
		s := m.status()
		s.Name, s.Unready = m.name, m.unready
		out = append(out, s)
	}
	return out
}
