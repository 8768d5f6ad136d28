// Package admin is the proxy's own port for people and probes: plain HTTP on loopback, with the paths of Envoy's admin
// port. It shows; the paths that change something want the dataplane's token. It knows no proxy: what it shows is
// handed in. Start with New.
package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
)

// Options are what the port shows and may change. All functions may be called at any time and concurrently.
type Options struct {
	// Unready are the reasons why the proxy is not ready; none: it is.
	Unready func() []string
	// Metrics answers scrapes.
	Metrics http.Handler
	// What these return is shown as JSON. None of it may hold a secret.
	ConfigDump func() (any, error)
	Clusters   func() any
	Listeners  func() any
	Certs      func() any
	Decisions  func(telemetry.Filter) []telemetry.Decision

	// Drain begins a drain and does not wait for its end.
	Drain func()
	// Upgrade has a new process take over and returns when it has, with what is to be shown of it, or says why not. Nil: this
	// process cannot do it.
	Upgrade func() (any, error)
	// Level is what /logging changes; nil: it cannot be changed.
	Level *slog.LevelVar
	// Token is what a caller of POST must present.
	Token func() (string, error)
}

// maxHeader bounds what a caller can make us read.
const maxHeader = 16 << 10

// Server is an http.Server with limits that fit the port.
func Server(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute,
		MaxHeaderBytes: maxHeader,
		// A port scan is no news.
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
	}
}

// New is the port's handler for a member of a mesh. That of a proxy that stands alone is NewAlone.
func New(o Options) http.Handler {
	mux := http.NewServeMux()
	o.pages(mux)
	mux.HandleFunc("GET /decisions", o.decisions)
	mux.HandleFunc("POST /drain", o.withToken(o.drain))
	mux.HandleFunc("POST /upgrade", o.withToken(o.upgrade))
	mux.HandleFunc("POST /logging", o.withToken(o.logging))
	return local(mux)
}

// pages are what both kinds of proxy show.
func (o *Options) pages(mux *http.ServeMux) {
	mux.HandleFunc("GET /ready", o.ready)
	mux.Handle("GET /stats/prometheus", o.Metrics)
	mux.HandleFunc("GET /config_dump", func(w http.ResponseWriter, _ *http.Request) {
		v, err := o.ConfigDump()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		show(w, v)
	})
	mux.HandleFunc("GET /clusters", func(w http.ResponseWriter, _ *http.Request) { show(w, o.Clusters()) })
	mux.HandleFunc("GET /listeners", func(w http.ResponseWriter, _ *http.Request) { show(w, o.Listeners()) })
	mux.HandleFunc("GET /certs", func(w http.ResponseWriter, _ *http.Request) { show(w, o.Certs()) })
}

// local refuses requests for a name: somebody's web page can make its own name point at 127.0.0.1 and would then read this
// port with the browser of whoever looks at the page (DNS rebinding). An address it cannot have.
func local(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err != nil && host != "localhost" && host != "" {
			http.Error(w, "ask by address or as localhost", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (o *Options) ready(w http.ResponseWriter, _ *http.Request) {
	why := o.Unready()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if len(why) > 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte(strings.Join(why, "\n") + "\n"))
		return
	}
	_, _ = w.Write([]byte("LIVE\n")) // Envoy's word
}

// decisions takes the query parameters requestId, peer, path, method, refused and limit.
func (o *Options) decisions(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	f := telemetry.Filter{
		RequestID: q.Get("requestId"), Peer: q.Get("peer"), Path: q.Get("path"), Method: q.Get("method"),
		Refused: q.Get("refused") == "true",
	}
	if s := q.Get("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			http.Error(w, "limit: must be a number above zero", http.StatusBadRequest)
			return
		}
		f.Limit = n
	}
	out := []decision{}
	for _, d := range o.Decisions(f) {
		out = append(out, view(d))
	}
	show(w, out)
}

func (o *Options) drain(w http.ResponseWriter, _ *http.Request) {
	o.Drain()
	_, _ = w.Write([]byte("OK\n"))
}

// upgrade answers when the new process has taken over. It does not end with its caller: half an upgrade is none.
func (o *Options) upgrade(w http.ResponseWriter, _ *http.Request) {
	if o.Upgrade == nil {
		http.Error(w, "this process cannot hand over to another one", http.StatusNotFound)
		return
	}
	v, err := o.Upgrade()
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	show(w, v)
}

func (o *Options) logging(w http.ResponseWriter, r *http.Request) {
	if o.Level == nil {
		http.Error(w, "the log level of this process cannot be changed", http.StatusNotFound)
		return
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(r.URL.Query().Get("level"))); err != nil {
		http.Error(w, "level: must be debug, info, warn or error", http.StatusBadRequest)
		return
	}
	o.Level.Set(level)
	_, _ = w.Write([]byte("level: " + strings.ToLower(level.String()) + "\n"))
}

// withToken wants "Authorization: Bearer <the dataplane's token>". Hashes are compared, so that the time taken tells
// neither the content nor the length.
func (o *Options) withToken(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		token, err := o.Token()
		have, want := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(token))
		if !ok || err != nil || token == "" || subtle.ConstantTimeCompare(have[:], want[:]) != 1 {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "this needs the dataplane's token: Authorization: Bearer <token>", http.StatusUnauthorized)
			return
		}
		next(w, r)
	}
}

func show(w http.ResponseWriter, v any) {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(text, '\n'))
}
