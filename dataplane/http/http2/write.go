package http2

import (
	"encoding/binary"
	"runtime"
	"time"

	"github.com/hauberk-mesh/hauberk/internal/buffers"
)

// blockSize is what a stream lends for one piece of content, frame header included: sixteen full TLS records.
const blockSize = 256 << 10

func getBlock(n int) []byte {
	switch {
	case n <= buffers.Small:
		return buffers.GetSmall()
	case n <= blockSize:
		return buffers.GetBulk()[:blockSize]
	}
	return make([]byte, n)
}

func putBlock(b []byte) { buffers.Put(b) }

// queue is what is to be written. Guarded by conn.mu. While nothing is pending it holds no memory.
type queue struct {
	segs, spare [][]byte
	batch       uint64 // how often the segments were taken to be written
	bytes       int    // pending, those that are being written included
	replies     int    // frames among them that the peer made us send
	writing     bool   // somebody writes
	kicked      bool   // the writer goroutine was told
	running     bool   // it exists
	retire      bool   // it is to end
	hurried     bool   // a stream that writes by itself has a deadline that has passed
	blocked     int    // streams that wait for room
	since       time.Time
	run         func()
}

func (q *queue) empty() bool { return len(q.segs) == 0 && !q.writing }

// tail returns the last segment, with room for n more bytes.
func (q *queue) tail(n int) *[]byte {
	last := len(q.segs) - 1
	if last >= 0 {
		if s := &q.segs[last]; cap(*s)-len(*s) >= n {
			return s
		}
		n = max(n, buffers.Small+1) // there is much to send: take a large one
	}
	q.segs = append(q.segs, getBlock(n)[:0])
	return &q.segs[last+1]
}

// queueFrame appends a frame with a short payload.
func (c *conn) queueFrame(kind, flags uint8, stream uint32, payload []byte) {
	n := frameHeader + len(payload)
	s := c.out.tail(n)
	*s = append(appendFrame(*s, len(payload), kind, flags, stream), payload...)
	c.out.bytes += n
}

// queueData appends a DATA frame and remembers where its flags are, so that the end of the message can join it.
func (c *conn) queueData(st *Stream, flags uint8, payload []byte) {
	c.queueFrame(frameData, flags, st.id, payload)
	s := c.out.segs[len(c.out.segs)-1]
	st.flags, st.batch = &s[len(s)-len(payload)-frameHeader+4], c.out.batch
}

// queueBlock takes a whole segment that holds one DATA frame: its memory becomes the queue's.
func (c *conn) queueBlock(st *Stream, b []byte) {
	c.out.segs = append(c.out.segs, b)
	c.out.bytes += len(b)
	st.flags, st.batch = &b[4], c.out.batch
}

// queueHead appends a header block as HEADERS and, where the peer's frames are too small, CONTINUATION.
func (c *conn) queueHead(st *Stream, block []byte, end bool) {
	kind, flags := frameHeaders, uint8(0)
	if end {
		flags = flagEndStream
	}
	for {
		n := min(len(block), int(c.peer.maxFrame))
		if n == len(block) {
			flags |= flagEndHeaders
		}
		c.queueFrame(kind, flags, st.id, block[:n])
		if kind == frameHeaders {
			s := c.out.segs[len(c.out.segs)-1]
			st.flags, st.batch = &s[len(s)-n-frameHeader+4], c.out.batch
		}
		if block = block[n:]; len(block) == 0 {
			break
		}
		kind, flags = frameContinuation, 0
	}
	if cap(c.scratch) > 64<<10 {
		c.scratch = nil
	}
}

// joinEnd puts END_STREAM on the stream's last frame, if that is still here.
func (c *conn) joinEnd(st *Stream) bool {
	if st.flags == nil || st.batch != c.out.batch {
		return false
	}
	*st.flags |= flagEndStream
	return true
}

func (c *conn) queueReset(id uint32, code Code) {
	var p [4]byte
	binary.BigEndian.PutUint32(p[:], uint32(code))
	c.queueFrame(frameReset, 0, id, p[:])
	c.out.replies++
}

func (c *conn) queueWindow(id uint32, n int64) {
	var p [4]byte
	binary.BigEndian.PutUint32(p[:], uint32(n))
	c.queueFrame(frameWindowUpdate, 0, id, p[:])
}

func (c *conn) queueGoAway(code Code, last uint32, text string) {
	p := make([]byte, 8, 8+len(text))
	binary.BigEndian.PutUint32(p, last)
	binary.BigEndian.PutUint32(p[4:], uint32(code))
	c.queueFrame(frameGoAway, 0, 0, append(p, text...))
}

// kick gets what is pending written. The one stream of a quiet connection (by is not nil) writes by itself, which spares
// waking somebody; with more of them the writer goroutine waits a moment for the others, and sends all at once.
func (c *conn) kick(by *Stream) {
	q := &c.out
	if len(q.segs) == 0 || q.writing || q.kicked || c.err != nil {
		return
	}
	if by == nil || len(c.all) > 1 {
		c.wakeWriter()
		return
	}
	q.writing, by.inline = true, true
	c.writeBatch()
	q.writing, by.inline = false, false
	if q.hurried {
		q.hurried = false
		_ = c.net.SetWriteDeadline(time.Time{})
	}
	if len(q.segs) > 0 && c.err == nil {
		c.wakeWriter()
	}
	c.wrote()
}

func (c *conn) wakeWriter() {
	q := &c.out
	q.kicked = true
	if q.running {
		c.writer.Signal()
		return
	}
	q.running, q.retire = true, false
	go q.run()
}

// writeLoop is the writer goroutine: it is there while a connection is busy.
func (c *conn) writeLoop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	q := &c.out
	for c.err == nil {
		if !q.kicked {
			if q.retire {
				break
			}
			c.writer.Wait()
			continue
		}
		if len(c.all) > 1 {
			c.mu.Unlock()
			runtime.Gosched() // those who are about to write shall share this write
			c.mu.Lock()
		}
		q.kicked, q.writing = false, true
		for len(q.segs) > 0 && c.err == nil {
			c.writeBatch()
		}
		q.writing = false
		c.wrote()
	}
	q.running = false
}

// writeBatch writes what is pending. It is called with the lock and gives it up meanwhile.
func (c *conn) writeBatch() {
	q := &c.out
	segs, n := q.segs, q.bytes
	q.segs, q.spare = q.spare[:0], nil
	q.batch++
	q.replies = 0
	q.since = time.Now()
	c.timer.arm(c, q.since.Add(c.opts.Stall))
	c.mu.Unlock()
	var err error
	for i, s := range segs {
		if err == nil {
			_, err = c.net.Write(s)
		}
		putBlock(s)
		segs[i] = nil
	}
	if err != nil {
		_ = c.close(err)
	}
	c.mu.Lock()
	q.spare = segs[:0]
	q.bytes -= n
	if q.blocked > 0 && q.bytes <= maxPending {
		for _, st := range c.all {
			st.writing.Signal()
		}
	}
}

// wrote is called when a writer has nothing left to do.
func (c *conn) wrote() {
	if c.out.empty() {
		c.flushed.Broadcast()
		c.maybeDrained()
	}
}
