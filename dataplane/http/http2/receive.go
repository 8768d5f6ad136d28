package http2

import (
	"io"
	"runtime"
	"time"

	"github.com/hauberk-mesh/hauberk/internal/buffers"
)

// readFrames reads until the connection ends. Its errors of type *ConnError are the peer's fault.
func (c *conn) readFrames() error {
	if c.server {
		if err := c.fill(len(clientPreface)); err != nil {
			return err
		}
		if string(c.buf[c.r:c.r+len(clientPreface)]) != clientPreface {
			return connErr(ProtocolError, "the connection does not begin with the client's preface")
		}
		c.r += len(clientPreface)
	}
	for {
		if err := c.fill(frameHeader); err != nil {
			return err
		}
		f := parseFrame(c.buf[c.r:])
		if err := c.check(f); err != nil {
			return err
		}
		if f.kind == frameData {
			c.r += frameHeader
			if err := c.readData(f); err != nil {
				return err
			}
			continue
		}
		c.plenty = false
		if c.w-c.r < frameHeader+f.length {
			c.mustEnd()
		}
		if err := c.fill(frameHeader + f.length); err != nil {
			return err
		}
		payload := c.buf[c.r+frameHeader : c.r+frameHeader+f.length]
		c.r += frameHeader + f.length
		if err := c.readFrame(f, payload); err != nil {
			return err
		}
		c.hasEnded()
	}
}

// mustEnd bounds the time for the rest of a frame that is no DATA, or of a header block: whoever sends one byte by byte would
// hold the connection for as long as he likes.
func (c *conn) mustEnd() {
	if c.halfway {
		return
	}
	c.halfway = true
	c.mu.Lock()
	c.timer.endBy = time.Now().Add(c.opts.Head)
	c.timer.arm(c, c.timer.endBy)
	c.mu.Unlock()
}

// hasEnded takes the bound back once frame and header block are whole.
func (c *conn) hasEnded() {
	if !c.halfway || c.open.stream != 0 {
		return
	}
	c.halfway = false
	c.mu.Lock()
	c.timer.endBy = time.Time{}
	c.mu.Unlock()
}

// check is what holds for every frame.
func (c *conn) check(f frame) error {
	switch {
	case f.length > int(c.opts.MaxFrame):
		return connErr(FrameSizeError, "frame is longer than announced")
	case !c.greeted && (f.kind != frameSettings || f.has(flagAck)):
		return connErr(ProtocolError, "the first frame is not SETTINGS")
	case c.open.stream != 0 && (f.kind != frameContinuation || f.stream != c.open.stream):
		return connErr(ProtocolError, "a header block is interrupted")
	}
	return nil
}

func (c *conn) readFrame(f frame, p []byte) error {
	switch f.kind {
	case frameHeaders:
		return c.readHeaders(f, p)
	case frameContinuation:
		return c.readContinuation(f, p)
	case frameSettings:
		return c.readSettings(f, p)
	case framePushPromise:
		return connErr(ProtocolError, "PUSH_PROMISE, which was not allowed")
	case frameGoAway:
		return c.readGoAway(f, p)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch f.kind {
	case framePriority:
		return c.readPriority(f, p)
	case frameReset:
		return c.readReset(f, p)
	case framePing:
		return c.readPing(f, p)
	case frameWindowUpdate:
		return c.readWindow(f, p)
	}
	return c.useless() // RFC 9113 section 4.1: unknown types are ignored
}

// readData takes a DATA frame, whose payload need not be buffered: what is large is read right where it is kept.
func (c *conn) readData(f frame) error {
	if f.stream == 0 {
		return connErr(ProtocolError, "DATA on stream 0")
	}
	pad := 0
	left := f.length
	if f.has(flagPadded) {
		if left == 0 {
			return connErr(FrameSizeError, "padded DATA without its length of padding")
		}
		if err := c.fill(1); err != nil {
			return err
		}
		pad = int(c.buf[c.r])
		c.r++
		if left--; pad > left {
			return connErr(ProtocolError, "more padding than payload")
		}
		left -= pad
	}
	c.mu.Lock()
	known, err := c.admitData(f, left)
	if err == nil && known && left <= c.w-c.r {
		c.keep(f, c.buf[c.r:c.r+left], pad == 0)
		c.r += left
		left = 0
		known = pad > 0
	}
	c.mu.Unlock()
	if err != nil {
		return err
	}
	for left > 0 {
		n, err := c.readPiece(f, left, known, pad == 0)
		if err != nil {
			return err
		}
		left -= n
	}
	if pad > 0 {
		if err := c.fill(pad); err != nil {
			return err
		}
		c.r += pad
		c.mu.Lock()
		if known {
			c.keep(f, nil, true)
		}
		c.mu.Unlock()
	}
	return nil
}

// readPiece takes the next part of a payload of which left bytes are to come.
func (c *conn) readPiece(f frame, left int, known, last bool) (int, error) {
	if c.r == c.w && known && left >= buffers.Small/2 {
		return c.readDirect(f, left, last)
	}
	c.plenty = false
	if err := c.fill(1); err != nil {
		return 0, err
	}
	n := min(left, c.w-c.r)
	if known {
		c.mu.Lock()
		c.keep(f, c.buf[c.r:c.r+n], last && n == left)
		c.mu.Unlock()
	}
	c.r += n
	return n, nil
}

// readDirect reads a part of a payload into memory that becomes the stream's.
func (c *conn) readDirect(f frame, left int, last bool) (int, error) {
	if err := c.settle(); err != nil {
		return 0, err
	}
	if c.plenty {
		runtime.Gosched() // who takes what came last shall do so while it is in the processor's cache
	}
	if c.spare == nil {
		c.spare = c.newPiece(left)
	}
	n, err := c.net.Read(c.spare[:min(left, len(c.spare))])
	c.plenty = n >= buffers.Large
	if n == 0 {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return 0, err
	}
	c.touch()
	c.mu.Lock()
	defer c.mu.Unlock()
	st := c.streams[f.stream]
	if st == nil || st.readErr != nil {
		return n, nil
	}
	if st.link(c.spare, n) {
		c.spare = nil
	}
	c.wakeReader(st)
	if last && n == left {
		c.dataEnd(f, st)
	}
	return n, nil
}

// newPiece is memory of the size that one read may fill: what is full, or nearly so, is handed over without a copy.
func (c *conn) newPiece(left int) []byte {
	switch {
	case left > buffers.Large && c.plenty:
		return buffers.GetBulk()
	case c.piece <= buffers.Small && left <= buffers.Small:
		return buffers.GetSmall()
	}
	return buffers.GetLarge()
}

// keep stores a piece of a payload, if the stream is still there; last: it is the frame's last.
func (c *conn) keep(f frame, p []byte, last bool) {
	st := c.streams[f.stream]
	if st == nil || st.readErr != nil {
		return
	}
	st.store(p)
	if len(p) > 0 {
		c.wakeReader(st)
	}
	if last {
		c.dataEnd(f, st)
	}
}

func (c *conn) dataEnd(f frame, st *Stream) {
	if f.has(flagEndStream) {
		c.remoteEnd(st)
	}
}

// remoteEnd notes that the peer's message is whole, unless it is shorter than declared.
func (c *conn) remoteEnd(st *Stream) {
	if st.left > 0 {
		c.malformed(st, "the content is shorter than its content-length")
		return
	}
	st.remoteEnded = true
	c.wakeReader(st)
	st.ended()
}

// wakeReader wakes who reads st once all that was read is parsed.
func (c *conn) wakeReader(st *Stream) {
	if n := len(c.wake); n == 0 || c.wake[n-1] != st {
		c.wake = append(c.wake, st)
	}
}

// malformed resets a stream whose message breaks the rules: RFC 9113 section 8.1.1.
func (c *conn) malformed(st *Stream, text string) {
	st.reset(ProtocolError, text)
}

// admitData checks a DATA frame with n bytes of data against its stream, and tells whether they are of interest.
func (c *conn) admitData(f frame, n int) (known bool, err error) {
	c.arrived(int64(f.length))
	st := c.streams[f.stream]
	if st == nil {
		return false, c.dataNowhere(f)
	}
	switch {
	case st.remoteEnded:
		st.reset(StreamClosed, "DATA after the end of the message")
		return false, c.uselessReset()
	case !c.server && !st.headed:
		c.malformed(st, "DATA before the head")
		return false, c.uselessReset()
	case f.length > 0 && int64(f.length) > st.credit: // an empty frame needs no room, below zero either
		st.reset(FlowControlError, "more DATA than the window has room for")
		return false, c.uselessReset()
	case st.noContent && n > 0, st.left >= 0 && int64(n) > st.left:
		c.malformed(st, "the content is longer than its content-length")
		return false, c.uselessReset()
	}
	st.credit -= int64(f.length)
	st.consumed += int64(f.length - n) // nobody reads padding
	if st.left >= 0 {
		st.left -= int64(n)
	}
	if n == 0 && !f.has(flagEndStream) {
		return true, c.useless()
	}
	c.useful(1 + n/dataPerControl)
	return true, nil
}

// dataNowhere is DATA on a stream that is not open: RFC 9113 section 5.1.
func (c *conn) dataNowhere(f frame) error {
	switch {
	case c.isIdle(f.stream):
		return connErr(ProtocolError, "DATA on an idle stream")
	case c.wasReset(f.stream) || c.ignored(f.stream):
		return c.useless()
	}
	return connErr(StreamClosed, "DATA on a closed stream")
}

// isIdle tells whether a stream number has not been used yet.
func (c *conn) isIdle(id uint32) bool {
	if c.server {
		return id%2 == 0 || id > c.lastPeer
	}
	return id%2 == 0 || id >= c.nextID
}

// ignored tells whether a stream came after our final GOAWAY.
func (c *conn) ignored(id uint32) bool { return c.server && c.goaway.final && id > c.goaway.last }
