package http

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/http/http1"
	"github.com/hauberk-mesh/hauberk/internal/sock"
)

// Whoever waits for the upstream does so in ticks: a read deadline at most a second away. When it passes, overdue looks at
// everything that may end the request: its time limits, and a client that is gone. So a request needs neither a timer nor
// a goroutine to watch it, and only slow ones are looked at.
const tick = time.Second

type watch struct {
	received   time.Time    // when the whole request was here; zero: not yet, or see receivedAt
	receivedAt atomic.Int64 // the same, told by an upload
	progress   atomic.Int64 // when a byte last moved
	readArmed  time.Time    // when the upstream's read deadline was set last
	writeArmed time.Time    // the downstream's write deadline
}

func (w *watch) moved(now time.Time) { w.progress.Store(now.UnixNano()) }

// reasonGone is the cause of a request whose client went away; there is nobody to answer.
var reasonGone = &Reason{Code: "", Flag: "DC", Details: "downstream_remote_disconnect"}

// limit is a bound of the request and the reason why it ends there.
type limit struct {
	at     time.Time
	reason *Reason
}

// limits are the request's present bounds; zero times are none.
func (s *server) limits() [3]limit {
	var l [3]limit
	if idle := s.limitIdle(); idle > 0 {
		reason := &reasonIdle
		if !s.uploaded() {
			reason = &reasonIdleIn
		}
		l[0] = limit{time.Unix(0, s.watch.progress.Load()).Add(idle), reason}
	}
	received := s.watch.received
	if at := s.watch.receivedAt.Load(); received.IsZero() && at != 0 {
		received = time.Unix(0, at)
	}
	if t := s.route.RequestTimeout; t > 0 && !received.IsZero() {
		l[1] = limit{received.Add(t), &reasonTimeout}
	}
	if t := s.route.MaxStream; t > 0 {
		l[2] = limit{s.rec.Start.Add(t), &reasonMaxTime}
	}
	return l
}

// earliest is the first of at and the request's limits; zero is never.
func (s *server) earliest(at time.Time) time.Time {
	for _, l := range s.limits() {
		if !l.at.IsZero() && (at.IsZero() || l.at.Before(at)) {
			at = l.at
		}
	}
	return at
}

func (s *server) limitIdle() time.Duration {
	if s.route.StreamIdle > 0 {
		return s.route.StreamIdle
	}
	return s.spec.StreamIdle
}

// overdue is called when a tick has passed; it returns why the request has to end, or nil.
func (s *server) overdue() *Reason {
	now := time.Now()
	for _, l := range s.limits() {
		if !l.at.IsZero() && !now.Before(l.at) {
			return l.reason
		}
	}
	if u := &s.upload; u.running && u.broken.Load() {
		var codec *http1.Error
		if errors.As(u.err, &codec) {
			return &reasonBad
		}
		return reasonGone
	}
	if s.ctx.Err() != nil || sock.PeerClosed(s.Conn.Conn) && s.uploaded() {
		return reasonGone
	}
	return nil
}

// armRead sets the upstream's read deadline. While bytes flow it is set anew only when half of it is gone.
func (s *server) armRead() {
	now := time.Now()
	if now.Sub(s.watch.readArmed) < tick/2 {
		return
	}
	s.watch.readArmed = now
	_ = s.up.SetReadDeadline(s.earliest(now.Add(tick)))
}

// readResponse reads the next response head.
func (s *server) readResponse() error {
	for {
		s.armRead()
		err := s.up.R.ReadResponse(&s.resp, s.req.Method)
		if err == nil || !timeout(err) {
			return err
		}
		s.watch.readArmed = time.Time{}
		if s.cause = s.overdue(); s.cause != nil {
			return err
		}
	}
}

// armWrite bounds the next write to the client: by the stream's idle time, since a client that takes nothing makes no
// progress, and by what the request as a whole has left.
func (s *server) armWrite() {
	now := time.Now()
	s.watch.moved(now)
	enough := tick / 2
	if idle := s.limitIdle(); idle > 0 {
		enough = min(enough, idle/4)
	}
	if now.Sub(s.watch.writeArmed) < enough {
		return
	}
	s.watch.writeArmed = now
	_ = s.SetWriteDeadline(s.earliest(time.Time{}))
}
