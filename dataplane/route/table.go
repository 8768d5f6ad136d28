// Package route chooses, for each request, what is done with it: a virtual host by the request's authority, then the first
// of its routes that matches. A Route knows what is sent upstream (rewrites, edits of the header) and what is answered
// without an upstream (redirects, direct responses).
//
// It decides on the normalised path, knows no connection and sends nothing. Start at Table.Match.
package route

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
)

// Host is a virtual host: the routes of some domains.
type Host struct {
	Name string
	// Domains are names ("a.example", with a port where the authority has one), suffixes ("*.example"), prefixes ("a.*"),
	// or "*". They are compared without regard to case.
	Domains []string
	Routes  []*Route
}

// Options are what holds for a whole table.
type Options struct {
	// IgnorePort leaves the authority's port out when the host is looked for.
	IgnorePort bool
}

// Table is a set of virtual hosts. Immutable and safe for concurrent use. A nil Table matches nothing.
type Table struct {
	options  Options
	hosts    []Host
	exact    map[string]entries
	suffixes wildcards // *.x
	prefixes wildcards // x.*
	any      entries   // *
	named    bool      // there are others than *
}

// NewTable makes a table of one host, for any authority; earlier routes win.
func NewTable(routes []*Route) *Table {
	h := Host{Name: "*", Domains: []string{"*"}, Routes: routes}
	return &Table{hosts: []Host{h}, any: compile(routes)}
}

// New makes a table. A domain may be there once.
func New(hosts []Host, o Options) (*Table, error) {
	t := &Table{options: o, hosts: hosts, exact: map[string]entries{}}
	seen := map[string]bool{}
	for i, h := range hosts {
		routes := compile(h.Routes)
		for j, domain := range h.Domains {
			domain = strings.ToLower(domain)
			if seen[domain] {
				return nil, fmt.Errorf("virtual_hosts[%d].domains[%d]: %q is there twice; a domain belongs to one virtual host",
					i, j, domain)
			}
			seen[domain] = true
			if err := t.add(domain, routes); err != nil {
				return nil, fmt.Errorf("virtual_hosts[%d].domains[%d]: %w", i, j, err)
			}
		}
	}
	return t, nil
}

func (t *Table) add(domain string, routes entries) error {
	rest, suffix := strings.CutPrefix(domain, "*")
	part, prefix := strings.CutSuffix(domain, "*")
	switch {
	case domain == "*":
		t.any = routes
		return nil
	case domain == "":
		return errors.New("is empty")
	case strings.Count(domain, "*") > 1 || strings.Contains(domain, "*") && !suffix && !prefix:
		return fmt.Errorf("%q: one * is allowed, at the beginning or at the end", domain)
	case suffix:
		t.suffixes.add(rest, routes)
	case prefix:
		t.prefixes.add(part, routes)
	default:
		t.exact[domain] = routes
	}
	t.named = true
	return nil
}

// Hosts are the table's virtual hosts, as they were given.
func (t *Table) Hosts() []Host {
	if t == nil {
		return nil
	}
	return t.hosts
}

// Routes are the routes of all virtual hosts, in order.
func (t *Table) Routes() []*Route {
	var all []*Route
	for _, h := range t.Hosts() {
		all = append(all, h.Routes...)
	}
	return all
}

// Match returns the route of a request, or nil. "*", the target of OPTIONS, is matched by "/" alone. Where a route has
// several clusters, the one that was drawn is its Cluster.
func (t *Table) Match(q *message.Request) *Route {
	if t == nil {
		return nil
	}
	routes := t.any
	if t.named {
		routes = t.find(q.Authority)
	}
	connect := q.Method == "CONNECT"
	for i := range routes {
		if e := &routes[i]; e.matches(q, connect) {
			return e.draw()
		}
	}
	return nil
}

// find looks for the host: its name, then the longest suffix, then the longest prefix, then "*".
func (t *Table) find(authority string) entries {
	if t.options.IgnorePort {
		authority = WithoutPort(authority)
	}
	if routes, ok := t.exact[authority]; ok {
		return routes
	}
	if routes, ok := t.suffixes.find(authority, func(s string, n int) string { return s[len(s)-n:] }); ok {
		return routes
	}
	if routes, ok := t.prefixes.find(authority, func(s string, n int) string { return s[:n] }); ok {
		return routes
	}
	return t.any
}

// WithoutPort takes the port off an authority; of an IPv6 address it leaves the brackets.
func WithoutPort(authority string) string {
	colon := strings.LastIndexByte(authority, ':')
	if colon < 0 || strings.IndexByte(authority[colon:], ']') >= 0 {
		return authority
	}
	for _, c := range []byte(authority[colon+1:]) {
		if c < '0' || c > '9' {
			return authority
		}
	}
	return authority[:colon]
}

// wildcards are domains of which only one end is known, by length and text. The longest wins, and the * stands for one
// character at least.
type wildcards struct {
	lengths []int // descending
	by      map[string]entries
}

func (w *wildcards) add(known string, routes entries) {
	if w.by == nil {
		w.by = map[string]entries{}
	}
	w.by[known] = routes
	lengths := map[int]bool{}
	for k := range w.by {
		lengths[len(k)] = true
	}
	w.lengths = slices.Sorted(maps.Keys(lengths))
	slices.Reverse(w.lengths)
}

func (w *wildcards) find(s string, end func(s string, n int) string) (entries, bool) {
	for _, n := range w.lengths {
		if n >= len(s) {
			continue
		}
		if routes, ok := w.by[end(s, n)]; ok {
			return routes, true
		}
	}
	return nil, false
}

// entries are the routes of a host, prepared.
type entries []entry

type entry struct {
	route  *Route
	match  *Match
	prefix string // without a slash at its end; empty takes all paths
	// variants are the route once for each of its clusters, and totals the sums of the weights up to each.
	variants []*Route
	totals   []uint64
}

func compile(routes []*Route) entries {
	var out entries
	for _, r := range routes {
		e := entry{route: r, match: r.Match, prefix: strings.TrimSuffix(r.PathPrefix, "/")}
		total := uint64(0)
		for _, w := range r.Weighted {
			if w.Weight == 0 {
				continue
			}
			v := *r
			v.Cluster, v.Weighted, v.Request, v.Response = w.Cluster, nil, w.Request, w.Response
			if w.HostRewrite != "" {
				v.HostRewrite = w.HostRewrite
			}
			total += uint64(w.Weight)
			e.variants, e.totals = append(e.variants, &v), append(e.totals, total)
		}
		out = append(out, e)
	}
	return out
}

// matches compares the prefix by segment: /admin takes /admin, /admin/ and /admin/x, not /administrator. A CONNECT has no
// path, and is matched by what asks for one alone.
func (e *entry) matches(q *message.Request, connect bool) bool {
	m := e.match
	if connect || m != nil && m.Connect {
		return connect && m != nil && m.Connect && m.holds(q)
	}
	if n := len(e.prefix); n > 0 && (len(q.Path) < n || q.Path[:n] != e.prefix || len(q.Path) > n && q.Path[n] != '/') {
		return false
	}
	return m == nil || m.Path.matches(q.Path) && m.holds(q)
}

func (e *entry) draw() *Route {
	if len(e.variants) == 0 {
		return e.route
	}
	n := rand.Uint64N(e.totals[len(e.totals)-1])
	for i, total := range e.totals {
		if n < total {
			return e.variants[i]
		}
	}
	return e.route // not reached: n is below the last total
}
