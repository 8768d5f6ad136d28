package rest

import (
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/hauberk-mesh/hauberk/api"
)

// Prefix begins every path of the API.
const Prefix = "/api/v1alpha1"

// MaxBody is the largest body that is read, in bytes.
const MaxBody = 8 << 20

// Options is everything that the API leans on. All fields but Version are required.
type Options struct {
	Registry    *api.Registry
	Resources   Resources
	Meshes      Meshes
	Worlds      Worlds
	Proxies     Proxies
	Reports     Reports
	Policies    Policies
	Credentials Credentials
	Version     string
	Logger      *slog.Logger
}

type server struct {
	Options
	// writing is held by every write of resources, so that what was checked still holds when it is stored. Registrations of
	// dataplanes do not pass here; they touch no Mesh and no policy.
	writing sync.Mutex
}

// Handler serves the API. It authenticates by itself; TLS is the caller's.
func Handler(o Options) http.Handler {
	s := &server{Options: o}
	return s.log(s.authenticate(s.routes()))
}

// route is one line of the table of contents.
type route struct {
	pattern string
	serve   func(*http.Request) (status int, answer any, err error)
}

func (s *server) table() []route {
	return []route{
		{"POST /apply", s.apply},
		{"GET /propagation", s.propagation},

		{"GET /status", s.status},
		{"GET /edges", s.edges},
		{"GET /stat", s.stat},
		{"GET /why", s.why},
		{"GET /inspect/{kinds}/{name}", s.inspect},
		{"GET /check", s.check},

		{"GET /tokens", s.listTokens},
		{"POST /tokens", s.createToken},
		{"DELETE /tokens/{name}", s.revokeToken},
		{"POST /identity/revoke", s.revokeIdentity},

		{"GET /version", s.version},

		{"GET /{kinds}", s.list},
		{"GET /{kinds}/{name}", s.get},
		{"PUT /{kinds}/{name}", s.put},
		{"DELETE /{kinds}/{name}", s.delete},
	}
}

func (s *server) routes() http.Handler {
	mux := http.NewServeMux()
	for _, r := range s.table() {
		method, path, _ := strings.Cut(r.pattern, " ")
		mux.HandleFunc(method+" "+Prefix+path, func(w http.ResponseWriter, q *http.Request) {
			q.Body = http.MaxBytesReader(w, q.Body, MaxBody)
			status, answer, err := r.serve(q)
			if err != nil {
				s.fail(w, q, err)
				return
			}
			writeJSON(w, status, answer)
		})
	}
	return jsonRefusals(mux)
}

// log writes one line a request. Bodies and queries stay out of it: they hold what users wrote.
func (s *server) log(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		began := time.Now()
		rec := &recorder{ResponseWriter: w, status: http.StatusOK}
		who := &caller{}
		next.ServeHTTP(rec, q.WithContext(withCaller(q.Context(), who)))
		level := slog.LevelInfo
		switch {
		case rec.status >= 500:
			level = slog.LevelError
		case q.Method == http.MethodGet && rec.status < 400:
			level = slog.LevelDebug
		}
		s.Logger.Log(q.Context(), level, "api request", "method", q.Method, "path", q.URL.Path, "status", rec.status,
			"user", who.user, "from", q.RemoteAddr, "duration", time.Since(began).Round(time.Microsecond))
	})
}

// recorder remembers the status for the log.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
