package http1

import (
	"strings"

	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
)

// ReadResponse reads a response head to a request of the given method into m, whose memory is reused. Interim responses
// (1xx) are returned as they come; 101 only is final. Its strings are valid until the next message is awaited or read.
func (r *Reader) ReadResponse(m *Response, method string) error {
	if err := r.Await(); err != nil {
		return err
	}
	head, err := r.head()
	if err != nil {
		return err
	}
	return parseResponse(head, m, method, r.fields.begin(&r.limits))
}

func parseResponse(head string, m *Response, method string, f *fields) error {
	header := m.Header.Fields[:0]
	*m = Response{}
	m.Header.Fields, m.Length = header, message.Absent
	line, rest, _ := strings.Cut(head, "\r\n")
	if len(line) < len("HTTP/1.1 200") || line[:7] != "HTTP/1." || line[7] != '0' && line[7] != '1' || line[8] != ' ' {
		return bad("malformed status line")
	}
	m.Major, m.Minor = 1, int(line[7]-'0')
	for i := 9; i < 12; i++ {
		c := line[i]
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
		if line[12] != ' ' || !message.AllValue(line[13:]) {
			return bad("malformed status line")
		}
		m.Reason = line[13:]
	}
	if err := f.parse(rest, &m.Header); err != nil {
		return err
	}
	if err := m.frame(f, method); err != nil {
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
		m.Length = n
	}
	if (m.Status < 200 || m.Status == 204) && (f.te > 0 || m.Length > 0) {
		// They have no content, so that what follows would be read as the next response: RFC 9112 section 6.1, RFC 9110
		// section 8.6. A length of 0 is wrong too, but many send it, and it can be misread by nobody.
		return bad("content in a response of status %d", m.Status)
	}
	switch {
	case m.Status == 101:
		if !f.upgradeListed || !token(f.upgrade) {
			return bad("101 without an Upgrade")
		}
		m.Upgrade = f.upgrade
		return nil
	case m.Status < 200 || m.Status == 204:
		m.Length = message.Absent
		return nil
	case method == "CONNECT" && m.Status < 300:
		m.Length = message.Absent // the tunnel follows, whatever the head says: RFC 9110 section 9.3.6
		return nil
	case method == "HEAD" || m.Status == 304:
		return nil
	case f.te > 0:
		m.Body, m.Length = Framing{Kind: Chunked}, message.Unknown
	case f.cl > 0:
		m.Body = Framing{Kind: Length, Length: m.Length}
	default:
		m.Body, m.Length = Framing{Kind: UntilClose}, message.Unknown
		m.Close = true
	}
	return nil
}
