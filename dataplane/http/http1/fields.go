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

	expects, unexpected             bool // Expect: 100-continue, or anything else
	close, keepAlive, upgradeListed bool
	trailers                        bool     // TE lists them
	more                            []string // further options of Connection: names of fields

	limits *Limits
}

// begin makes f ready for a head.
func (f *fields) begin(l *Limits) *fields {
	*f = fields{limits: l, more: f.more[:0]}
	return f
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
		if count++; count > f.limits.Fields {
			return f.limits.tooManyFields()
		}
		name, value, err := splitField(line)
		if err != nil {
			return err
		}
		own, err := f.own(name, value)
		if err != nil {
			return err
		}
		if !own {
			h.Fields = append(h.Fields, message.Field{Name: name, Value: value})
		}
	}
	return nil
}

// splitField reads one line. RFC 9112 section 5: no space before the colon, and section 5.2: no folded lines (a line that
// begins with a space has no token before its colon).
func splitField(line string) (name, value string, err error) {
	i := 0
	for i < len(line) && message.Class[line[i]]&message.IsToken != 0 {
		i++
	}
	if i == 0 || i == len(line) || line[i] != ':' {
		return "", "", bad("malformed header field")
	}
	name, value = line[:i], trim(line[i+1:])
	if !message.AllValue(value) {
		return "", "", bad("control character in header field %s", name)
	}
	return name, value, nil
}

// own takes fields that are the hop's own business. The length switch spares most fields all comparisons.
func (f *fields) own(name, value string) (bool, error) {
	switch len(name) {
	case 2:
		if message.Fold(name, "te") {
			f.acceptable(value)
			return true, nil
		}
	case 4:
		if message.Fold(name, "host") {
			f.hosts++
			f.host = value
			return true, nil
		}
	case 6:
		if message.Fold(name, "expect") {
			f.expects = true
			f.unexpected = f.unexpected || !message.Fold(value, "100-continue")
			return true, nil
		}
	case 7:
		if message.Fold(name, "upgrade") {
			f.upgrade = value
			return true, nil
		}
	case 10:
		if message.Fold(name, "connection") {
			f.options(value)
			return true, nil
		}
		return message.Fold(name, "keep-alive"), nil
	case 14:
		if message.Fold(name, "content-length") {
			f.cl++
			f.contentLength = value
			return true, nil
		}
		if message.Fold(name, "content_length") {
			return false, errUnderscore
		}
	case 16:
		return message.Fold(name, "proxy-connection"), nil
	case 17:
		if message.Fold(name, "transfer-encoding") {
			f.te++
			f.encoding = value
			return true, nil
		}
		if message.Fold(name, "transfer_encoding") {
			return false, errUnderscore
		}
	}
	return false, nil
}

// Applications that are given fields as CGI's variables can not tell these from the ones that they imitate.
var errUnderscore = bad("field of framing that is written with an underscore")

// acceptable reads a TE field, of which only trailers concern a proxy: RFC 9110 section 10.1.4.
func (f *fields) acceptable(value string) {
	for rest, more := value, true; more; {
		var o string
		o, rest, more = strings.Cut(rest, ",")
		f.trailers = f.trailers || message.Fold(trim(o), "trailers")
	}
}

// options reads a Connection field: RFC 9110 section 7.6.1.
func (f *fields) options(value string) {
	for rest, more := value, true; more; {
		var o string
		o, rest, more = strings.Cut(rest, ",")
		switch o = trim(o); {
		case message.Fold(o, "close"):
			f.close = true
		case message.Fold(o, "keep-alive"):
			f.keepAlive = true
		case message.Fold(o, "upgrade"):
			f.upgradeListed = true
		case o != "" && len(f.more) <= f.limits.Fields: // one more is refused by dropListed
			f.more = append(f.more, o)
		}
	}
}

// dropListed takes out the fields that Connection named as meant for this hop. It runs before any filter sees the header,
// so that what was decided on is what is forwarded.
func (f *fields) dropListed(h *message.Header) error {
	if len(f.more) > f.limits.Fields {
		return f.limits.tooManyFields()
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
	if !message.Fold(f.encoding, "chunked") {
		return &Error{Status: 501, Text: "transfer coding other than chunked"}
	}
	return nil
}

// maxDigits is how many digits the biggest length has, and as many are read, zeros included.
const maxDigits = 19

// length accepts one field of digits alone: no sign, no list, nothing that another parser could read differently.
func (f *fields) length() (int64, error) {
	if f.cl > 1 {
		return 0, bad("more than one Content-Length")
	}
	s := f.contentLength
	if s == "" || len(s) > maxDigits {
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
