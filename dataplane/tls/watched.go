package tls

import (
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// checkEvery is how old what came from files may get before somebody looks whether they have changed.
const checkEvery = time.Second

// Watched is a value that is read from files, and again when they have changed. It looks at them when it is asked, at most once
// a second, so that there is nothing to start or stop. A change that can't be read leaves the value from before in force: a
// certificate and its key are rarely replaced at the same instant.
type Watched[T any] struct {
	paths  []string
	read   func() (T, error)
	failed func(error) // told once for each different failure; nil: nobody
	value  atomic.Pointer[T]
	next   atomic.Int64 // when to look, in nanoseconds since Unix's epoch
	count  atomic.Uint64

	mu    sync.Mutex // one look at a time; guards below
	seen  []stamp
	fault string
}

// stamp is what tells one state of a file from another. A symbolic link that is moved, as Kubernetes does, leads to another file.
type stamp struct {
	size     int64
	modified time.Time
	file     os.FileInfo
}

func (s stamp) same(t stamp) bool {
	if s.file == nil || t.file == nil {
		return s.file == t.file
	}
	return s.size == t.size && s.modified.Equal(t.modified) && os.SameFile(s.file, t.file)
}

// NewWatched reads for the first time.
func NewWatched[T any](paths []string, read func() (T, error), failed func(error)) (*Watched[T], error) {
	w := &Watched[T]{paths: paths, read: read, failed: failed}
	w.seen = w.stamps() // before reading: a change meanwhile is seen later
	v, err := read()
	if err != nil {
		return nil, err
	}
	w.value.Store(&v)
	w.next.Store(time.Now().Add(checkEvery).UnixNano())
	return w, nil
}

// Get is the value at most a second old.
func (w *Watched[T]) Get() T {
	if time.Now().UnixNano() >= w.next.Load() && w.mu.TryLock() {
		w.look()
		w.mu.Unlock()
	}
	return *w.value.Load()
}

// Changes counts how often the value was another one, and looks as Get does.
func (w *Watched[T]) Changes() uint64 {
	w.Get()
	return w.count.Load()
}

func (w *Watched[T]) look() {
	w.next.Store(time.Now().Add(checkEvery).UnixNano())
	now := w.stamps()
	if slices.EqualFunc(now, w.seen, stamp.same) {
		return
	}
	v, err := w.read()
	if err != nil {
		if text := err.Error(); text != w.fault && w.failed != nil {
			w.fault = text
			w.failed(err)
		}
		return // and what was seen stays, so that the next look reads again
	}
	w.value.Store(&v)
	w.count.Add(1)
	w.seen, w.fault = now, ""
}

func (w *Watched[T]) stamps() []stamp {
	out := make([]stamp, len(w.paths))
	for i, p := range w.paths {
		if f, err := os.Stat(p); err == nil {
			out[i] = stamp{size: f.Size(), modified: f.ModTime(), file: f}
		}
	}
	return out
}
