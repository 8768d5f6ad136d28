package filter

import (
	"net/netip"
	"strings"

	"github.com/hauberk-mesh/hauberk/dataplane/filter"
	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
)

// matcher is one node of a rule. r is nil on connections that are not HTTP; needsHTTP keeps every matcher that reads it
// out of their rules.
type matcher interface {
	matches(c *filter.Conn, r *message.Request) bool
}

type (
	always struct{}
	all    []matcher
	some   []matcher
	not    struct{ inner matcher }

	// caller is the SPIFFE ID that the handshake proved. An anonymous caller never matches, whatever the text.
	caller struct{ id text }

	sourceIP        netip.Prefix
	destinationIP   netip.Prefix
	destinationPort struct{ from, to uint16 } // both included
	serverName      struct{ name text }

	method    struct{ name text }
	authority struct{ name text }
	urlPath   struct{ path text }
	header    struct {
		name  string
		value text
	}
	headerPresent struct {
		name string
		want bool
	}
)

func (always) matches(*filter.Conn, *message.Request) bool { return true }

func (m all) matches(c *filter.Conn, r *message.Request) bool {
	for _, inner := range m {
		if !inner.matches(c, r) {
			return false
		}
	}
	return true
}

func (m some) matches(c *filter.Conn, r *message.Request) bool { return anyMatches(m, c, r) }

func (m not) matches(c *filter.Conn, r *message.Request) bool { return !m.inner.matches(c, r) }

func (m caller) matches(c *filter.Conn, _ *message.Request) bool {
	return c.PeerID != "" && m.id.matches(c.PeerID)
}

func (m sourceIP) matches(c *filter.Conn, _ *message.Request) bool {
	return netip.Prefix(m).Contains(c.Remote.Addr().Unmap())
}

func (m destinationIP) matches(c *filter.Conn, _ *message.Request) bool {
	return netip.Prefix(m).Contains(c.Local.Addr().Unmap())
}

func (m destinationPort) matches(c *filter.Conn, _ *message.Request) bool {
	return c.Local.Port() >= m.from && c.Local.Port() <= m.to
}

func (m serverName) matches(c *filter.Conn, _ *message.Request) bool { return m.name.matches(c.SNI) }

func (m method) matches(_ *filter.Conn, r *message.Request) bool { return m.name.matches(r.Method) }

func (m authority) matches(_ *filter.Conn, r *message.Request) bool {
	return m.name.matches(r.Authority)
}

func (m urlPath) matches(_ *filter.Conn, r *message.Request) bool { return m.path.matches(r.Path) }

// A header that is not there matches nothing, not even the empty text.
func (m header) matches(_ *filter.Conn, r *message.Request) bool {
	value, there := joined(&r.Header, m.name)
	return there && m.value.matches(value)
}

func (m headerPresent) matches(_ *filter.Conn, r *message.Request) bool {
	return r.Header.Has(m.name) == m.want
}

// joined is the value of a field, or of all its lines with commas between them (RFC 9110 section 5.3), so that a second
// line cannot hide behind an allowed first one. Only a repeated field costs an allocation.
func joined(h *message.Header, name string) (value string, there bool) {
	for i := range h.Fields {
		f := &h.Fields[i]
		if len(f.Name) != len(name) || !strings.EqualFold(f.Name, name) {
			continue
		}
		if there {
			value += "," + f.Value
		} else {
			value, there = f.Value, true
		}
	}
	return value, there
}

// how says in which way a text is compared.
type how uint8

const (
	anything how = iota
	exact
	prefix
	suffix
	contains
)

// text compares strings; with fold the case of ASCII letters is ignored, as Envoy does it: other letters that fold to
// ASCII ones (the Kelvin sign) stay different.
type text struct {
	how   how
	value string
	fold  bool
}

func (t text) matches(s string) bool {
	switch t.how {
	case anything:
		return true
	case exact:
		return t.same(s)
	case prefix:
		return len(s) >= len(t.value) && t.same(s[:len(t.value)])
	case suffix:
		return len(s) >= len(t.value) && t.same(s[len(s)-len(t.value):])
	case contains:
		return strings.Contains(s, t.value)
	}
	return false
}

func (t text) same(s string) bool {
	if !t.fold || len(s) != len(t.value) {
		return s == t.value
	}
	for i := range len(s) {
		if lower(s[i]) != lower(t.value[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
