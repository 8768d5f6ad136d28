package api

// TargetRef says whose proxies (spec.targetRef) or which destination (to[].targetRef) a policy is for.
//
// At the top: Mesh (also when the reference is left out), or Dataplane by name or by labels, with sectionName an inbound.
// In to[]: Mesh (all destinations) or MeshService by name, with sectionName a port of it.
type TargetRef struct {
	Kind        string            `json:"kind,omitempty"`
	Name        string            `json:"name,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	SectionName string            `json:"sectionName,omitempty"`
}

// BackendRef names a service and one of its ports.
type BackendRef struct {
	Kind string `json:"kind,omitempty"` // MeshService
	Name string `json:"name"`
	Port uint32 `json:"port,omitempty"`
}
