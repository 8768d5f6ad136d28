package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/controlplane/store"
)

// Error makes an answer an error, on both sides of the wire.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Message)
	for _, p := range e.Problems {
		b.WriteString("\n  " + p.String())
	}
	return b.String()
}

func refuse(status int, format string, args ...any) error {
	return &Error{Status: status, Message: fmt.Sprintf(format, args...)}
}

// fail is the one place where an error becomes an answer.
func (s *server) fail(w http.ResponseWriter, q *http.Request, err error) {
	var own *Error
	var invalid *api.InvalidError
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &own):
		writeJSON(w, own.Status, own)
	case errors.As(err, &invalid):
		writeJSON(w, http.StatusBadRequest, Error{Message: "nothing was applied", Problems: invalid.Problems})
	case errors.As(err, &tooLarge):
		writeJSON(w, http.StatusRequestEntityTooLarge, Error{Message: fmt.Sprintf("the body is larger than %d MiB: apply it in parts", MaxBody>>20)})
	case errors.Is(err, store.ErrNotFound):
		writeJSON(w, http.StatusNotFound, Error{Message: err.Error()})
	case errors.Is(err, store.ErrConflict):
		writeJSON(w, http.StatusConflict, Error{Message: err.Error() + ": read it again, and apply your change to that"})
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, store.ErrClosed):
		writeJSON(w, http.StatusServiceUnavailable, Error{Message: "the control plane is stopping, or the request was given up"})
	default:
		s.Logger.ErrorContext(q.Context(), "api request failed", "method", q.Method, "path", q.URL.Path, "error", err)
		writeJSON(w, http.StatusInternalServerError, Error{Message: err.Error()})
	}
}

func writeJSON(w http.ResponseWriter, status int, answer any) {
	body, err := json.MarshalIndent(answer, "", "  ")
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"error": "the answer cannot be written as JSON"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}

// jsonRefusals answers for the mux where it knows no path (404) or no such method on it (405, with Allow): its own
// answers are plain text.
func jsonRefusals(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		h, pattern := mux.Handler(q)
		if pattern != "" {
			mux.ServeHTTP(w, q)
			return
		}
		own := &verdictOnly{header: http.Header{}}
		h.ServeHTTP(own, q)
		if own.status == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", own.header.Get("Allow"))
			writeJSON(w, own.status, Error{Message: fmt.Sprintf("%s is not possible on %s: use %s", q.Method, q.URL.Path, own.header.Get("Allow"))})
			return
		}
		writeJSON(w, http.StatusNotFound, Error{Message: "there is nothing at " + q.URL.Path})
	})
}

// verdictOnly takes the status and header of an answer and drops its body.
type verdictOnly struct {
	header http.Header
	status int
}

func (v *verdictOnly) Header() http.Header         { return v.header }
func (v *verdictOnly) Write(b []byte) (int, error) { return len(b), nil }
func (v *verdictOnly) WriteHeader(status int)      { v.status = status }
