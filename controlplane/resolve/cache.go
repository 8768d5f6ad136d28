package resolve

import (
	"runtime"
	"slices"
	"sync"
	"weak"

	"github.com/hauberk-mesh/hauberk/api/resource"
	"github.com/hauberk-mesh/hauberk/controlplane/ir"
	"github.com/hauberk-mesh/hauberk/controlplane/world"
)

// EndpointCache gives equal pointers for equal pointers: all proxies that use a service port share one *ir.Endpoints,
// until the World has another *world.Endpoints for it. Translation then marshals it once. It keeps nothing alive that
// the World has let go. Safe for concurrent use.
type EndpointCache struct {
	mu   sync.Mutex // guards sets
	sets map[weak.Pointer[world.Endpoints]]*ir.Endpoints
}

// NewEndpointCache makes an empty one.
func NewEndpointCache() *EndpointCache {
	return &EndpointCache{sets: map[weak.Pointer[world.Endpoints]]*ir.Endpoints{}}
}

// get returns the endpoints of a cluster. A *world.Endpoints belongs to one service port, and so to one cluster name.
func (c *EndpointCache) get(cluster string, from *world.Endpoints) *ir.Endpoints {
	key := weak.Make(from)
	c.mu.Lock()
	defer c.mu.Unlock()
	set := c.sets[key]
	if set != nil && set.Cluster == cluster {
		return set
	}
	known := set != nil
	set = &ir.Endpoints{Cluster: cluster, List: make([]ir.Endpoint, len(from.List))}
	for i, e := range from.List {
		set.List[i] = ir.Endpoint{Dataplane: e.Dataplane, Address: e.Address, Port: e.Port, Unready: e.Unready, Labels: e.Labels}
	}
	c.sets[key] = set
	if !known {
		runtime.AddCleanup(from, c.forget, key)
	}
	return set
}

func (c *EndpointCache) forget(key weak.Pointer[world.Endpoints]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.sets, key)
}

// trustCache keeps the bundles of each mesh until its MeshTrusts are others.
type trustCache struct {
	mu   sync.Mutex // guards last
	last map[string]trust
}

type trust struct {
	from    []*resource.MeshTrust
	bundles []ir.TrustBundle
}

func newTrustCache() *trustCache { return &trustCache{last: map[string]trust{}} }

func (c *trustCache) bundles(m *world.Mesh) []ir.TrustBundle {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t, known := c.last[m.Name]; known && slices.Equal(t.from, m.Trust) {
		return t.bundles
	}
	t := trust{from: m.Trust}
	// m.Trust is sorted by trust domain; several resources may name one, as while authorities rotate.
	for _, mt := range m.Trust {
		n := len(t.bundles)
		if n == 0 || t.bundles[n-1].TrustDomain != mt.TrustDomain {
			t.bundles = append(t.bundles, ir.TrustBundle{TrustDomain: mt.TrustDomain})
			n++
		}
		for _, cert := range mt.Certificates() {
			if b := &t.bundles[n-1]; !slices.Contains(b.PEM, cert) {
				b.PEM = append(b.PEM, cert)
			}
		}
	}
	c.last[m.Name] = t
	return t.bundles
}
