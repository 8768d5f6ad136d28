package filter

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hauberk-mesh/hauberk/dataplane/filter"
	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
)

// template is a path pattern, segment by segment: a literal, one segment that is not empty, or, last, the rest (which may
// be empty, but the slash before it has to be there).
//
// Envoy's own matcher lets * and {name} take only the characters that RFC 3986 allows in a segment. Here they take every
// character but the slash: otherwise a deny could be dodged by a character that should not be there.
type template struct {
	literals []string // "" is any one segment
	rest     bool
}

func (t template) matches(_ *filter.Conn, r *message.Request) bool { return t.match(r.Path) }

func (t template) match(path string) bool {
	for _, literal := range t.literals {
		if path == "" || path[0] != '/' {
			return false
		}
		segment, after := path[1:], ""
		if end := strings.IndexByte(segment, '/'); end >= 0 {
			segment, after = segment[:end], segment[end:]
		}
		if segment == "" || literal != "" && segment != literal {
			return false
		}
		path = after
	}
	if t.rest {
		return path != "" && path[0] == '/'
	}
	if len(t.literals) == 0 {
		return path == "/"
	}
	return path == ""
}

// parseTemplate reads Envoy's syntax as far as a wildcard is a whole segment: /a/*/{id}/{rest=**}.
func parseTemplate(pattern string) (template, error) {
	body, ok := strings.CutPrefix(pattern, "/")
	if !ok {
		return template{}, fmt.Errorf("path template %q does not begin with /", pattern)
	}
	if body == "" {
		return template{}, nil
	}
	var t template
	var names []string
	segments := strings.Split(body, "/")
	for i, s := range segments {
		if name, ok := variable(s); ok {
			name, glob, hasGlob := strings.Cut(name, "=")
			if !isIdentifier(name) || slices.Contains(names, name) {
				return template{}, fmt.Errorf("path template %q: the variable in %q needs a name of its own, of letters, digits and _", pattern, s)
			}
			names = append(names, name)
			s = "*"
			if hasGlob {
				s = glob
			}
			if s != "*" && s != "**" {
				return template{}, fmt.Errorf("path template %q: a variable stands for * or **, not %q", pattern, s)
			}
		}
		switch {
		case s == "**" && i == len(segments)-1:
			t.rest = true
		case s == "**":
			return template{}, fmt.Errorf("path template %q: ** is only allowed at the end", pattern)
		case s == "*":
			t.literals = append(t.literals, "")
		case s == "" || strings.ContainsAny(s, "*{}"):
			return template{}, fmt.Errorf("path template %q: segment %q is neither plain text nor one whole wildcard", pattern, s)
		default:
			t.literals = append(t.literals, s)
		}
	}
	return t, nil
}

func variable(segment string) (string, bool) {
	inner, ok := strings.CutPrefix(segment, "{")
	if !ok {
		return "", false
	}
	return strings.CutSuffix(inner, "}")
}

func isIdentifier(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || c != '_' && (c < '0' || c > '9')) {
			return false
		}
	}
	return s != ""
}
