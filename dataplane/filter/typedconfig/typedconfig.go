// Package typedconfig holds a filter's reading of its typed_config to what the filter honours: whatever else is set in a
// message is refused with its path, so that no rule of another control plane is half obeyed. It decodes nothing and keeps no
// list; each filter names its fields where it reads them. Start with Only.
package typedconfig

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Only refuses every populated field of m but the named ones, bytes that this build's protobufs do not know, and a message
// that is not there. path is where m stands in the filter's configuration; the outermost has none. It does not look into
// the fields: their reader calls Only in turn.
func Only(m proto.Message, path string, names ...string) error {
	r := m.ProtoReflect()
	if !r.IsValid() {
		return fmt.Errorf("%s: is not set", path)
	}
	if len(r.GetUnknown()) > 0 {
		return errors.New(strings.TrimPrefix(path+": holds a field that this version does not know", ": "))
	}
	var refused []string
	r.Range(func(f protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		if name := string(f.Name()); !slices.Contains(names, name) {
			refused = append(refused, strings.TrimPrefix(path+"."+name, "."))
		}
		return true
	})
	if len(refused) == 0 {
		return nil
	}
	slices.Sort(refused) // Range has no order, and an error is to be the same each time
	return fmt.Errorf("%s: is not honoured", refused[0])
}
