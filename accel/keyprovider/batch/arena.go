package batch

import (
	"errors"
	"fmt"
	"slices"
	"sync"
)

// Secret memory comes in pieces of chunkSize and is given out in multiples of line, the CPU's cache line.
const (
	chunkSize = 64 << 10
	line      = 64
)

// arena gives out secret memory. It grows by a chunk when it must and returns chunks that are empty.
type arena struct {
	newChunk func(size int) (mem []byte, free func(), err error)

	mu     sync.Mutex // guards below, and all slots against close
	chunks []*chunk
	closed bool
}

type chunk struct {
	mem  []byte
	free func()
	used [chunkSize / line]bool
	n    int // lines used
}

// slot is a part of a chunk, aligned to a line.
type slot struct {
	bytes []byte // as long as asked for
	chunk *chunk
	first int // line
}

func newArena(newChunk func(int) ([]byte, func(), error)) *arena { return &arena{newChunk: newChunk} }

// take gives out n zero bytes.
func (a *arena) take(n int) (slot, error) {
	if n <= 0 || n > chunkSize {
		return slot{}, fmt.Errorf("secret memory: %d bytes at once, not 1 to %d", n, chunkSize)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return slot{}, errClosed()
	}
	for _, c := range a.chunks {
		if s, ok := c.take(n); ok {
			return s, nil
		}
	}
	mem, free, err := a.newChunk(chunkSize)
	if err != nil {
		return slot{}, err
	}
	c := &chunk{mem: mem, free: free}
	a.chunks = append(a.chunks, c)
	s, _ := c.take(n)
	return s, nil
}

// take finds the first run of free lines that is long enough.
func (c *chunk) take(n int) (slot, bool) {
	lines := linesOf(n)
	free := 0
	for i, used := range c.used {
		if used {
			free = 0
			continue
		}
		if free++; free == lines {
			first := i - lines + 1
			c.mark(first, lines, true)
			return slot{c.mem[first*line:][:n:n], c, first}, true
		}
	}
	return slot{}, false
}

func (c *chunk) mark(first, lines int, used bool) {
	for i := range lines {
		c.used[first+i] = used
	}
	if used {
		c.n += lines
	} else {
		c.n -= lines
	}
}

func linesOf(n int) int { return (n + line - 1) / line }

// give wipes a slot and takes it back. Nobody may use it any more.
func (a *arena) give(s slot) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return
	}
	clear(s.bytes)
	c := s.chunk
	c.mark(s.first, linesOf(len(s.bytes)), false)
	if c.n == 0 {
		a.chunks = slices.DeleteFunc(a.chunks, func(o *chunk) bool { return o == c })
		c.free()
	}
}

// read calls f with a slot's bytes, unless the arena is closed.
func (a *arena) read(s slot, f func([]byte)) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return errClosed()
	}
	f(s.bytes)
	return nil
}

// close wipes and unmaps everything. Nobody may use a slot any more.
func (a *arena) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return
	}
	a.closed = true
	for _, c := range a.chunks {
		clear(c.mem)
		c.free()
	}
	a.chunks = nil
}

// errNoSecretMemory is wrapped by the reason.
var errNoSecretMemory = errors.New("no secret memory is to be had (memfd_secret)")
