package api

import (
	"time"
)

// APIVersion is the only version of Hauberk's own kinds so far.
const APIVersion = "hauberk.io/v1alpha1"

// DefaultMesh and DefaultZone are meant where a resource names none.
const (
	DefaultMesh = "default"
	DefaultZone = "default"
)

// The labels that Hauberk reads. All others are the user's own and serve selectors only.
const (
	LabelMesh     = "hauberk.io/mesh"     // the mesh that a resource belongs to
	LabelZone     = "hauberk.io/zone"     // the zone that a dataplane runs in
	LabelService  = "hauberk.io/service"  // on a Dataplane: yields the MeshService of that name
	LabelWorkload = "hauberk.io/workload" // on a Dataplane: the last part of its SPIFFE ID; default the service
	LabelOrigin   = "hauberk.io/origin"   // who wrote the resource; set by the control plane, see the Origin constants
)

// Values of LabelOrigin. A resource without the label was applied by a user.
const (
	OriginDefault   = "default"   // made by the first start of a mesh
	OriginDataplane = "dataplane" // registered by a connected proxy
	OriginGenerated = "generated" // derived, as a MeshService from the label of its dataplanes; not in the store
)

// Resource is one thing that a user wrote, or that the control plane wrote in the same form.
// A Resource that came out of a store or of a Registry is shared: do not change what it points to, Clone it first.
type Resource struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   Meta   `json:"metadata"`
	// Spec points to the kind's own struct (Kind.New made it); nil where the kind has no spec.
	Spec any `json:"spec,omitempty"`
}

// Meta is the part that all resources have.
type Meta struct {
	Name      string            `json:"name"`
	Namespace string            `json:"namespace,omitempty"`
	Labels    map[string]string `json:"labels,omitempty"`
	// ResourceVersion is the store's revision of the last write, in decimal. A write that carries one is refused
	// with a conflict if the stored one is another; a write without one overwrites.
	ResourceVersion string `json:"resourceVersion,omitempty"`
	// CreationTime is when the resource was first stored (UTC).
	CreationTime *time.Time `json:"creationTimestamp,omitempty"`
}

// Mesh is the mesh that the resource belongs to. A Mesh belongs to none: its key has no mesh.
func (r *Resource) Mesh() string {
	if r.Kind == "Mesh" {
		return ""
	}
	if m := r.Metadata.Labels[LabelMesh]; m != "" {
		return m
	}
	return DefaultMesh
}

// Key names the resource among all others.
func (r *Resource) Key() Key {
	return Key{Kind: r.Kind, Mesh: r.Mesh(), Namespace: r.Metadata.Namespace, Name: r.Metadata.Name}
}

// Key is what a resource is stored and found by. Namespace is empty on universal.
type Key struct {
	Kind, Mesh, Namespace, Name string
}

// String is how logs and errors name a resource: kind/name, with the mesh where it is not the default.
func (k Key) String() string {
	s := k.Kind + "/" + k.Name
	if k.Namespace != "" {
		s = k.Kind + "/" + k.Namespace + "/" + k.Name
	}
	if k.Mesh != "" && k.Mesh != DefaultMesh {
		s += " (mesh " + k.Mesh + ")"
	}
	return s
}
