package bootstrap

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	yaml "go.yaml.in/yaml/v3"
)

// The bounds of a file. Aliases make a short file long: the nodes are counted as they are visited.
const (
	maxFile  = 64 << 20
	maxNodes = 1_000_000
	maxDepth = 200
)

// document is a file as JSON, for protobuf's reader, with the way back: each value stands on a line of its own, and origins
// has, for each line of the JSON, where that value comes from.
type document struct {
	json    []byte
	origins []origin
}

// origin is a value in the file that somebody wrote. Its path is put together only if there is something to say about it.
type origin struct {
	line   int    // from 1
	within int    // the origin of what it is in; -1: nothing
	step   string // ".name" or "[0]" from there
}

// path is where an origin is, with protobuf's names: static_resources.listeners[0].name.
func path(origins []origin, i int) string {
	if i < 0 {
		return ""
	}
	return strings.TrimPrefix(path(origins, origins[i].within)+origins[i].step, ".")
}

// read takes YAML, of which JSON is a part.
func read(text []byte) (*document, error) {
	if len(text) > maxFile {
		return nil, fmt.Errorf("is larger than %d MiB", maxFile>>20)
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	var root yaml.Node
	if err := d.Decode(&root); errors.Is(err, io.EOF) {
		return nil, errors.New("is empty")
	} else if err != nil {
		return nil, err
	}
	var second yaml.Node
	if err := d.Decode(&second); err == nil {
		return nil, fmt.Errorf("line %d: a second document: a bootstrap file has one", second.Line)
	} else if !errors.Is(err, io.EOF) {
		return nil, err
	}
	w := &writer{}
	if err := w.value(root.Content[0], -1, "", 0); err != nil {
		return nil, err
	}
	return &document{json: w.out.Bytes(), origins: w.origins}, nil
}

// writer writes JSON, a line a value.
type writer struct {
	out     bytes.Buffer
	origins []origin
	nodes   int
}

func (w *writer) value(n *yaml.Node, within int, step string, depth int) error {
	me := len(w.origins)
	w.origins = append(w.origins, origin{line: n.Line, within: within, step: step})
	if w.nodes++; w.nodes > maxNodes || depth > maxDepth {
		return w.wrong(n, me, "is too large or nested too deep")
	}
	switch n.Kind {
	case yaml.AliasNode:
		w.origins = w.origins[:me]
		return w.value(n.Alias, within, step, depth+1)
	case yaml.MappingNode:
		return w.mapping(n, me, depth)
	case yaml.SequenceNode:
		w.out.WriteByte('[')
		for i, item := range n.Content {
			if i > 0 {
				w.out.WriteByte(',')
			}
			w.newline()
			if err := w.value(item, me, "["+strconv.Itoa(i)+"]", depth+1); err != nil {
				return err
			}
		}
		w.out.WriteByte(']')
		return nil
	}
	return w.scalar(n, me)
}

func (w *writer) mapping(n *yaml.Node, me, depth int) error {
	w.out.WriteByte('{')
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Kind != yaml.ScalarNode {
			return w.wrong(key, me, "a key must be a word")
		}
		if key.Tag == "!!merge" {
			return w.wrong(key, me, "merging with << is no JSON and not honoured: write the fields out")
		}
		if i > 0 {
			w.out.WriteByte(',')
		}
		w.newline()
		w.quote(key.Value)
		w.out.WriteByte(':')
		if err := w.value(n.Content[i+1], me, step(key.Value), depth+1); err != nil {
			return err
		}
	}
	w.out.WriteByte('}')
	return nil
}

// wrong is an error about something within an origin.
func (w *writer) wrong(n *yaml.Node, i int, what string) error {
	return fmt.Errorf("line %d: %s%s", n.Line, under(path(w.origins, i)), what)
}

// scalar writes numbers, truth values and null as such and all else, dates too, as the text that stands there.
func (w *writer) scalar(n *yaml.Node, me int) error {
	switch n.Tag {
	case "!!null":
		w.out.WriteString("null")
		return nil
	case "!!bool", "!!int", "!!float":
		var v any
		if err := n.Decode(&v); err != nil {
			return w.wrong(n, me, err.Error())
		}
		text, err := json.Marshal(v)
		if err != nil {
			break // .inf and .nan, which protobuf knows by other names
		}
		w.out.Write(text)
		return nil
	}
	w.quote(n.Value)
	return nil
}

func (w *writer) quote(s string) {
	text, _ := json.Marshal(s) // a string can always be written
	w.out.Write(text)
}

// newline ends a line; the value that follows has the next origin.
func (w *writer) newline() { w.out.WriteByte('\n') }

// at finds what an error of protobuf's reader is about, which names a line of the JSON.
func (d *document) at(err error) (line int, where, what string, ok bool) {
	text := err.Error()
	begin := strings.Index(text, "(line ")
	if begin < 0 {
		return 0, "", text, false
	}
	var own, column int
	if _, scan := fmt.Sscanf(text[begin:], "(line %d:%d)", &own, &column); scan != nil || own < 1 || own > len(d.origins) {
		return 0, "", text, false
	}
	_, what, _ = strings.Cut(text[begin:], ")")
	return d.origins[own-1].line, path(d.origins, own-1), strings.TrimLeft(what, ": \u00a0"), true
}

// line is where the value at a path was written, or the nearest around it.
func (d *document) line(where string) int {
	best, length := 1, -1
	for i, o := range d.origins {
		if p := path(d.origins, i); len(p) > length && within(where, p) {
			best, length = o.line, len(p)
		}
	}
	return best
}

// within tells whether a path is outer or below it.
func within(path, outer string) bool {
	rest, ok := strings.CutPrefix(path, outer)
	return ok && (rest == "" || outer == "" || rest[0] == '.' || rest[0] == '[')
}

// step is the way to a field, or to a key of a map where it can be told from one.
func step(key string) string {
	if strings.ContainsAny(key, ".[]/") {
		return "[" + strconv.Quote(key) + "]"
	}
	return "." + snake(key)
}

func join(path, field string) string {
	if path == "" || field == "" {
		return path + field
	}
	return path + "." + field
}

// snake turns JSON's lowerCamelCase, which protobuf reads too, into the field's own name. Keys of maps may suffer; only
// messages show them.
func snake(s string) string {
	var b strings.Builder
	for i, c := range s {
		if c >= 'A' && c <= 'Z' && i > 0 && !strings.ContainsAny(s, "_-./ ") {
			b.WriteByte('_')
			c += 'a' - 'A'
		}
		b.WriteRune(c)
	}
	return b.String()
}
