package http1

import (
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
	"github.com/hauberk-mesh/hauberk/internal/buffers"
	"github.com/hauberk-mesh/hauberk/internal/sock"
)

// outlet is the sending half of both ends: message.Outlet. A head and small pieces gather in one borrowed buffer and leave in
// one write; nothing is borrowed while nothing is held.
type outlet struct {
	c    net.Conn
	kind Kind // of the content that leaves

	buf        []byte // borrowed; what is held is buf[start:end]
	start, end int
	lent       bool  // buf is lent by Room
	sent       int64 // of the content, through Room
	err        error

	armed deadline // for writes
}

// Room for a chunk's size line before lent memory, and for the ends of chunk and body after it.
const (
	front = 8
	back  = 2 + 5
)

// begin starts a message: its head is appended to the returned slice, which goes back by held.
func (o *outlet) begin() []byte {
	if o.buf == nil {
		o.buf, o.start, o.end = buffers.GetSmall(), 0, 0
	}
	return o.buf[:o.end]
}

// held takes back what begin gave. What outgrew the buffer has moved. end: no content follows, which a chunked message says
// by its last chunk.
func (o *outlet) held(b []byte, kind Kind, end bool) {
	if end && kind == Chunked {
		b = AppendLastChunk(b, nil)
	}
	if cap(b) != cap(o.buf) {
		buffers.Put(o.buf)
	}
	o.buf, o.end = b[:cap(b)], len(b)
	o.kind, o.sent = kind, 0
}

// manyBytes is from where on a content is worth a larger buffer: fewer system calls.
const manyBytes = 256 << 10

// Room is message.Outlet.
func (o *outlet) Room() ([]byte, error) {
	if err := o.Flush(); err != nil {
		return nil, err
	}
	if o.sent < manyBytes {
		o.buf = buffers.GetLarge()
	} else {
		o.buf = buffers.GetBulk()
	}
	o.lent = true
	o.start, o.end = front, front
	return o.buf[front : len(o.buf)-back], nil
}

// Send is message.Outlet.
func (o *outlet) Send(n int) error {
	o.lent = false
	if n == 0 {
		o.drop()
		return nil
	}
	o.end = front + n
	o.sent += int64(n)
	if o.kind == Chunked {
		var size [front]byte
		line := append(strconv.AppendUint(size[:0], uint64(n), 16), "\r\n"...)
		o.start = front - len(line)
		copy(o.buf[o.start:], line)
		o.end += copy(o.buf[o.end:], "\r\n")
	}
	return o.err
}

// Write is message.Outlet.
func (o *outlet) Write(p []byte) error {
	for len(p) > 0 && o.err == nil {
		if o.kind != Chunked && len(p) >= directMin && len(p) > o.space() {
			if err := o.Flush(); err != nil {
				return err
			}
			return o.write(p)
		}
		if o.buf == nil {
			o.buf, o.start, o.end = buffers.GetLarge(), 0, 0
		}
		n := min(len(p), o.space())
		if n <= 0 {
			if err := o.Flush(); err != nil {
				return err
			}
			continue
		}
		b := o.buf[:o.end]
		if o.kind == Chunked {
			b = appendChunk(b, p[:n])
		} else {
			b = append(b, p[:n]...)
		}
		o.end, p = len(b), p[n:]
	}
	return o.err
}

// WritePieces is message.Gatherer.
func (o *outlet) WritePieces(pieces [][]byte) error {
	if o.kind != Chunked {
		if err := o.Flush(); err != nil {
			return err
		}
		o.err = sock.WriteAll(o.c, pieces)
		return o.err
	}
	for _, p := range pieces {
		if err := o.Write(p); err != nil {
			return err
		}
	}
	return nil
}

// space is how much data the buffer takes yet.
func (o *outlet) space() int {
	if o.buf == nil {
		return 0
	}
	return len(o.buf) - o.end - chunkOverhead - back
}

// Flush is message.Outlet.
func (o *outlet) Flush() error {
	if o.buf == nil || o.err != nil {
		return o.err
	}
	err := o.write(o.buf[o.start:o.end])
	o.drop()
	return err
}

// End is message.Outlet.
func (o *outlet) End(trailer *message.Header) error {
	if o.kind == Chunked && o.err == nil {
		o.held(AppendLastChunk(o.begin(), trailer), o.kind, false)
	}
	return o.Flush()
}

func (o *outlet) write(p []byte) error {
	if len(p) > 0 && o.err == nil {
		_, o.err = o.c.Write(p)
	}
	return o.err
}

// drop gives the buffer back with whatever is in it.
func (o *outlet) drop() {
	if o.buf != nil && !o.lent {
		buffers.Put(o.buf)
		o.buf, o.start, o.end = nil, 0, 0
	}
}

// SetWriteDeadline is message.Outlet.
func (o *outlet) SetWriteDeadline(t time.Time) error {
	if !o.armed.move(t) {
		return nil
	}
	return o.c.SetWriteDeadline(t)
}

// deadline remembers what is set on a connection, in nanoseconds of Unix time; zero is none. To set one costs as much as to
// parse a head, and most are moved on by less than a second at a time: far away ones are left as they are, may so fire up to
// a second early, and whoever waits looks at the clock then.
type deadline struct{ at atomic.Int64 }

// far is how far away a deadline has to be so that a second does not matter.
const far = 30 * time.Second

// move tells whether the connection's deadline has to be changed for t, and remembers t if so.
func (d *deadline) move(t time.Time) bool {
	return d.within(t, time.Second, far)
}

// moveSoon is move for who waits in short turns: an idle connection's is moved on by half a second with each request.
func (d *deadline) moveSoon(t time.Time) bool { return d.within(t, soon, soon) }

// soon is by how much a turn may be cut short, and what must be left of it.
const soon = 250 * time.Millisecond

func (d *deadline) within(t time.Time, slack, left time.Duration) bool {
	armed, wanted := d.at.Load(), int64(0)
	if !t.IsZero() {
		wanted = t.UnixNano()
	}
	if armed == wanted {
		return false
	}
	if armed != 0 && wanted > armed && wanted-armed <= int64(slack) && armed-time.Now().UnixNano() > int64(left) {
		return false
	}
	d.at.Store(wanted)
	return true
}
