// Package route chooses, for each request, what is done with it: the first entry of a Table whose path prefix matches.
//
// It decides on the normalised path and does not change requests. Start at Table.Match.
package route

import "strings"

// Table is an ordered list of routes. Immutable and safe for concurrent use. A nil Table matches nothing.
type Table struct{ routes []*Route }

// NewTable makes a table; earlier routes win.
func NewTable(routes []*Route) *Table { return &Table{routes: routes} }

// Match returns the first route for a path, or nil. "*", the target of OPTIONS, is matched by "/" alone.
func (t *Table) Match(path string) *Route {
	if t == nil {
		return nil
	}
	for _, r := range t.routes {
		if matchPrefix(r.PathPrefix, path) {
			return r
		}
	}
	return nil
}

// Routes are the table's entries, in order.
func (t *Table) Routes() []*Route {
	if t == nil {
		return nil
	}
	return t.routes
}

// matchPrefix compares by segment: /admin takes /admin, /admin/ and /admin/x, not /administrator.
func matchPrefix(prefix, path string) bool {
	if prefix == "/" || prefix == "" {
		return true
	}
	prefix = strings.TrimSuffix(prefix, "/")
	return strings.HasPrefix(path, prefix) && (len(path) == len(prefix) || path[len(prefix)] == '/')
}
