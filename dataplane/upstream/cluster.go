// Package upstream is where requests and connections go: clusters of endpoints, the connections that are kept to them, and
// what the proxy has seen of their health.
//
// A Cluster is cheap and, but for the addresses that its names have, immutable: each change of configuration builds new ones.
// What lives long is the Endpoint, with its idle connections, health and counters; clusters of successive configurations share
// it. It is not a balancer (lb) and does not decide what is tried again (resilience). Start at Build, Cluster.Pick and
// Cluster.Open.
package upstream

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/upstream/lb"
)

// Defaults where a Spec leaves a field zero.
const (
	DefaultConnectTimeout = 5 * time.Second
	DefaultProbeInterval  = 500 * time.Millisecond
	DefaultRefresh        = 5 * time.Second
	DefaultForget         = 5 * time.Second
)

// Deps are what a cluster needs of the proxy. All functions are called concurrently.
type Deps struct {
	// Dial opens a transport connection; nil uses net.Dialer. network is "tcp" or "unix".
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Resolver finds the addresses of names; nil uses net.DefaultResolver.
	Resolver Resolver
	// OnHealth is told when an endpoint stops or starts to answer. It must not block. Nil: nobody.
	OnHealth func(cluster, endpoint string, up bool, reason string)
}

// Cluster is a set of endpoints that are used alike. It is safe for concurrent use.
type Cluster struct {
	spec    Spec
	deps    Deps
	set     atomic.Pointer[set]
	picker  *lb.RoundRobin
	breaker *breaker // goes on over a change of configuration
	// names are resolved, and destinations remembered, until Release; nil where there are none.
	names        *names
	destinations *destinations

	mu       sync.Mutex // one change of set at a time; guards below
	released bool
}

// set is the members at one moment. Immutable.
type set struct {
	members  []member
	schedule *lb.Schedule // nil: equal weights
}

// member is an endpoint's place in one cluster; what the configuration says of it is not the endpoint's own.
type member struct {
	*Endpoint
	unready bool
	name    string
}

// Build makes a cluster. Endpoints of prev (nil: none) with equal address, TLS key, protocol and probe are taken over with their
// connections and health. prev stays usable: call Release on the one of the two that is given up, once.
func Build(prev *Cluster, spec Spec, deps Deps) *Cluster {
	c := &Cluster{spec: defaults(spec), deps: deps}
	if deps.Dial == nil {
		c.deps.Dial = (&net.Dialer{}).DialContext
	}
	if spec.KeepAlive != nil {
		c.deps.Dial = keepAlive(c.deps.Dial, *spec.KeepAlive)
	}
	var old []member
	if prev != nil {
		c.picker, c.breaker, old = prev.picker, prev.breaker, prev.members()
	} else {
		c.picker, c.breaker = lb.NewRoundRobin(), &breaker{}
	}
	c.set.Store(&set{members: old}) // where endpoints are looked for; they are not c's yet
	if spec.OriginalDst != nil {
		c.set.Store(&set{})
		c.destinations = newDestinations(prev, c)
		return c
	}
	if spec.DNS == nil {
		c.replace(spec.Endpoints, false)
		return c
	}
	c.names = newNames(prev, c)
	c.replace(c.names.endpoints(), false)
	c.names.start()
	return c
}

func defaults(s Spec) Spec {
	if s.ConnectTimeout <= 0 {
		s.ConnectTimeout = DefaultConnectTimeout
	}
	if s.Probe.Interval <= 0 {
		s.Probe.Interval = DefaultProbeInterval
	}
	return s
}

// keepAlive has the kernel ask after peers of whom nothing is heard.
func keepAlive(dial func(context.Context, string, string) (net.Conn, error), k net.KeepAliveConfig) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if t, ok := conn.(*net.TCPConn); ok && err == nil {
			if err := t.SetKeepAliveConfig(k); err != nil {
				_ = conn.Close()
				return nil, err
			}
		}
		return conn, err
	}
}

// replace makes list the endpoints. Those that are there already stay what they are; the others of the present set go, if it
// is c's own.
func (c *Cluster) replace(list []EndpointSpec, own bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.released {
		return
	}
	before := c.members()
	old := make(map[key]*Endpoint, len(before))
	for _, m := range before {
		old[m.key] = m.Endpoint
	}
	next, seen := &set{}, make(map[key]bool, len(list))
	var weights []uint32
	for _, e := range list {
		k := c.spec.key(e)
		if seen[k] {
			continue
		}
		seen[k] = true
		ep := old[k]
		if ep == nil || !ep.hold() {
			ep = newEndpoint(k)
			ep.hold()
		}
		next.members = append(next.members, member{Endpoint: ep, unready: e.Unready, name: e.Name})
		weights = append(weights, e.Weight)
	}
	next.schedule = lb.NewSchedule(weights)
	c.set.Store(next)
	if own {
		dropAll(before)
	}
}

func dropAll(list []member) {
	for _, m := range list {
		m.drop()
	}
}

// Release gives c up. Endpoints that no other cluster has are retired: idle connections close, those in use close when they
// are done, probing stops. It is called once.
func (c *Cluster) Release() {
	c.mu.Lock()
	already := c.released
	c.released = true
	c.mu.Unlock()
	if already {
		return
	}
	if c.names != nil {
		c.names.stop()
	}
	if c.destinations != nil {
		c.destinations.close()
	}
	dropAll(c.members())
}

// Warm is closed when the cluster has found out where its endpoints are, or has tried for long enough. It is ready to be used
// before; then it may have none.
func (c *Cluster) Warm() <-chan struct{} {
	if c.names != nil {
		return c.names.warm
	}
	return alwaysWarm
}

var alwaysWarm = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

func (c *Cluster) members() []member { return c.set.Load().members }

// Name is the cluster's name on the wire.
func (c *Cluster) Name() string { return c.spec.Name }

// Service is the destination as telemetry names it.
func (c *Cluster) Service() string { return c.spec.Service }

// HTTP tells whether the cluster says how it speaks HTTP; see Spec.HTTP.
func (c *Cluster) HTTP() bool { return c.spec.HTTP() }

// Spec is what the cluster was built from, defaults filled in.
func (c *Cluster) Spec() Spec { return c.spec }

// Size is how many endpoints there are now.
func (c *Cluster) Size() int { return len(c.members()) }

// Pick chooses an endpoint that is not in tried, or nil. Ones that do not answer are chosen only if no other is left.
func (c *Cluster) Pick(tried []*Endpoint) *Endpoint {
	now := c.set.Load()
	i := c.picker.PickBy(now.schedule, len(now.members), func(i int) lb.Tier {
		m := &now.members[i]
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
	return now.members[i].Endpoint
}

// PickFor is the endpoint of a cluster with OriginalDst that is at addr. It is nil where addr is none, or where more different
// ones are asked for than can be remembered.
func (c *Cluster) PickFor(addr netip.AddrPort) *Endpoint {
	if c.destinations == nil || !addr.IsValid() || addr.Port() == 0 {
		return nil
	}
	return c.destinations.pick(addr)
}

// Ready tells whether some endpoint answered last time, or was never asked.
func (c *Cluster) Ready() bool {
	if c.destinations != nil {
		return true
	}
	for _, m := range c.members() {
		if !m.Down() && !m.unready {
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
	members := c.members()
	if c.destinations != nil {
		members = c.destinations.members()
	}
	out := make([]Status, 0, len(members))
	for _, m := range members {
		s := m.status()
		s.Name, s.Unready = m.name, m.unready
		out = append(out, s)
	}
	return out
}
