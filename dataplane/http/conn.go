package http

import (
	"context"
	"errors"
	"net"
	"os"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/filter"
	"github.com/hauberk-mesh/hauberk/dataplane/http/http1"
	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
	"github.com/hauberk-mesh/hauberk/internal/sock"
)

// Conn is a downstream connection whose TLS handshake, if any, is done. The functions are the listener's; all but
// Chain are called from the goroutine that serves the connection alone.
type Conn struct {
	net.Conn
	Info     *filter.Conn
	Listener func() string // its present name
	Recorder telemetry.Recorder

	// Chain gives the chain that serves this connection at this moment; it is asked for each request, so that a new
	// permission holds at once. Nil with gone: the listener is no longer configured. Nil without: the connection would not be
	// accepted today (plaintext that has been closed meanwhile), and ends without an answer.
	Chain func() (spec *Spec, gone bool)
	// Draining tells whether connections are to end as soon as they can without losing a request.
	Draining func() bool
	// Busy is told when a request begins and when it has ended; between requests a drain may move the read deadline.
	Busy func(bool)
	// Watch registers what judges an upgraded connection again, from other goroutines, after a change of configuration. A
	// refusal resets the connection. Nil ends that, and returns the verdict if there was one.
	Watch func(judge func() *filter.Verdict) (denied *filter.Verdict)
}

// DrainIdle is how long a connection without a request is kept open while draining: a client may have sent one already.
const DrainIdle = time.Second

// Serve serves requests on c, one after the other, until one side ends it, and closes it.
func Serve(ctx context.Context, c *Conn) {
	s := &server{Conn: c, ctx: ctx, r: http1.NewReader(c.Conn), opened: time.Now()}
	s.spec, _ = c.Chain()
	defer func() { // there is something left only where a bug has cut a request short
		s.stopUpload()
		s.dropUpstream()
	}()
	for s.await() && s.serve() {
	}
	s.end()
}

// server is one downstream connection being served. Its fields are reused from request to request.
type server struct {
	*Conn
	ctx    context.Context
	r      *http1.Reader
	spec   *Spec // of the last request; its timeouts hold between requests
	opened time.Time
	linger bool // the client may still be sending: closing at once would reset the connection under the response
	abort  bool // a response was cut off: only a reset tells the client so

	exchange
}

// await waits for the first byte of a request.
func (s *server) await() bool {
	if s.spec == nil {
		return false
	}
	s.Busy(false)
	since := time.Now()
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
		s.readDeadline(since, limit)
		// The other order of this question and the deadline loses a drain that begins in between.
		if s.Draining() && !draining {
			continue
		}
		err := s.r.Await()
		if err == nil {
			s.Busy(true)
			return true
		}
		if !timeout(err) {
			return false
		}
		if s.Draining() && !draining {
			continue
		}
		return false
	}
}

// ending tells whether this response is to be the connection's last.
func (s *server) ending() bool {
	return s.Draining() || s.spec.MaxConnection > 0 && time.Since(s.opened) >= s.spec.MaxConnection
}

func (s *server) readDeadline(since time.Time, after time.Duration) {
	if after <= 0 {
		_ = s.SetReadDeadline(time.Time{})
		return
	}
	_ = s.SetReadDeadline(since.Add(after))
}

// end closes the connection. If the client may still be sending it ends the response first and takes in a little more:
// closing with unread bytes is a reset, which can overtake the response (RFC 9112 section 9.6).
func (s *server) end() {
	defer s.Close()
	s.r.Discard()
	if s.abort {
		sock.Reset(s.Conn.Conn)
		return
	}
	if !s.linger || sock.CloseWrite(s.Conn.Conn) != nil {
		return
	}
	_ = s.SetReadDeadline(time.Now().Add(lingerTime))
	var sink [4 << 10]byte
	for left := lingerBytes; left > 0; {
		n, err := s.Read(sink[:])
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

func timeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
