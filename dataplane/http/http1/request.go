package http1

import "strings"

// ReadRequest reads a request head into m, whose memory is reused. Its strings are views of one string that is made for
// this request and stays valid for as long as anybody holds it. Errors of the peer are *Error, others are the connection's;
// io.EOF before the first byte is a clean end.
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
	return parseRequest(head, m)
}

func parseRequest(head string, m *Request) error {
	header := m.Header.Fields[:0]
	*m = Request{}
	m.Header.Fields = header
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
			return &Error{505, "version is neither HTTP/1.1 nor HTTP/1.0"}
		}
		return bad("malformed request line")
	}
	var f fields
	if err := f.parse(rest, &m.Header); err != nil {
		return err
	}
	if err := m.frame(&f); err != nil {
		return err
	}
	if err := m.host(&f); err != nil {
		return err
	}
	m.Original = target
	if err := m.target(target); err != nil {
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
		m.Body = Framing{Kind: Chunked}
	case f.cl > 0:
		n, err := f.length()
		if err != nil {
			return err
		}
		// A length of nothing is kept apart from no length: POST is forwarded as it came.
		m.Body = Framing{Kind: Length, Length: n}
	}
	m.Close = f.close || m.Minor == 0 && !f.keepAlive
	m.ExpectContinue = m.Minor == 1 && fold(f.expect, "100-continue")
	bodyless := m.Body.Kind == None || m.Body.Kind == Length && m.Body.Length == 0
	if f.upgradeListed && m.Minor == 1 && m.Method == "GET" && bodyless && fold(f.upgrade, "websocket") {
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
	case !all(f.host, isHost):
		return bad("malformed Host")
	}
	m.Authority = strings.ToLower(f.host)
	return nil
}

// target reads the request target in its origin, absolute and asterisk forms: RFC 9112 section 3.2.
func (m *Request) target(t string) error {
	if m.Method == "CONNECT" {
		return &Error{501, "CONNECT is not served"}
	}
	if t == "" || !all(t, isTarget) {
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
		return m.absolute(t)
	}
	m.split(t)
	return nil
}

func (m *Request) absolute(t string) error {
	scheme, rest, ok := strings.Cut(t, "://")
	if !ok || !fold(scheme, "http") && !fold(scheme, "https") {
		return bad("malformed request target")
	}
	end := strings.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	// The authority of the target replaces that of Host: RFC 9112 section 3.2.2. '@' is not in isHost: no user info.
	if end == 0 || !all(rest[:end], isHost) {
		return bad("malformed authority in request target")
	}
	m.Authority = strings.ToLower(rest[:end])
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
