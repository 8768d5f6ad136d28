package rest

import (
	"context"
	"time"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/controlplane/ir"
	"github.com/hauberk-mesh/hauberk/controlplane/report"
	"github.com/hauberk-mesh/hauberk/controlplane/store"
	"github.com/hauberk-mesh/hauberk/controlplane/why"
	"github.com/hauberk-mesh/hauberk/controlplane/world"
	"github.com/hauberk-mesh/hauberk/policy"
)

// Resources is the typed store: store.Resources.
type Resources interface {
	Get(ctx context.Context, key api.Key) (*api.Resource, error)
	List(ctx context.Context, kind, mesh string) ([]*api.Resource, error)
	Apply(ctx context.Context, all []*api.Resource) (store.Revision, error)
	Delete(ctx context.Context, key api.Key) (store.Revision, error)
}

// Meshes makes and removes whole meshes.
type Meshes interface {
	// Defaults are the resources that come with a new mesh.
	Defaults(mesh *api.Resource) ([]*api.Resource, error)
	// Remove deletes everything that belongs to a mesh, and the Mesh, in one transaction.
	Remove(ctx context.Context, mesh string) (store.Revision, error)
}

// Worlds is the present picture of all meshes: world.Watcher.
type Worlds interface {
	Current() *world.World
	WaitFor(ctx context.Context, generation store.Revision) (*world.World, error)
}

// Proxies is what the xDS server knows of the proxies that it serves.
type Proxies interface {
	Status(mesh string) []ProxyStatus
	// Wait returns when every proxy that the generation affects and that is connected has answered, or when ctx ends,
	// with what is known by then.
	Wait(ctx context.Context, mesh string, generation uint64) (Propagation, error)
}

// Reports is what proxies have told.
type Reports interface {
	// Edges since the control plane started, or of the last window only where window is above zero.
	Edges(mesh string, window time.Duration) []report.Edge
	// Decisions asks the connected proxies of the named dataplanes for what they recorded, newest first.
	Decisions(ctx context.Context, mesh string, dataplanes []string, q report.Filter) []report.Decision
	// KeyProviders are where the connected proxies keep their keys, by dataplane.
	KeyProviders(mesh string) map[string]report.KeyProvider
}

// Policies resolves and explains: resolve.Proxy with the list of policy/all.
type Policies interface {
	Proxy(m *world.Mesh, dataplane string) (*ir.Proxy, error)
	Explain(m *world.Mesh, p *ir.Proxy) []policy.Contribution
	// Judge says what the permission of an inbound decides, without a request having to happen.
	Judge(c why.Call) why.Verdict
	// Warnings are what is likely not meant about resources that were just applied to a mesh.
	Warnings(m *world.Mesh, applied []*api.Resource) []string
}

// Credentials issues and revokes tokens and identities.
type Credentials interface {
	// User returns who a bearer token belongs to, or why it is refused. The error goes to the log, not to the caller.
	User(ctx context.Context, bearer string) (string, error)
	Issue(ctx context.Context, t TokenRequest) (IssuedToken, error)
	// RevokeToken ends a token, and with it what was joined by it. Unknown is store.ErrNotFound.
	RevokeToken(ctx context.Context, id string) error
	// RevokeIdentity ends issuing to a SPIFFE ID and makes every proxy of the mesh refuse it.
	RevokeIdentity(ctx context.Context, mesh, spiffeID string) error
}
