package server

import (
	"log/slog"
	"time"
)

// The first and the longest wait before a configuration that was refused, or could not be made, is tried again.
const (
	firstPatience   = 5 * time.Second
	longestPatience = time.Minute
)

// retry is when a proxy that is not at the newest generation is tried with it again. What stood in its way may be gone
// without any change that the control plane would hear of: a port was taken, a file was missing. Nobody but the control plane
// can begin: xDS has no word for "tell me again".
type retry struct {
	wait time.Duration    // the last one; zero: nothing was refused since reset
	due  <-chan time.Time // nil: nothing to wait for
	told string           // the reason that the log has
}

// refused begins the next wait.
func (r *retry) refused(reason string) {
	r.wait = min(max(2*r.wait, firstPatience), longestPatience)
	r.due, r.told = time.After(r.wait), reason
}

// reset: the proxy has the newest generation, or there is another to be tried.
func (r *retry) reset() { *r = retry{} }

// level is that of the line about a refusal: the same reason as before is no news.
func (r *retry) level(reason string, news slog.Level) slog.Level {
	if reason == r.told {
		return slog.LevelDebug
	}
	return news
}
