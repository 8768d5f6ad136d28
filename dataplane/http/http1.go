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
func (c *Conn) serveHTTP1(ctx context.Context, spec *Spec) {
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
			c.serveHTTP2(ctx, s.spec, end.Early())
			return
		}
		c.served++
		if !s.serve(ctx) {
			break
		}
	}
	end.Close()
}

// serial is a connection on which one request follows the other.
type serial struct {
	*Conn
	end  *http1.Server
	spec *Spec     // of the last request; its timeouts hold between requests
	x    *exchange // present one

	idle waiting
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
	since := time.Now()
	s.idle.begin()
	defer s.idle.end()
	for {
		limit := s.spec.IdleTimeout
		if s.spec.MaxConnection > 0 {
			if left := s.spec.MaxConnection - time.Since(s.opened); limit == 0 || left < limit {
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
		_ = s.end.SetReadDeadline(at)
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
			continue
		}
		return false
	}
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
