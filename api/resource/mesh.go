package resource

import (
	"fmt"
	"slices"

	"github.com/hauberk-mesh/hauberk/api"
)

// Mesh is one realm of trust and policy. Applying a Mesh creates its MeshIdentity, MeshTrust and default policies.
type Mesh struct {
	// SkipCreatingInitialPolicies lists kinds that are not created with the mesh; '*' is all of them.
	SkipCreatingInitialPolicies []string `json:"skipCreatingInitialPolicies,omitempty"`
}

// MeshKind describes Mesh.
func MeshKind() api.Kind {
	return short(api.DefineKind("Mesh", "meshes", validateMesh), "mesh")
}

// Skips tells whether the initial policy of a kind is not wanted.
func (m *Mesh) Skips(kind string) bool {
	return slices.Contains(m.SkipCreatingInitialPolicies, "*") || slices.Contains(m.SkipCreatingInitialPolicies, kind)
}

// initialPolicies are the kinds that a new mesh gets.
var initialPolicies = [...]string{"MeshTLS", "MeshTimeout"}

// The mesh's name becomes part of trust domains and of server names, so that it has to be one DNS label.
func validateMesh(meta api.Meta, m *Mesh) (ps api.Problems) {
	if message, fix := api.CheckDNSLabel(meta.Name); message != "" {
		ps.Add("metadata.name", message, fix)
	}
	if _, has := meta.Labels[api.LabelMesh]; has {
		ps.Add("metadata.labels["+api.LabelMesh+"]", "is on a Mesh, which belongs to none", "remove the label")
	}
	for i, kind := range m.SkipCreatingInitialPolicies {
		if kind == "*" || slices.Contains(initialPolicies[:], kind) {
			continue
		}
		ps.Add(fmt.Sprintf("spec.skipCreatingInitialPolicies[%d]", i), fmt.Sprintf("%q is not created with a mesh", kind),
			"write MeshTLS, MeshTimeout or '*'")
	}
	return ps
}
