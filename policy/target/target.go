// Package target answers which policies are in force on a part of a proxy, and which of them each field comes from.
//
// It matches target references, orders what matched by how specific it is, and merges field by field. It is pure: the
// order of its input plays no part. It knows no policy; MeshTrafficPermission, whose lists are a union, uses the matching
// alone. Start at Proxy and Merge.
package target

import (
	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/controlplane/ir"
)

// Rank is how specific a reference is; the higher one wins. Ranks of different functions are not comparable.
type Rank int

// The ranks of a top-level targetRef. One with a sectionName is above all that have none.
const (
	rankMesh Rank = iota
	rankLabels
	rankName
	rankSection // added to one of the others
)

// Proxy tells whether a top-level targetRef is about this proxy at all, whatever its sectionName. Nil is Mesh.
func Proxy(ref *api.TargetRef, p *ir.Proxy) bool { return Dataplane(ref, p.Name, p.Labels) }

// Dataplane is Proxy for a dataplane that is not resolved.
func Dataplane(ref *api.TargetRef, name string, labels map[string]string) bool {
	if ref == nil || ref.Kind == "" || ref.Kind == "Mesh" {
		return true
	}
	if ref.Kind != "Dataplane" || ref.Name != "" && ref.Name != name {
		return false
	}
	for k, v := range ref.Labels {
		if got, has := labels[k]; !has || got != v {
			return false
		}
	}
	return true
}

// Whole tells whether a policy is about what belongs to the proxy as a whole, and how specific it is. One that names an inbound is
// about that inbound alone.
func Whole(ref *api.TargetRef, p *ir.Proxy) (Rank, bool) {
	if !Proxy(ref, p) || ref != nil && ref.SectionName != "" {
		return 0, false
	}
	return top(ref), true
}

// Inbound tells whether a top-level targetRef is about an inbound, given by its name, and how specific it is.
func Inbound(ref *api.TargetRef, p *ir.Proxy, inbound string) (Rank, bool) {
	if !Proxy(ref, p) {
		return 0, false
	}
	rank := top(ref)
	if ref != nil && ref.SectionName != "" {
		if ref.SectionName != inbound {
			return 0, false
		}
		rank += rankSection
	}
	return rank, true
}

// Outbound tells whether a policy is about a service port that the proxy calls, and how specific it is: first by whose
// proxies it chooses, then by which destination. to is nil for all destinations.
func Outbound(ref, to *api.TargetRef, p *ir.Proxy, service, portName string) (Rank, bool) {
	if !Proxy(ref, p) {
		return 0, false
	}
	const base = 3 // ranks of a destination: Mesh, MeshService, MeshService with sectionName
	rank := top(ref) * base
	if to == nil || to.Kind == "" || to.Kind == "Mesh" {
		return rank, true
	}
	if to.Kind != "MeshService" || to.Name != service {
		return 0, false
	}
	if to.SectionName == "" {
		return rank + 1, true
	}
	return rank + 2, to.SectionName == portName
}

func top(ref *api.TargetRef) Rank {
	switch {
	case ref == nil || ref.Kind != "Dataplane":
		return rankMesh
	case ref.Name != "":
		return rankName
	default:
		return rankLabels
	}
}
