package server

// Waiting counts the calls of Wait that have to wait.
func Waiting(s *Server, mesh string) int {
	s.fleet.mu.Lock()
	defer s.fleet.mu.Unlock()
	return len(s.fleet.mesh(mesh).waiters)
}
