package api

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// walker puts a YAML tree into Go structs and notes everything that does not fit, with the exact path. It is stricter
// than a JSON decoder: it knows no field by another case, takes no null for a value and no number for a string.
type walker struct {
	problems Problems
	lines    map[string]int // of all fields that are there, in the document, from 1
	// suspects are fields that are wrong or were probably meant by an unknown one. What validation says about them, or
	// about what is around them, would only repeat the problem.
	suspects []string
	budget   int // of nodes: aliases of aliases grow without end
}

// maxNodes is far above any resource that a person or a program writes.
const maxNodes = 50_000

func (w *walker) bad(path, message, fix string) {
	w.problems.Add(path, message, fix)
	w.suspects = append(w.suspects, path)
}

// node notes where n is and follows an alias. It returns nil once the document has grown too big.
func (w *walker) node(path string, n *yaml.Node) *yaml.Node {
	if w.budget--; w.budget < 0 {
		if w.budget == -1 {
			w.bad(path, "belongs to a document that is too big", "split it, and write aliases out")
		}
		return nil
	}
	if w.lines[path] == 0 {
		w.lines[path] = n.Line
	}
	if n.Kind == yaml.AliasNode {
		return w.node(path, n.Alias)
	}
	return n
}

var (
	timeType        = reflect.TypeFor[time.Time]()
	unmarshalerType = reflect.TypeFor[json.Unmarshaler]()
	decimal         = regexp.MustCompile(`^-?(0|[1-9][0-9]*)$`)
)

// value puts n into v, which can be set.
func (w *walker) value(path string, n *yaml.Node, v reflect.Value) {
	if n = w.node(path, n); n == nil {
		return
	}
	if isNull(n) {
		// Programs write these two empty. Anywhere else nothing may be wider than it looks: an empty entry of a list of
		// permissions would match everybody.
		if path == "metadata.labels" || path == "metadata.creationTimestamp" {
			return
		}
		w.bad(path, "has no value", "give it one, or remove the field")
		return
	}
	switch {
	case v.Kind() == reflect.Pointer:
		target := reflect.New(v.Type().Elem())
		w.value(path, n, target.Elem())
		v.Set(target)
		return
	case v.Type() == timeType:
		w.time(path, n, v)
		return
	case v.Addr().Type().Implements(unmarshalerType):
		w.unmarshal(path, n, v)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		w.structure(path, n, v)
	case reflect.Map:
		w.mapping(path, n, v)
	case reflect.Slice:
		w.sequence(path, n, v)
	default:
		w.scalar(path, n, v)
	}
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

func (w *walker) structure(path string, n *yaml.Node, v reflect.Value) {
	if n.Kind != yaml.MappingNode {
		w.bad(path, "is "+shape(n), "write it as fields: "+example(fieldNames(v.Type())))
		return
	}
	at := func(key string) string { return join(path, key) }
	w.pairs(path, n, at, func(key string, value *yaml.Node) {
		f, known := field(v, key)
		if !known {
			w.unknown(path, key, fieldNames(v.Type()))
			return
		}
		w.value(at(key), value, f)
	})
}

// pairs calls each for the pairs of a mapping, and notes duplicate keys and what is no plain key. at is a key's path.
func (w *walker) pairs(path string, n *yaml.Node, at func(key string) string, each func(key string, value *yaml.Node)) {
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		if k.Kind == yaml.AliasNode {
			k = k.Alias
		}
		if k.ShortTag() == "!!merge" {
			w.lines[at("<<")] = k.Line
			w.bad(at("<<"), "is a merge key", "write the fields out: what is merged in is too easily overlooked")
			continue
		}
		if k.Kind != yaml.ScalarNode {
			w.bad(path, fmt.Sprintf("has a key that is %s", shape(k)), "write a word as the key; quote {{ }} of a template")
			continue
		}
		if seen[k.Value] {
			w.lines[at(k.Value)] = k.Line
			w.bad(at(k.Value), "is there for the second time", "remove one of the two")
			continue
		}
		seen[k.Value] = true
		if field := at(k.Value); w.lines[field] == 0 {
			w.lines[field] = k.Line
		}
		each(k.Value, n.Content[i+1])
	}
}

// unknown notes a field that does not exist, with the one that was probably meant.
func (w *walker) unknown(path, key string, known []string) {
	at := join(path, key)
	if meant := nearest(key, known); meant != "" {
		w.bad(at, "is unknown", "write "+meant)
		w.suspects = append(w.suspects, join(path, meant))
		return
	}
	if len(known) == 0 {
		w.bad(at, "is unknown", "remove it: nothing is written here")
		return
	}
	if len(known) == 1 {
		w.bad(at, "is unknown", "remove it, or write "+known[0])
		return
	}
	w.bad(at, "is unknown", "remove it, or write one of "+strings.Join(known, ", "))
}

func (w *walker) mapping(path string, n *yaml.Node, v reflect.Value) {
	if n.Kind != yaml.MappingNode {
		w.bad(path, "is "+shape(n), "write it as fields, as {name: value}")
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	at := func(key string) string { return path + "[" + key + "]" }
	w.pairs(path, n, at, func(key string, value *yaml.Node) {
		elem := reflect.New(v.Type().Elem()).Elem()
		w.value(at(key), value, elem)
		v.SetMapIndex(reflect.ValueOf(key), elem)
	})
}

func (w *walker) sequence(path string, n *yaml.Node, v reflect.Value) {
	if n.Kind != yaml.SequenceNode {
		w.bad(path, "is "+shape(n), "write a list: '- ' before each entry, or [a, b]")
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, c := range n.Content {
		w.value(fmt.Sprintf("%s[%d]", path, i), c, v.Index(i))
	}
}

func (w *walker) scalar(path string, n *yaml.Node, v reflect.Value) {
	if n.Kind != yaml.ScalarNode {
		w.bad(path, "is "+shape(n), "write a single value")
		return
	}
	tag := n.ShortTag()
	switch v.Kind() {
	case reflect.String:
		if tag != "!!str" {
			w.bad(path, "is "+shape(n), "put it in quotes: "+strconv.Quote(n.Value))
			return
		}
		v.SetString(n.Value)
	case reflect.Bool:
		if tag != "!!bool" {
			w.bad(path, "is "+shape(n), "write true or false")
			return
		}
		v.SetBool(strings.EqualFold(n.Value, "true"))
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		i, err := strconv.ParseInt(n.Value, 10, v.Type().Bits())
		if tag != "!!int" || !decimal.MatchString(n.Value) || err != nil {
			w.notNumber(path, n, true)
			return
		}
		v.SetInt(i)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		u, err := strconv.ParseUint(n.Value, 10, v.Type().Bits())
		if tag != "!!int" || !decimal.MatchString(n.Value) || err != nil {
			w.notNumber(path, n, false)
			return
		}
		v.SetUint(u)
	default:
		w.bad(path, fmt.Sprintf("has a type that is not supported (%s)", v.Type()), "report this as a bug")
	}
}

func (w *walker) notNumber(path string, n *yaml.Node, negative bool) {
	fix := "write a whole number in decimal digits"
	switch {
	case n.ShortTag() == "!!str" && decimal.MatchString(n.Value):
		fix = "write it without quotes"
	case !negative && strings.HasPrefix(n.Value, "-"):
		fix = "write a number from 0 on"
	}
	w.bad(path, fmt.Sprintf("is %s (%s)", shape(n), abbreviate(n.Value)), fix)
}

func (w *walker) time(path string, n *yaml.Node, v reflect.Value) {
	t, err := time.Parse(time.RFC3339, n.Value)
	if n.Kind != yaml.ScalarNode || err != nil {
		w.bad(path, "is not a time", "write it as 2026-01-31T12:00:00Z")
		return
	}
	v.Set(reflect.ValueOf(t))
}

// unmarshal lets a type read itself, and takes the fix from behind the last colon of its error.
func (w *walker) unmarshal(path string, n *yaml.Node, v reflect.Value) {
	var raw any
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str" {
		raw = n.Value
	} else if n.Kind != yaml.ScalarNode || n.Decode(&raw) != nil {
		w.bad(path, "is "+shape(n), "write a single value")
		return
	}
	b, err := json.Marshal(raw)
	if err == nil {
		err = v.Addr().Interface().(json.Unmarshaler).UnmarshalJSON(b)
	}
	if err == nil {
		return
	}
	message, fix := err.Error(), ""
	if i := strings.LastIndex(message, ": "); i > 0 {
		message, fix = message[:i], message[i+2:]
	}
	w.bad(path, message, fix)
}

// doubtful tells whether a problem of validation repeats, or follows from, one that the walk has found.
func (w *walker) doubtful(field string) bool {
	return slices.ContainsFunc(w.suspects, func(s string) bool {
		return s == field || within(s, field) || within(field, s)
	})
}

// within tells whether the field inner is a part of outer.
func within(inner, outer string) bool {
	rest, ok := strings.CutPrefix(inner, outer)
	return ok && rest != "" && (rest[0] == '.' || rest[0] == '[')
}

// line is where a field stands in its document, or the nearest thing around it that is there.
func (w *walker) line(path string) int {
	for path != "" {
		if l := w.lines[path]; l > 0 {
			return l
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
	return 1
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// shape says what a node is, in the words of a user.
func shape(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	switch n.ShortTag() {
	case "!!str":
		return "a string"
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "true or false"
	case "!!null":
		return "empty"
	case "!!timestamp":
		return "a date"
	}
	return "something else (" + n.ShortTag() + ")"
}

func abbreviate(s string) string {
	if len(s) > 40 {
		return strconv.Quote(s[:40]) + "..."
	}
	return strconv.Quote(s)
}

func example(names []string) string {
	if len(names) == 0 {
		return "{}"
	}
	return "{" + names[0] + ": ...}"
}

// fieldNames are the names that a struct's fields have in YAML, in its own order.
func fieldNames(t reflect.Type) []string {
	var names []string
	for i := range t.NumField() {
		f := t.Field(i)
		name := jsonName(f)
		switch {
		case f.Anonymous && name == "" && f.Type.Kind() == reflect.Struct:
			names = append(names, fieldNames(f.Type)...)
		case name != "":
			names = append(names, name)
		}
	}
	return names
}

func field(v reflect.Value, key string) (reflect.Value, bool) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name := jsonName(f)
		if name == key {
			return v.Field(i), true
		}
		if f.Anonymous && name == "" && f.Type.Kind() == reflect.Struct {
			if inner, ok := field(v.Field(i), key); ok {
				return inner, true
			}
		}
	}
	return reflect.Value{}, false
}

// jsonName is "" for a field that has none of its own: unexported, excluded or embedded.
func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	switch {
	case name == "-" || !f.IsExported():
		return ""
	case name == "" && !f.Anonymous:
		return f.Name
	}
	return name
}
