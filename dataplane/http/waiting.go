package http

import "sync"

// waiting is whether a connection waits for a request, for who wants to cut that wait short from another goroutine.
type waiting struct {
	mu sync.Mutex
	is bool
}

func (w *waiting) begin() { w.set(true) }
func (w *waiting) end()   { w.set(false) }

func (w *waiting) set(is bool) {
	w.mu.Lock()
	w.is = is
	w.mu.Unlock()
}

// whileWaiting does f if the connection waits, which it goes on to do until f has returned.
func (w *waiting) whileWaiting(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.is {
		f()
	}
}
