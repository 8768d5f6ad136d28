// Package undumpable closes a process that holds private keys to other processes of the same user: no core dumps, no
// ptrace(2), no reading of /proc/<pid>/mem, environ or fd by anyone but root (prctl(2), PR_SET_DUMPABLE).
//
// It protects from neither root nor this process's own bugs, and ends with the next exec(2): a successor calls Set again.
// What a process reads about itself in /proc stays readable, but for mem and environ where it is not root.
package undumpable

import "log/slog"

// SetOrLog is Set for a program that goes on without it.
func SetOrLog(log *slog.Logger) {
	if err := Set(); err != nil {
		log.Warn("this process stays open to core dumps and to other processes of its user", "error", err)
	}
}
