package resource

// Mesh is one realm of trust and policy. Applying a Mesh creates its MeshIdentity, MeshTrust and default policies.
type Mesh struct {
	// SkipCreatingInitialPolicies lists kinds that are not created with the mesh; '*' is all of them.
	SkipCreatingInitialPolicies []string `json:"skipCreatingInitialPolicies,omitempty"`
}
