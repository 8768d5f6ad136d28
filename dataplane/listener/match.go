package listener

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/hauberk-mesh/hauberk/dataplane/filter"
)

// Match is filter_chain_match: what a connection must be for a chain to serve it. An empty part fits every connection.
type Match struct {
	DestinationPort uint16
	Destinations    []netip.Prefix
	ServerNames     []string // lower case; "*.example.com" is every name below example.com
	Transport       Transport
	ALPN            []string
	DirectSources   []netip.Prefix // of who has connected, where a PROXY header speaks of somebody else
	SourceType      SourceType
	Sources         []netip.Prefix
	SourcePorts     []uint16
}

// Transport is how a connection begins.
type Transport uint8

// TLS is a connection that begins with a ClientHello, RawBuffer any other.
const (
	AnyTransport Transport = iota
	TLS
	RawBuffer
)

// SourceType is whether a caller is on this host.
type SourceType uint8

// Local is a caller with the same address as the destination, or on loopback; External is any other.
const (
	AnySource SourceType = iota
	Local
	External
)

// facts are what is known of a connection when its chain is chosen.
type facts struct {
	local, remote netip.AddrPort
	direct        netip.AddrPort // who has connected
	transport     Transport
	hello
}

// choose finds the chain as Envoy does: the parts of a match are compared one after the other in a fixed order, and after
// each only the chains are left that fit best there. What is found so is not always what fits in the end: a chain for the
// very port of a connection keeps all chains without a port out, even if its other parts do not fit. Then it is the default
// chain's turn.
func (s *Spec) choose(f *facts) *Chain {
	if len(s.Chains) == 1 && s.Chains[0].Match.everything() { // almost every sidecar's
		return s.Chains[0]
	}
	var space [16]*Chain // enough for most listeners, on the stack
	left := append(space[:0], s.Chains...)
	for p := range parts {
		best, n := 0, 0
		for _, c := range left {
			switch rank := c.Match.rank(p, f); {
			case rank > best:
				left[0], best, n = c, rank, 1
			case rank == best && rank > 0:
				left[n] = c // n is behind the reader
				n++
			}
		}
		left = left[:n]
	}
	if len(left) == 0 {
		return s.Default
	}
	return left[0]
}

// everything tells whether a match asks for nothing.
func (m *Match) everything() bool {
	return m.DestinationPort == 0 && m.Transport == AnyTransport && m.SourceType == AnySource && len(m.Destinations) == 0 &&
		len(m.ServerNames) == 0 && len(m.ALPN) == 0 && len(m.DirectSources) == 0 && len(m.Sources) == 0 && len(m.SourcePorts) == 0
}

// parts is how many parts a match has.
const parts = 9

// rank says how closely a match fits in one part, in Envoy's order of them: 0 is not at all, 1 is that it asks for nothing.
// It is asked for each request of a connection, whose chain may be another one by then.
func (m *Match) rank(part int, f *facts) int {
	switch part {
	case 0:
		return exactly(m.DestinationPort, f.local.Port())
	case 1:
		return within(m.Destinations, f.local.Addr())
	case 2:
		return named(m.ServerNames, f.serverName)
	case 3:
		return exactly(m.Transport, f.transport)
	case 4:
		return spoken(m.ALPN, f.alpn)
	case 5:
		return within(m.DirectSources, f.direct.Addr())
	case 6:
		if m.SourceType == AnySource {
			return 1
		}
		return exactly(m.SourceType, f.sourceType())
	case 7:
		return within(m.Sources, f.remote.Addr())
	}
	return among(m.SourcePorts, f.remote.Port())
}

// exactly: the zero value asks for nothing.
func exactly[T comparable](want, got T) int {
	var nothing T
	switch want {
	case nothing:
		return 1
	case got:
		return 2
	}
	return 0
}

// within is the length of the longest prefix around a. No prefix is the same as 0.0.0.0/0 with ::/0.
func within(prefixes []netip.Prefix, a netip.Addr) int {
	if len(prefixes) == 0 {
		return 1
	}
	best := 0
	for _, p := range prefixes {
		if p.Contains(a) {
			best = max(best, 1+p.Bits())
		}
	}
	return best
}

// named prefers the name itself to the longest wildcard.
func named(names []string, name string) int {
	if len(names) == 0 {
		return 1
	}
	best := 0
	for _, n := range names {
		suffix, wild := strings.CutPrefix(n, "*")
		switch {
		case n == name && name != "":
			return 1 << 20
		case wild && strings.HasSuffix(name, suffix) && len(name) > len(suffix):
			best = max(best, 1+len(suffix))
		}
	}
	return best
}

// spoken prefers what the client has named first.
func spoken(protocols, asked []string) int {
	if len(protocols) == 0 {
		return 1
	}
	for i, p := range asked {
		if slices.Contains(protocols, p) {
			return 1 + len(asked) - i
		}
	}
	return 0
}

func among(ports []uint16, port uint16) int {
	switch {
	case len(ports) == 0:
		return 1
	case slices.Contains(ports, port):
		return 2
	}
	return 0
}

// sourceType: who comes over a Unix socket is on this host.
func (f *facts) sourceType() SourceType {
	a := f.remote.Addr()
	if !a.IsValid() || a.IsLoopback() || a == f.local.Addr() {
		return Local
	}
	return External
}

// Overlap tells whether some connection fits two matches equally closely, so that nothing tells which one it is for.
func (m *Match) Overlap(o *Match) bool {
	return m.DestinationPort == o.DestinationPort && m.Transport == o.Transport && m.SourceType == o.SourceType &&
		share(spell(m.Destinations), spell(o.Destinations)) && share(m.ServerNames, o.ServerNames) && share(m.ALPN, o.ALPN) &&
		share(spell(m.DirectSources), spell(o.DirectSources)) && share(spell(m.Sources), spell(o.Sources)) &&
		share(m.SourcePorts, o.SourcePorts)
}

// share tells whether two lists have a member in common; the empty list has one of its own.
func share[T comparable](a, b []T) bool {
	if len(a) == 0 || len(b) == 0 {
		return len(a) == len(b)
	}
	return slices.ContainsFunc(a, func(v T) bool { return slices.Contains(b, v) })
}

// spell gives prefixes one spelling; none is all of both families.
func spell(prefixes []netip.Prefix) []netip.Prefix {
	if len(prefixes) == 0 {
		return []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0)}
	}
	out := make([]netip.Prefix, len(prefixes))
	for i, p := range prefixes {
		out[i] = p.Masked()
	}
	return out
}

// see notes what is known of a connection before a byte of it is looked at.
func (c *conn) see() {
	f := &c.facts
	f.local, f.remote, f.transport = filter.AddrPort(c.raw.LocalAddr()), filter.AddrPort(c.raw.RemoteAddr()), RawBuffer
	f.direct = f.remote
}
