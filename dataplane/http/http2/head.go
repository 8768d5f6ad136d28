package http2

import (
	"math"
	"strings"

	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
)

// block reads one header list, field by field as HPACK gives them. What RFC 9113 section 8 calls malformed is bad, which
// says why; what is too much is tooLarge.
type block struct {
	header   *message.Header
	kind     blockKind
	limit    int // of fields
	count    int
	bad      string
	tooLarge bool

	regular bool // a field that is no pseudo-header was seen: none may follow
	seen    pseudo

	method, scheme, authority, path, protocol, status string

	host, length   string
	hosts, lengths int
	cookies        int
	cookie         int // index of the first in header
	trailers       bool
	expect         bool
}

type blockKind uint8

const (
	requestBlock blockKind = iota
	responseBlock
	trailerBlock
)

type pseudo uint8

const (
	pseudoMethod pseudo = 1 << iota
	pseudoScheme
	pseudoAuthority
	pseudoPath
	pseudoProtocol
	pseudoStatus
)

// begin makes b ready for a list whose fields go to h.
func (b *block) begin(kind blockKind, h *message.Header, limit int) {
	h.Reset()
	*b = block{header: h, kind: kind, limit: limit}
}

// field takes one field. It returns false once nothing more is of interest.
func (b *block) field(name, value string) bool {
	if b.count++; b.count > b.limit {
		b.tooLarge = true
		return false
	}
	if name == "" {
		b.bad = "empty field name"
		return false
	}
	if name[0] == ':' {
		return b.pseudo(name, value)
	}
	b.regular = true
	if !message.All(name, message.IsName) {
		b.bad = "field name with upper case or a forbidden character"
		return false
	}
	if !validValue(value) {
		b.bad = "field value with a forbidden character"
		return false
	}
	if b.kind == trailerBlock {
		return b.trailer(name, value)
	}
	if b.own(name, value) {
		return b.bad == ""
	}
	b.header.Fields = append(b.header.Fields, message.Field{Name: name, Value: value})
	return true
}

// pseudo takes a pseudo-header: RFC 9113 section 8.3.
func (b *block) pseudo(name, value string) bool {
	var which pseudo
	var into *string
	switch name {
	case ":method":
		which, into = pseudoMethod, &b.method
	case ":scheme":
		which, into = pseudoScheme, &b.scheme
	case ":authority":
		which, into = pseudoAuthority, &b.authority
	case ":path":
		which, into = pseudoPath, &b.path
	case ":protocol":
		which, into = pseudoProtocol, &b.protocol
	case ":status":
		which, into = pseudoStatus, &b.status
	}
	switch {
	case b.kind == trailerBlock:
		b.bad = "pseudo-header in trailers"
	case b.regular:
		b.bad = "pseudo-header after a field"
	case which == 0 || (which == pseudoStatus) != (b.kind == responseBlock):
		b.bad = "unknown pseudo-header"
	case b.seen&which != 0:
		b.bad = "pseudo-header twice"
	default:
		b.seen |= which
		*into = value
	}
	return b.bad == ""
}

// own takes fields that are the hop's own business, and finds those that HTTP/2 forbids: RFC 9113 section 8.2.2. The length
// switch spares most fields all comparisons.
func (b *block) own(name, value string) bool {
	switch len(name) {
	case 2:
		if name == "te" && b.kind == requestBlock {
			if b.trailers = message.Fold(value, "trailers"); !b.trailers {
				b.bad = "te other than trailers"
			}
			return true
		}
	case 4:
		if name == "host" && b.kind == requestBlock {
			b.hosts++
			b.host = value
			return true
		}
	case 6:
		switch name {
		case "cookie":
			return b.crumb(value)
		case "expect":
			if b.kind == requestBlock && message.Fold(value, "100-continue") {
				b.expect = true
				return true
			}
		}
	case 7:
		return b.forbid(name, "upgrade")
	case 10:
		return b.forbid(name, "connection") || b.forbid(name, "keep-alive")
	case 14:
		if name == "content-length" {
			b.lengths++
			b.length = value
			return true
		}
		return b.imitates(name, "content_length")
	case 16:
		return b.forbid(name, "proxy-connection")
	case 17:
		return b.forbid(name, "transfer-encoding") || b.imitates(name, "transfer_encoding")
	}
	return false
}

// imitates refuses fields that applications which are given them as CGI's variables can not tell from those of framing.
func (b *block) imitates(name, imitation string) bool {
	if name == imitation {
		b.bad = "field of framing that is written with an underscore"
	}
	return false
}

func (b *block) forbid(name, forbidden string) bool {
	if name != forbidden {
		return false
	}
	b.bad = "connection-specific field " + forbidden
	return true
}

// crumb puts cookies together again that were split for better compression: RFC 9113 section 8.2.3.
func (b *block) crumb(value string) bool {
	if b.kind != requestBlock {
		return false
	}
	b.cookies++
	if b.cookies == 1 {
		b.cookie = len(b.header.Fields)
		return false // it is appended as it is
	}
	f := &b.header.Fields[b.cookie]
	f.Value = f.Value + "; " + value
	return true
}

// trailer takes a field after the content, if it may stand there.
func (b *block) trailer(name, value string) bool {
	switch name {
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade":
		return !b.forbid(name, name)
	}
	if message.MayTrail(name) {
		b.header.Fields = append(b.header.Fields, message.Field{Name: name, Value: value})
	}
	return true
}

// request makes the request's head of what was read. ended: the head ends the message.
func (b *block) request(m *message.Request, extended, ended bool) {
	if b.bad != "" {
		return
	}
	m.Method, m.Scheme, m.Authority = b.method, b.scheme, b.authority
	m.Path, m.Query, m.Original, m.Upgrade, m.Asterisk = "", "", b.path, "", false
	m.Major, m.Minor = 2, 0
	m.Trailers, m.ExpectContinue = b.trailers, b.expect
	switch {
	case b.method == "" || !message.All(b.method, message.IsToken):
		b.bad = "missing or malformed :method"
	case b.method == "CONNECT":
		b.connect(m, extended)
	case b.seen&pseudoProtocol != 0:
		b.bad = ":protocol without CONNECT"
	default:
		b.target(m)
	}
	if b.bad == "" {
		b.names(m)
	}
	if b.bad == "" {
		m.Length = b.contentLength(ended)
	}
	if b.method == "CONNECT" {
		if m.Length > 0 {
			b.bad = "CONNECT with a content-length"
		}
		m.Length = message.Absent // what follows are the tunnel's bytes: RFC 9110 section 9.3.6
	}
}

// connect is CONNECT of either kind: RFC 9113 section 8.5 has neither scheme nor path, RFC 8441 has both and is presented as
// the GET that HTTP/1.1 would have used.
func (b *block) connect(m *message.Request, extended bool) {
	switch {
	case b.seen&pseudoProtocol == 0:
		if b.seen&(pseudoScheme|pseudoPath) != 0 {
			b.bad = "CONNECT with :scheme or :path"
		}
		m.Original = b.authority
	case !extended:
		b.bad = ":protocol, which was not announced"
	case b.protocol == "" || !message.All(b.protocol, message.IsToken):
		b.bad = "malformed :protocol"
	default:
		m.Method, m.Upgrade = "GET", b.protocol
		b.target(m)
	}
}

// target reads :scheme and :path: RFC 9113 section 8.3.1.
func (b *block) target(m *message.Request) {
	switch {
	case b.scheme == "" || !message.All(b.scheme, message.IsToken):
		b.bad = "missing or malformed :scheme"
	case b.path == "*" && m.Method == "OPTIONS":
		m.Path, m.Asterisk = "*", true
	case b.path == "" || b.path[0] != '/' || !message.All(b.path, message.IsTarget):
		b.bad = "missing or malformed :path"
	default:
		m.Path = b.path
		if i := strings.IndexByte(b.path, '?'); i >= 0 {
			m.Path, m.Query = b.path[:i], b.path[i:]
		}
	}
}

// names decides the authority. Host stands in for a missing :authority; two that disagree could be routed differently by
// two readers (RFC 9113 section 8.3.1).
func (b *block) names(m *message.Request) {
	switch {
	case b.hosts > 1:
		b.bad = "host twice"
	case b.hosts == 1 && b.seen&pseudoAuthority == 0 && b.method != "CONNECT":
		m.Authority = b.host
	case b.hosts == 1 && !strings.EqualFold(b.host, b.authority):
		b.bad = "host and :authority disagree"
	}
	if b.bad == "" && (m.Authority == "" || !message.All(m.Authority, message.IsHost)) {
		b.bad = "missing or malformed :authority"
	}
	m.Authority = strings.ToLower(m.Authority)
}

// contentLength is Length in the terms of package message.
func (b *block) contentLength(ended bool) int64 {
	switch {
	case b.lengths > 1:
		b.bad = "content-length twice"
	case b.lengths == 1:
		n, ok := parseLength(b.length)
		if !ok {
			b.bad = "malformed content-length"
		}
		return n
	case ended:
		return message.Absent
	}
	return message.Unknown
}

// response makes the response's head of what was read, to a request of the given method.
func (b *block) response(m *message.Response, method string, ended bool) {
	if b.bad != "" {
		return
	}
	if len(b.status) != 3 || b.status[0] < '1' || b.status[0] > '9' {
		b.bad = "missing or malformed :status"
		return
	}
	m.Status = 0
	for _, c := range []byte(b.status) {
		if c < '0' || c > '9' {
			b.bad = "malformed :status"
			return
		}
		m.Status = m.Status*10 + int(c-'0')
	}
	if m.Status == 101 { // RFC 9113 section 8.6
		b.bad = "status 101"
		return
	}
	m.Reason, m.Major, m.Minor, m.Upgrade = "", 2, 0, ""
	m.Length = b.contentLength(ended)
	if m.Length == message.Absent && mayHaveContent(method, m.Status) {
		m.Length = 0
	}
}

// mayHaveContent: RFC 9110 section 6.4.1.
func mayHaveContent(method string, status int) bool {
	return method != "HEAD" && status >= 200 && status != 204 && status != 304
}

// parseLength accepts digits alone: no sign, no list, nothing that another parser could read differently.
func parseLength(s string) (int64, bool) {
	if s == "" {
		return 0, false
	}
	var n int64
	for i := 0; i < len(s); i++ {
		d := int64(s[i]) - '0'
		if d < 0 || d > 9 || n > (math.MaxInt64-d)/10 {
			return 0, false
		}
		n = n*10 + d
	}
	return n, true
}
