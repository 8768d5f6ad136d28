// Package world is the control plane's picture of everything at one moment: immutable, indexed, built incrementally from
// the store's events. Whoever resolves, answers or reports works on one World and never on the store.
//
// It decides what belongs together (which dataplanes are a service, which identities it proves, who calls it), and nothing
// about proxies: that is package resolve. Start at Watcher; Builder is the step from one World to the next.
package world

import (
	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/api/resource"
	"github.com/hauberk-mesh/hauberk/controlplane/store"
)

// World is all meshes at a generation. Immutable: the next one shares what did not change.
type World struct {
	Generation store.Revision
	Meshes     map[string]*Mesh
}

// Mesh is one mesh, indexed.
type Mesh struct {
	Name       string
	Generation store.Revision // of the last change in this mesh
	Resource   *api.Resource

	Dataplanes map[string]*Dataplane
	Services   map[string]*Service
	// Policies by kind, each sorted by name.
	Policies map[string][]*api.Resource
	// Consumers are, by service, the names of the dataplanes that have an outbound to it.
	Consumers map[string]map[string]bool

	Identity *resource.MeshIdentity // the one in force
	Trust    []*resource.MeshTrust  // sorted by trust domain
	Revoked  []string               // SPIFFE IDs, sorted

	// Unreadable are the records of policies, trust, identity and revocations that this build cannot read, sorted by key.
	// They are not in the fields above, so that what is there may say less than what was written: nothing may be decided by
	// a mesh that has any.
	Unreadable []Unreadable
}

// Unreadable is a record that a newer control plane has written, or that is damaged.
type Unreadable struct {
	Key    api.Key
	Reason string
}

// Dataplane is one proxy with what follows from its labels.
type Dataplane struct {
	Name     string
	Resource *api.Resource
	Spec     *resource.Dataplane // defaults filled in
	Service  string              // "" where it has no label
	Workload string
	Zone     string
	SPIFFEID string
	Unready  map[string]string // inbound name -> reason, for those that do not answer
}

// Service is what callers name, generated or explicit.
type Service struct {
	Name       string
	Generated  bool
	Ports      []Port
	Identities []string // SPIFFE IDs that its servers may prove, sorted
}

// Port of a service with its endpoints.
type Port struct {
	Name      string
	Port      uint32
	Protocol  string     // http or tcp
	Endpoints *Endpoints // never nil; the same pointer as in the World before unless its content changed
}

// Endpoints of one service port, sorted by address and port.
type Endpoints struct {
	List []Endpoint
}

// Endpoint is one inbound of one dataplane.
type Endpoint struct {
	Dataplane string
	Address   string
	Port      uint32
	Unready   bool
	Labels    map[string]string
}

// Update is a step from one World to the next.
type Update struct {
	Old, New *World
	// Changed is, by mesh, what may be different for proxies.
	Changed map[string]*Change
}

// Change is what happened in one mesh. Sets may name more than what really changed, never less.
type Change struct {
	Dataplanes map[string]bool // own spec or labels (also added and removed ones)
	Services   map[string]bool // ports or identities: clusters, routes and listeners of consumers change
	Endpoints  map[string]bool // only endpoints of these services
	Policies   map[string]bool // kinds
	MeshWide   bool            // trust, identity or revocation: every proxy of the mesh
}
