package http

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/http/http1"
	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
)

// serveHTTP1 serves one request after the other. Between them the connection holds no exchange: thousands may be idle.
func (c *Conn) serveHTTP1(ctx context.Context, spec *Spec) (parked bool) {
	end := http1.NewServer(c.Conn)
	s := &serial{Conn: c, end: end, spec: spec}
	end.Ending = s.ending
	if spec.CloseDelay != 0 {
		end.Linger = max(spec.CloseDelay, 0)
	}
	c.OnDrain(s.wake)
	for s.await() {
		if s.spec.Codec == Auto && c.served == 0 && end.Preface() {
			c.OnDrain(nil)
			_ = end.SetReadDeadline(time.Time{}) // it was for the first byte
			c.serveHTTP2(ctx, s.spec, end.Early())
			return false
		}
		c.served++
		if !s.serve(ctx) {
			break
		}
	}
	if s.parked {
		return true
	}
	end.Close()
	return false
}

// serial is a connection on which one request follows the other.
type serial struct {
	*Conn
	end  *http1.Server
	spec *Spec     // of the last request; its timeouts hold between requests
	x    *exchange // present one

	idle     waiting
	parked   bool
	unparked bool // it was tried, and can't be
}

// serve serves one request and returns whether the connection may carry another one.
func (s *serial) serve(ctx context.Context) (keep bool) {
	x := newExchange(ctx, s.Conn, s.end)
	s.x = x
	defer func() {
		s.spec = x.spec
		s.x = nil
		x.free()
	}()
	x.spec = s.spec
	if err := s.readHead(x); err != nil {
		x.unreadable(err)
		return false
	}
	x.req = s.end.Head()
	x.serve()
	return s.end.Keep() && !x.final
}

// ending tells, when a response's head is written, whether it is the connection's last.
func (s *serial) ending() bool { return s.x != nil && (s.x.final || s.Conn.ending(s.x.spec)) }

// headTime bounds a head for which no time is configured: Envoy's default is none, and a head that comes byte by byte would
// hold its connection for as long as the sender likes.
const headTime = time.Minute

// readHead reads the request's head within the time for it.
func (s *serial) readHead(x *exchange) error {
	if !s.end.HeadBuffered() {
		limit := x.spec.RequestHeaders
		if limit == 0 {
			limit = headTime
			if idle := x.spec.StreamIdle; idle > 0 {
				limit = min(limit, idle)
			}
		}
		_ = s.end.SetReadDeadline(x.rec.Start.Add(limit))
	}
	s.end.Limit(http1.Limits{Head: x.spec.MaxHead, Fields: x.spec.MaxFields})
	err := s.end.ReadHead()
	if err == nil && s.end.Head().Minor == 0 && !x.spec.HTTP10 {
		return &message.Malformed{Status: 426, Text: "HTTP/1.0 is not served here"}
	}
	return err
}

// await waits for the first byte of a request.
func (s *serial) await() bool {
	since := s.Conn.idle // it was parked meanwhile
	if s.Conn.idle = (time.Time{}); since.IsZero() || s.Draining() {
		since = time.Now()
	}
	s.idle.begin()
	defer func() {
		if !s.parked {
			s.idle.end()
		}
	}()
	for {
		limit := s.spec.IdleTimeout
		if s.spec.MaxConnection > 0 {
			if left := s.spec.MaxConnection - since.Sub(s.opened); limit == 0 || left < limit {
				limit = max(left, time.Millisecond)
			}
		}
		draining := s.Draining()
		if draining && (limit == 0 || limit > DrainIdle) {
			limit = DrainIdle
		}
		at := time.Time{}
		if limit > 0 {
			at = since.Add(limit)
		}
		wait := at
		if soon := time.Now().Add(parkAfter); s.Park != nil && !s.unparked && !draining && (at.IsZero() || soon.Before(at)) {
			wait = soon
		}
		_ = s.end.SetReadDeadline(wait)
		// The other order of this question and the deadline loses a drain that begins in between.
		if s.Draining() && !draining {
			continue
		}
		err := s.end.Next()
		if err == nil {
			return true
		}
		if !timeout(err) {
			return false
		}
		if s.Draining() && !draining {
			continue
		}
		if at.IsZero() || time.Now().Before(at) { // deadlines may fire early
			if wait != at && s.park(since, at) {
				return false
			}
			continue
		}
		return false
	}
}

// park gives the connection away, with what a client that came back would have found. If it was taken, nothing of it may be
// touched any more: it may already be served again.
func (s *serial) park(since, until time.Time) bool {
	s.idle.end()
	s.OnDrain(nil)
	s.Conn.idle, s.parked = since, true
	_ = s.end.SetReadDeadline(time.Time{})
	if s.Park(until) {
		return true
	}
	s.Conn.idle, s.parked, s.unparked = time.Time{}, false, true
	s.idle.begin()
	s.OnDrain(s.wake)
	return false
}

// wake bounds the wait of a connection that has no request, when a drain begins. One that has sets its own deadlines.
func (s *serial) wake() {
	s.idle.whileWaiting(func() { _ = s.end.SetReadDeadline(time.Now().Add(DrainIdle)) })
}

// unreadable answers a request whose head could not be read, where that is the request's own fault.
func (x *exchange) unreadable(err error) {
	x.final = true
	x.req = x.down.(*http1.Server).Head()
	var malformed *message.Malformed
	var reason *Reason
	switch {
	case timeout(err):
		reason = &reasonHeaders
	case errors.As(err, &malformed) && malformed.Status == 431:
		reason = &reasonTooBig
	case errors.As(err, &malformed):
		reason = &reasonBad
	case errors.Is(err, io.ErrUnexpectedEOF): // cut off in the middle of a head
		x.rec.Flags, x.rec.Details = "DC", "downstream_remote_disconnect"
		x.record()
		return
	default:
		return
	}
	x.rec.RequestID = newID()
	x.rec.Protocol = "HTTP/1.1"
	reply := *reason
	if malformed != nil {
		reply.Status = malformed.Status
		reply.Details = reason.Details + "{" + malformed.Text + "}"
	}
	x.refuse(&reply)
	x.record()
}
