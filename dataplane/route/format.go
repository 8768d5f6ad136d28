package route

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/hauberk-mesh/hauberk/dataplane/filter"
	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
)

// Format is the value of a header field: text, with some of Envoy's command operators in it. Immutable.
type Format struct{ pieces []piece }

// piece is literal text, or what is known of the request and its connection.
type piece struct {
	literal string
	value   func(*message.Request, *filter.Conn) string
	limit   int // most bytes of the value; 0 is all
}

// operators are those without an argument. docs/envoy-compat.md lists them.
var operators = map[string]func(*message.Request, *filter.Conn) string{
	"PROTOCOL": func(q *message.Request, _ *filter.Conn) string {
		if q.Major >= 2 {
			return "HTTP/" + strconv.Itoa(q.Major)
		}
		return "HTTP/" + strconv.Itoa(q.Major) + "." + strconv.Itoa(q.Minor)
	},
	"DOWNSTREAM_REMOTE_ADDRESS":                     func(_ *message.Request, c *filter.Conn) string { return address(c.Remote) },
	"DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT":        func(_ *message.Request, c *filter.Conn) string { return ip(c.Remote) },
	"DOWNSTREAM_REMOTE_PORT":                        func(_ *message.Request, c *filter.Conn) string { return port(c.Remote) },
	"DOWNSTREAM_DIRECT_REMOTE_ADDRESS":              func(_ *message.Request, c *filter.Conn) string { return address(c.Remote) },
	"DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT": func(_ *message.Request, c *filter.Conn) string { return ip(c.Remote) },
	"DOWNSTREAM_DIRECT_REMOTE_PORT":                 func(_ *message.Request, c *filter.Conn) string { return port(c.Remote) },
	"DOWNSTREAM_LOCAL_ADDRESS":                      func(_ *message.Request, c *filter.Conn) string { return address(c.Local) },
	"DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT":         func(_ *message.Request, c *filter.Conn) string { return ip(c.Local) },
	"DOWNSTREAM_LOCAL_PORT":                         func(_ *message.Request, c *filter.Conn) string { return port(c.Local) },
	"DOWNSTREAM_PEER_URI_SAN":                       func(_ *message.Request, c *filter.Conn) string { return c.PeerID },
	"REQUESTED_SERVER_NAME":                         func(_ *message.Request, c *filter.Conn) string { return c.SNI },
}

// CompileFormat reads a format: text, %% for a percent sign, and operators: those without an argument, and REQ(NAME) or
// REQUEST_HEADER(NAME) with NAME?OTHER for another field where the first is absent, and :n for its first n bytes.
func CompileFormat(s string) (*Format, error) {
	f := &Format{}
	for s != "" {
		at := strings.IndexByte(s, '%')
		if at < 0 {
			f.pieces = append(f.pieces, piece{literal: s})
			break
		}
		if at > 0 {
			f.pieces = append(f.pieces, piece{literal: s[:at]})
		}
		s = s[at+1:]
		end := strings.IndexByte(s, '%')
		if end < 0 {
			return nil, errors.New("a percent sign has no second one: write %% for a percent sign")
		}
		p, err := operator(s[:end])
		if err != nil {
			return nil, err
		}
		f.pieces = append(f.pieces, p)
		s = s[end+1:]
	}
	return f, nil
}

func operator(s string) (piece, error) {
	if s == "" {
		return piece{literal: "%"}, nil
	}
	if v := operators[s]; v != nil {
		return piece{value: func(q *message.Request, c *filter.Conn) string {
			if c == nil {
				return ""
			}
			return v(q, c)
		}}, nil
	}
	name, rest, _ := strings.Cut(s, "(")
	argument, limit, closed := strings.Cut(rest, ")")
	if name != "REQ" && name != "REQUEST_HEADER" || !closed || argument == "" {
		return piece{}, fmt.Errorf("%%%s%% is not honoured in a header (docs/envoy-compat.md lists what is)", s)
	}
	first, other, _ := strings.Cut(strings.ToLower(argument), "?")
	p := piece{value: func(q *message.Request, _ *filter.Conn) string {
		v, found := field(q, first)
		if !found && other != "" {
			v, _ = field(q, other)
		}
		return v
	}}
	if limit != "" {
		n, err := strconv.Atoi(strings.TrimPrefix(limit, ":"))
		if err != nil || n < 1 || limit[0] != ':' {
			return piece{}, fmt.Errorf("%%%s%%: %q is not a length: write :n", s, limit)
		}
		p.limit = n
	}
	return p, nil
}

func (f *Format) text(q *message.Request, c *filter.Conn) string {
	if len(f.pieces) == 1 && f.pieces[0].value == nil {
		return f.pieces[0].literal
	}
	var b strings.Builder
	for i := range f.pieces {
		p := &f.pieces[i]
		if p.value == nil {
			b.WriteString(p.literal)
			continue
		}
		v := p.value(q, c)
		if p.limit > 0 {
			v = v[:min(len(v), p.limit)]
		}
		b.WriteString(v)
	}
	return b.String()
}

func address(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func ip(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return a.Addr().String()
}

func port(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return strconv.Itoa(int(a.Port()))
}
