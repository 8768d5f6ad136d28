package translate

import (
	"runtime"
	"strings"
	"sync"
	"weak"

	"google.golang.org/protobuf/proto"

	"github.com/hauberk-mesh/hauberk/controlplane/ir"
)

// Cache marshals once what many proxies share: the endpoints of a service, found by the pointer that resolve keeps stable,
// and trust and every other message, found by content. It keeps nothing alive: an entry goes when nobody holds the
// resource any more. Safe for concurrent use; a nil Cache caches nothing.
type Cache struct {
	mu sync.Mutex // guards below
	// byEndpoints is keyed by the cluster's name too, since one endpoint set may stand behind two names.
	byEndpoints map[endpointsKey]weak.Pointer[Resource]
	byContent   map[contentKey]weak.Pointer[Resource]
}

type endpointsKey struct {
	cluster string
	set     weak.Pointer[ir.Endpoints]
}

type contentKey struct{ typeURL, name, version string }

// NewCache makes an empty one.
func NewCache() *Cache {
	return &Cache{
		byEndpoints: map[endpointsKey]weak.Pointer[Resource]{},
		byContent:   map[contentKey]weak.Pointer[Resource]{},
	}
}

// resource marshals m and returns the pointer that others already have, if the content is the same.
func (c *Cache) resource(name string, m proto.Message) (*Resource, error) {
	r, err := NewResource(name, m)
	if err != nil || c == nil {
		return r, err
	}
	key := contentKey{r.Any.TypeUrl, strings.Clone(name), r.Version}
	c.mu.Lock()
	defer c.mu.Unlock()
	if shared := c.byContent[key].Value(); shared != nil {
		return shared, nil
	}
	c.byContent[key] = weak.Make(r)
	runtime.AddCleanup(r, c.dropContent, key)
	return r, nil
}

func (c *Cache) endpoints(cluster string, set *ir.Endpoints) (*Resource, error) {
	if c == nil || set == nil {
		return endpointsResource(cluster, set)
	}
	key := endpointsKey{cluster, weak.Make(set)}
	c.mu.Lock()
	shared := c.byEndpoints[key].Value()
	c.mu.Unlock()
	if shared != nil {
		return shared, nil
	}
	m, err := loadAssignment(cluster, set)
	if err != nil {
		return nil, err
	}
	// By content too: a set that changed and changed back has its old resource, and is no push.
	r, err := c.resource(cluster, m)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.byEndpoints[key] = weak.Make(r)
	runtime.AddCleanup(set, c.dropEndpoints, key)
	return r, nil
}

// dropContent forgets an entry whose resource is gone. A newer resource may stand under the same key by now.
func (c *Cache) dropContent(key contentKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byContent[key].Value() == nil {
		delete(c.byContent, key)
	}
}

func (c *Cache) dropEndpoints(key endpointsKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.byEndpoints, key)
}

func endpointsResource(cluster string, set *ir.Endpoints) (*Resource, error) {
	m, err := loadAssignment(cluster, set)
	if err != nil {
		return nil, err
	}
	return NewResource(cluster, m)
}
