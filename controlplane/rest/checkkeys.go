package rest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/hauberk-mesh/hauberk/controlplane/report"
	"github.com/hauberk-mesh/hauberk/controlplane/world"
)

// checkKeys says of each connected dataplane where it keeps its keys, what computes with them, and why; those that say the same are
// one line. It warns of what a MeshTLS asks for and a proxy does not have.
func (s *server) checkKeys(m *world.Mesh) []Check {
	told := s.Reports.KeyProviders(m.Name)
	same := map[report.KeyProvider][]string{}
	var other []string
	for _, p := range s.dataplanes(m) {
		k, has := told[p.Dataplane]
		if has {
			same[k] = append(same[k], p.Dataplane)
		}
		if wanted := s.wantedKeys(m, p.Dataplane); p.Connected && wanted != "" && wanted != k.Name {
			has := "and has " + k.Name
			if k.Name == "" {
				has = "and does not say what it has"
			}
			other = append(other, fmt.Sprintf("%s is to have %s, %s", p.Dataplane, wanted, has))
		}
	}
	var all []Check
	for k, names := range same {
		message := fmt.Sprintf("%s (%s: %s): %s", k.Name, k.Backend, k.Reason, strings.Join(names, ", "))
		all = append(all, Check{Name: "keys", Result: OK, Message: message})
	}
	slices.SortFunc(all, func(a, b Check) int { return cmp.Compare(a.Message, b.Message) })
	if len(other) > 0 {
		all = append(all, Check{Name: "keys", Result: Warn, Message: strings.Join(other, "; "),
			Fix: "wait a second and check again; if it stays so, the proxy is older than the control plane: upgrade it"})
	}
	return all
}

// wantedKeys is what policies ask of a dataplane; empty: nothing.
func (s *server) wantedKeys(m *world.Mesh, dataplane string) string {
	if m.Dataplanes[dataplane] == nil {
		return ""
	}
	p, err := s.Policies.Proxy(m, dataplane)
	if err != nil {
		return "" // which checkStored has told
	}
	return string(p.KeyProvider)
}
