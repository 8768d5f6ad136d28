package telemetry

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxPending is how much text may wait for the disk. What comes when it is full is dropped, whole lines only.
	maxPending = 1 << 20
	// writeAt is how much is written without waiting for more.
	writeAt = 64 << 10
	// writeEvery is how long a line waits at most for company.
	writeEvery = 50 * time.Millisecond
	// closeWithin bounds Close, for the case that nobody reads our standard output.
	closeWithin = 2 * time.Second
)

// LogWriter writes lines from its own goroutine, so that a slow disk or an unread pipe delays no request.
type LogWriter struct {
	path    string // empty: not a file of ours, and not reopened
	dropped atomic.Uint64
	failed  atomic.Uint64

	mu      sync.Mutex // guards pending; held for a copy, never for a write
	pending []byte
	closed  bool

	wake, full, stop, done chan struct{}

	outMu sync.Mutex // guards out
	out   io.Writer
}

// OpenLog opens a log for appending. "/dev/stdout", "/dev/stderr" and "-" (stdout) are the process's own; anything else is
// a file, made with mode 0600.
func OpenLog(path string) (*LogWriter, error) {
	switch path {
	case "-", "/dev/stdout":
		return NewLogWriter(os.Stdout), nil
	case "/dev/stderr":
		return NewLogWriter(os.Stderr), nil
	}
	f, err := openLogFile(path)
	if err != nil {
		return nil, err
	}
	w := NewLogWriter(f)
	w.path = path
	return w, nil
}

// NewLogWriter writes to out, which it does not close.
func NewLogWriter(out io.Writer) *LogWriter {
	w := &LogWriter{
		out:  out,
		wake: make(chan struct{}, 1), full: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}
	go w.run()
	return w
}

func openLogFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("access log: %w", err)
	}
	return f, nil
}

// Dropped counts lines that were given up because the writer was behind, and writes that the system refused.
func (w *LogWriter) Dropped() uint64 { return w.dropped.Load() + w.failed.Load() }

// write queues a line, which it copies.
func (w *LogWriter) write(line []byte) {
	w.mu.Lock()
	if w.closed || len(w.pending)+len(line) > maxPending {
		w.mu.Unlock()
		w.dropped.Add(1)
		return
	}
	first := len(w.pending) == 0
	w.pending = append(w.pending, line...)
	long := len(w.pending) >= writeAt
	w.mu.Unlock()
	if first {
		notify(w.wake)
	}
	if long {
		notify(w.full)
	}
}

func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run gathers lines for a moment, so that a busy proxy makes one system call of many lines and an idle one makes none.
func (w *LogWriter) run() {
	defer close(w.done)
	var writing []byte
	for {
		select {
		case <-w.wake:
		case <-w.stop:
			w.flush(writing)
			return
		}
		timer := time.NewTimer(writeEvery)
		select {
		case <-timer.C:
		case <-w.full:
		case <-w.stop:
		}
		timer.Stop()
		writing = w.flush(writing)
	}
}

// flush writes all that is pending; spare becomes the next pending buffer, and the one written is returned as the next spare.
func (w *LogWriter) flush(spare []byte) []byte {
	w.mu.Lock()
	writing := w.pending
	w.pending = spare[:0]
	w.mu.Unlock()
	if len(writing) == 0 {
		return writing
	}
	w.outMu.Lock()
	_, err := w.out.Write(writing)
	w.outMu.Unlock()
	if err != nil {
		w.failed.Add(1)
	}
	if cap(writing) > 4*writeAt {
		return nil // a burst is over: do not keep its memory
	}
	return writing
}

// Reopen opens the file anew, for a log that was rotated away under its name. It does nothing to a log that is no file.
// If the file cannot be opened the present one stays in use.
func (w *LogWriter) Reopen() error {
	if w.path == "" {
		return nil
	}
	f, err := openLogFile(w.path)
	if err != nil {
		return err
	}
	w.outMu.Lock()
	old := w.out
	w.out = f
	w.outMu.Unlock()
	if c, ok := old.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// Close writes what is pending and closes the file. Lines that come later are dropped and counted.
func (w *LogWriter) Close() error {
	w.mu.Lock()
	again := w.closed
	w.closed = true
	w.mu.Unlock()
	if again {
		return nil
	}
	close(w.stop)
	select {
	case <-w.done:
	case <-time.After(closeWithin):
		return errors.New("access log: what was left could not be written within " + closeWithin.String())
	}
	if w.path == "" {
		return nil
	}
	w.outMu.Lock()
	defer w.outMu.Unlock()
	if c, ok := w.out.(io.Closer); ok {
		return c.Close()
	}
	return nil
}
