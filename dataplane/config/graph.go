package config

import (
	"bytes"
	"context"
	"maps"
	"slices"

	"google.golang.org/protobuf/types/known/anypb"

	"github.com/hauberk-mesh/hauberk/accel/keyprovider"
	"github.com/hauberk-mesh/hauberk/dataplane/listener"
	"github.com/hauberk-mesh/hauberk/dataplane/tls"
	"github.com/hauberk-mesh/hauberk/dataplane/upstream"
)

// Graph is everything that the proxy runs on at one moment. It is immutable: the next configuration is another Graph that
// shares what did not change.
type Graph struct {
	Generation uint64
	Listeners  map[string]*listener.Spec
	Clusters   map[string]*upstream.Cluster
	// Bundles and Revoked are whom to trust. HasTrust is false where no trust secret was sent: what is trusted then stays.
	HasTrust bool
	Bundles  []tls.Bundle
	Revoked  []string
	// Keys keeps the keys that the proxy makes: what the mesh wants, or else what the process was started with.
	Keys keyprovider.Provider
	// Resources are the messages from which all this was made, by type URL and name.
	Resources Resources

	parts parts
}

// Resources are messages by type URL and name.
type Resources map[string]map[string]*anypb.Any

// Accepted are all fields that have no effect, sorted by resource.
func (g *Graph) Accepted() []Note {
	var out []Note
	for _, name := range slices.Sorted(maps.Keys(g.parts.clusters)) {
		out = append(append(out, g.parts.clusters[name].notes...), g.parts.clusters[name].endpointNotes...)
	}
	for _, name := range slices.Sorted(maps.Keys(g.parts.listeners)) {
		out = append(out, g.parts.listeners[name].notes...)
	}
	return out
}

// Release gives up what g has and keep has not: connections to endpoints are drained. keep is the Graph that replaces g,
// or, if g was never put to use, the one that stays. Nil keeps nothing.
func (g *Graph) Release(keep *Graph) {
	for name, c := range g.Clusters {
		if keep == nil || c != keep.Clusters[name] {
			c.Release()
		}
	}
}

// Warm waits until all clusters have found out where their endpoints are, or have tried for long enough. It returns early if ctx
// is done.
func (g *Graph) Warm(ctx context.Context) {
	for _, c := range g.Clusters {
		select {
		case <-c.Warm():
		case <-ctx.Done():
			return
		}
	}
}

// parts remember from which messages each part of a Graph was made, so that the next Build can take it over.
type parts struct {
	clusters  map[string]*clusterPart
	listeners map[string]*listenerPart
	trust     *trustPart
}

type clusterPart struct {
	message, endpoints *anypb.Any
	spec               upstream.Spec         // without endpoints
	eds                string                // name of the endpoints' resource; empty where they are inline
	secrets            map[string]*anypb.Any // that it names, in stand-alone mode
	cluster            *upstream.Cluster
	notes              []Note
	endpointNotes      []Note
}

type listenerPart struct {
	message *anypb.Any
	routes  map[string]*anypb.Any        // route configurations that it names
	uses    map[string]*upstream.Cluster // clusters that it leads to
	trusts  bool                         // it asks for the trust secret
	secrets map[string]*anypb.Any        // that it names, in stand-alone mode
	spec    *listener.Spec
	notes   []Note
}

type trustPart struct {
	message, revocations *anypb.Any
	bundles              []tls.Bundle
	revoked              []string
}

// same tells whether two messages are equal. A client that keeps its messages has the same pointers.
func same(a, b *anypb.Any) bool {
	if a == b {
		return true
	}
	return a != nil && b != nil && a.TypeUrl == b.TypeUrl && bytes.Equal(a.Value, b.Value)
}
