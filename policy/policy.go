// Package policy is the contract of a policy: user intent in, edits of the intermediate form out.
//
// Each policy is one folder and touches neither another policy nor Envoy's messages. policy/all is the one ordered list;
// package target matches, orders and merges, so that Apply receives what is in force and where each field came from.
package policy

import (
	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/controlplane/ir"
)

// Policy turns what users wrote into edits of a proxy's configuration.
type Policy interface {
	// Kind describes the resource: its name, strict spec and validation.
	Kind() api.Kind
	// Apply edits p. resources are all policies of this kind in the mesh, sorted by name, unmatched; p is complete but
	// for policies that come later in policy/all. It must be pure.
	Apply(resources []*api.Resource, p *ir.Proxy) error
	// Explain says which resource each field in force came from, for inspect.
	Explain(resources []*api.Resource, p *ir.Proxy) []Contribution
}

// Contribution is one field of one policy in force on one part of a proxy.
type Contribution struct {
	Kind   string `json:"kind"`
	On     string `json:"on"`     // listener or cluster: "inbound|http", "outbound|catalog|80"; or "proxy", as a whole
	Field  string `json:"field"`  // "http.requestTimeout", "allow"
	Value  string `json:"value"`  // as YAML would show it
	Origin string `json:"origin"` // "MeshTimeout/mesh-timeout-to-all-default"
	Rule   string `json:"rule,omitempty"`
}

// Targeted is what the spec of every policy implements, so that whose proxies a change may touch is known without the
// kind being known. Nil is the whole mesh.
type Targeted interface {
	Target() *api.TargetRef
}

// Warner is a Policy that has something to say about resources which are valid, and do less than they seem to.
type Warner interface {
	// Warnings are sentences about r, given the proxies of its mesh that it may touch.
	Warnings(r *api.Resource, proxies []*ir.Proxy) []string
}
