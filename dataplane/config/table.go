package config

import (
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// table says of every message that may be in a configuration which of its fields are honoured and which are accepted
// without effect, with the reason why that is harmless. A field that is in neither list is refused, and so is a message
// that is not here. Where a message means different things in different places, its row says in which message.
//
// Nothing that touches security, routing or limits may ever be accepted without effect.
func table() map[string]row {
	t := map[string]row{}
	var add adder = func(message, honoured string, accepted ...string) {
		r := row{fields: map[protoreflect.Name]rule{}}
		for _, f := range strings.Fields(honoured) {
			r.fields[protoreflect.Name(f)] = rule{}
		}
		for i := 0; i+1 < len(accepted); i += 2 {
			r.fields[protoreflect.Name(accepted[i])] = rule{accepted: accepted[i+1]}
		}
		t[message] = r
	}

	listenerFields(add)
	httpFields(add)
	routeFields(add)
	clusterFields(add)
	tlsFields(add)
	sharedFields(add)
	bootstrapFields(add)
	overloadFields(add)
	return t
}

// adder adds a message: the fields that are honoured, separated by white space, then pairs of a field that is accepted without
// effect and the reason why that is harmless.
type adder func(message, honoured string, accepted ...string)

// names is why fields that name statistics are accepted.
const names = "names a statistic, and changes no traffic"

// row is one message.
type row struct {
	fields map[protoreflect.Name]rule
}

// rule of a field that is not refused. accepted is why having no effect is harmless; empty where it is honoured.
type rule struct{ accepted string }

// in is the key of a message's row within another message.
func in(parent, message string) string { return message + " in " + parent }

// rowOf finds the row of a message that stands in parent ("" for the outermost).
func rowOf(t map[string]row, parent, message protoreflect.FullName) (row, bool) {
	if r, ok := t[in(string(parent), string(message))]; ok {
		return r, true
	}
	r, ok := t[string(message)]
	return r, ok
}
