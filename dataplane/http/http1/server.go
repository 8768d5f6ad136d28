package http1

import (
	"bytes"
	"errors"
	"io"
	"net"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
	"github.com/hauberk-mesh/hauberk/internal/sock"
)

// Server is the server's end of a connection: one exchange after the other. It is the message.Server of each: Next, ReadHead,
// the exchange, then Next again while Keep says so, and Close.
type Server struct {
	Body
	outlet
	req  Request
	r    *Reader
	read deadline

	// Ending tells, when a response's head is written, that it is to be the connection's last; nil: never.
	Ending func() bool
	// Linger is how long Close listens to a client that may still be sending.
	Linger time.Duration

	keep    bool // as far as is known
	over    bool // the response is complete
	linger  bool // the client may still be sending: closing at once would reset the connection under the response
	abort   bool // only a reset tells the client that something is missing
	begun   bool // the final head was written
	probed  bool // see Gone
	version int  // minor, of the client
}

// NewServer makes the end of a connection that was accepted.
func NewServer(c net.Conn) *Server {
	return &Server{r: NewReader(c), outlet: outlet{c: c}, Linger: lingerTime}
}

// Limit sets what is taken of the requests that follow.
func (s *Server) Limit(l Limits) { s.r.Limit(l) }

// Next blocks until the first byte of a request is there. It holds no buffer meanwhile, and the strings of the request before
// are not valid any more.
func (s *Server) Next() error { return s.r.Await() }

// HeadBuffered tells whether what has come ends as a head does: reading it will most likely not wait.
func (s *Server) HeadBuffered() bool { return s.r.EndsHead() }

// ReadHead reads a request's head. After an error only Refuse and Close make sense.
func (s *Server) ReadHead() error {
	s.over, s.begun, s.probed, s.outlet.kind = false, false, false, None
	err := s.r.ReadRequest(&s.req)
	if err != nil {
		// What was read of the head is not to be trusted for anything, not even its version.
		header := s.req.Header
		header.Reset()
		s.req = Request{Request: message.Request{Header: header, Major: 1, Minor: 1, Length: message.Absent}}
		s.keep, s.linger, s.version = false, !errors.Is(err, io.EOF), 1
		s.Body.Reset(s.r, Framing{})
		return err
	}
	s.keep, s.linger, s.abort, s.version = !s.req.Close, false, false, s.req.Minor
	body := s.req.Body
	if s.req.Method == "CONNECT" {
		body = Framing{}
	}
	s.Body.Reset(s.r, body)
	return nil
}

// Head is the request's head; valid until the next ReadHead.
func (s *Server) Head() *message.Request { return &s.req.Request }

// Respond is message.Server.
func (s *Server) Respond(m *message.Response, end bool) error {
	if m.Status < 200 && m.Status != 101 {
		if s.version == 0 {
			return nil // it knows no interim responses: RFC 9110 section 15.2
		}
		s.held(AppendResponse(s.begin(), m, Framing{}, true, 1), None, true)
		return s.Flush()
	}
	f := responseFraming(m, s.req.Method, s.version)
	switch {
	case m.Status == 101 || s.req.Method == "CONNECT" && m.Status < 300:
		s.keep, f.Kind = false, None
	case s.req.Method == "CONNECT" || s.req.Upgrade != "": // refused: what the client sends next may be meant for the tunnel
		s.keep, s.linger = false, true
	case !s.ended.Load(): // an early answer: what the client still sends nobody reads
		s.keep, s.linger = false, true
	}
	if f.Kind == UntilClose || s.Ending != nil && s.Ending() {
		s.keep = false
	}
	s.held(AppendResponse(s.begin(), m, f, s.keep, s.version), f.Kind, end)
	s.over, s.begun = end, true
	return s.outlet.err
}

// End is message.Outlet.
func (s *Server) End(trailer *message.Header) error {
	err := s.outlet.End(trailer)
	s.over = err == nil
	return err
}

// Keep tells, when the exchange is over, whether the connection may carry another one.
func (s *Server) Keep() bool { return s.keep && s.over && s.Done() && s.Err() == nil }

// SetReadDeadline is message.Content.
func (s *Server) SetReadDeadline(t time.Time) error {
	if !s.read.moveSoon(t) {
		return nil
	}
	return s.c.SetReadDeadline(t)
}

// Gone is message.Server. A client that has closed and one that has only ended its sending side look alike until something
// is sent to them. So who has ended it is sent a 100, which every HTTP/1.1 client ignores (RFC 9110 section 15.2.1), and if
// that is answered by a reset, it is gone. Between two chunks of the response it is sent a zero instead, with which the size of
// the next one begins. HTTP/1.0 knows neither, and other content nothing that means nothing: there the end of the sending side
// is no news.
func (s *Server) Gone() bool {
	if sock.PeerReset(s.c) {
		return true
	}
	if s.probed || s.version == 0 || s.outlet.buf != nil || s.begun && s.outlet.kind != Chunked || !sock.PeerClosed(s.c) {
		return false
	}
	s.probed = true
	if s.begun {
		return s.outlet.write([]byte("0")) != nil
	}
	return s.outlet.write([]byte("HTTP/1.1 100 Continue\r\n\r\n")) != nil
}

// Abort is message.Server: the connection will be reset.
func (s *Server) Abort() { s.keep, s.abort = false, true }

// Tunnel is message.Server.
func (s *Server) Tunnel() net.Conn {
	s.keep, s.linger = false, false
	return tunnel(s.c, s.r)
}

// Close ends the connection. If the client may still be sending it ends the response first and takes in a little more:
// closing with unread bytes is a reset, which can overtake the response (RFC 9112 section 9.6).
func (s *Server) Close() {
	defer s.c.Close()
	s.r.Discard()
	s.drop()
	if s.abort {
		sock.Reset(s.c)
		return
	}
	if !s.linger || s.Linger <= 0 || sock.CloseWrite(s.c) != nil {
		return
	}
	_ = s.c.SetReadDeadline(time.Now().Add(s.Linger))
	var sink [4 << 10]byte
	for left := lingerBytes; left > 0; {
		n, err := s.c.Read(sink[:])
		if left -= n; err != nil {
			return
		}
	}
}

// How long and for how much a client that is still sending is listened to.
const (
	lingerTime  = time.Second
	lingerBytes = 256 << 10
)

// Preface tells whether the connection begins as one of HTTP/2 with prior knowledge does (RFC 9113 section 3.4). Its first
// word, "PRI", is no method of HTTP/1. To be called after the first Next, before any head is read.
func (s *Server) Preface() bool {
	const pri = "PRI"
	for {
		have := s.r.buf[s.r.r:s.r.w]
		n := min(len(have), len(pri))
		if string(have[:n]) != pri[:n] {
			return false
		}
		if n == len(pri) {
			return true
		}
		if s.r.fill() != nil {
			return false
		}
	}
}

// Early takes what was read and belongs to no message that is read here; it stays valid.
func (s *Server) Early() []byte {
	early := bytes.Clone(s.r.Take(s.r.Buffered()))
	s.r.Release()
	return early
}
