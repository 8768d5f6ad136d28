package xdsclient

import (
	"maps"
	"slices"

	"google.golang.org/protobuf/types/known/anypb"
)

// State is all resources at one moment. It is immutable: the next one shares the types that did not change.
type State struct {
	// Generation is the control plane's; zero under one that has none.
	Generation uint64
	// Node is whose configuration it is (node.id); empty where nobody said.
	Node string
	// Resources and Versions are by type URL and name, and have the same keys.
	Resources map[string]map[string]*anypb.Any
	Versions  map[string]map[string]string
}

func newState() *State {
	s := &State{Resources: map[string]map[string]*anypb.Any{}, Versions: map[string]map[string]string{}}
	for _, t := range Types() {
		s.Resources[t], s.Versions[t] = map[string]*anypb.Any{}, map[string]string{}
	}
	return s
}

// edit is a State in the making. Types are copied when they are first written to.
type edit struct {
	base, next       *State
	copied           map[string]bool
	changed, removed map[string]map[string]bool
}

func (s *State) edit(generation uint64) *edit {
	return &edit{
		base:    s,
		next:    &State{Generation: generation, Node: s.Node, Resources: maps.Clone(s.Resources), Versions: maps.Clone(s.Versions)},
		copied:  map[string]bool{},
		changed: map[string]map[string]bool{},
		removed: map[string]map[string]bool{},
	}
}

func (e *edit) own(typeURL string) {
	if e.copied[typeURL] {
		return
	}
	e.copied[typeURL] = true
	e.changed[typeURL], e.removed[typeURL] = map[string]bool{}, map[string]bool{}
	if e.next.Resources[typeURL] == nil {
		e.next.Resources[typeURL], e.next.Versions[typeURL] = map[string]*anypb.Any{}, map[string]string{}
		return
	}
	e.next.Resources[typeURL] = maps.Clone(e.next.Resources[typeURL])
	e.next.Versions[typeURL] = maps.Clone(e.next.Versions[typeURL])
}

func (e *edit) put(typeURL, name, version string, value *anypb.Any) {
	e.own(typeURL)
	e.next.Resources[typeURL][name] = value
	e.next.Versions[typeURL][name] = version
	delete(e.removed[typeURL], name)
	e.changed[typeURL][name] = true
}

func (e *edit) remove(typeURL, name string) {
	if _, has := e.next.Resources[typeURL][name]; !has {
		return
	}
	e.own(typeURL)
	delete(e.next.Resources[typeURL], name)
	delete(e.next.Versions[typeURL], name)
	delete(e.changed[typeURL], name)
	if _, had := e.base.Resources[typeURL][name]; had {
		e.removed[typeURL][name] = true
	}
}

// done returns the new state and how it differs.
func (e *edit) done() (*State, *Update) {
	u := &Update{
		Generation: e.next.Generation,
		Resources:  e.next.Resources,
		Changed:    map[string][]string{},
		Removed:    map[string][]string{},
	}
	for t, names := range e.changed {
		if len(names) > 0 {
			u.Changed[t] = sortedKeys(names)
		}
	}
	for t, names := range e.removed {
		if len(names) > 0 {
			u.Removed[t] = sortedKeys(names)
		}
	}
	return e.next, u
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
