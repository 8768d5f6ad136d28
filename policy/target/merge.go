package target

import (
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/policy"
)

// Candidate is one default that is in force on the part in question, though each of its fields may be overridden.
type Candidate[S any] struct {
	Rank     Rank
	Resource *api.Resource
	Rule     string // where in the resource: "spec.rules[0]"
	Default  *S
}

// Merged is the outcome of Merge.
type Merged[S any] struct {
	Value S
	// From are the fields that are set, by their path ("http.requestTimeout").
	From map[string]Origin
}

// Origin is where a field came from.
type Origin struct {
	Resource *api.Resource
	Rule     string
}

// Merge takes each field from the most specific candidate that sets it; a tie goes to the resource whose name sorts
// first. S is a struct whose settable fields are pointers, slices or maps (nil is unset), or structs of such. Slices and
// maps are taken whole. The result shares what the candidates point to.
func Merge[S any](candidates []Candidate[S]) Merged[S] {
	ordered := slices.Clone(candidates)
	slices.SortStableFunc(ordered, func(a, b Candidate[S]) int {
		return cmp.Or(cmp.Compare(b.Rank, a.Rank), cmp.Compare(a.Resource.Metadata.Name, b.Resource.Metadata.Name), cmp.Compare(a.Rule, b.Rule))
	})
	m := Merged[S]{From: map[string]Origin{}}
	for _, c := range ordered {
		if c.Default != nil {
			fill(reflect.ValueOf(&m.Value).Elem(), reflect.ValueOf(c.Default).Elem(), "", m.From, Origin{c.Resource, c.Rule})
		}
	}
	return m
}

// fill sets the fields of to that are unset and are set in from.
func fill(to, from reflect.Value, path string, origins map[string]Origin, origin Origin) {
	for i := range from.NumField() {
		f := from.Type().Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		at := name
		if path != "" {
			at = path + "." + name
		}
		src, dst := from.Field(i), to.Field(i)
		switch {
		case src.Kind() == reflect.Struct:
			fill(dst, src, at, origins, origin)
		case !nilable(src):
			panic(fmt.Sprintf("target: field %s of %s cannot be unset: make it a pointer", f.Name, from.Type()))
		case src.IsNil():
		case branch(src.Type()):
			if dst.IsNil() {
				dst.Set(reflect.New(src.Type().Elem()))
			}
			fill(dst.Elem(), src.Elem(), at, origins, origin)
		case dst.IsNil():
			dst.Set(src)
			origins[at] = origin
		}
	}
}

func nilable(v reflect.Value) bool {
	return v.Kind() == reflect.Pointer || v.Kind() == reflect.Slice || v.Kind() == reflect.Map
}

// branch tells a pointer to a struct of fields from a pointer to a value such as a Duration, which reads itself.
func branch(t reflect.Type) bool {
	return t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.Struct && !t.Implements(reflect.TypeFor[json.Unmarshaler]())
}

// Contributions lists the fields of a Merged, sorted, as inspect shows them.
func (m Merged[S]) Contributions(on string) []policy.Contribution {
	var all []policy.Contribution
	for path, origin := range m.From {
		all = append(all, policy.Contribution{
			Kind: origin.Resource.Kind, On: on, Field: path, Value: show(reflect.ValueOf(m.Value), path),
			Origin: origin.Resource.Kind + "/" + origin.Resource.Metadata.Name, Rule: origin.Rule,
		})
	}
	slices.SortFunc(all, func(a, b policy.Contribution) int { return cmp.Compare(a.Field, b.Field) })
	return all
}

// show prints the field at path as YAML would.
func show(v reflect.Value, path string) string {
	for v.Kind() == reflect.Pointer && branch(v.Type()) {
		v = v.Elem()
	}
	if path == "" {
		b, err := json.Marshal(v.Interface())
		if err != nil {
			return err.Error()
		}
		return strings.Trim(string(b), `"`)
	}
	head, rest, _ := strings.Cut(path, ".")
	for i := range v.NumField() {
		if name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ","); name == head {
			return show(v.Field(i), rest)
		}
	}
	return ""
}
