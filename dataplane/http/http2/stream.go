package http2

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/http/http2/hpack"
	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
)

// Stream is one exchange: a message.Server on a server's connection, a message.Client on a client's. One goroutine may use
// what receives while another uses what sends. It is reused once its handler has returned, or after Release.
type Stream struct {
	reading, writing sync.Cond   // each has one waiter at most; they outlive the exchange
	bounded          atomic.Bool // a write deadline was set in this exchange
	exchange
}

// exchange is what is new with each use of a Stream. Guarded by conn.mu but for what says otherwise.
type exchange struct {
	c     *conn
	id    uint32 // 0: a client has not sent its head yet
	place int    // in c.all; -1: off the wire

	readBy, writeBy           time.Time
	readExpired, writeExpired bool

	arena   hpack.Arena
	req     message.Request  // server
	resp    message.Response // client: the next final head
	interim []message.Response
	interims,
	interimRead int
	headed bool   // client: resp is there
	taken  bool   // client: and was handed over
	begun  bool   // client: something of a response has come
	method string // of the request
	proto  string // that it asks to upgrade to

	receiving
	sending

	opened    time.Time
	waiting   bool   // server: for a place among the handlers
	onGone    func() // server: see OnGone
	telling   bool   // and it is being called
	answered  bool   // server: the final head has been sent
	abandoned bool   // reset or cut off: nobody waits for it
}

// receiving is the state of the content that arrives. Guarded by conn.mu.
type receiving struct {
	chunks      []chunk
	front       int   // chunks before it are spent, but what was taken from them is still lent
	unread      int64 // bytes in chunks
	credit      int64 // what the peer may still send
	window      int64 // what credit is filled up to
	consumed    int64 // since the last window update
	count       int64
	left        int64 // of the content-length; -1: none was declared
	remoteEnded bool
	noContent   bool // client: there must be none (HEAD, 204, 304)
	readErr     error
	trailer     message.Header
	small       [smallChunk]byte
}

// sending is the state of the message that leaves. Guarded by conn.mu but for room, which is the sender's.
type sending struct {
	window     int64 // the peer's for this stream
	sent       bool  // the final head was
	localEnded bool
	writeErr   error
	room       []byte
	flags      *byte // of the stream's last frame, while that is in queue batch
	batch      uint64
	inline     bool // writes for the connection, by itself
}

var streams = sync.Pool{New: func() any { return new(Stream) }}

// newStream gets a stream that is not on the wire yet. It is called by the reader, or with the lock.
func (c *conn) newStream() *Stream {
	st := streams.Get().(*Stream)
	st.c, st.place = c, -1
	st.reading.L, st.writing.L = &c.mu, &c.mu
	st.receiving.left = -1
	return st
}

// enter puts the stream on the wire's books. It is called with the lock.
func (c *conn) enter(st *Stream) {
	st.place = len(c.all)
	c.all = append(c.all, st)
	c.timer.emptySince = time.Time{}
	c.out.retire = false
	st.credit = int64(c.opts.StreamWindow)
	st.receiving.window = st.credit
	if !c.acked {
		st.credit = defaultWindow // the peer may not know our settings yet; see acknowledged
	}
	st.sending.window = int64(c.peer.window)
}

// leave takes it off. The stream is still its user's.
func (st *Stream) leave() {
	c := st.c
	if st.place < 0 {
		return
	}
	last := len(c.all) - 1
	c.all[st.place] = c.all[last]
	c.all[st.place].place = st.place
	c.all[last] = nil
	c.all = c.all[:last]
	st.place = -1
	if st.id != 0 {
		delete(c.streams, st.id)
	}
	c.grown -= int(st.receiving.window) - int(c.opts.StreamWindow)
	if st.answered || !c.server {
		c.debts.resets = max(0, c.debts.resets-1)
	}
	if last == 0 {
		c.timer.emptySince = c.now
		next := quiet
		if c.idle > 0 {
			next = min(next, c.idle)
		}
		c.timer.arm(c, c.now.Add(next))
		c.maybeDrained()
	}
}

// ended takes a stream off the wire once both sides have ended.
func (st *Stream) ended() {
	if st.localEnded && st.remoteEnded {
		st.leave()
	}
}

// cut ends both directions with err where they have not ended by themselves. It is called with the lock.
func (st *Stream) cut(err error) {
	if st.readErr == nil && !st.remoteEnded {
		st.readErr = err
	}
	if st.writeErr == nil && !st.localEnded {
		st.writeErr = err
	}
	st.abandoned = true
	st.reading.Signal()
	st.writing.Signal()
	st.leave()
	if st.onGone != nil {
		st.c.gone = append(st.c.gone, st)
	}
	if st.waiting {
		st.c.drop(st)
	}
}

// OnGone sets what is called, once and by the reader, when the peer resets the stream or the connection dies while the
// handler runs; at once if that has happened. f must not block.
func (st *Stream) OnGone(f func()) {
	c := st.c
	c.mu.Lock()
	gone := st.abandoned
	if !gone {
		st.onGone = f
	}
	c.mu.Unlock()
	if gone && f != nil {
		f()
	}
}

// tellGone calls what OnGone has set, without the lock, for streams that were cut off. It is called by the reader with the
// lock. A handler that returns meanwhile waits for it: see finish.
func (c *conn) tellGone() {
	for len(c.gone) > 0 {
		last := len(c.gone) - 1
		st := c.gone[last]
		c.gone[last] = nil
		c.gone = c.gone[:last]
		f := st.onGone
		if f == nil || !st.abandoned { // its handler has returned, and the stream may be another one now
			continue
		}
		st.onGone, st.telling = nil, true
		c.mu.Unlock()
		f()
		c.mu.Lock()
		st.telling = false
		c.told.Broadcast()
	}
}

// giveUp is reset by the stream's own user.
func (st *Stream) giveUp(code Code, text string) {
	st.onGone = nil
	st.reset(code, text)
}

// reset cuts the stream off and tells the peer why. It is called with the lock.
func (st *Stream) reset(code Code, text string) {
	c := st.c
	if st.place < 0 {
		return
	}
	if st.id != 0 && c.err == nil {
		c.queueReset(st.id, code)
		c.forget(st.id)
	}
	st.cut(&StreamError{Code: code, Text: text})
}

// forget remembers the last streams that we have reset.
func (c *conn) forget(id uint32) {
	if len(c.forgotten) < maxForgotten {
		c.forgotten = append(c.forgotten, id)
		return
	}
	c.forgotten[c.forgetAt] = id
	c.forgetAt = (c.forgetAt + 1) % maxForgotten
}

func (c *conn) wasReset(id uint32) bool {
	for _, f := range c.forgotten {
		if f == id {
			return true
		}
	}
	return false
}

// Abort ends the exchange early: RST_STREAM with CANCEL from a client, INTERNAL_ERROR from a server, or NO_ERROR if its
// response was complete (RFC 9113 section 8.1).
func (st *Stream) Abort() {
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	code := InternalError
	switch {
	case !c.server:
		code = Cancel
	case st.localEnded:
		code = NoError
	}
	st.giveUp(code, "ended here")
	c.kick(nil)
}

// Refuse ends the exchange with the word that the request was not processed, and may be sent elsewhere. After a response has
// begun it is Abort.
func (st *Stream) Refuse() {
	c := st.c
	c.mu.Lock()
	if !c.server || st.sent {
		c.mu.Unlock()
		st.Abort()
		return
	}
	st.giveUp(RefusedStream, "refused here")
	c.kick(nil)
	c.mu.Unlock()
}

// Gone tells whether the peer has reset the stream, or the connection is lost.
func (st *Stream) Gone() bool {
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	return st.abandoned
}

// recycle gives the stream's memory back. It is off the wire and nobody uses it any more: the reader knows streams by their
// number, and at most wakes one that was reused.
func (st *Stream) recycle() {
	st.dropChunks(len(st.chunks))
	st.dropRoom()
	st.arena.Reset()
	fields, trailer, response := st.req.Header.Fields[:0], st.trailer.Fields[:0], st.resp.Header.Fields[:0]
	chunks, arena := st.chunks[:0], st.arena
	st.exchange = exchange{arena: arena}
	st.bounded.Store(false)
	st.chunks = chunks
	st.req.Header.Fields, st.trailer.Fields, st.resp.Header.Fields = fields, trailer, response
	streams.Put(st)
}
