// Package http2 is HTTP/2 (RFC 9113, with the extended CONNECT of RFC 8441), both ends of a connection. Every stream is an
// exchange in the terms of package message: a message.Server on connections that NewServer made, a message.Client on those
// of NewClient.
//
// It knows nothing of routing, dialling or TLS. It is strict where two readers could disagree on a message, and bounded
// against peers that make work or hold memory (limits.go). Server push and priorities are not spoken.
//
// # How it runs
//
// One goroutine reads (conn.go): it takes what a read gave, frame by frame (receive.go, headers.go, control.go,
// settings.go), and only then hands out new streams and wakes who waits. Everybody else appends frames to the connection's
// queue (write.go); who finds the connection quiet writes it himself, otherwise a writer goroutine sends in one go what has
// gathered. All state of a connection and its streams is under one lock, conn.mu. exchange.go, content.go and outlet.go are
// what a user of a stream meets; timer.go is about time, drain.go about the end.
package http2

import (
	"io"
	"net"
	"sync"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/http/http2/hpack"
	"github.com/hauberk-mesh/hauberk/internal/buffers"
	"github.com/hauberk-mesh/hauberk/internal/sock"
)

// headerTable is the size of HPACK's dynamic table that we offer and use: the protocol's default.
const headerTable = 4096

// conn is one connection in either role.
type conn struct {
	net    net.Conn
	opts   Options
	server bool

	// The reader's own.
	waiter     *sock.Waiter
	buf        []byte // unread bytes are buf[r:w]; nil while the connection waits
	r, w       int
	full       bool // the last read filled its memory: more is likely to be there
	plenty     bool // the last direct read was a large one
	first      [frameHeader]byte
	piece      int // what one read can give at most: a TLS record, or more
	dec        *hpack.Decoder
	block      block
	emit       func(name, value string) bool // block.field
	head       head                          // client: the response head that is being decoded
	fragments  []byte                        // of a header block that CONTINUATION goes on with
	open       frame                         // its HEADERS; stream 0: there is none
	fragmentsN int
	greeted    bool // the peer's first SETTINGS have come
	halfway    bool // a frame or a header block has begun, and time runs: see mustEnd
	fresh      []*Stream
	wake       []*Stream
	spare      []byte // chunk for direct reads

	mu      sync.Mutex // guards all below
	streams map[uint32]*Stream
	all     []*Stream // also those that have no number yet
	err     error     // why the connection is dead
	done    chan struct{}
	ready   chan struct{} // the peer's first SETTINGS have come
	debts   debts
	now     time.Time // of the last read
	grown   int       // sum of windows beyond their first size
	// forgotten are streams that we reset not long ago: frames for them are no error.
	forgotten []uint32
	forgetAt  int

	enc      *hpack.Encoder
	scratch  []byte // for header blocks
	out      queue
	writer   sync.Cond // for the writer goroutine
	flushed  sync.Cond // nothing is pending, or the connection is dead
	sendRoom int64     // the peer's connection window
	received int64     // since our last update of the connection's window
	peer     settings
	acked    bool // our SETTINGS have been acknowledged

	lastPeer uint32 // highest stream number that the peer has opened
	nextID   uint32 // client: of the next stream
	goaway   goaway
	timer    clock
	handlers int           // server: running, or waiting for a place
	dispatch func(*Stream) // server: hands a new stream out; called with the lock
	drop     func(*Stream) // server: takes out one that waits for a handler; called with the lock
	retire   func()        // server: parked workers may end; called with the lock
	idle     time.Duration // server: see SetIdle
	overDone sync.Cond     // server: handlers is 0
	gone     []*Stream     // server: were cut off, and their handlers want to know
	told     sync.Cond     // one of them knows
}

// goaway is where the end of a connection stands.
type goaway struct {
	draining bool // no new streams; the connection closes when the last has ended
	final    bool // server: GOAWAY with the last stream was sent, later ones are ignored
	last     uint32
	byPeer   bool
	closing  bool  // everything is done, the peer is to close
	reason   error // the peer's, if it was not NO_ERROR
}

func newConn(c net.Conn, o Options, server bool) *conn {
	t := &conn{net: c, opts: o.withDefaults(server), server: server, waiter: sock.NewWaiter(c),
		dec: hpack.NewDecoder(headerTable), enc: hpack.NewEncoder(headerTable), piece: buffers.Large,
		streams: map[uint32]*Stream{}, done: make(chan struct{}), ready: make(chan struct{}), now: time.Now(),
		sendRoom: defaultWindow, peer: defaultSettings(), nextID: 1}
	t.debts.resetsAt, t.debts.controlAt = t.now, t.now
	t.emit = t.block.field
	if _, layered := c.(interface{ NetConn() net.Conn }); layered {
		t.piece = buffers.Small
	}
	for _, cond := range []*sync.Cond{&t.writer, &t.flushed, &t.overDone, &t.told} {
		cond.L = &t.mu
	}
	t.out.run = t.writeLoop
	if len(o.Early) > 0 {
		t.makeRoom(len(o.Early))
		t.w = copy(t.buf, o.Early)
	}
	return t
}

// run reads until the connection is over, and closes it. It returns why it ended.
func (c *conn) run() error {
	err := c.readFrames()
	c.dropBuffer()
	c.wakeReaders() // also those whose message was whole before the connection ended
	if ce, ok := err.(*ConnError); ok && !ce.Remote {
		c.farewell(ce)
	}
	c.mu.Lock()
	if c.goaway.closing || c.goaway.draining && err == io.EOF && len(c.all) == 0 {
		err = errDrained
		if c.goaway.reason != nil {
			err = c.goaway.reason
		}
	}
	c.failLocked(err)
	err = c.err
	c.tellGone()
	c.mu.Unlock()
	_ = c.net.Close()
	c.mu.Lock()
	c.timer.stop()
	c.mu.Unlock()
	if c.opts.OnClose != nil {
		c.opts.OnClose()
	}
	return err
}

// farewell tells the peer what it did wrong, and gives it a moment to read that: closing at once while bytes are unread
// would reset the connection, and the GOAWAY could be lost (RFC 9293 section 3.10.4).
func (c *conn) farewell(e *ConnError) {
	const patience, most = time.Second, 1 << 20
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.endStreams(&lostError{e})
	c.tellGone()
	c.queueGoAway(e.Code, c.lastPeer, e.Text)
	c.goaway.draining, c.goaway.final = true, true
	c.kick(nil)
	deadline := time.AfterFunc(patience, func() { _ = c.net.Close() })
	defer deadline.Stop()
	for c.err == nil && !c.out.empty() {
		c.flushed.Wait()
	}
	dead := c.err != nil
	c.mu.Unlock()
	if dead {
		return
	}
	_ = sock.CloseWrite(c.net)
	buf := buffers.GetSmall()
	defer buffers.Put(buf)
	for n := 0; n < most; {
		k, err := c.net.Read(buf)
		if err != nil {
			return
		}
		n += k
	}
}

// fail ends the connection for all who use it. The first reason counts.
func (c *conn) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failLocked(err)
}

func (c *conn) failLocked(err error) {
	if c.err != nil {
		return
	}
	c.err = err
	c.closeDone()
	if err == io.EOF {
		err = io.ErrUnexpectedEOF // for whoever still waits; io.EOF would be a clean end
	}
	c.endStreams(&lostError{err})
	c.writer.Broadcast()
	c.flushed.Broadcast()
	c.overDone.Broadcast()
}

func (c *conn) closeDone() {
	select {
	case <-c.done:
	default:
		close(c.done)
	}
}

// endStreams ends all streams on both sides with err, unless they have ended already.
func (c *conn) endStreams(err error) {
	for i := len(c.all) - 1; i >= 0; i-- {
		c.all[i].cut(err)
	}
}

// close ends the connection from this side at once.
func (c *conn) close(err error) error {
	c.fail(err)
	return c.net.Close()
}

// fill makes at least n unread bytes available. Before it waits, all that was read so far takes effect.
func (c *conn) fill(n int) error {
	for c.w-c.r < n {
		if err := c.settle(); err != nil {
			return err
		}
		if c.r == c.w {
			c.r, c.w = 0, 0
			if err := c.await(); err != nil {
				return err
			}
			if c.w >= n {
				return nil
			}
		}
		c.makeRoom(n)
		room := c.buf[c.w:]
		if c.plenty && n == frameHeader {
			room = room[:n-(c.w-c.r)] // what follows is likely a large frame, whose payload is read where it is kept
		}
		k, err := c.net.Read(room)
		c.full = k == len(room)
		c.w += k
		if k == 0 && err != nil {
			if err == io.EOF && c.w > c.r {
				return io.ErrUnexpectedEOF
			}
			return err
		}
		c.touch()
	}
	return nil
}

// await waits for the next byte without a buffer. Where the connection can not be waited on (TLS) the first bytes are read
// into a few of our own: TLS hands over the rest of its record without asking the system again.
func (c *conn) await() error {
	if c.full && c.buf != nil && !c.waiter.Alive() {
		return nil // there is more: what is alive and silent has nothing to read
	}
	c.dropBuffer()
	switch err := c.waiter.WaitReadable(); err {
	case nil:
		c.buf = buffers.GetLarge()
		return nil
	case sock.ErrNotSupported:
		n, err := c.net.Read(c.first[:])
		if n == 0 && err != nil {
			return err
		}
		c.buf = buffers.GetLarge()
		c.w = copy(c.buf, c.first[:n])
		c.touch()
		return nil
	default:
		return err
	}
}

// makeRoom makes the buffer able to hold n unread bytes. Few frames are larger than a pooled buffer: heads of tens of KB.
func (c *conn) makeRoom(n int) {
	switch {
	case c.buf == nil:
		c.buf = buffers.GetLarge()
	case len(c.buf) >= n && len(c.buf)-c.r >= n:
		return
	}
	from := c.buf
	if len(c.buf) < n {
		c.buf = make([]byte, n)
	}
	c.w = copy(c.buf, from[c.r:c.w])
	c.r = 0
	if len(from) != len(c.buf) {
		buffers.Put(from)
	}
}

func (c *conn) dropBuffer() {
	if c.buf != nil {
		buffers.Put(c.buf)
		c.buf = nil
	}
	if c.spare != nil {
		buffers.Put(c.spare)
		c.spare = nil
	}
}

// touch notes that the peer lives.
func (c *conn) touch() {
	now := time.Now()
	c.mu.Lock()
	c.now = now
	c.mu.Unlock()
}

// wakeReaders wakes those for whom something has come.
func (c *conn) wakeReaders() {
	for i, st := range c.wake {
		st.reading.Signal()
		c.wake[i] = nil
	}
	c.wake = c.wake[:0]
}

// settle lets take effect what was parsed: new streams are handed out, who waits is woken, answers leave.
func (c *conn) settle() error {
	c.wakeReaders()
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, st := range c.fresh {
		c.dispatch(st)
		c.fresh[i] = nil
	}
	c.fresh = c.fresh[:0]
	c.tellGone()
	if c.out.replies > maxReplies {
		return calm("the peer does not read the answers to its frames")
	}
	c.kick(nil)
	return c.err
}
