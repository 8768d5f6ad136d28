package http2

import (
	"errors"

	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
)

// copyMax is up to which size a piece is copied to what is already pending, rather than written by itself.
const copyMax = 4 << 10

// record is what one TLS record carries: RFC 8446 section 5.1.
const record = 16 << 10

// sendable waits until something can be sent, and returns how much. It is called with the lock.
func (st *Stream) sendable() (int64, error) {
	c := st.c
	for {
		switch {
		case st.writeErr != nil:
			return 0, st.writeErr
		case st.localEnded:
			return 0, errEnded
		case !st.sent:
			return 0, errNoHead
		}
		if n := min(st.sending.window, c.sendRoom); n > 0 && c.out.bytes <= maxPending {
			return min(n, c.fullFrame()), nil
		}
		c.kick(nil) // what is held must not wait for what comes after it
		if err := st.waitSend(); err != nil {
			return 0, err
		}
	}
}

// fullFrame is how much content the largest frame has that fills TLS records exactly, its header included: what is left over
// would be a record of a few bytes.
func (c *conn) fullFrame() int64 {
	return min(int64(c.peer.maxFrame)+frameHeader, blockSize)/record*record - frameHeader
}

// waitSend waits for windows, or for the connection to take what is pending.
func (st *Stream) waitSend() error {
	c := st.c
	c.out.blocked++
	defer func() { c.out.blocked-- }()
	return st.waitWrite()
}

// Room lends memory for the next piece of content.
func (st *Stream) Room() ([]byte, error) {
	c := st.c
	c.mu.Lock()
	n, err := st.sendable()
	c.mu.Unlock()
	if err != nil {
		return nil, err
	}
	want := int(n)
	if st.room != nil && len(st.room)-frameHeader < want && len(st.room) < blockSize {
		putBlock(st.room)
		st.room = nil
	}
	if st.room == nil {
		st.room = getBlock(frameHeader + want)
	}
	return st.room[frameHeader:min(frameHeader+want, len(st.room))], nil
}

// Send sends the first n bytes of what Room lent.
func (st *Stream) Send(n int) error {
	defer st.dropRoom() // a stream that waits for more to send holds no memory
	if n == 0 {
		return nil
	}
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	can, err := st.sendable()
	if err != nil {
		return err
	}
	if n <= copyMax || can < int64(n) { // others may have used the connection's window meanwhile
		if err := st.write(st.room[frameHeader : frameHeader+n]); err != nil {
			return err
		}
	} else {
		whole := appendFrame(st.room[:0], n, frameData, 0, st.id)[:frameHeader+n]
		st.room = nil
		st.spend(n)
		c.queueBlock(st, whole)
	}
	c.hold(st)
	return nil
}

func (st *Stream) dropRoom() {
	if st.room != nil {
		putBlock(st.room)
		st.room = nil
	}
}

// spend counts n bytes of content that leave.
func (st *Stream) spend(n int) {
	st.sending.window -= int64(n)
	st.c.sendRoom -= int64(n)
	st.c.useful(n / dataPerControl)
}

// hold lets small pieces wait for Flush, and large ones leave.
func (c *conn) hold(st *Stream) {
	if c.out.bytes >= copyMax {
		c.kick(st)
	}
}

// write queues all of p, which may take a while. It is called with the lock.
func (st *Stream) write(p []byte) error {
	for len(p) > 0 {
		can, err := st.sendable()
		if err != nil {
			return err
		}
		n := int(min(int64(len(p)), can))
		st.spend(n)
		st.c.queueData(st, 0, p[:n])
		p = p[n:]
		st.c.hold(st)
	}
	return nil
}

// Write takes all of p.
func (st *Stream) Write(p []byte) error {
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	return st.write(p)
}

// Flush lets leave what is held.
func (st *Stream) Flush() error {
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if st.writeErr != nil {
		return st.writeErr
	}
	c.kick(st)
	return nil
}

// End ends the message.
func (st *Stream) End(trailer *message.Header) error {
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case st.writeErr != nil:
		return st.writeErr
	case st.localEnded:
		return errEnded
	case !st.sent:
		return errNoHead
	}
	switch {
	case trailer != nil && len(trailer.Fields) > 0:
		if err := st.headRoom(); err != nil {
			return err
		}
		c.queueHead(st, c.encodeTrailer(trailer), true)
	case !c.joinEnd(st):
		c.queueData(st, flagEndStream, nil)
	}
	st.finishSending()
	c.kick(st)
	return nil
}

// finishSending notes that END_STREAM is queued.
func (st *Stream) finishSending() {
	st.localEnded = true
	st.ended()
}

// headRoom waits while the connection has enough to do. Heads count as content here: a peer that does not read must not
// make us pile up answers.
func (st *Stream) headRoom() error {
	c := st.c
	for st.writeErr == nil && c.err == nil && c.out.bytes > maxPending {
		if err := st.waitSend(); err != nil {
			return err
		}
	}
	if st.writeErr == nil && c.err != nil {
		return &lostError{c.err}
	}
	return st.writeErr
}

var errNoHead = errors.New("http/2: content before the head")
