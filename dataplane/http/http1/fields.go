package http1

import (
	"math"
	"strings"

	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
)

// fields is what one pass over a head's lines finds in the fields that rule the message itself. Those are not put into the
// header: the writer makes them anew for the next hop.
type fields struct {
	cl, te, hosts int // how often
	contentLength string
	encoding      string
	host          string
	upgrade       string
	expect        string

	close, keepAlive, upgradeListed bool
	more                            []string // further options of Connection: names of fields
}

// parse reads lines, each with its CRLF, and appends the end-to-end fields to h.
func (f *fields) parse(lines string, h *message.Header) error {
	count := 0
	for lines != "" {
		end := strings.IndexByte(lines, '\r')
		if end < 0 || end+1 >= len(lines) || lines[end+1] != '\n' {
			return bad("CR within a line")
		}
		line := lines[:end]
		lines = lines[end+2:]
		if count++; count > MaxFields {
			return errTooManyFields
		}
		name, value, err := splitField(line)
		if err != nil {
			return err
		}
		if !f.own(name, value) {
			h.Fields = append(h.Fields, message.Field{Name: name, Value: value})
		}
	}
	return nil
}

// splitField reads one line. RFC 9112 section 5: no space before the colon, and section 5.2: no folded lines (a line that
// begins with a space has no token before its colon).
func splitField(line string) (name, value string, err error) {
	i := 0
	for i < len(line) && class[line[i]]&isToken != 0 {
		i++
	}
	if i == 0 || i == len(line) || line[i] != ':' {
		return "", "", bad("malformed header field")
	}
	name, value = line[:i], trim(line[i+1:])
	if !all(value, isValue) {
		return "", "", bad("control character in header field %s", name)
	}
	return name, value, nil
}

// own takes fields that are the hop's own business. The length switch spares most fields all comparisons.
func (f *fields) own(name, value string) bool {
	switch len(name) {
	case 2:
		return fold(name, "te")
	case 4:
		if fold(name, "host") {
			f.hosts++
			f.host = value
			return true
		}
	case 6:
		if fold(name, "expect") {
			f.expect = value
		}
	case 7:
		if fold(name, "upgrade") {
			f.upgrade = value
			return true
		}
	case 10:
		if fold(name, "connection") {
			f.options(value)
			return true
		}
		return fold(name, "keep-alive")
	case 14:
		if fold(name, "content-length") {
			f.cl++
			f.contentLength = value
			return true
		}
	case 16:
		return fold(name, "proxy-connection")
	case 17:
		if fold(name, "transfer-encoding") {
			f.te++
			f.encoding = value
			return true
		}
	}
	return false
}

// options reads a Connection field: RFC 9110 section 7.6.1.
func (f *fields) options(value string) {
	for rest, more := value, true; more; {
		var o string
		o, rest, more = strings.Cut(rest, ",")
		switch o = trim(o); {
		case fold(o, "close"):
			f.close = true
		case fold(o, "keep-alive"):
			f.keepAlive = true
		case fold(o, "upgrade"):
			f.upgradeListed = true
		case o != "" && len(f.more) <= MaxFields: // one more is refused by dropListed
			f.more = append(f.more, o)
		}
	}
}

// dropListed takes out the fields that Connection named as meant for this hop. It runs before any filter sees the header,
// so that what was decided on is what is forwarded.
func (f *fields) dropListed(h *message.Header) error {
	if len(f.more) > MaxFields {
		return errTooManyFields
	}
	for _, name := range f.more {
		h.Del(name)
	}
	return nil
}

// chunked accepts the one transfer coding that is spoken here.
func (f *fields) chunked() error {
	if f.te > 1 {
		return bad("more than one Transfer-Encoding")
	}
	if !fold(f.encoding, "chunked") {
		return &Error{501, "transfer coding other than chunked"}
	}
	return nil
}

// length accepts one field of digits alone: no sign, no list, nothing that another parser could read differently.
func (f *fields) length() (int64, error) {
	if f.cl > 1 {
		return 0, bad("more than one Content-Length")
	}
	s := f.contentLength
	if s == "" {
		return 0, bad("malformed Content-Length")
	}
	var n int64
	for i := 0; i < len(s); i++ {
		d := int64(s[i]) - '0'
		if d < 0 || d > 9 || n > (math.MaxInt64-d)/10 {
			return 0, bad("malformed Content-Length")
		}
		n = n*10 + d
	}
	return n, nil
}
