package config

import (
	"fmt"
	"net/netip"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"

	"github.com/hauberk-mesh/hauberk/dataplane/listener"
)

// chainMatch reads what a connection must be for a chain to serve it.
func chainMatch(m *listenerv3.FilterChainMatch, path string) (match listener.Match, err error) {
	if p := m.GetDestinationPort(); p != nil {
		if match.DestinationPort, err = port(p.GetValue(), path+".destination_port"); err != nil {
			return match, err
		}
	}
	for i, p := range m.GetSourcePorts() {
		n, err := port(p, fmt.Sprintf("%s.source_ports[%d]", path, i))
		if err != nil {
			return match, err
		}
		match.SourcePorts = append(match.SourcePorts, n)
	}
	for _, part := range []struct {
		to   *[]netip.Prefix
		from []*corev3.CidrRange
		name string
	}{
		{&match.Destinations, m.GetPrefixRanges(), "prefix_ranges"},
		{&match.DirectSources, m.GetDirectSourcePrefixRanges(), "direct_source_prefix_ranges"},
		{&match.Sources, m.GetSourcePrefixRanges(), "source_prefix_ranges"},
	} {
		if *part.to, err = prefixes(part.from, path+"."+part.name); err != nil {
			return match, err
		}
	}
	switch p := m.GetTransportProtocol(); p {
	case "":
	case "tls":
		match.Transport = listener.TLS
	case "raw_buffer":
		match.Transport = listener.RawBuffer
	default:
		return match, fmt.Errorf("%s.transport_protocol: %q is not honoured, only tls and raw_buffer", path, p)
	}
	switch m.GetSourceType() {
	case listenerv3.FilterChainMatch_SAME_IP_OR_LOOPBACK:
		match.SourceType = listener.Local
	case listenerv3.FilterChainMatch_EXTERNAL:
		match.SourceType = listener.External
	}
	match.ALPN = m.GetApplicationProtocols()
	match.ServerNames, err = serverNames(m.GetServerNames(), path+".server_names")
	return match, err
}

// port is a number that a port can have; 0 stands for none in a match.
func port(n uint32, path string) (uint16, error) {
	if n == 0 || n > 65535 {
		return 0, fmt.Errorf("%s: %d is no port", path, n)
	}
	return uint16(n), nil
}

func prefixes(list []*corev3.CidrRange, path string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for i, c := range list {
		at := fmt.Sprintf("%s[%d]", path, i)
		ip, err := netip.ParseAddr(c.GetAddressPrefix())
		if err != nil {
			return nil, fmt.Errorf("%s.address_prefix: %w", at, err)
		}
		p, err := ip.Prefix(int(c.GetPrefixLen().GetValue())) // left out: 0
		if err != nil {
			return nil, fmt.Errorf("%s.prefix_len: %w", at, err)
		}
		out = append(out, p)
	}
	return out, nil
}

// serverNames are compared in lower case, as names in DNS are. A wildcard stands for whole labels at the front.
func serverNames(list []string, path string) ([]string, error) {
	var out []string
	for i, name := range list {
		rest := strings.TrimPrefix(name, "*.")
		if rest == "" || strings.Contains(rest, "*") {
			return nil, fmt.Errorf("%s[%d]: %q is neither a name nor *. and a name", path, i, name)
		}
		out = append(out, strings.ToLower(name))
	}
	return out, nil
}

// distinct makes sure that nothing but the order of two chains would tell which one serves a connection.
func distinct(chains []*listener.Chain) error {
	for i, c := range chains {
		for j, o := range chains[:i] {
			if c.Match.Overlap(&o.Match) {
				return fmt.Errorf("filter_chains[%d].filter_chain_match: %s fits the same connections as %s, and nothing tells them apart",
					i, called(c, i), called(o, j))
			}
		}
	}
	return nil
}

func called(c *listener.Chain, i int) string {
	if c.Name == "" {
		return fmt.Sprintf("filter_chains[%d]", i)
	}
	return fmt.Sprintf("chain %q", c.Name)
}
