package http2

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
)

var (
	_ message.Server = (*Stream)(nil)
	_ message.Client = (*Stream)(nil)
)

// Head is the request's head, decoded; valid until the handler returns.
func (st *Stream) Head() *message.Request { return &st.req }

// Respond takes a response head.
func (st *Stream) Respond(m *message.Response, end bool) error {
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	status, err := st.status(m)
	if err != nil {
		return err
	}
	if err := st.headRoom(); err != nil {
		return err
	}
	interim := status < 200
	c.queueHead(st, c.encodeResponse(m, status), end && !interim)
	if interim {
		c.kick(st)
		return nil
	}
	st.sent, st.answered = true, true
	if end {
		st.finishSending() // it leaves with Flush: the caller may have something to do before the client goes on
	}
	return nil
}

// status is how a response is written. Extended CONNECT is accepted with a 2xx where HTTP/1.1 says 101 (RFC 8441 section 5);
// any other 2xx, a server that has not understood the upgrade, would be read as acceptance: it is told as a bad answer.
func (st *Stream) status(m *message.Response) (int, error) {
	switch {
	case st.sent:
		return 0, errTwice
	case m.Status < 100 || m.Status > 999:
		return 0, fmt.Errorf("http/2: status %d is not one of three digits", m.Status)
	case m.Status == 101 && st.req.Upgrade == "":
		return 0, fmt.Errorf("http/2: status 101 without an upgrade: RFC 9113 section 8.6 has none")
	case m.Status == 101:
		return 200, nil
	case st.req.Upgrade != "" && m.Status/100 == 2:
		return 502, nil
	}
	return m.Status, nil
}

// Request sends the request's head. It gives the stream its number: numbers must be on the wire in their order.
func (st *Stream) Request(m *message.Request, end bool) error {
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if st.sent {
		return errTwice
	}
	if err := st.mayRequest(m); err != nil {
		return err
	}
	st.id = c.nextID
	c.nextID += 2
	c.streams[st.id] = st
	st.sending.window = int64(c.peer.window)
	st.method, st.proto = cloneMethod(m.Method), m.Upgrade
	st.sent = true
	c.queueHead(st, c.encodeRequest(m), end)
	if c.nextID > maxStreamID {
		c.closeDone()
	}
	if end {
		st.finishSending()
		c.kick(st)
	}
	return nil
}

// mayRequest waits until the request can leave, and tells why it can not.
func (st *Stream) mayRequest(m *message.Request) error {
	c := st.c
	err := st.headRoom()
	for m.Upgrade != "" && !c.greeted && err == nil { // whether the peer knows RFC 8441 is in its settings
		c.kick(nil)
		if err = st.waitSend(); err == nil {
			err = st.writeErr
		}
	}
	switch {
	case err != nil && !errors.Is(err, os.ErrDeadlineExceeded):
		return &unsentError{err}
	case err != nil:
		return err
	case m.Upgrade != "" && !(c.opts.ExtendedConnect && c.peer.extendedConnect):
		return errNoConnect
	case c.goaway.byPeer || c.nextID > maxStreamID:
		return ErrClosing
	}
	return nil
}

// cloneMethod keeps a method beyond the request's life where it matters: only HEAD and CONNECT change how a response is
// read.
func cloneMethod(m string) string {
	switch m {
	case "HEAD":
		return "HEAD"
	case "CONNECT":
		return "CONNECT"
	}
	return ""
}

// Response blocks for the next response head: interim ones as they come, then the final one.
func (st *Stream) Response(m *message.Response) error {
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case st.interimRead < len(st.interim):
			next := &st.interim[st.interimRead]
			st.interimRead++
			st.give(m, next)
			return nil
		case st.headed && !st.taken:
			st.taken = true
			st.give(m, &st.resp)
			return nil
		case st.readErr != nil:
			return st.readErr
		case st.taken:
			return io.EOF
		case !st.sent:
			return errNoHead
		}
		c.kick(nil) // a request that was held must leave before its answer can come
		if err := st.waitRead(); err != nil {
			return err
		}
	}
}

// give hands a head over, and takes the memory of m's fields for the next one.
func (st *Stream) give(m, from *message.Response) {
	fields := m.Header.Fields[:0]
	*m = *from
	from.Header.Fields = fields
}

// Begun tells whether any byte of a response has come.
func (st *Stream) Begun() bool {
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	return st.begun
}
