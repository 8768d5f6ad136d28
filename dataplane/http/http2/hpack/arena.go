package hpack

import "unsafe"

const (
	arenaStart = 1 << 10
	arenaKept  = 64 << 10 // what Reset keeps at most
)

// Arena owns the strings of one message. The zero value is ready. Strings stay valid until Reset: when a block is full, the
// next one takes its place, and the strings in the old one keep it alive.
type Arena struct{ block []byte }

// Reset makes all strings that were given out invalid, and uses their memory again.
func (a *Arena) Reset() {
	if cap(a.block) > arenaKept {
		a.block = nil
	}
	a.block = a.block[:0]
}

// Add copies p into the arena.
func (a *Arena) Add(p []byte) string {
	return a.keep(append(a.room(len(p)), p...))
}

// add copies a string into the arena.
func (a *Arena) add(s string) string {
	return a.keep(append(a.room(len(s)), s...))
}

// room is free memory of at least n bytes, for keep.
func (a *Arena) room(n int) []byte {
	if cap(a.block)-len(a.block) < n {
		a.block = make([]byte, 0, max(arenaStart, 2*cap(a.block), n))
	}
	return a.block[len(a.block):]
}

// keep makes p, which fills the begin of what room returned, a string of the arena.
func (a *Arena) keep(p []byte) string {
	a.block = a.block[:len(a.block)+len(p)]
	return unsafe.String(unsafe.SliceData(p), len(p))
}

// undo takes back what was added since the arena's block was before.
func (a *Arena) undo(before []byte) {
	if cap(before) == cap(a.block) {
		a.block = before
		return
	}
	a.block = a.block[:0] // a new block, in which nothing else is
}
