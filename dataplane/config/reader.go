package config

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
)

// Note is a field that was accepted without effect.
type Note struct {
	Resource string `json:"resource"` // as errors name it: listener "inbound|http"
	Path     string `json:"path"`
	Why      string `json:"why"` // why that is harmless
}

// reader decodes the messages of one resource. Whatever is decoded through it has been checked against the table, so that
// no builder has to think of the fields that it does not read. It does not look into an Any: who honours one decodes it
// through the reader in turn.
type reader struct {
	table    map[string]row
	resource string
	notes    []Note
	secrets  map[string]*anypb.Any // that were asked for by name, in stand-alone mode
}

// any decodes a into m, if it is of m's type.
func (r *reader) any(a *anypb.Any, path string, m proto.Message) error {
	if !a.MessageIs(m) {
		return fmt.Errorf("%s: type %q is not honoured here, only %s", orTop(path), a.GetTypeUrl(), m.ProtoReflect().Descriptor().FullName())
	}
	if err := proto.Unmarshal(a.GetValue(), m); err != nil {
		return fmt.Errorf("%s: %w", orTop(path), err)
	}
	return r.check(m.ProtoReflect(), "", path)
}

// check walks all populated fields, in the order of their numbers so that an error is the same each time.
func (r *reader) check(m protoreflect.Message, parent protoreflect.FullName, path string) error {
	d := m.Descriptor()
	if isLeaf(d) {
		return nil
	}
	row, ok := rowOf(r.table, parent, d.FullName())
	if !ok {
		return fmt.Errorf("%s: message %s is not honoured", orTop(path), d.FullName())
	}
	if unknown := m.GetUnknown(); len(unknown) > 0 {
		return fmt.Errorf("%s: holds a field of %s that this version does not know", orTop(path), d.FullName())
	}
	for _, f := range populated(m) {
		where := join(path, string(f.Name()))
		rule, ok := row.fields[f.Name()]
		if !ok {
			return fmt.Errorf("%s: is not honoured", where)
		}
		if rule.accepted != "" {
			r.note(where, rule.accepted)
			continue
		}
		if err := r.checkValue(f, m.Get(f), d.FullName(), where); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) checkValue(f protoreflect.FieldDescriptor, v protoreflect.Value, parent protoreflect.FullName, path string) error {
	switch {
	case f.IsMap():
		if f.MapValue().Message() == nil {
			return nil
		}
		var first error
		v.Map().Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
			first = r.check(v.Message(), parent, fmt.Sprintf("%s[%q]", path, k.String()))
			return first == nil
		})
		return first
	case f.Message() == nil:
		return nil
	case f.IsList():
		for i := range v.List().Len() {
			if err := r.check(v.List().Get(i).Message(), parent, fmt.Sprintf("%s[%d]", path, i)); err != nil {
				return err
			}
		}
		return nil
	}
	return r.check(v.Message(), parent, path)
}

func (r *reader) note(path, why string) {
	r.notes = append(r.notes, Note{Resource: r.resource, Path: path, Why: why})
}

// isLeaf tells messages that are values: durations, wrappers, structs, and Any, which its user decodes.
func isLeaf(d protoreflect.MessageDescriptor) bool {
	return strings.HasPrefix(string(d.FullName()), "google.protobuf.")
}

func populated(m protoreflect.Message) []protoreflect.FieldDescriptor {
	var out []protoreflect.FieldDescriptor
	m.Range(func(f protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		out = append(out, f)
		return true
	})
	slices.SortFunc(out, func(a, b protoreflect.FieldDescriptor) int { return int(a.Number()) - int(b.Number()) })
	return out
}

func join(path, field string) string {
	if path == "" {
		return field
	}
	return path + "." + field
}

func orTop(path string) string {
	if path == "" {
		return "resource"
	}
	return path
}
