package api

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Decode reads and validates every document of a YAML or JSON input. source names it in errors: a file, or "stdin".
// All that is wrong with it comes back at once, as an *InvalidError; resources are returned only if nothing is.
func (r *Registry) Decode(source string, data []byte) ([]*Resource, error) {
	invalid := &InvalidError{}
	var all []*Resource
	first := map[Key]int{}
	for i, doc := range splitDocuments(data) {
		d := &decoding{registry: r, walker: walker{lines: map[string]int{}, budget: maxNodes}}
		res := d.decode(doc.text)
		if key := res.Key(); key.Kind != "" && key.Name != "" {
			if n, twice := first[key]; twice {
				d.bad("metadata.name", fmt.Sprintf("%q is the name of document %d too", key.Name, n), "rename one of the two, or remove one")
			} else {
				first[key] = i + 1
			}
		}
		for _, p := range d.inOrder() {
			invalid.add(Finding{
				Source: source, Document: i + 1, Line: doc.line, Kind: res.Kind, Name: res.Metadata.Name,
				FieldLine: doc.line + d.line(p.Field) - 1, Problem: p,
			})
		}
		all = append(all, res)
	}
	if err := invalid.orNil(); err != nil {
		return nil, err
	}
	return all, nil
}

// decoding is the reading of one document.
type decoding struct {
	walker
	registry *Registry
}

// envelope is Resource with the spec left for the kind.
type envelope struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   Meta   `json:"metadata"`
}

// decode returns what could be read, never nil; d.problems says whether it may be used.
func (d *decoding) decode(text []byte) *Resource {
	res := &Resource{}
	root, ok := d.parse(text)
	if !ok {
		return res
	}
	var e envelope
	spec, fields := (*yaml.Node)(nil), reflect.ValueOf(&e).Elem()
	d.pairs("", root, func(key string) string { return key }, func(key string, value *yaml.Node) {
		f, known := field(fields, key)
		switch {
		case key == "spec":
			spec = value
		case known:
			d.value(key, value, f)
		default:
			d.unknownTop(key)
		}
	})
	res.APIVersion, res.Kind, res.Metadata = e.APIVersion, e.Kind, e.Metadata
	d.checkMeta(&res.Metadata)
	kind, known := d.checkKind(res)
	if !known {
		return res
	}
	res.Spec = kind.New()
	// "spec:" with nothing behind it is how templates write a spec of defaults.
	if spec != nil && !isNull(spec) {
		d.value("spec", spec, reflect.ValueOf(res.Spec).Elem())
	}
	for _, p := range kind.Validate(res.Metadata, res.Spec) {
		if !d.doubtful(p.Field) {
			d.problems = append(d.problems, p)
		}
	}
	return res
}

// parse returns the mapping that the document is.
func (d *decoding) parse(text []byte) (*yaml.Node, bool) {
	var doc yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(text))
	if err := dec.Decode(&doc); err != nil {
		line, message := syntaxError(err)
		d.lines["document"] = line
		d.bad("document", "is not YAML: "+message, "correct it at or beside this line: indent with spaces, close quotes and brackets")
		return nil, false
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		d.bad("document", "does not end where it should", "put --- on a line of its own between documents")
		return nil, false
	}
	root := d.node("", doc.Content[0])
	if root == nil || root.Kind != yaml.MappingNode {
		d.bad("document", "is no resource", "write apiVersion, kind, metadata and spec")
		return nil, false
	}
	return root, true
}

var yamlLine = regexp.MustCompile(`line (\d+): `)

// syntaxError takes the parser's error apart: its line (1 if it names none) and its message.
func syntaxError(err error) (int, string) {
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	m := yamlLine.FindStringSubmatchIndex(message)
	if m == nil {
		return 1, message
	}
	line, _ := strconv.Atoi(message[m[2]:m[3]])
	return max(1, line), message[:m[0]] + message[m[1]:]
}

func (d *decoding) unknownTop(key string) {
	switch key {
	case "name", "labels", "namespace":
		d.bad(key, "is unknown", "put it under metadata")
		d.suspects = append(d.suspects, "metadata."+key)
	case "mesh":
		d.bad(key, "is unknown", "write metadata.labels, as {"+LabelMesh+": default}")
	case "type":
		d.bad(key, "is unknown", "write kind (and apiVersion: "+APIVersion+")")
		d.suspects = append(d.suspects, "kind")
	case "status":
		d.bad(key, "is written by the control plane", "remove it")
	default:
		d.unknown("", key, append(fieldNames(reflect.TypeFor[envelope]()), "spec"))
	}
}

func (d *decoding) checkKind(res *Resource) (Kind, bool) {
	if !d.doubtful("apiVersion") {
		switch res.APIVersion {
		case APIVersion:
		case "":
			d.bad("apiVersion", "is missing", "write "+APIVersion)
		default:
			d.bad("apiVersion", fmt.Sprintf("%q is unknown", res.APIVersion), "write "+APIVersion)
		}
	}
	kind, known := d.registry.Kind(res.Kind)
	switch {
	case known || d.doubtful("kind"):
	case res.Kind == "":
		d.bad("kind", "is missing", "write one of "+d.kindNames(", "))
	default:
		fix := "write one of " + d.kindNames(", ")
		if near := nearest(res.Kind, strings.Fields(d.kindNames(" "))); near != "" {
			fix = "write " + near
		}
		d.bad("kind", fmt.Sprintf("%q is unknown", res.Kind), fix)
	}
	return kind, known
}

func (d *decoding) kindNames(separator string) string {
	var names []string
	for _, k := range d.registry.Kinds() {
		if !k.ReadOnly {
			names = append(names, k.Name)
		}
	}
	return strings.Join(names, separator)
}

// ownLabels begin with hauberk.io/. An unknown one is a typo whose meaning would silently be lost.
var ownLabels = [...]string{LabelMesh, LabelZone, LabelService, LabelWorkload, LabelOrigin}

func (d *decoding) checkMeta(m *Meta) {
	note := func(field, message, fix string) {
		if message != "" && !d.doubtful(field) {
			d.bad(field, message, fix)
		}
	}
	message, fix := CheckName(m.Name)
	note("metadata.name", message, fix)
	if m.Namespace != "" {
		message, fix = CheckDNSLabel(m.Namespace)
		note("metadata.namespace", message, fix)
	}
	if _, err := strconv.ParseUint(m.ResourceVersion, 10, 64); m.ResourceVersion != "" && err != nil {
		note("metadata.resourceVersion", "is not a revision", "remove it, or write it as get shows it")
	}
	keys := make([]string, 0, len(m.Labels))
	for k := range m.Labels {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for _, k := range keys {
		at := "metadata.labels[" + k + "]"
		message, fix = CheckLabelKey(k)
		note(at, message, fix)
		message, fix = CheckLabelValue(m.Labels[k])
		note(at, message, fix)
		if strings.HasPrefix(k, "hauberk.io/") && !slices.Contains(ownLabels[:], k) {
			fix := "write one of " + strings.Join(ownLabels[:4], ", ") + "; labels of your own have another prefix or none"
			if near := nearest(k, ownLabels[:4]); near != "" {
				fix = "write " + near
			}
			note(at, "is no label of Hauberk", fix)
		}
	}
	if v, has := m.Labels[LabelMesh]; has {
		message, fix = CheckDNSLabel(v)
		note("metadata.labels["+LabelMesh+"]", message, fix)
	}
}

// inOrder are the problems by line; those of one line stay in the order in which they were found.
func (d *decoding) inOrder() Problems {
	slices.SortStableFunc(d.problems, func(a, b Problem) int { return d.line(a.Field) - d.line(b.Field) })
	return d.problems
}
