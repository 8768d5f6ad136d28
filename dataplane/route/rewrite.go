package route

import (
	"strings"

	"github.com/hauberk-mesh/hauberk/accel/multiregex"
	"github.com/hauberk-mesh/hauberk/dataplane/filter"
	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
)

// The fields that tell an upstream what a request was before it was rewritten.
const (
	headerOriginalPath = "x-envoy-original-path"
	headerOriginalHost = "x-envoy-original-host"
)

// PathRewrite changes a path; the query stays.
type PathRewrite struct {
	// Prefix takes the place of what has matched: the prefix, or the whole path where the route did not match one.
	Prefix string
	// Regex, where it is set, is applied instead.
	Regex *multiregex.Substitution
}

// apply is the path after the rewrite.
func (p *PathRewrite) apply(r *Route, path string) string {
	if p.Regex != nil {
		return p.Regex.Apply(path)
	}
	return p.Prefix + path[r.matched(path):]
}

// matched is how much of a path that the route takes its prefix is.
func (r *Route) matched(path string) int {
	n := 0
	switch {
	case r.PathPrefix == "" && r.Match != nil && r.Match.Path.Kind != PathAny:
		if k := r.Match.Path.Kind; k == PathIs || k == PathRegex {
			return len(path)
		}
		n = len(r.Match.Path.Text.Value)
	case r.PathPrefix == "/" || r.PathPrefix == "":
		n = len("/")
	default:
		n = len(strings.TrimSuffix(r.PathPrefix, "/"))
	}
	return min(n, len(path))
}

// Rewrite makes of the request what is sent upstream: path, authority and header fields. To be called once, after all that
// decides on the request; an attempt that is repeated sends the same.
func (r *Route) Rewrite(q *message.Request, c *filter.Conn) {
	edit(&q.Header, r.Request, q, c)
	if r.HostRewrite != "" && r.HostRewrite != q.Authority {
		if r.Original {
			q.Header.Set(headerOriginalHost, q.Authority)
		}
		q.Authority = r.HostRewrite
	}
	if r.PathRewrite == nil || q.Asterisk || q.Path == "" {
		return
	}
	if path := r.PathRewrite.apply(r, q.Path); path != q.Path {
		if r.Original {
			q.Header.Set(headerOriginalPath, q.Path+q.Query)
		}
		q.Path = path
	}
}

// RewriteResponse edits the header of a response that is sent downstream; q is the request as it was sent upstream.
func (r *Route) RewriteResponse(m *message.Response, q *message.Request, c *filter.Conn) {
	edit(&m.Header, r.Response, q, c)
}

// unsafe tells whether the rewrite would make a path that was not decided on: one that is relative, or one in which a dot
// segment has arisen. With the prefix /files rewritten to /data/, /files../x would become /data/../x.
func (p *PathRewrite) unsafe(r *Route, path string) bool {
	after := p.apply(r, path)
	return !strings.HasPrefix(after, "/") || dots(after) && !dots(path)
}

// dots tells whether a path has a segment that a reader may take for "." or "..", escaped or not, or with parameters.
func dots(path string) bool {
	for path != "" {
		var segment string
		segment, path, _ = strings.Cut(path, "/")
		segment, _, _ = strings.Cut(segment, ";")
		if len(segment) == 0 || len(segment) > len("%2e%2e") {
			continue
		}
		switch strings.ReplaceAll(strings.ToLower(segment), "%2e", ".") {
		case ".", "..":
			return true
		}
	}
	return false
}
