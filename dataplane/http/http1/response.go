package http1

import "strings"

// ReadResponse reads a response head to a request of the given method into m, whose memory is reused. Interim responses
// (1xx) are returned as they come; 101 only is final.
func (r *Reader) ReadResponse(m *Response, method string) error {
	if err := r.Await(); err != nil {
		return err
	}
	head, err := r.head()
	if err != nil {
		return err
	}
	return parseResponse(head, m, method)
}

func parseResponse(head string, m *Response, method string) error {
	header := m.Header.Fields[:0]
	*m = Response{Declared: -1}
	m.Header.Fields = header
	line, rest, _ := strings.Cut(head, "\r\n")
	if len(line) < len("HTTP/1.1 200") || line[:7] != "HTTP/1." || line[7] != '0' && line[7] != '1' || line[8] != ' ' {
		return bad("malformed status line")
	}
	m.Major, m.Minor = 1, int(line[7]-'0')
	for _, c := range []byte(line[9:12]) {
		if c < '0' || c > '9' {
			return bad("malformed status")
		}
		m.Status = m.Status*10 + int(c-'0')
	}
	if m.Status < 100 {
		return bad("malformed status")
	}
	// The space before an empty reason phrase is often missing.
	if len(line) > 12 {
		if line[12] != ' ' || !all(line[13:], isValue) {
			return bad("malformed status line")
		}
		m.Reason = line[13:]
	}
	var f fields
	if err := f.parse(rest, &m.Header); err != nil {
		return err
	}
	if err := m.frame(&f, method); err != nil {
		return err
	}
	return f.dropListed(&m.Header)
}

// frame decides where the body ends: RFC 9112 section 6.3.
func (m *Response) frame(f *fields, method string) error {
	m.Close = f.close || m.Minor == 0 && !f.keepAlive
	if f.te > 0 && f.cl > 0 {
		return bad("both Transfer-Encoding and Content-Length")
	}
	if f.te > 0 && m.Minor == 0 {
		return bad("Transfer-Encoding in an HTTP/1.0 response")
	}
	if f.te > 0 {
		if err := f.chunked(); err != nil {
			return err
		}
	}
	if f.cl > 0 {
		n, err := f.length()
		if err != nil {
			return err
		}
		m.Declared = n
	}
	switch {
	case m.Status == 101:
		if !f.upgradeListed || !token(f.upgrade) {
			return bad("101 without an Upgrade")
		}
		m.Upgrade = f.upgrade
		return nil
	case m.Status < 200 || m.Status == 204:
		m.Declared = -1 // they must not have one
		return nil
	case method == "HEAD" || m.Status == 304:
		return nil
	case f.te > 0:
		m.Body = Framing{Kind: Chunked}
	case f.cl > 0:
		m.Body = Framing{Kind: Length, Length: m.Declared}
	default:
		m.Body = Framing{Kind: UntilClose}
		m.Close = true
	}
	return nil
}
