package listener

import (
	"net/netip"
	"testing"
)

func nets(list ...string) (out []netip.Prefix) {
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// The order in which the parts of a match count, each against those after it.
func TestChoose(t *testing.T) {
	spec := &Spec{
		Default: &Chain{Name: "default"},
		Chains: []*Chain{
			{Name: "any"},
			{Name: "port", Match: Match{DestinationPort: 443}},
			{Name: "port and name", Match: Match{DestinationPort: 443, ServerNames: []string{"a.example"}}},
			{Name: "lonely port", Match: Match{DestinationPort: 25, SourcePorts: []uint16{1}}},
			{Name: "wide", Match: Match{Destinations: nets("10.0.0.0/8", "fd00::/8")}},
			{Name: "narrow", Match: Match{Destinations: nets("10.1.0.0/16")}},
			{Name: "exact", Match: Match{ServerNames: []string{"x.a.example"}}},
			{Name: "wild", Match: Match{ServerNames: []string{"*.a.example"}}},
			{Name: "wilder", Match: Match{ServerNames: []string{"*.example"}}},
			{Name: "tls", Match: Match{Transport: TLS}},
			{Name: "tls h2", Match: Match{Transport: TLS, ALPN: []string{"h2"}}},
			{Name: "http", Match: Match{ALPN: []string{"http/1.1", "http/1.0"}, Transport: RawBuffer}},
			{Name: "plain", Match: Match{Transport: RawBuffer}},
			{Name: "local", Match: Match{Transport: RawBuffer, SourceType: Local}},
			{Name: "source", Match: Match{Transport: RawBuffer, SourceType: Local, Sources: nets("127.0.0.0/8")}},
			{Name: "source port", Match: Match{Transport: RawBuffer, SourceType: Local, Sources: nets("127.0.0.0/8"), SourcePorts: []uint16{7}}},
			{Name: "balancer", Match: Match{Transport: RawBuffer, DirectSources: nets("192.0.2.0/24")}},
		},
	}
	for _, tc := range []struct {
		want, local, remote, direct string
		transport                   Transport
		name                        string
		alpn                        []string
	}{
		{want: "plain"},
		{want: "port", local: "1.1.1.1:443"},
		{want: "port", local: "10.1.1.1:443", name: "x.a.example", transport: TLS},
		{want: "port and name", local: "10.1.1.1:443", name: "a.example", transport: TLS},
		{want: "default", local: "1.1.1.1:25"},
		{want: "lonely port", local: "1.1.1.1:25", remote: "9.9.9.9:1"},
		{want: "wide", local: "10.2.0.0:1", name: "x.a.example"},
		{want: "wide", local: "[fd00::1]:1"},
		{want: "narrow", local: "10.1.2.3:1", transport: TLS},
		{want: "exact", name: "x.a.example", transport: TLS},
		{want: "wild", name: "y.a.example", transport: TLS},
		{want: "wild", name: "z.y.a.example", transport: TLS},
		{want: "wilder", name: "a.example", transport: TLS},
		{want: "tls", name: "example", transport: TLS},
		{want: "tls", name: ".example.org", transport: TLS},
		{want: "tls h2", transport: TLS, alpn: []string{"spdy", "h2", "http/1.1"}},
		{want: "tls", transport: TLS, alpn: []string{"http/1.1"}},
		{want: "http", alpn: []string{"http/1.0"}},
		{want: "plain", alpn: []string{"h2c"}},
		{want: "local", remote: "1.1.1.1:1"},
		{want: "source", remote: "127.0.0.1:1"},
		{want: "source port", remote: "127.0.0.1:7"},
		{want: "local", remote: "[::1]:7"},
		{want: "balancer", direct: "192.0.2.9:1", remote: "127.0.0.1:7"},
	} {
		f := &facts{transport: tc.transport, hello: hello{serverName: tc.name, alpn: tc.alpn}}
		f.local, f.remote, f.direct = addr(tc.local, "1.1.1.1:1"), addr(tc.remote, "9.9.9.9:9"), addr(tc.direct, "9.9.9.9:9")
		if f.transport == AnyTransport {
			f.transport = RawBuffer
		}
		if got := spec.choose(f); got.Name != tc.want {
			t.Errorf("%+v: %q", tc, got.Name)
		}
	}
	if got := (&Spec{Chains: []*Chain{{Match: Match{Transport: TLS}}}}).choose(&facts{transport: RawBuffer}); got != nil {
		t.Errorf("%+v", got)
	}
	f := &facts{transport: TLS}
	if n := testing.AllocsPerRun(100, func() { (&Spec{Chains: spec.Chains[:12]}).choose(f) }); n > 0 {
		t.Errorf("%v allocations for a choice", n)
	}
}

func addr(s, otherwise string) netip.AddrPort {
	if s == "" {
		s = otherwise
	}
	return netip.MustParseAddrPort(s)
}

func TestOverlap(t *testing.T) {
	for _, tc := range []struct {
		a, b Match
		want bool
	}{
		{Match{}, Match{}, true},
		{Match{Transport: TLS}, Match{}, false},
		{Match{ServerNames: []string{"a", "b"}}, Match{ServerNames: []string{"b", "c"}}, true},
		{Match{ServerNames: []string{"a"}}, Match{ServerNames: []string{"b"}}, false},
		{Match{ServerNames: []string{"a"}, ALPN: []string{"h2"}}, Match{ServerNames: []string{"a"}}, false},
		{Match{Destinations: nets("10.1.2.3/8")}, Match{Destinations: nets("10.0.0.0/8")}, true},
		{Match{Destinations: nets("10.0.0.0/8")}, Match{Destinations: nets("10.0.0.0/16")}, false},
		{Match{Sources: nets("0.0.0.0/0")}, Match{}, true},
		{Match{SourcePorts: []uint16{1}}, Match{SourcePorts: []uint16{1}, SourceType: Local}, false},
	} {
		if got := tc.a.Overlap(&tc.b); got != tc.want || tc.b.Overlap(&tc.a) != tc.want {
			t.Errorf("%+v %+v: %t", tc.a, tc.b, got)
		}
	}
}

func BenchmarkChoose(b *testing.B) {
	spec := &Spec{Chains: []*Chain{{Match: Match{Transport: TLS}}, {Match: Match{Transport: RawBuffer}}}}
	f := &facts{transport: TLS}
	for b.Loop() {
		spec.choose(f)
	}
}
