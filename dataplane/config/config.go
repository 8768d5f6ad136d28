// Package config turns the protobufs of a configuration into what the proxy runs on: listeners with their chains and
// clusters with their endpoints, as one immutable Graph. It reads the wire and builds; it binds, dials and swaps nothing.
//
// Every field of a message is honoured, accepted without effect, or refused with its path; table.go says which, and nothing
// is ignored beyond it. A configuration is built whole or not at all. Start with Builder.Build.
package config

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"github.com/hauberk-mesh/hauberk/accel/keyprovider/memory"
	"github.com/hauberk-mesh/hauberk/dataplane/filter"
	"github.com/hauberk-mesh/hauberk/dataplane/keyring"
	"github.com/hauberk-mesh/hauberk/dataplane/overload"
	"github.com/hauberk-mesh/hauberk/dataplane/tls"
	"github.com/hauberk-mesh/hauberk/dataplane/upstream"
)

// The types of resource that a configuration is made of.
const (
	TypeCluster     = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
	TypeEndpoints   = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
	TypeListener    = "type.googleapis.com/envoy.config.listener.v3.Listener"
	TypeRoute       = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
	TypeSecret      = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
	TypeRevocations = "type.googleapis.com/hauberk.trust.v1.Revocations"
	TypeSettings    = "type.googleapis.com/hauberk.proxy.v1.Settings"
)

// Deps are what a configuration leans on and does not contain.
type Deps struct {
	Identity *tls.Identity
	Trust    *tls.Trust
	// Keys are the key providers of the process. They keep the keys of certificates, and a mesh may choose among them. Nil: keys
	// are on the Go heap, and there is nothing to choose.
	Keys *keyring.Ring
	// Getenv reads the environment for keys that are in it. Nil: a configuration may name none.
	Getenv func(name string) string
	// PostQuantum is tls.Options' for all of a mesh.
	PostQuantum bool
	// Service is whose proxy this is, for telemetry.
	Service string
	// Filters are all that this build of the proxy knows.
	Filters []filter.Factory
	// ClusterReady tells whether a cluster of the present configuration has an endpoint that answered last time.
	ClusterReady func(cluster string) bool
	// Dial and OnHealth are handed to the clusters; see upstream.Deps.
	Dial     func(ctx context.Context, network, addr string) (net.Conn, error)
	OnHealth func(cluster, endpoint string, up bool, reason string)
	// Resolver is for the clusters whose endpoints are names; nil: net.DefaultResolver.
	Resolver upstream.Resolver
	// StandAlone: the configuration is an operator's own, or comes from a control plane that he named. It may hold
	// certificates with their keys, inline, in files or as secrets, and says by itself who trusts whom. In a mesh (false)
	// Identity and Trust are all that there is, and a private key is refused wherever it stands.
	StandAlone bool
	// OnReload is told that files of certificates have changed and can't be read; those from before stay in force. Nil: nobody.
	OnReload func(resource string, err error)
	// Overload is asked at each request whether it is to be refused for want of memory. Nil: never.
	Overload *overload.Manager
	// AccessLogs are the files of the access logs that a configuration asks for. Nil: it may ask for none.
	AccessLogs *AccessLogs
}

// Builder makes Graphs. It is immutable and safe for concurrent use.
type Builder struct {
	deps    Deps
	table   map[string]row
	filters map[string]filter.Factory // by type URL
	keys    *keyring.Ring
}

// New makes a Builder.
func New(deps Deps) *Builder {
	b := &Builder{deps: deps, table: table(), filters: map[string]filter.Factory{}, keys: deps.Keys}
	if b.keys == nil {
		b.keys = keyring.New(memory.New())
	}
	for _, f := range deps.Filters {
		b.filters[f.TypeURL] = f
	}
	return b
}

// Build makes the Graph of a complete set of resources. prev (nil: none) is the one in force: parts of it whose messages
// did not change are taken over. On an error nothing is left behind and prev is untouched. The caller gives up one of the
// two Graphs with Release.
func (b *Builder) Build(prev *Graph, generation uint64, resources Resources) (*Graph, error) {
	if prev == nil {
		prev = &Graph{}
	}
	w := &build{
		Builder: b, prev: prev, in: resources,
		g: &Graph{Generation: generation, Resources: resources},
	}
	w.g.Clusters = map[string]*upstream.Cluster{}
	if err := w.all(); err != nil {
		w.g.Release(prev)
		return nil, err
	}
	return w.g, nil
}

// build is one Graph being made.
type build struct {
	*Builder
	prev *Graph
	in   Resources
	g    *Graph
	// secrets of stand-alone mode, by name.
	secrets map[string]*tlsv3.Secret
}

func (w *build) all() error {
	for typeURL := range w.in {
		if !slices.Contains([]string{TypeCluster, TypeEndpoints, TypeListener, TypeRoute, TypeSecret, TypeRevocations, TypeSettings}, typeURL) {
			return fmt.Errorf("resources of type %q are not honoured", typeURL)
		}
	}
	if err := w.settings(); err != nil {
		return err
	}
	if err := w.trust(); err != nil {
		return err
	}
	if err := w.clusters(); err != nil {
		return err
	}
	return w.listeners()
}

func (w *build) reader(kind, name string) *reader {
	return &reader{table: w.table, resource: fmt.Sprintf("%s %q", kind, name)}
}

// sorted makes errors the same each time.
func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
