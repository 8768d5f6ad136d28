package telemetry

import (
	"maps"
	"sync"
	"sync/atomic"
)

// table finds the counters of a key without a lock and without an allocation once the key has been seen; a new key copies
// the map. It is bounded: when it is full, a new key is counted under what overflow makes of it, so that a stranger
// who invents names costs no memory.
type table[K comparable, V any] struct {
	limit    int
	clone    func(K) K // copies the key's strings, which die with the record
	overflow func(K) K // must have few results; they may exceed the limit
	entries  atomic.Pointer[map[K]*V]

	mu sync.Mutex // serialises writers of entries
}

func newTable[K comparable, V any](limit int, clone, overflow func(K) K) *table[K, V] {
	t := &table[K, V]{limit: limit, clone: clone, overflow: overflow}
	t.entries.Store(&map[K]*V{})
	return t
}

// get returns the counters of k, which it makes if need be.
func (t *table[K, V]) get(k K) *V {
	if v, ok := (*t.entries.Load())[k]; ok {
		return v
	}
	return t.add(k)
}

func (t *table[K, V]) add(k K) *V {
	// A full table never changes again but for the few overflow keys: no lock for the flood that fills it.
	if seen := *t.entries.Load(); len(seen) >= t.limit {
		k = t.overflow(k)
		if v, ok := seen[k]; ok {
			return v
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	old := *t.entries.Load()
	if len(old) >= t.limit {
		k = t.overflow(k)
	}
	if v, ok := old[k]; ok {
		return v
	}
	entries := maps.Clone(old) // which hashes nothing anew, unlike a copy
	v := new(V)
	entries[t.clone(k)] = v
	t.entries.Store(&entries)
	return v
}

// all is the present map. It must not be changed.
func (t *table[K, V]) all() map[K]*V { return *t.entries.Load() }

// remove takes keys out; who has found their counters before may still write to them.
func (t *table[K, V]) remove(keys []K) {
	if len(keys) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	entries := maps.Clone(*t.entries.Load())
	for _, k := range keys {
		delete(entries, k)
	}
	t.entries.Store(&entries)
}
