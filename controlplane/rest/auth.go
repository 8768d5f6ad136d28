package rest

import (
	"context"
	"net/http"
	"strings"
)

// caller is who asks, filled in once authenticated. The log line, which is written outside, reads it.
type caller struct{ user string }

type callerKey struct{}

func withCaller(ctx context.Context, c *caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// authenticate lets nobody past without a user's token, not even to learn which paths there are. Why a token was refused
// is in the log alone: a stranger learns nothing from it.
func (s *server) authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		scheme, token, _ := strings.Cut(q.Header.Get("Authorization"), " ")
		if !strings.EqualFold(scheme, "Bearer") || token == "" {
			refuseStranger(w, "this API needs the token of a user: authorization: Bearer <token>")
			return
		}
		user, err := s.Credentials.User(q.Context(), strings.TrimSpace(token))
		if err != nil {
			s.Logger.WarnContext(q.Context(), "token refused", "from", q.RemoteAddr, "path", q.URL.Path, "reason", err)
			refuseStranger(w, "the token was refused: it is unknown, expired, revoked, or no user's")
			return
		}
		if c, ok := q.Context().Value(callerKey{}).(*caller); ok {
			c.user = user
		}
		next.ServeHTTP(w, q)
	})
}

func refuseStranger(w http.ResponseWriter, message string) {
	w.Header().Set("WWW-Authenticate", `Bearer realm="hauberk"`)
	writeJSON(w, http.StatusUnauthorized, Error{Message: message})
}
