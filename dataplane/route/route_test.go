package route

import (
	"strings"
	"testing"

	"github.com/hauberk-mesh/hauberk/dataplane/filter"
	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
)

func TestWithoutPort(t *testing.T) {
	for in, want := range map[string]string{
		"a": "a", "a:80": "a", "a:": "a", "a:b": "a:b", "[::1]:80": "[::1]", "[::1]": "[::1]", "": "", ":80": "", "a:1:2": "a:1",
	} {
		if got := WithoutPort(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for domain, want := range map[string]string{"": "is empty", "a*b": "one * is allowed", "*a*": "one * is allowed", "**": "one * is allowed"} {
		if _, err := New([]Host{{Domains: []string{domain}}}, Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", domain, err)
		}
	}
	if _, err := New([]Host{{Domains: []string{"a"}}, {Domains: []string{"A"}}}, Options{}); err == nil || !strings.HasPrefix(err.Error(), "virtual_hosts[1].domains[0]: ") {
		t.Error(err)
	}
}

// TestNoHost: an authority that no virtual host has, and none for *.
func TestNoHost(t *testing.T) {
	table, err := New([]Host{{Domains: []string{"a"}, Routes: []*Route{{Name: "r"}}}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if table.Match(&message.Request{Authority: "b", Path: "/"}) != nil || table.Match(&message.Request{Authority: "a", Path: "/"}) == nil {
		t.Error("matched the wrong one")
	}
	if len(table.Hosts()) != 1 || len(table.Routes()) != 1 || (*Table)(nil).Routes() != nil {
		t.Error("Hosts or Routes")
	}
}

func TestDots(t *testing.T) {
	for path, want := range map[string]bool{
		"/a/b": false, "/.a/..b/...": false, "/a/.": true, "/..": true, "/a/../b": true, "/a/..;x/b": true, "/%2e%2E/a": true, "/a/.%2e": true, "/%2e": true, "/%2ea": false, "/": false,
	} {
		if dots(path) != want {
			t.Errorf("%s: want %v", path, want)
		}
	}
}

// TestScheme: what the edge has written comes first, then what the client said, then the connection.
func TestScheme(t *testing.T) {
	tls := &filter.Conn{TLSVersion: 0x304}
	for _, c := range []struct {
		field, said string
		conn        *filter.Conn
		want        string
	}{
		{"https", "http", nil, "https"}, {"evil", "http", tls, "http"}, {"", "https", nil, "https"}, {"", "javascript", nil, "http"}, {"", "", tls, "https"}, {"", "", &filter.Conn{}, "http"}, {"", "", nil, "http"},
	} {
		q := &message.Request{Scheme: c.said}
		if c.field != "" {
			q.Header.Add("X-Forwarded-Proto", c.field)
		}
		if got := scheme(q, c.conn); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

// TestFormatAbsent: what is not known is empty, and a field that would be empty is not added.
func TestFormatAbsent(t *testing.T) {
	for name := range operators {
		f, err := CompileFormat("%" + name + "%")
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []*filter.Conn{nil, {}} {
			if got := f.text(&message.Request{Major: 1, Minor: 1}, c); got != "" && name != "PROTOCOL" {
				t.Errorf("%s: %q", name, got)
			}
		}
	}
	f, err := CompileFormat("%PROTOCOL%")
	if err != nil {
		t.Fatal(err)
	}
	if got := f.text(&message.Request{Major: 2}, &filter.Conn{}); got != "HTTP/2" {
		t.Error(got)
	}
}

// FuzzFormat: any text compiles or is refused, and what is compiled makes a value.
func FuzzFormat(f *testing.F) {
	for _, s := range []string{"a", "%%", "%PROTOCOL%", "%REQ(a?b):3%", "%", "%REQ(", "100%%"} {
		f.Add(s, "value")
	}
	f.Fuzz(func(t *testing.T, s, value string) {
		format, err := CompileFormat(s)
		if err != nil {
			return
		}
		q := &message.Request{Authority: value}
		q.Header.Add("a", value)
		got := format.text(q, &filter.Conn{SNI: value})
		if !strings.Contains(s, "%") && got != s {
			t.Fatalf("%q: %q", s, got)
		}
	})
}

// FuzzMatch: whatever a request says, matching it does not panic, and a rewrite leaves a path that begins with a slash.
func FuzzMatch(f *testing.F) {
	table, err := New([]Host{
		{Domains: []string{"*.a", "b.*", "c:80"}, Routes: []*Route{{PathPrefix: "/a", PathRewrite: &PathRewrite{Prefix: "/x/"}}, {Match: &Match{Query: []QueryMatch{{Name: "q", Text: Text{Kind: TextContains, Value: "V", Fold: true}}}}}}},
		{Domains: []string{"*"}, Routes: []*Route{{Match: &Match{Path: PathMatch{Kind: PathSegments, Text: Text{Value: "/A", Fold: true}}, Headers: []HeaderMatch{{Name: "h", Range: &Range{1, 9}}}}}, {Redirect: &Redirect{Status: 301, Host: "z"}}}},
	}, Options{IgnorePort: true})
	if err != nil {
		f.Fatal(err)
	}
	f.Add("x.a", "/a/b", "?q=v", "5")
	f.Add("[::1]:1", "*", "", "")
	f.Fuzz(func(t *testing.T, authority, path, query, header string) {
		q := &message.Request{Method: "GET", Authority: authority, Path: path, Query: query}
		q.Header.Add("H", header)
		r := table.Match(q)
		if r == nil || r.Local(q, nil) != nil || !strings.HasPrefix(path, "/") {
			return
		}
		if r.Rewrite(q, nil); !strings.HasPrefix(q.Path, "/") {
			t.Fatalf("%q became %q", path, q.Path)
		}
	})
}

// TestAllocations: what a sidecar's table costs a request.
func TestAllocations(t *testing.T) {
	plain := NewTable([]*Route{{PathPrefix: "/"}})
	hosts, err := New([]Host{{Domains: []string{"a.example", "*.example", "x.*"}, Routes: []*Route{{PathPrefix: "/api"}, {PathPrefix: "/"}}}, {Domains: []string{"*"}}}, Options{IgnorePort: true})
	if err != nil {
		t.Fatal(err)
	}
	forged := []*Route{{PathPrefix: "/", Request: []Edit{{Op: Remove, Name: "x-forwarded-client-cert"}}}}
	q := &message.Request{Method: "GET", Authority: "b.example:80", Path: "/api/x"}
	q.Header.Add("accept", "*/*")
	for name, table := range map[string]*Table{"plain": plain, "hosts": hosts, "edits": NewTable(forged)} {
		if n := testing.AllocsPerRun(100, func() {
			r := table.Match(q)
			if r.Local(q, nil) == nil {
				r.Rewrite(q, nil)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkMatch(b *testing.B) {
	q := &message.Request{Method: "GET", Authority: "b.example:80", Path: "/api/x"}
	var many []*Route
	for range 20 {
		many = append(many, &Route{PathPrefix: "/other"})
	}
	many = append(many, &Route{PathPrefix: "/api"})
	hosts := []Host{{Domains: []string{"*"}, Routes: many}}
	for i := range 100 {
		hosts = append(hosts, Host{Domains: []string{"h" + strings.Repeat("x", i) + ".example"}, Routes: many})
	}
	hosts = append(hosts, Host{Domains: []string{"*.example"}, Routes: many[20:]})
	named, err := New(hosts, Options{IgnorePort: true})
	if err != nil {
		b.Fatal(err)
	}
	for name, table := range map[string]*Table{"one route": NewTable([]*Route{{PathPrefix: "/"}}), "21 routes": NewTable(many), "100 hosts": named} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if table.Match(q) == nil {
					b.Fatal("no match")
				}
			}
		})
	}
}
