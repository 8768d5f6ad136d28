package store

import (
	"cmp"

	"github.com/hauberk-mesh/hauberk/api"
)

// CompareKeys is the order of List: by kind, mesh, namespace, name, each by bytes.
func CompareKeys(a, b api.Key) int {
	return cmp.Or(
		cmp.Compare(a.Kind, b.Kind),
		cmp.Compare(a.Mesh, b.Mesh),
		cmp.Compare(a.Namespace, b.Namespace),
		cmp.Compare(a.Name, b.Name),
	)
}

// Matches tells whether the selector chooses the key.
func (s Selector) Matches(k api.Key) bool {
	return (s.Kind == "" || s.Kind == k.Kind) && (s.Mesh == "" || s.Mesh == k.Mesh)
}
