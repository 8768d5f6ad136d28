package http1

import (
	"sync"
	"unsafe"
)

// textSize is enough for most heads with their trailers.
const textSize = 4 << 10

var texts = sync.Pool{New: func() any { return new([textSize]byte) }}

// text owns the strings of one message: its head and trailers are copied into it, out of the way of the content that follows,
// and given out as views. They stay valid until forget or release, so that a message costs no garbage: who keeps a string
// longer clones it. Built with the race detector, forget and release overwrite what they take back, so that tests find who
// does not (poison_race.go).
type text struct{ block []byte }

// keep copies p. When a block is full the next one takes its place, and the strings in the old one keep it alive.
func (t *text) keep(p []byte) string {
	if len(p) == 0 {
		return ""
	}
	if cap(t.block)-len(t.block) < len(p) {
		if t.block == nil && len(p) <= textSize {
			t.block = texts.Get().(*[textSize]byte)[:0]
		} else {
			t.block = make([]byte, 0, max(2*cap(t.block), len(p)))
		}
	}
	from := len(t.block)
	t.block = append(t.block, p...)
	return view(t.block[from:])
}

// forget makes all strings invalid: the message is over. The memory is used again.
func (t *text) forget() {
	poison(t.block)
	t.block = t.block[:0]
}

// release is forget for a connection that waits: it keeps no memory meanwhile.
func (t *text) release() {
	t.forget()
	if cap(t.block) == textSize {
		texts.Put((*[textSize]byte)(t.block[:textSize]))
	}
	t.block = nil
}

// view is p as a string that changes when p does.
func view(p []byte) string { return unsafe.String(unsafe.SliceData(p), len(p)) }
