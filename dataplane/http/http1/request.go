package http1

import (
	"strings"

	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
)

// ReadRequest reads a request head into m, whose memory is reused. Its strings are valid until the next message is awaited or
// read. Errors of the peer are *Error, others are the connection's; io.EOF before the first byte is a clean end.
func (r *Reader) ReadRequest(m *Request) error {
	if err := r.Await(); err != nil {
		return err
	}
	// RFC 9112 section 2.2: one empty line before a request is ignored, for old clients that end a body with one.
	if r.buf[r.r] == '\r' {
		for r.Buffered() < 2 {
			if err := r.fill(); err != nil {
				return err
			}
		}
		if r.buf[r.r+1] != '\n' {
			return bad("CR without LF")
		}
		r.r += 2
		if err := r.Await(); err != nil {
			return err
		}
	}
	head, err := r.head()
	if err != nil {
		return err
	}
	return parseRequest(head, m, r.fields.begin(&r.limits))
}

func parseRequest(head string, m *Request, f *fields) error {
	header := m.Header.Fields[:0]
	*m = Request{}
	m.Header.Fields, m.Length = header, message.Absent
	line, rest, _ := strings.Cut(head, "\r\n")
	method, line, ok1 := strings.Cut(line, " ")
	target, version, ok2 := strings.Cut(line, " ")
	if !ok1 || !ok2 || !token(method) {
		return bad("malformed request line")
	}
	m.Method = method
	switch version {
	case "HTTP/1.1":
		m.Major, m.Minor = 1, 1
	case "HTTP/1.0":
		m.Major, m.Minor = 1, 0
	default:
		if strings.HasPrefix(version, "HTTP/") && strings.Trim(version[5:], "0123456789.") == "" {
			return &Error{Status: 505, Text: "version is neither HTTP/1.1 nor HTTP/1.0"}
		}
		return bad("malformed request line")
	}
	if err := f.parse(rest, &m.Header); err != nil {
		return err
	}
	if err := m.frame(f); err != nil {
		return err
	}
	if err := m.host(f); err != nil {
		return err
	}
	m.Original = target
	if m.Method == "CONNECT" {
		if err := m.connect(target, f); err != nil {
			return err
		}
	} else if err := m.target(target, f); err != nil {
		return err
	}
	return f.dropListed(&m.Header)
}

// frame decides where the body ends: RFC 9112 section 6.3.
func (m *Request) frame(f *fields) error {
	switch {
	case f.te > 0 && f.cl > 0:
		return bad("both Transfer-Encoding and Content-Length")
	case f.te > 0 && m.Minor == 0:
		return bad("Transfer-Encoding in an HTTP/1.0 request")
	case f.te > 0:
		if err := f.chunked(); err != nil {
			return err
		}
		m.Body, m.Length = Framing{Kind: Chunked}, message.Unknown
	case f.cl > 0:
		n, err := f.length()
		if err != nil {
			return err
		}
		// A length of nothing is kept apart from no length: POST is forwarded as it came.
		m.Body, m.Length = Framing{Kind: Length, Length: n}, n
	}
	m.Trailers = f.trailers
	m.Close = f.close || m.Minor == 0 && !f.keepAlive
	if f.unexpected && m.Minor == 1 {
		// Some servers wait and some do not, by how they read such a field: RFC 9110 section 10.1.1 has an answer for it.
		return &Error{Status: 417, Text: "expectation other than 100-continue"}
	}
	m.ExpectContinue = f.expects && m.Minor == 1
	bodyless := m.Body.Kind == None || m.Body.Kind == Length && m.Body.Length == 0
	if f.upgradeListed && m.Minor == 1 && m.Method == "GET" && bodyless && message.Fold(f.upgrade, "websocket") {
		m.Upgrade = "websocket"
	}
	return nil
}

// host takes the authority from Host, which HTTP/1.1 must have exactly once: RFC 9112 section 3.2.
func (m *Request) host(f *fields) error {
	switch {
	case f.hosts > 1:
		return bad("more than one Host")
	case f.hosts == 0 && m.Minor == 1:
		return bad("no Host")
	case !message.All(f.host, message.IsHost):
		return bad("malformed Host")
	}
	m.Authority = strings.ToLower(f.host)
	return nil
}

// target reads the request target in its origin, absolute and asterisk forms: RFC 9112 section 3.2.
func (m *Request) target(t string, f *fields) error {
	if t == "" || !message.All(t, message.IsTarget) {
		return bad("malformed request target")
	}
	if t == "*" {
		if m.Method != "OPTIONS" {
			return bad("target * with a method other than OPTIONS")
		}
		m.Path, m.Asterisk = "*", true
		return nil
	}
	if t[0] != '/' {
		return m.absolute(t, f)
	}
	m.split(t)
	return nil
}

// connect reads the authority form, which names a host and a port: RFC 9112 section 3.2.3. A CONNECT has no content: what
// follows its head belongs to the tunnel, so that a length would be read by some and not by others. Host may leave the port out.
func (m *Request) connect(t string, f *fields) error {
	i := strings.LastIndexByte(t, ':')
	if i <= 0 || !message.All(t, message.IsHost) || !port(t[i+1:]) {
		return bad("CONNECT target is not host:port")
	}
	if f.hosts > 0 && !message.EqualFold(f.host, t) && !message.EqualFold(f.host, t[:i]) {
		return errHosts
	}
	if m.Body.Kind != None {
		return bad("CONNECT with content")
	}
	m.Authority = strings.ToLower(t)
	return nil
}

// absolute reads the absolute form. RFC 9112 section 3.2.2 lets the target's authority replace that of Host, but who stands
// behind or before us may do it the other way round: they have to be the same.
func (m *Request) absolute(t string, f *fields) error {
	scheme, rest, ok := strings.Cut(t, "://")
	if !ok || !message.Fold(scheme, "http") && !message.Fold(scheme, "https") {
		return bad("malformed request target")
	}
	end := strings.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	// '@' is not in message.IsHost: no user info.
	if end == 0 || !message.All(rest[:end], message.IsHost) {
		return bad("malformed authority in request target")
	}
	m.Scheme, m.Authority = strings.ToLower(scheme), strings.ToLower(rest[:end])
	if f.hosts > 0 && !sameHost(m.Scheme, f.host, m.Authority) {
		return errHosts
	}
	switch rest = rest[end:]; {
	case rest == "" && m.Method == "OPTIONS":
		m.Path, m.Asterisk = "*", true // RFC 9112 section 3.2.4
	case rest == "":
		m.Path = "/"
	case rest[0] == '?':
		m.Path, m.Query = "/", rest
	default:
		m.split(rest)
	}
	return nil
}

func (m *Request) split(t string) {
	m.Path = t
	if i := strings.IndexByte(t, '?'); i >= 0 {
		m.Path, m.Query = t[:i], t[i:]
	}
}

var errHosts = bad("Host is not that of the request target")

// sameHost compares two authorities. Leaving out the scheme's own port says the same: RFC 3986 section 6.2.3.
func sameHost(scheme, a, b string) bool {
	own := ":80"
	if scheme == "https" {
		own = ":443"
	}
	return message.EqualFold(strings.TrimSuffix(a, own), strings.TrimSuffix(b, own))
}

// port tells whether s is the number of a port.
func port(s string) bool {
	n := 0
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' || n > 65535 {
			return false
		}
		n = n*10 + int(s[i]-'0')
	}
	return 0 < n && n <= 65535
}
