package http

import (
	"slices"
	"strconv"
	"strings"

	"github.com/hauberk-mesh/hauberk/dataplane/filter"
	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
	"github.com/hauberk-mesh/hauberk/dataplane/route"
)

// Intake does to a request's head what the chain wants done before anything is decided on it: its authority gets the form
// that virtual hosts are chosen by, and fields that must not be believed are taken out. False: the request is to be refused,
// because of a field with an underscore in its name.
func (s *Spec) Intake(q *message.Request, c *filter.Conn) bool {
	if q.Authority == "" && s.DefaultHost != "" && q.Major == 1 && q.Minor == 0 {
		q.Authority = s.DefaultHost
	}
	if q.Method != "CONNECT" { // whose authority says where to connect to
		q.Authority = StripAuthority(q.Authority, s.StripPort, s.StripDot, c.Local.Port())
	}
	if s.Edge {
		drop(&q.Header, outsiders)
	}
	switch s.Underscores {
	case RejectUnderscores:
		return !slices.ContainsFunc(q.Header.Fields, underscored)
	case DropUnderscores:
		drop(&q.Header, underscored)
	}
	return true
}

// outsiders must not say x-forwarded-proto, which is made anew from the connection, nor what proxies tell each other.
func outsiders(f message.Field) bool {
	return message.HasPrefix(f.Name, "x-envoy-") || len(f.Name) == len(headerProto) && strings.EqualFold(f.Name, headerProto)
}

// underscored is about names that applications behind CGI and its heirs can not tell from those with a hyphen.
func underscored(f message.Field) bool { return strings.IndexByte(f.Name, '_') >= 0 }

// drop takes out fields. Mostly there are none: looking is cheaper than moving all.
func drop(h *message.Header, which func(message.Field) bool) {
	if slices.ContainsFunc(h.Fields, which) {
		h.Fields = slices.DeleteFunc(h.Fields, which)
	}
}

// StripAuthority takes off an authority what the chain does not want to see: the port (of the listener, or any) and the dot
// that ends a fully qualified name. An authority that needs nothing is returned as it is.
func StripAuthority(authority string, port PortStrip, dot bool, listener uint16) string {
	if port == KeepPort && !dot {
		return authority
	}
	host := route.WithoutPort(authority)
	rest := authority[len(host):] // the port, with its colon
	if port == StripAny || port == StripMatching && rest != "" && rest[1:] == strconv.Itoa(int(listener)) {
		rest = ""
	}
	if !dot || !strings.HasSuffix(host, ".") {
		return authority[:len(host)+len(rest)]
	}
	return host[:len(host)-1] + rest
}
