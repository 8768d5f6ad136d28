package http

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/hauberk-mesh/hauberk/dataplane/filter"
	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
)

func TestStripAuthority(t *testing.T) {
	for _, tc := range []struct {
		in    string
		strip PortStrip
		dot   bool
		want  string
	}{
		{"a:80", KeepPort, false, "a:80"}, {"a:80", StripMatching, false, "a"}, {"a:81", StripMatching, false, "a:81"},
		{"a:81", StripAny, false, "a"}, {"[::1]:80", StripAny, false, "[::1]"}, {"[::1]", StripAny, false, "[::1]"},
		{"a.", KeepPort, true, "a"}, {"a.:81", KeepPort, true, "a:81"}, {"a.:80", StripMatching, true, "a"}, {"a", StripAny, true, "a"}, {"", StripAny, true, ""},
		{"a:", StripAny, false, "a"}, {"a:", KeepPort, true, "a:"}, {"a:80", KeepPort, true, "a:80"}, {"a:x", StripAny, false, "a:x"},
	} {
		if got := StripAuthority(tc.in, tc.strip, tc.dot, 80); got != tc.want {
			t.Errorf("%+v: %q", tc, got)
		}
	}
}

func TestIntake(t *testing.T) {
	c := &filter.Conn{Local: netip.MustParseAddrPort("127.0.0.1:80")}
	const fields = "accept a_b x-envoy-internal X-Forwarded-Proto X-Envoy-Retry-On x_y"
	for _, tc := range []struct {
		name string
		spec Spec
		in   message.Request
		want string // authority, then the names of the fields
	}{
		{"nothing", Spec{}, message.Request{Authority: "h:80", Major: 1, Minor: 1}, "h:80 " + fields},
		{"edge", Spec{Edge: true}, message.Request{Authority: "h"}, "h accept a_b x_y"},
		{"dropped", Spec{Underscores: DropUnderscores}, message.Request{Authority: "h"}, "h accept x-envoy-internal X-Forwarded-Proto X-Envoy-Retry-On"},
		{"refused", Spec{Underscores: RejectUnderscores}, message.Request{Authority: "h"}, "refused"},
		{"port", Spec{StripPort: StripMatching}, message.Request{Authority: "h:80"}, "h " + fields},
		{"CONNECT", Spec{StripPort: StripAny, StripDot: true}, message.Request{Method: "CONNECT", Authority: "h.:80"}, "h.:80 " + fields},
		{"1.0", Spec{DefaultHost: "old"}, message.Request{Major: 1}, "old " + fields},
		{"1.0 with a host", Spec{DefaultHost: "old"}, message.Request{Major: 1, Authority: "h"}, "h " + fields},
		{"1.1", Spec{DefaultHost: "old"}, message.Request{Major: 1, Minor: 1}, " " + fields},
	} {
		for _, name := range strings.Fields(fields) {
			tc.in.Header.Add(name, "1")
		}
		got := "refused"
		if tc.spec.Intake(&tc.in, c) {
			got = tc.in.Authority
			for _, f := range tc.in.Header.Fields {
				got += " " + f.Name
			}
		}
		if got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
}

// TestIntakeAllocations: a head that needs nothing costs none.
func TestIntakeAllocations(t *testing.T) {
	s, c := &Spec{Edge: true, StripPort: StripMatching, StripDot: true, Underscores: DropUnderscores}, &filter.Conn{}
	q := &message.Request{Authority: "h:81"}
	q.Header.Add("accept", "*/*")
	if n := testing.AllocsPerRun(100, func() { s.Intake(q, c) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
