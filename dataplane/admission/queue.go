package admission

import (
	"container/list"
	"net/netip"
)

// queue is fair twice: turns go round the listeners that somebody waits for, and within one round the sources. Guarded by
// the gate's lock. The zero value is empty.
type queue struct {
	len   int
	turns ring[string, *ring[netip.Prefix, *flow]]
}

// flow is who waits of one source at one listener, in order.
type flow struct{ list.List }

// ring are things that take turns, by key. The zero value is empty.
type ring[K comparable, V any] struct {
	order list.List // of entries, the next one first
	at    map[K]*list.Element
}

type entry[K comparable, V any] struct {
	key   K
	value V
}

// get finds a member, which comes last if it is new.
func (r *ring[K, V]) get(key K, fresh func() V) V {
	if e := r.at[key]; e != nil {
		return e.Value.(entry[K, V]).value
	}
	if r.at == nil {
		r.at = map[K]*list.Element{}
	}
	v := fresh()
	r.at[key] = r.order.PushBack(entry[K, V]{key, v})
	return v
}

// next is whose turn it is, who then comes last.
func (r *ring[K, V]) next() V {
	e := r.order.Front()
	r.order.MoveToBack(e)
	return e.Value.(entry[K, V]).value
}

func (r *ring[K, V]) remove(key K) {
	r.order.Remove(r.at[key])
	delete(r.at, key)
}

func newFlow() *flow { return &flow{} }

func newSources() *ring[netip.Prefix, *flow] { return &ring[netip.Prefix, *flow]{} }

// push has t wait. One that has computed before goes ahead of those of its own source that have not: what it has cost is not
// to be in vain.
func (q *queue) push(t *Ticket) {
	f := q.turns.get(t.listener, newSources).get(t.source.key, newFlow)
	if t.ran {
		t.place = f.PushFront(t)
	} else {
		t.place = f.PushBack(t)
	}
	q.len++
}

// pop takes out whose turn it is, or returns nil.
func (q *queue) pop() *Ticket {
	if q.len == 0 {
		return nil
	}
	t := q.turns.next().next().Front().Value.(*Ticket)
	q.remove(t)
	return t
}

// remove takes out one that waits.
func (q *queue) remove(t *Ticket) {
	round := q.turns.get(t.listener, newSources)
	f := round.get(t.source.key, newFlow)
	f.Remove(t.place)
	t.place = nil
	q.len--
	if f.Len() == 0 {
		round.remove(t.source.key)
	}
	if round.order.Len() == 0 {
		q.turns.remove(t.listener)
	}
}
