package http2

import "encoding/binary"

// Frames that move no content: RFC 9113 sections 6.3, 6.4, 6.7 to 6.9. Their readers are called with the lock, but for
// GOAWAY's.

func (c *conn) readPriority(f frame, p []byte) error {
	switch {
	case f.stream == 0:
		return connErr(ProtocolError, "PRIORITY on stream 0")
	case len(p) != 5:
		c.streamError(f.stream, FrameSizeError, "PRIORITY of a size other than 5")
	case binary.BigEndian.Uint32(p)&maxStreamID == f.stream:
		c.streamError(f.stream, ProtocolError, "a stream depends on itself")
	}
	return c.useless()
}

// streamError resets a stream by its number; it need not be open.
func (c *conn) streamError(id uint32, code Code, text string) {
	if st := c.streams[id]; st != nil {
		st.reset(code, text)
		return
	}
	c.queueReset(id, code)
}

func (c *conn) readReset(f frame, p []byte) error {
	switch {
	case f.stream == 0:
		return connErr(ProtocolError, "RST_STREAM on stream 0")
	case len(p) != 4:
		return connErr(FrameSizeError, "RST_STREAM of a size other than 4")
	case c.isIdle(f.stream):
		return connErr(ProtocolError, "RST_STREAM on an idle stream")
	}
	st := c.streams[f.stream]
	if st == nil {
		return c.useless()
	}
	early := c.server && !st.answered && c.now.Sub(st.opened) < prematurely
	st.cut(&StreamError{Code: Code(binary.BigEndian.Uint32(p)), Remote: true})
	if early {
		return c.uselessReset()
	}
	return c.useless()
}

func (c *conn) readPing(f frame, p []byte) error {
	switch {
	case f.stream != 0:
		return connErr(ProtocolError, "PING on a stream")
	case len(p) != 8:
		return connErr(FrameSizeError, "PING of a size other than 8")
	case f.has(flagAck):
		if binary.BigEndian.Uint64(p) == pingDrain && !c.timer.drainBy.IsZero() {
			c.drainFinally()
		}
		return c.useless()
	}
	c.queueFrame(framePing, flagAck, 0, p)
	c.out.replies++
	return c.useless()
}

func (c *conn) readWindow(f frame, p []byte) error {
	if len(p) != 4 {
		return connErr(FrameSizeError, "WINDOW_UPDATE of a size other than 4")
	}
	n := int64(binary.BigEndian.Uint32(p) & maxStreamID)
	if err := c.useless(); err != nil {
		return err
	}
	if f.stream == 0 {
		return c.widen(n)
	}
	if c.isIdle(f.stream) {
		return connErr(ProtocolError, "WINDOW_UPDATE on an idle stream")
	}
	st := c.streams[f.stream]
	switch {
	case st == nil:
	case n == 0:
		st.reset(ProtocolError, "WINDOW_UPDATE by 0")
	case st.sending.window+n > maxWindow:
		st.reset(FlowControlError, "WINDOW_UPDATE beyond the largest window")
	default:
		st.sending.window += n
		st.writing.Signal()
	}
	return nil
}

// widen is a WINDOW_UPDATE of the connection. All who wait may go on; each takes one frame at a time.
func (c *conn) widen(n int64) error {
	if n == 0 {
		return connErr(ProtocolError, "WINDOW_UPDATE by 0")
	}
	if c.sendRoom += n; c.sendRoom > maxWindow {
		return connErr(FlowControlError, "WINDOW_UPDATE beyond the largest window")
	}
	if c.out.blocked > 0 {
		for _, st := range c.all {
			st.writing.Signal()
		}
	}
	return nil
}

// readGoAway: RFC 9113 section 6.8. Streams above the last that the peer names it has not looked at.
func (c *conn) readGoAway(f frame, p []byte) error {
	if f.stream != 0 {
		return connErr(ProtocolError, "GOAWAY on a stream")
	}
	if len(p) < 8 {
		return connErr(FrameSizeError, "GOAWAY of less than 8 bytes")
	}
	last := binary.BigEndian.Uint32(p) & maxStreamID
	code := Code(binary.BigEndian.Uint32(p[4:]))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.goaway.byPeer, c.goaway.draining = true, true
	c.closeDone()
	if !c.server {
		for i := len(c.all) - 1; i >= 0; i-- {
			if st := c.all[i]; st.id > last || st.id == 0 {
				st.cut(errUncovered)
			}
		}
	}
	if code != NoError {
		// Whatever it says besides is read to its end: to close with bytes unread would reset the connection.
		c.goaway.reason = &ConnError{Code: code, Text: string(p[8:min(len(p), 8+128)]), Remote: true}
	}
	c.maybeDrained()
	return c.useless()
}
