package telemetry

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// JSONFormat is a compiled access log format that makes an object: strings with Envoy's command operators in them, and
// objects and arrays of such. It is immutable.
type JSONFormat struct {
	root jsonNode
	// OmitEmpty leaves members out whose value is absent; otherwise they are null.
	OmitEmpty bool
}

// jsonNode is one value. Exactly one of its fields is set.
type jsonNode struct {
	text    *Format
	literal string // a number, true, false or null, as JSON
	object  []jsonMember
	array   []jsonNode
}

type jsonMember struct {
	key   string // as JSON, with its colon
	value jsonNode
}

// CompileJSONFormat reads an object as encoding/json has it: map[string]any, []any, string, float64, bool, nil. Members are
// sorted by name. A string that is one operator and nothing else has the operator's type, so that numbers are numbers.
func CompileJSONFormat(object map[string]any) (*JSONFormat, error) {
	root, err := compileJSON(object, "")
	if err != nil {
		return nil, err
	}
	return &JSONFormat{root: root}, nil
}

func compileJSON(v any, path string) (n jsonNode, err error) {
	switch v := v.(type) {
	case map[string]any:
		n.object = []jsonMember{}
		for _, k := range slices.Sorted(maps.Keys(v)) {
			value, err := compileJSON(v[k], path+"["+strconv.Quote(k)+"]")
			if err != nil {
				return n, err
			}
			n.object = append(n.object, jsonMember{string(append(appendJSON(nil, k), ':')), value})
		}
	case []any:
		n.array = []jsonNode{}
		for i, one := range v {
			value, err := compileJSON(one, path+"["+strconv.Itoa(i)+"]")
			if err != nil {
				return n, err
			}
			n.array = append(n.array, value)
		}
	case string:
		if n.text, err = CompileFormat(v); err != nil {
			return n, fmt.Errorf("%s: %w", path, err)
		}
	case float64:
		n.literal = strconv.FormatFloat(v, 'g', -1, 64)
	case bool:
		n.literal = strconv.FormatBool(v)
	case nil:
		n.literal = "null"
	default:
		return n, fmt.Errorf("%s: %T can not stand in a format", path, v)
	}
	return n, nil
}

// Append writes r's object and a line break.
func (f *JSONFormat) Append(dst []byte, r *Record) []byte {
	return append(f.append(dst, &f.root, r), '\n')
}

func (f *JSONFormat) append(dst []byte, n *jsonNode, r *Record) []byte {
	switch {
	case n.text != nil:
		return n.text.appendJSON(dst, r)
	case n.object != nil:
		dst = append(dst, '{')
		for i := range n.object {
			m := &n.object[i]
			if f.OmitEmpty && m.value.text != nil && m.value.text.absent(r) {
				continue
			}
			if dst[len(dst)-1] != '{' {
				dst = append(dst, ',')
			}
			dst = f.append(append(dst, m.key...), &m.value, r)
		}
		return append(dst, '}')
	case n.array != nil:
		dst = append(dst, '[')
		for i := range n.array {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = f.append(dst, &n.array[i], r)
		}
		return append(dst, ']')
	}
	return append(dst, n.literal...)
}

// absent tells whether the format is one operator, without a value in r.
func (f *Format) absent(r *Record) bool {
	return len(f.parts) == 1 && f.parts[0].op != nil && len(f.parts[0].raw(nil, r)) == 0
}

// appendJSON writes the line as a JSON value: the operator's own type where it is one operator, a string otherwise.
func (f *Format) appendJSON(dst []byte, r *Record) []byte {
	if len(f.parts) == 1 && f.parts[0].op != nil {
		raw := f.parts[0].raw(nil, r)
		switch {
		case len(raw) == 0:
			return append(dst, "null"...)
		case f.parts[0].op.number != nil:
			return append(dst, raw...)
		}
		return appendJSON(dst, string(raw))
	}
	var text []byte
	for i := range f.parts {
		p := &f.parts[i]
		before := len(text)
		if p.op == nil {
			text = append(text, p.literal...)
		} else if text = p.raw(text, r); len(text) == before {
			text = append(text, '-')
		}
	}
	return appendJSON(dst, string(text))
}

// raw is value without the escapes of text logs.
func (p *piece) raw(dst []byte, r *Record) []byte {
	if p.op.text == nil {
		return p.value(dst, r)
	}
	s := p.op.text(r)
	if p.limit > 0 {
		s = s[:min(len(s), p.limit)]
	}
	return append(dst, s...)
}

// NewJSONFormatLog writes one object a line, as format says.
func NewJSONFormatLog(out *LogWriter, format *JSONFormat) *AccessLog {
	return newLog(out, format.Append)
}
