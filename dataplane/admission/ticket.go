package admission

import (
	"container/list"
	"context"
	"fmt"
	"time"
)

// Ticket is one handshake. It is used by one goroutine at a time; End may come from another one, after the last Resume.
type Ticket struct {
	gate     *Gate
	source   *source
	listener string
	patience time.Duration

	// Guarded by the gate's lock:
	holds bool // a slot
	ran   bool // it has had one before
	ended bool
	place *list.Element // where it waits; nil: it doesn't
	ready chan struct{} // sent to with a slot
}

// Resume takes a slot, and queues for one if it must. An error is ctx's, or a *Refusal: it has waited for too long.
func (t *Ticket) Resume(ctx context.Context) (queued bool, err error) {
	g := t.gate
	g.mu.Lock()
	if t.holds {
		g.mu.Unlock()
		return false, nil
	}
	if g.running+g.spent < g.o.Running && g.queue.len == 0 {
		g.running++
		t.holds, t.ran = true, true
		g.mu.Unlock()
		return false, nil
	}
	if t.ready == nil {
		t.ready = make(chan struct{}, 1)
	}
	g.stats.Queued++
	g.queue.push(t)
	g.call()
	g.mu.Unlock()
	return true, t.wait(ctx)
}

func (t *Ticket) wait(ctx context.Context) error {
	began := time.Now()
	timer := time.NewTimer(t.patience)
	defer timer.Stop()
	var err error
	select {
	case <-t.ready:
		t.waited(began)
		return nil
	case <-ctx.Done():
		err = fmt.Errorf("queueing for a handshake: %w", context.Cause(ctx))
	case <-timer.C:
	}
	t.waited(began)
	g := t.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if t.place == nil { // its turn came at that very moment
		<-t.ready
		return nil
	}
	g.queue.remove(t)
	if err == nil {
		err = g.refuse(OutOfTime, "no turn within %s", t.patience)
	}
	return err
}

func (t *Ticket) waited(began time.Time) {
	t.gate.mu.Lock()
	defer t.gate.mu.Unlock()
	t.gate.stats.Waited += time.Since(began)
}

// Yield gives the slot back, if there is one: the handshake waits for its peer.
func (t *Ticket) Yield() {
	t.gate.mu.Lock()
	defer t.gate.mu.Unlock()
	t.yield()
}

// yield gives the slot back; the lock is held.
func (t *Ticket) yield() {
	if t.holds {
		t.holds = false
		t.gate.running--
		t.gate.spent++
		t.gate.call()
	}
}

// End ends the handshake, whatever became of it. More than one call is one.
func (t *Ticket) End() {
	g := t.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if t.ended {
		return
	}
	t.ended = true
	t.yield()
	g.open--
	s := t.source
	s.open--
	if s.refill(time.Now(), g.o); s.idle(g.o) {
		delete(g.sources, s.key)
	}
}
