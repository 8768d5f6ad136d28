// Package resolve makes a proxy's configuration from a World: the base (listeners, routes, clusters, trust), then the
// policies in order. It is pure: the same World gives the same result. It also answers the two questions about this
// function that need its knowledge: whom a change may touch (Affected), and where a field came from (Inspect).
//
// It knows no policy by name, no store and no wire. Start at Resolver.Proxy.
package resolve
