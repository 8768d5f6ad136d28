package config

//lint:file-ignore SA1019 append is deprecated, still sent, and means what it meant

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/hauberk-mesh/hauberk/dataplane/route"
)

// edits are the changes of header fields of one level: a route, its virtual host, the route configuration.
type edits struct{ request, response []route.Edit }

// editor is a message that edits header fields.
type editor interface {
	GetRequestHeadersToAdd() []*corev3.HeaderValueOption
	GetRequestHeadersToRemove() []string
	GetResponseHeadersToAdd() []*corev3.HeaderValueOption
	GetResponseHeadersToRemove() []string
}

func (t *tableBuild) edits(m editor, path string) (e edits, err error) {
	at := join(path, "request_headers_to")
	if e.request, err = t.level(m.GetRequestHeadersToAdd(), m.GetRequestHeadersToRemove(), at); err != nil {
		return e, err
	}
	at = join(path, "response_headers_to")
	e.response, err = t.level(m.GetResponseHeadersToAdd(), m.GetResponseHeadersToRemove(), at)
	return e, err
}

// level removes before it adds, as Envoy does.
func (t *tableBuild) level(add []*corev3.HeaderValueOption, remove []string, path string) ([]route.Edit, error) {
	var out []route.Edit
	for i, name := range remove {
		if err := editable(name); err != nil {
			return nil, fmt.Errorf("%s_remove[%d]: %w", path, i, err)
		}
		out = append(out, route.Edit{Op: route.Remove, Name: name})
	}
	for i, m := range add {
		e, err := t.addition(m, fmt.Sprintf("%s_add[%d]", path, i))
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

func (t *tableBuild) addition(m *corev3.HeaderValueOption, path string) (route.Edit, error) {
	e := route.Edit{Name: m.GetHeader().GetKey(), KeepEmpty: m.GetKeepEmptyValue()}
	if err := editable(e.Name); err != nil {
		return e, fmt.Errorf("%s.header.key: %w", path, err)
	}
	var err error
	if e.Op, err = editOp(m, path); err != nil {
		return e, err
	}
	value, field := m.GetHeader().GetValue(), "value"
	if raw := m.GetHeader().GetRawValue(); len(raw) > 0 {
		if value != "" {
			return e, fmt.Errorf("%s.header.raw_value: can not be set beside value", path)
		}
		value, field = string(raw), "raw_value"
	}
	at := path + ".header." + field
	if !validValue(value) {
		return e, fmt.Errorf("%s: %q holds a control character", at, value)
	}
	if !t.remoteIsDirect && strings.Contains(value, "%DOWNSTREAM_REMOTE_") {
		return e, fmt.Errorf("%s: %q: without use_remote_address, %%DOWNSTREAM_REMOTE_...%% would be what x-forwarded-for says; "+
			"write %%DOWNSTREAM_DIRECT_REMOTE_...%% for who is connected, or set use_remote_address", at, value)
	}
	if e.Value, err = route.CompileFormat(value); err != nil {
		return e, fmt.Errorf("%s: %q: %w", at, value, err)
	}
	return e, nil
}

func editOp(m *corev3.HeaderValueOption, path string) (route.EditOp, error) {
	if a := m.GetAppend(); a != nil {
		switch {
		case m.GetAppendAction() != 0:
			return 0, fmt.Errorf("%s.append: can not be set beside append_action", path)
		case a.GetValue():
			return route.Append, nil
		}
		return route.Overwrite, nil
	}
	switch a := m.GetAppendAction(); a {
	case corev3.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD:
		return route.Append, nil
	case corev3.HeaderValueOption_ADD_IF_ABSENT:
		return route.AddIfAbsent, nil
	case corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD:
		return route.Overwrite, nil
	case corev3.HeaderValueOption_OVERWRITE_IF_EXISTS:
		return route.OverwriteIfExists, nil
	default:
		return 0, fmt.Errorf("%s.append_action: %s is not honoured", path, a)
	}
}

// literal is an edit whose value is text.
func literal(op route.EditOp, name, value string) (route.Edit, error) {
	if !validValue(value) {
		return route.Edit{}, fmt.Errorf("%q holds a control character", value)
	}
	format, err := route.CompileFormat(strings.ReplaceAll(value, "%", "%%"))
	return route.Edit{Op: op, Name: name, Value: format}, err
}

// editable refuses names that a configuration must not write: what the message is framed and addressed by, and what only
// proxies of the mesh may say to each other.
func editable(name string) error {
	lower := strings.ToLower(name)
	switch {
	case strings.HasPrefix(name, ":") || lower == "host":
		return fmt.Errorf("%q can not be edited: see host_rewrite_literal and prefix_rewrite", name)
	case !validName(name):
		return fmt.Errorf("%q is not the name of a header field", name)
	case slices.Contains(hopFields, lower) || lower == "upgrade" || lower == "content-length":
		return fmt.Errorf("%q can not be edited: it says where the message ends, or belongs to one hop", name)
	case strings.HasPrefix(lower, "hauberk-") || strings.HasPrefix(lower, "x-hauberk-"):
		return errors.New("fields of hauberk- and x-hauberk- are the mesh's own")
	}
	return nil
}

// validName takes a token: RFC 9110 section 5.6.2.
func validName(s string) bool {
	for i := range len(s) {
		c := s[i] | 0x20
		if (c < 'a' || c > 'z') && (s[i] < '0' || s[i] > '9') && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(s[i])) {
			return false
		}
	}
	return s != ""
}

// validValue takes what can stand in a field's value.
func validValue(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' && s[i] != '\t' || s[i] == 0x7f {
			return false
		}
	}
	return true
}
