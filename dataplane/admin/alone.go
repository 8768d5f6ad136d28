package admin

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// Alone are the pages of a proxy that stands alone. Nobody has a token for it, so that, as with Envoy, whoever reaches the port
// may do all that it offers; only requests that a browser sends on behalf of some web page are refused.
type Alone struct {
	// Server is /server_info.
	Server func() any
	// Stats are /stats: counts and gauges by name.
	Stats func() map[string]int64
	// DrainListeners stops accepting; gracefully, connections are asked to end.
	DrainListeners func(graceful, inboundOnly bool)
	// Fail makes /ready say no, or yes again.
	Fail func(failed bool)
	// ReopenLogs opens the files of access logs anew.
	ReopenLogs func() error
}

// NewAlone is the port's handler for a proxy that stands alone. Of o it wants neither Token nor Decisions.
func NewAlone(o Options, a Alone) http.Handler {
	mux := http.NewServeMux()
	o.pages(mux)
	mux.HandleFunc("GET /stats", a.stats(o.Metrics))
	mux.HandleFunc("GET /server_info", func(w http.ResponseWriter, _ *http.Request) { show(w, a.Server()) })
	mux.HandleFunc("GET /help", help)
	mux.HandleFunc("GET /{$}", help)
	mux.HandleFunc("POST /drain", o.drain)
	mux.HandleFunc("POST /quitquitquit", o.drain)
	mux.HandleFunc("POST /upgrade", o.upgrade)
	mux.HandleFunc("POST /logging", o.logging)
	mux.HandleFunc("POST /drain_listeners", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		a.DrainListeners(q.Has("graceful"), q.Has("inboundonly"))
		ok(w)
	})
	mux.HandleFunc("POST /healthcheck/fail", func(w http.ResponseWriter, _ *http.Request) { a.Fail(true); ok(w) })
	mux.HandleFunc("POST /healthcheck/ok", func(w http.ResponseWriter, _ *http.Request) { a.Fail(false); ok(w) })
	mux.HandleFunc("POST /reopen_logs", func(w http.ResponseWriter, _ *http.Request) {
		if err := a.ReopenLogs(); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		ok(w)
	})
	return local(notFromPages(mux))
}

// notFromPages refuses what a web page has a browser do (CSRF): browsers say of such requests where they come from.
func notFromPages(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		site := r.Header.Get("Sec-Fetch-Site")
		if r.Method != http.MethodGet && (r.Header.Get("Origin") != "" || site != "" && site != "none") {
			http.Error(w, "no web page may ask for this", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func ok(w http.ResponseWriter) { _, _ = w.Write([]byte("OK\n")) }

// help lists the paths as Envoy does.
func help(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte(`admin commands are:
  /certs: certificates that are in use
  /clusters: clusters, their endpoints and what is known of their health
  /config_dump: the configuration in force, and which of its fields have no effect
  POST /drain: stop accepting, let requests end, then end
  POST /drain_listeners[?graceful][?inboundonly]: stop accepting
  POST /healthcheck/fail: make /ready say no
  POST /healthcheck/ok: make /ready say what is true again
  /help: this
  /listeners: listeners and their connections
  POST /logging?level=L: change the level of the log: debug, info, warn, error
  POST /quitquitquit: the same as /drain
  /ready: 200 if requests are served
  POST /reopen_logs: open the files of access logs anew
  /server_info: version, state, uptime
  /stats[?filter=REGEX][?format=json|prometheus]: counts
  /stats/prometheus: counts, for Prometheus
  POST /upgrade: start the program anew and hand over to it
`))
}

// stats answers as text, one "name: value" a line, unless another format is asked for.
func (a *Alone) stats(metrics http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		filter, err := regexp.Compile(q.Get("filter"))
		if err != nil {
			http.Error(w, "filter: "+err.Error(), http.StatusBadRequest)
			return
		}
		if q.Get("format") == "prometheus" {
			metrics.ServeHTTP(w, r)
			return
		}
		all := a.Stats()
		maps.DeleteFunc(all, func(name string, _ int64) bool { return !filter.MatchString(name) })
		switch format := q.Get("format"); format {
		case "", "text":
			var out strings.Builder
			for _, name := range slices.Sorted(maps.Keys(all)) {
				fmt.Fprintf(&out, "%s: %d\n", name, all[name])
			}
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			_, _ = w.Write([]byte(out.String()))
		case "json":
			type stat struct {
				Name  string `json:"name"`
				Value int64  `json:"value"`
			}
			list := []stat{}
			for _, name := range slices.Sorted(maps.Keys(all)) {
				list = append(list, stat{name, all[name]})
			}
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(map[string]any{"stats": list})
		default:
			http.Error(w, "format: must be text, json or prometheus", http.StatusBadRequest)
		}
	}
}
