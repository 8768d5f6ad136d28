package route

import (
	"strconv"
	"strings"

	"github.com/hauberk-mesh/hauberk/dataplane/filter"
	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
)

// Local is an answer of the route's own. Its header edits are done.
type Local struct {
	Status int
	Header message.Header
	Body   string
	// Details is %RESPONSE_CODE_DETAILS%. Refused says that the request is refused because of its path, and nothing else is
	// set but Details.
	Details string
	Refused bool
}

// Direct is an answer that is always the same.
type Direct struct {
	Status int
	Body   string
}

// Redirect sends the client elsewhere. Empty fields keep what the request says.
type Redirect struct {
	Status       int
	Scheme, Host string
	Port         uint16
	Path         string       // with a query in it, that takes the place of the request's
	Rewrite      *PathRewrite // instead of Path
	StripQuery   bool
}

// Local is the answer that the route gives by itself, or nil: the request is to be proxied.
func (r *Route) Local(q *message.Request, c *filter.Conn) *Local {
	switch {
	case r.Redirect != nil:
		return r.redirect(q, c)
	case r.Direct != nil:
		l := &Local{Status: r.Direct.Status, Body: r.Direct.Body, Details: "direct_response"}
		if l.Body != "" {
			l.Header.Add("content-type", "text/plain")
		}
		edit(&l.Header, r.Response, q, c)
		return l
	case r.PathRewrite != nil && q.Path != "" && !q.Asterisk && r.PathRewrite.unsafe(r, q.Path):
		return &Local{Refused: true, Details: "path_normalization_failed{the route's rewrite makes another path of it}"}
	}
	return nil
}

func (r *Route) redirect(q *message.Request, c *filter.Conn) *Local {
	d := r.Redirect
	if d.Rewrite != nil && q.Path != "" && !q.Asterisk && d.Rewrite.unsafe(r, q.Path) {
		return &Local{Refused: true, Details: "path_normalization_failed{the route's rewrite makes another path of it}"}
	}
	l := &Local{Status: d.Status, Details: "direct_response"}
	from := scheme(q, c)
	to := from
	if d.Scheme != "" {
		to = d.Scheme
	}
	location := d.target(r, q)
	if host := d.authority(q.Authority, from, to); host != "" { // HTTP/1.0 needs none, and a location may be relative
		location = to + "://" + host + location
	}
	l.Header.Add("location", location)
	edit(&l.Header, r.Response, q, c)
	return l
}

// authority of the new address. A port that was the old scheme's default goes with the old scheme.
func (d *Redirect) authority(old, from, to string) string {
	host := old
	if d.Host != "" {
		host = d.Host
	} else if from != to && strings.HasSuffix(old, defaultPort(from)) {
		host = WithoutPort(old)
	}
	if d.Port != 0 && host != "" {
		host = WithoutPort(host) + ":" + strconv.Itoa(int(d.Port))
	}
	return host
}

func defaultPort(scheme string) string {
	if scheme == "https" {
		return ":443"
	}
	return ":80"
}

// target is path and query of the new address.
func (d *Redirect) target(r *Route, q *message.Request) string {
	path, query := q.Path, q.Query
	switch {
	case d.Path != "":
		path = d.Path
		if strings.Contains(path, "?") {
			return path
		}
	case d.Rewrite != nil:
		path = d.Rewrite.apply(r, path)
	}
	if d.StripQuery {
		query = ""
	}
	return path + query
}

// scheme is the one that the client used, as far as is known: what x-forwarded-proto says, which the edge has set or checked,
// then what the client itself said, then the connection's.
func scheme(q *message.Request, c *filter.Conn) string {
	for _, s := range [2]string{q.Header.Get("x-forwarded-proto"), q.Scheme} {
		if s == "http" || s == "https" {
			return s
		}
	}
	if c != nil && c.TLSVersion != 0 {
		return "https"
	}
	return "http"
}
