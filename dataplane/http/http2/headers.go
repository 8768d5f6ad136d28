package http2

import (
	"encoding/binary"
	"errors"

	"github.com/hauberk-mesh/hauberk/dataplane/http/http2/hpack"
	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
)

// readHeaders takes a HEADERS frame: RFC 9113 section 6.2.
func (c *conn) readHeaders(f frame, p []byte) error {
	if f.stream == 0 {
		return connErr(ProtocolError, "HEADERS on stream 0")
	}
	p, ok := f.unpad(p)
	if !ok {
		return connErr(ProtocolError, "more padding than payload")
	}
	if f.has(flagPriority) {
		if len(p) < 5 {
			return connErr(FrameSizeError, "HEADERS with PRIORITY and less than 5 bytes")
		}
		if binary.BigEndian.Uint32(p)&maxStreamID == f.stream {
			// It could be an error of the stream alone, but no correct peer does it.
			return connErr(ProtocolError, "a stream depends on itself")
		}
		p = p[5:]
	}
	if f.has(flagEndHeaders) {
		return c.readBlock(f, p)
	}
	c.open, c.fragmentsN = f, 0
	c.fragments = append(c.fragments[:0], p...)
	c.mustEnd()
	return nil
}

func (c *conn) readContinuation(f frame, p []byte) error {
	if c.open.stream == 0 {
		return connErr(ProtocolError, "CONTINUATION without HEADERS")
	}
	if c.fragmentsN++; c.fragmentsN > maxContinuations {
		return calm("a header block in too many CONTINUATION frames")
	}
	if len(c.fragments)+len(p) > 2*c.opts.MaxHeader {
		return calm("a header block is more than twice as long as allowed")
	}
	c.fragments = append(c.fragments, p...)
	if !f.has(flagEndHeaders) {
		return nil
	}
	whole := c.open
	block := c.fragments
	c.open, c.fragments = frame{}, nil
	return c.readBlock(whole, block)
}

// readBlock takes a whole header block. It must be decoded whatever becomes of its stream: HPACK's table is the
// connection's.
func (c *conn) readBlock(f frame, p []byte) error {
	if len(p) > 2*c.opts.MaxHeader {
		return calm("a header block is more than twice as long as allowed")
	}
	c.mu.Lock()
	st := c.streams[f.stream]
	idle := st == nil && c.isIdle(f.stream)
	dropped := st == nil && !idle && (c.wasReset(f.stream) || c.ignored(f.stream))
	c.mu.Unlock()
	switch {
	case st != nil && c.server:
		return c.readTrailer(f, p)
	case st != nil:
		return c.readResponse(f, p)
	case dropped:
		return c.discard(p)
	case !idle:
		return connErr(StreamClosed, "HEADERS on a closed stream")
	case !c.server || f.stream%2 == 0:
		return connErr(ProtocolError, "HEADERS on a stream that the peer may not open")
	}
	return c.readRequest(f, p)
}

// decode decodes a block into c.block.
func (c *conn) decode(p []byte, arena *hpack.Arena, kind blockKind, h *message.Header) error {
	c.block.begin(kind, h, c.opts.MaxFields)
	err := c.dec.Decode(p, arena, c.opts.MaxHeader, c.emit)
	if errors.Is(err, hpack.ErrListTooLarge) {
		c.block.tooLarge = true
		return nil
	}
	if err != nil {
		return connErr(CompressionError, err.Error())
	}
	return nil
}

// discard decodes a block for the table's sake.
func (c *conn) discard(p []byte) error {
	var arena hpack.Arena
	var h message.Header
	if err := c.decode(p, &arena, trailerBlock, &h); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.useless()
}

// readRequest opens a stream of the peer's.
func (c *conn) readRequest(f frame, p []byte) error {
	st := c.newStream()
	st.id = f.stream
	if err := c.decode(p, &st.arena, requestBlock, &st.req.Header); err != nil {
		return err
	}
	b := &c.block
	ended := f.has(flagEndStream)
	b.request(&st.req, c.opts.ExtendedConnect, ended)
	if b.bad == "" && ended && st.req.Length > 0 {
		b.bad = "a content-length, and no content"
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lastPeer = f.stream
	switch {
	case c.goaway.final || c.err != nil:
		st.recycle()
		return nil
	case len(c.all) >= int(c.opts.MaxStreams):
		c.queueReset(f.stream, RefusedStream)
		c.forget(f.stream)
		st.recycle()
		return c.uselessReset()
	case b.tooLarge:
		return c.refuseHead(st, ended)
	case b.bad != "":
		c.queueReset(f.stream, ProtocolError)
		c.forget(f.stream)
		st.recycle()
		return c.uselessReset()
	}
	c.streams[st.id] = st
	c.enter(st)
	c.useful(controlPerStream)
	st.opened = c.now
	if st.remoteEnded = ended; !ended && st.req.Length >= 0 {
		st.left = st.req.Length
	}
	c.fresh = append(c.fresh, st)
	return nil
}

// refuseHead answers a head that is too large: a status says more than a reset.
func (c *conn) refuseHead(st *Stream, ended bool) error {
	var m message.Response
	c.queueHead(st, c.encodeResponse(&m, 431), true)
	if !ended {
		c.queueReset(st.id, NoError)
	}
	c.out.replies++
	c.forget(st.id)
	st.recycle()
	return c.uselessReset()
}

// readTrailer ends the content of a message. It is decoded under the lock, into the stream's own memory.
func (c *conn) readTrailer(f frame, p []byte) error {
	c.mu.Lock()
	st := c.streams[f.stream]
	if st == nil || st.remoteEnded {
		c.mu.Unlock()
		return c.strayBlock(f, p)
	}
	defer c.mu.Unlock()
	if err := c.decode(p, &st.arena, trailerBlock, &st.trailer); err != nil {
		return err
	}
	b := &c.block
	switch {
	case !f.has(flagEndStream):
		b.bad = "trailers that do not end the message"
	case b.tooLarge:
		b.bad = "trailers are too large"
	}
	if b.bad != "" {
		c.malformed(st, b.bad)
		return c.uselessReset()
	}
	c.remoteEnd(st)
	return nil
}

// strayBlock is a header block after the end of its message: RFC 9113 section 5.1, half-closed (remote).
func (c *conn) strayBlock(f frame, p []byte) error {
	if err := c.discard(p); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if st := c.streams[f.stream]; st != nil {
		st.reset(StreamClosed, "HEADERS after the end of the message")
	}
	return c.uselessReset()
}

// readResponse takes a head or trailers of a response.
func (c *conn) readResponse(f frame, p []byte) error {
	c.mu.Lock()
	st := c.streams[f.stream]
	trailer := st != nil && (st.headed || st.remoteEnded)
	method := ""
	if st != nil {
		method = st.method
	}
	c.mu.Unlock()
	if trailer {
		return c.readTrailer(f, p)
	}
	h := c.spareHead()
	if err := c.decode(p, &h.arena, responseBlock, &h.m.Header); err != nil {
		return err
	}
	b := &c.block
	b.response(&h.m, method, f.has(flagEndStream))
	c.mu.Lock()
	defer c.mu.Unlock()
	if st = c.streams[f.stream]; st == nil {
		return nil
	}
	st.begun = true
	return c.takeHead(f, st, h)
}

// spareHead is a head that the reader decodes into, before it is given to a stream.
func (c *conn) spareHead() *head {
	c.head.m.Header.Reset()
	c.head.arena.Reset()
	return &c.head
}

// head is a response head and its memory.
type head struct {
	m     message.Response
	arena hpack.Arena
}

// takeHead gives a response head to its stream. It is called with the lock.
func (c *conn) takeHead(f frame, st *Stream, h *head) error {
	b := &c.block
	ended := f.has(flagEndStream)
	interim := b.bad == "" && h.m.Status < 200
	switch {
	case b.bad != "":
	case b.tooLarge:
		b.bad = "the head is too large"
	case interim && ended:
		b.bad = "an interim response that ends the message"
	case interim && (st.interims >= maxInterim || len(st.interim)-st.interimRead >= maxInterimUnread):
		b.bad = "too many interim responses"
	case !interim && ended && h.m.Length > 0 && mayHaveContent(st.method, h.m.Status):
		b.bad = "a content-length, and no content"
	}
	if b.bad != "" {
		c.malformed(st, b.bad)
		return c.uselessReset()
	}
	if interim {
		st.interims++
		st.interim = append(st.interim, message.Response{})
		st.interim[len(st.interim)-1], h.m.Header.Fields = h.m, nil
		h.arena = hpack.Arena{} // its strings go with the head
		c.wakeReader(st)
		return nil
	}
	st.headed = true
	h.m, st.resp = st.resp, h.m
	h.arena, st.arena = st.arena, h.arena
	st.accept()
	switch {
	case ended:
		c.remoteEnd(st)
	case st.noContent:
		st.left = 0
	case st.resp.Length >= 0:
		st.left = st.resp.Length
	}
	c.useful(controlPerStream)
	c.wakeReader(st)
	return nil
}

// accept finds what a final head says beyond itself.
func (st *Stream) accept() {
	m := &st.resp
	connected := m.Status/100 == 2 && (st.proto != "" || st.method == "CONNECT")
	if connected {
		m.Length = message.Absent // as for the request
		if st.proto != "" {
			m.Status, m.Upgrade = 101, st.proto
		}
		return
	}
	st.noContent = !mayHaveContent(st.method, m.Status)
}
