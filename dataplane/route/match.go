package route

import (
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
)

// Match is what has to hold for a request beside the prefix of its path: all of it. The zero value holds always.
type Match struct {
	Path    PathMatch
	Connect bool // only a CONNECT; nothing else matches one
	GRPC    bool // only gRPC, by content-type
	Headers []HeaderMatch
	Query   []QueryMatch
	// Fraction is the share of requests that match at all, in millionths. Partial says that there is one.
	Fraction uint32
	Partial  bool
}

// PathMatch is about the normalised path, without its query.
type PathMatch struct {
	Kind PathKind
	Text Text // of PathIs; PathBegins uses Text.Value and Text.Fold, PathRegex Text.Regex
}

// PathKind says how a path is compared.
type PathKind uint8

// PathAny holds for every path. PathBegins compares characters, not segments: /a takes /ab.
const (
	PathAny PathKind = iota
	PathIs
	PathBegins
	PathSegments // as Route.PathPrefix, where letter case does not matter
	PathRegex
)

// holds is about all but the path.
func (m *Match) holds(q *message.Request) bool {
	if m.GRPC && !isGRPC(q.Header.Get("content-type")) {
		return false
	}
	for i := range m.Headers {
		if !m.Headers[i].holds(q) {
			return false
		}
	}
	for i := range m.Query {
		if !m.Query[i].holds(q.Query) {
			return false
		}
	}
	return !m.Partial || rand.Uint32N(1_000_000) < m.Fraction
}

func (p *PathMatch) matches(path string) bool {
	switch p.Kind {
	case PathIs, PathRegex:
		return p.Text.matches(path)
	case PathBegins:
		return begins(path, p.Text.Value, p.Text.Fold)
	case PathSegments:
		n := len(p.Text.Value)
		return begins(path, p.Text.Value, p.Text.Fold) && (len(path) == n || path[n] == '/')
	}
	return true
}

// isGRPC is Envoy's test: the type itself, or one of its kinds after a plus.
func isGRPC(contentType string) bool {
	const grpc = "application/grpc"
	return strings.HasPrefix(contentType, grpc) && (len(contentType) == len(grpc) || contentType[len(grpc)] == '+')
}

// HeaderMatch is about one field of the header, or one of :method, :path (with the query), :authority and :scheme. Several
// fields of the name count as one, their values joined with commas (of cookie with semicolons).
type HeaderMatch struct {
	Name string // lower case
	// Present asks only whether there is one. Otherwise Range or Text decides on the value; a field that is absent never
	// holds, not even inverted, but with MissingEmpty.
	Present      bool
	Range        *Range
	Text         Text
	Invert       bool
	MissingEmpty bool
}

// Range holds for the whole numbers from Start up to and without End.
type Range struct{ Start, End int64 }

func (h *HeaderMatch) holds(q *message.Request) bool {
	value, found := field(q, h.Name)
	if h.Present {
		return (found || h.MissingEmpty) != h.Invert
	}
	if !found && !h.MissingEmpty {
		return false
	}
	if h.Range != nil {
		n, err := strconv.ParseInt(value, 10, 64)
		return (err == nil && n >= h.Range.Start && n < h.Range.End) != h.Invert
	}
	return h.Text.matches(value) != h.Invert
}

// field is the value of a header field or of a part of the request line. What the codec has taken out of the header because
// it is the hop's own is found where it was put.
func field(q *message.Request, name string) (string, bool) {
	switch name {
	case ":method":
		return q.Method, true
	case ":path":
		return q.Path + q.Query, q.Path != ""
	case ":authority", "host":
		return q.Authority, q.Authority != ""
	case ":scheme":
		return scheme(q, nil), true
	case "upgrade":
		return q.Upgrade, q.Upgrade != ""
	case "content-length":
		if q.Length < 0 {
			return "", false
		}
		return strconv.FormatInt(q.Length, 10), true
	}
	value, found, separator := "", false, ","
	if name == "cookie" { // which HTTP/2 may send in pieces: RFC 9113 section 8.2.3
		separator = "; "
	}
	for i := range q.Header.Fields {
		f := &q.Header.Fields[i]
		if len(f.Name) != len(name) || !strings.EqualFold(f.Name, name) {
			continue
		}
		if found {
			value += separator + f.Value
		} else {
			value, found = f.Value, true
		}
	}
	return value, found
}

// QueryMatch is about the first parameter of a name in the query, as it was sent: escapes are not undone.
type QueryMatch struct {
	Name    string
	Present bool // ask only whether there is one
	Absent  bool // ask that there is none
	Text    Text
}

func (m *QueryMatch) holds(query string) bool {
	query = strings.TrimPrefix(query, "?")
	for query != "" {
		var one string
		one, query, _ = strings.Cut(query, "&")
		if name, value, _ := strings.Cut(one, "="); name == m.Name {
			return m.Present || !m.Absent && m.Text.matches(value)
		}
	}
	return m.Absent
}
