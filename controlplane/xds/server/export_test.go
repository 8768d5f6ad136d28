package server

import "time"

// Waiting counts the calls of Wait that have to wait.
func Waiting(s *Server, mesh string) int {
	s.fleet.mu.Lock()
	defer s.fleet.mu.Unlock()
	return len(s.fleet.mesh(mesh).waiters)
}

// SetAbsence is how long a stream stays open whose dataplane is gone. Call it before anybody connects.
func SetAbsence(s *Server, d time.Duration) { s.absence = d }
