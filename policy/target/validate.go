package target

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hauberk-mesh/hauberk/api"
)

// ValidateTop checks spec.targetRef. sections says whether the policy is about inbounds, one of which may be named.
func ValidateTop(ref *api.TargetRef, sections bool) (ps api.Problems) {
	const at = "spec.targetRef"
	if ref == nil {
		return nil
	}
	switch ref.Kind {
	case "Mesh":
		notBeside(&ps, at, ref, "Mesh", "write kind: Dataplane to choose some of its proxies")
	case "Dataplane":
		if ref.Name != "" && len(ref.Labels) > 0 {
			ps.Add(at+".labels", "stands beside name", "keep one of the two")
		}
		if ref.Name != "" {
			add(&ps, at+".name")(api.CheckName(ref.Name))
		}
		for _, k := range slices.Sorted(maps.Keys(ref.Labels)) {
			add(&ps, at+".labels["+k+"]")(api.CheckLabelKey(k))
			add(&ps, at+".labels["+k+"]")(api.CheckLabelValue(ref.Labels[k]))
		}
		if ref.SectionName != "" && !sections {
			ps.Add(at+".sectionName", "names an inbound, and to[] is about outbounds", "remove it, or write rules[] instead of to[]")
		} else if ref.SectionName != "" {
			add(&ps, at+".sectionName")(api.CheckDNSLabel(ref.SectionName))
		}
	default:
		kindProblem(&ps, at, ref, "Mesh", "Dataplane")
	}
	return ps
}

// ValidateTo checks the targetRef of an entry of to[], which stands at field.
func ValidateTo(field string, ref *api.TargetRef) (ps api.Problems) {
	if ref == nil {
		ps.Add(field, "is missing", "write {kind: Mesh} for all destinations, or {kind: MeshService, name: cart}")
		return ps
	}
	switch ref.Kind {
	case "Mesh":
		notBeside(&ps, field, ref, "Mesh, which is all destinations", "write kind: MeshService to choose one")
	case "MeshService":
		if len(ref.Labels) > 0 {
			ps.Add(field+".labels", "is not read: a destination is chosen by its name", "write name")
		}
		if ref.Name == "" {
			ps.Add(field+".name", "is missing", "name the service")
		} else {
			add(&ps, field+".name")(api.CheckName(ref.Name))
		}
		if ref.SectionName != "" {
			add(&ps, field+".sectionName")(api.CheckDNSLabel(ref.SectionName))
		}
	default:
		kindProblem(&ps, field, ref, "Mesh", "MeshService")
	}
	return ps
}

func notBeside(ps *api.Problems, at string, ref *api.TargetRef, kind, fix string) {
	for _, f := range []struct {
		name string
		set  bool
	}{{"name", ref.Name != ""}, {"labels", len(ref.Labels) > 0}, {"sectionName", ref.SectionName != ""}} {
		if f.set {
			ps.Add(at+"."+f.name, "stands beside kind: "+kind, "remove it, or "+fix)
		}
	}
}

func kindProblem(ps *api.Problems, at string, ref *api.TargetRef, kinds ...string) {
	if ref.Kind == "" {
		ps.Add(at+".kind", "is missing", "write "+strings.Join(kinds, " or "))
		return
	}
	fix := "write " + strings.Join(kinds, " or ")
	for _, k := range kinds {
		if strings.EqualFold(k, ref.Kind) {
			fix = "write " + k
		}
	}
	ps.Add(at+".kind", fmt.Sprintf("%q cannot be chosen here", ref.Kind), fix)
}

func add(ps *api.Problems, field string) func(message, fix string) {
	return func(message, fix string) {
		if message != "" {
			ps.Add(field, message, fix)
		}
	}
}
