package config

import (
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// Class is what becomes of a field that is set.
type Class string

// The three classes of DESIGN, promise 2.
const (
	Honoured Class = "honoured"
	Accepted Class = "accepted without effect"
	Refused  Class = "refused"
)

// Entry is one field of one message.
type Entry struct {
	Message string // full name
	Within  string // the message in which this holds, where it depends on that
	Field   string
	Class   Class
	Note    string // why it is harmless that an accepted field has no effect
}

// Compat lists every field of every message that a configuration may hold, sorted. It is the source of the compatibility
// table in the documentation; messages of filters are described by their factories' packages.
func Compat() []Entry {
	t := table()
	var out []Entry
	for _, key := range slices.Sorted(maps.Keys(t)) {
		message, within, _ := strings.Cut(key, " in ")
		mt, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(message))
		if err != nil {
			continue // a test makes sure that all are linked
		}
		fields := mt.Descriptor().Fields()
		for i := range fields.Len() {
			e := Entry{Message: message, Within: within, Field: string(fields.Get(i).Name()), Class: Refused}
			if r, ok := t[key].fields[fields.Get(i).Name()]; ok {
				e.Class, e.Note = Honoured, r.accepted
				if r.accepted != "" {
					e.Class = Accepted
				}
			}
			out = append(out, e)
		}
	}
	return out
}
