package store

import (
	"context"
	"sync"
)

// Watch is one reader of a store's history: what there was when it began, then each transaction.
// One goroutine at a time may call Next.
type Watch struct {
	// Initial are all records as of Revision, sorted by key.
	Initial  []Record
	Revision Revision

	ctx  context.Context
	at   *link
	done <-chan struct{}
}

// Next waits for the next transaction. The error is that of the context that ended (Watch's or this one), or ErrClosed
// when the store was closed and all that it had committed has been read. A call that ended by its own context lost nothing.
// The Event is shared by all watchers: do not change it.
func (w *Watch) Next(ctx context.Context) (Event, error) {
	if err := w.ctx.Err(); err != nil {
		return Event{}, err
	}
	select {
	case <-w.at.written:
		return w.step(), nil
	default:
	}
	select {
	case <-w.at.written:
		return w.step(), nil
	case <-w.ctx.Done():
		return Event{}, w.ctx.Err()
	case <-ctx.Done():
		return Event{}, ctx.Err()
	case <-w.done:
	}
	select { // closed: what was committed before still counts
	case <-w.at.written:
		return w.step(), nil
	default:
		return Event{}, ErrClosed
	}
}

func (w *Watch) step() Event {
	e := w.at.event
	w.at = w.at.next
	return e
}

// History is where a backend publishes its transactions. It is a linked list with one open end: publishing costs the same
// however many watch, and an event is collected as soon as the slowest watcher has passed it.
type History struct {
	mu     sync.Mutex // guards tail and closed
	tail   *link
	closed bool
	done   chan struct{}
}

// link is an event that is still to come until written is closed; then event and next are immutable.
type link struct {
	event   Event
	next    *link
	written chan struct{}
}

func newLink() *link { return &link{written: make(chan struct{})} }

// NewHistory is an empty one.
func NewHistory() *History {
	return &History{tail: newLink(), done: make(chan struct{})}
}

// Publish appends an event. It never blocks. The backend calls it in the order of its revisions.
func (h *History) Publish(e Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.tail
	l.event, l.next = e, newLink()
	h.tail = l.next
	close(l.written)
}

// Watch begins at this moment. The backend calls it where no transaction can come between the reading of initial and
// this call.
func (h *History) Watch(ctx context.Context, initial []Record, at Revision) *Watch {
	h.mu.Lock()
	defer h.mu.Unlock()
	return &Watch{Initial: initial, Revision: at, ctx: ctx, at: h.tail, done: h.done}
}

// Close ends all watchers once they have read everything.
func (h *History) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		h.closed = true
		close(h.done)
	}
}
