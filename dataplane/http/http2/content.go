package http2

import (
	"io"

	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
	"github.com/hauberk-mesh/hauberk/internal/buffers"
)

// smallChunk is what a stream holds by itself: the content of most calls.
const smallChunk = 512

// chunk is a piece of content that has arrived; buf[r:w] is unread.
type chunk struct {
	buf  []byte
	r, w int
}

// store copies p behind what is unread. It is called with the lock.
func (st *Stream) store(p []byte) {
	st.unread += int64(len(p))
	for len(p) > 0 {
		last := len(st.chunks) - 1
		if last < 0 || st.chunks[last].w == len(st.chunks[last].buf) {
			var buf []byte
			if last < 0 && len(p) <= smallChunk {
				buf = st.small[:]
			} else {
				buf = buffers.GetSmall()
			}
			st.chunks = append(st.chunks, chunk{buf: buf})
			last++
		}
		k := &st.chunks[last]
		n := copy(k.buf[k.w:], p)
		k.w += n
		p = p[n:]
	}
}

// link appends a chunk that was read directly, and tells whether it has taken it: a small piece is copied instead, so that
// no mostly empty memory is held.
func (st *Stream) link(buf []byte, n int) bool {
	if n < len(buf)/4 {
		st.store(buf[:n])
		return false
	}
	st.unread += int64(n)
	st.chunks = append(st.chunks, chunk{buf: buf, w: n})
	return true
}

// dropChunks gives the first n chunks back.
func (st *Stream) dropChunks(n int) {
	for i := range st.chunks[:n] {
		buffers.Put(st.chunks[i].buf) // which leaves small alone
	}
	rest := copy(st.chunks, st.chunks[n:])
	clear(st.chunks[rest:])
	st.chunks = st.chunks[:rest]
	st.front = 0
}

// next gives back what was lent, and moves to the first chunk with something in it.
func (st *Stream) next() {
	st.advance()
	switch n := st.front; {
	case st.unread == 0:
		st.dropChunks(len(st.chunks))
	case n > 0:
		st.dropChunks(n)
	}
}

// advance moves to the first chunk with something in it. It stays at the last one, into which more may come.
func (st *Stream) advance() {
	for st.front < len(st.chunks)-1 && st.chunks[st.front].r == st.chunks[st.front].w {
		st.front++
	}
}

// Available is how many bytes can be had without blocking, in one piece.
func (st *Stream) Available() int {
	st.c.mu.Lock()
	n := 0
	if st.unread > 0 {
		st.advance()
		k := &st.chunks[st.front]
		n = k.w - k.r
	}
	st.c.mu.Unlock()
	return n
}

// Take consumes n of the Available bytes. They are valid until the next Await or Read.
func (st *Stream) Take(n int) []byte {
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	return st.take(n)
}

// TakePieces is message.Scattered.
func (st *Stream) TakePieces(most int) (pieces [][]byte) {
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	for most > 0 && st.unread > 0 {
		st.advance()
		k := &st.chunks[st.front]
		p := st.take(k.w - k.r)
		pieces, most = append(pieces, p), most-len(p)
	}
	return pieces
}

func (st *Stream) take(n int) []byte {
	if n == 0 {
		return nil
	}
	st.advance()
	k := &st.chunks[st.front]
	p := k.buf[k.r : k.r+n : k.r+n]
	k.r += n
	st.count += int64(n)
	st.unread -= int64(n)
	st.consumed += int64(n)
	st.replenish()
	return p
}

// Await blocks until a Read would not.
func (st *Stream) Await() error {
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	return st.await()
}

// await returns nil if there is something to read, or the end.
func (st *Stream) await() error {
	st.next()
	for st.unread == 0 {
		if st.remoteEnded {
			return nil
		}
		if st.readErr != nil {
			return st.readErr
		}
		if err := st.waitRead(); err != nil {
			return err
		}
		st.next()
	}
	return nil
}

// Read blocks for data.
func (st *Stream) Read(p []byte) (int, error) {
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	if err := st.await(); err != nil {
		return 0, err
	}
	if st.unread == 0 {
		return 0, io.EOF
	}
	n := 0
	for n < len(p) && st.unread > 0 {
		st.advance()
		k := &st.chunks[st.front]
		n += copy(p[n:], st.take(min(len(p)-n, k.w-k.r)))
	}
	return n, nil
}

// Done tells whether all was read.
func (st *Stream) Done() bool {
	st.c.mu.Lock()
	done := st.remoteEnded && st.unread == 0
	st.c.mu.Unlock()
	return done
}

// Err is what has cut the content off; nil if nothing has, or if there is something to read before that.
func (st *Stream) Err() error {
	st.c.mu.Lock()
	err := st.readErr
	if st.unread > 0 {
		err = nil
	}
	st.c.mu.Unlock()
	return err
}

// Count is how many bytes were taken.
func (st *Stream) Count() int64 {
	st.c.mu.Lock()
	n := st.count
	st.c.mu.Unlock()
	return n
}

// Trailer are the fields after the content, once Done.
func (st *Stream) Trailer() *message.Header { return &st.trailer }

// fewUpdates is a window from which on updates are rare enough.
const fewUpdates = 1 << 20

// replenish gives the peer more room once half of the window was consumed, and a larger window while its reader keeps up
// and it is the window that limits; or when so much was read already that fewer, larger updates pay.
func (st *Stream) replenish() {
	c := st.c
	if st.remoteEnded || st.readErr != nil || st.place < 0 || st.consumed < st.receiving.window/2 {
		return
	}
	if st.left >= 0 && st.left <= st.credit {
		return // all that can come may come
	}
	if size := st.receiving.window; st.unread <= size/4 || size < fewUpdates && st.count >= 4*size {
		more := min(2*size, int64(c.opts.MaxWindow)) - size
		if more > 0 && c.grown+int(more) <= maxGrown {
			st.receiving.window += more
			c.grown += int(more)
		}
	}
	if n := st.receiving.window - st.credit - st.unread; n > 0 {
		st.credit += n
		st.consumed = 0
		c.queueWindow(st.id, n)
		c.kick(nil)
	}
}

// arrived counts bytes of DATA against the connection's window, which is so large that it never limits.
func (c *conn) arrived(n int64) {
	if c.received += n; c.received >= maxWindow/4 {
		c.queueWindow(0, c.received)
		c.received = 0
	}
}
