// Package buffers lends the three sizes of byte slices that the engine copies with, so that an idle connection holds none.
// It is not an arena: what is lent is owned until it is given back, and forgetting to give it back costs only garbage.
package buffers

import "sync"

// Small is enough for almost every message head; Large is what bodies are copied with; Bulk is sixteen full TLS records with
// what encryption adds to them, to move them in one system call.
const (
	Small = 16 << 10
	Large = 32 << 10
	Bulk  = 16 * (16<<10 + 64)
)

// Pools hold pointers to arrays: a slice would be boxed, and allocate, at each Put.
var (
	small = sync.Pool{New: func() any { return new([Small]byte) }}
	large = sync.Pool{New: func() any { return new([Large]byte) }}
	bulk  = sync.Pool{New: func() any { return new([Bulk]byte) }}
)

// GetSmall lends Small bytes of unknown content.
func GetSmall() []byte { return small.Get().(*[Small]byte)[:] }

// GetLarge lends Large bytes of unknown content.
func GetLarge() []byte { return large.Get().(*[Large]byte)[:] }

// GetBulk lends Bulk bytes of unknown content.
func GetBulk() []byte { return bulk.Get().(*[Bulk]byte)[:] }

// Put takes a lent slice back, by its capacity. A slice that came from elsewhere (a head that outgrew its buffer) is left
// to the garbage collector.
func Put(b []byte) {
	switch cap(b) {
	case Small:
		small.Put((*[Small]byte)(b[:Small]))
	case Large:
		large.Put((*[Large]byte)(b[:Large]))
	case Bulk:
		bulk.Put((*[Bulk]byte)(b[:Bulk]))
	}
}
