package api

import (
	"fmt"
	"sort"
)

// Kind describes one kind of resource to everything that must not know it by name: decoding, REST, CLI, store.
type Kind struct {
	Name     string   // as users write it: MeshTimeout
	Plural   string   // in URLs and on the command line: meshtimeouts
	Short    []string // further words that the command line takes for it: dp
	IsPolicy bool     // has spec.targetRef, and a policy.Policy of the same kind exists
	// ReadOnly kinds are written by the control plane alone; apply and delete refuse them.
	ReadOnly bool
	// New returns a pointer to a zero spec, which strict decoding then fills.
	New func() any
	// Validate returns every violation at once. spec is what New made. It may not change it.
	Validate func(meta Meta, spec any) Problems
}

// DefineKind makes a Kind whose spec is S, so that only this function sees the any.
func DefineKind[S any](name, plural string, validate func(Meta, *S) Problems) Kind {
	return Kind{
		Name:   name,
		Plural: plural,
		New:    func() any { return new(S) },
		Validate: func(m Meta, spec any) Problems {
			s, ok := spec.(*S)
			if !ok {
				return Problems{{Field: "spec", Message: fmt.Sprintf("is a %T", spec)}}
			}
			return validate(m, s)
		},
	}
}

// Registry is the list of kinds that this build knows. It is immutable.
type Registry struct {
	kinds    []Kind
	byName   map[string]Kind
	byPlural map[string]Kind
}

// NewRegistry panics on a kind that is listed twice: that is a mistake of the program.
func NewRegistry(kinds ...Kind) *Registry {
	r := &Registry{byName: map[string]Kind{}, byPlural: map[string]Kind{}}
	for _, k := range kinds {
		if _, twice := r.byName[k.Name]; twice {
			panic("api: kind " + k.Name + " is listed twice")
		}
		r.byName[k.Name] = k
		for _, word := range append([]string{k.Plural}, k.Short...) {
			if _, twice := r.byPlural[word]; twice {
				panic("api: the word " + word + " names two kinds")
			}
			r.byPlural[word] = k
		}
		r.kinds = append(r.kinds, k)
	}
	sort.Slice(r.kinds, func(i, j int) bool { return r.kinds[i].Name < r.kinds[j].Name })
	return r
}

// Kinds are all kinds, sorted by name. The slice is shared: do not change it.
func (r *Registry) Kinds() []Kind { return r.kinds }

// Kind finds a kind by the name that resources carry.
func (r *Registry) Kind(name string) (Kind, bool) {
	k, ok := r.byName[name]
	return k, ok
}

// Plural finds a kind by the word of the command line and of URLs.
func (r *Registry) Plural(word string) (Kind, bool) {
	k, ok := r.byPlural[word]
	return k, ok
}

// Problem is one thing that is wrong with a resource.
type Problem struct {
	Field   string `json:"field"`         // path from the document's root: spec.rules[0].default.allow[2].methods[0]
	Message string `json:"message"`       // what is wrong, as a clause: "is not a duration"
	Fix     string `json:"fix,omitempty"` // what to write instead: "write 500ms, 10s, 5m or 1h"
}

func (p Problem) String() string {
	s := p.Field + " " + p.Message
	if p.Fix != "" {
		s += ": " + p.Fix
	}
	return s
}

// Problems are all that is wrong with one resource, in the order of the document.
type Problems []Problem

// Add appends a problem; the field is joined from its parts by the caller.
func (p *Problems) Add(field, message, fix string) {
	*p = append(*p, Problem{Field: field, Message: message, Fix: fix})
}
