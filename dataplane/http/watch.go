package http

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
)

// Whoever waits for the upstream does so in ticks: a read deadline at most a second away. When it passes, overdue looks at
// everything that may end the exchange: its time limits, a client that is gone, a permission that was taken back. So a
// request needs neither a timer nor a goroutine to watch it, and only slow ones are looked at. wake ends a tick early.
const tick = time.Second

type watch struct {
	received   time.Time    // when the whole request was here; zero: not yet, or see receivedAt
	receivedAt atomic.Int64 // the same, told by an upload
	progress   atomic.Int64 // when a byte last moved
	maxStream  time.Duration
	readArmed  time.Time // when the upstream's read deadline was set last
	writeArmed time.Time // the downstream's write deadline
}

func (w *watch) reset() {
	w.received, w.maxStream, w.readArmed, w.writeArmed = time.Time{}, 0, time.Time{}, time.Time{}
	w.receivedAt.Store(0)
	w.progress.Store(0)
}

func (w *watch) moved(now time.Time) { w.progress.Store(now.UnixNano()) }

// reasonGone is the cause of a request whose client went away; there is nobody to answer. reasonDenied is that of one which
// a later configuration does not permit; exchange.denied says which rule.
var (
	reasonGone   = &Reason{Code: "", Flag: "DC", Details: "downstream_remote_disconnect"}
	reasonDenied = &Reason{Code: "permission_denied", Flag: "UAEX", Details: "rbac_access_denied"}
)

// limit is a bound of the request and the reason why it ends there.
type limit struct {
	at     time.Time
	reason *Reason
}

// limits are the request's present bounds; zero times are none.
func (x *exchange) limits() [4]limit {
	var l [4]limit
	if x.route == nil {
		return l
	}
	if idle := x.limitIdle(); idle > 0 {
		reason := &reasonIdle
		if !x.uploaded() {
			reason = &reasonIdleIn
		}
		l[0] = limit{time.Unix(0, x.watch.progress.Load()).Add(idle), reason}
	}
	if t := x.spec.RequestTime; t > 0 && !x.uploaded() {
		l[3] = limit{x.rec.Start.Add(t), &reasonArrival}
	}
	received := x.watch.received
	if at := x.watch.receivedAt.Load(); received.IsZero() && at != 0 {
		received = time.Unix(0, at)
	}
	if t := x.route.RequestTimeout; t > 0 && !received.IsZero() {
		l[1] = limit{received.Add(t), &reasonTimeout}
	}
	if t := x.watch.maxStream; t > 0 {
		l[2] = limit{x.rec.Start.Add(t), &reasonMaxTime}
	}
	return l
}

// earliest is the first of at and the request's limits; zero is never.
func (x *exchange) earliest(at time.Time) time.Time {
	for _, l := range x.limits() {
		if !l.at.IsZero() && (at.IsZero() || l.at.Before(at)) {
			at = l.at
		}
	}
	return at
}

func (x *exchange) limitIdle() time.Duration {
	if x.route.StreamIdle != 0 {
		return max(x.route.StreamIdle, 0)
	}
	return x.spec.StreamIdle
}

// overdue is called when a tick has passed; it returns why the request has to end, or nil.
func (x *exchange) overdue() *Reason {
	x.woken.Store(false)
	now := time.Now()
	x.watchPermission(now)
	if x.refusal() != nil {
		x.leaveJudged() // after which nobody sets the deadlines of an answer
		return reasonDenied
	}
	for _, l := range x.limits() {
		if !l.at.IsZero() && !now.Before(l.at) {
			return l.reason
		}
	}
	if u := &x.upload; u.running && u.broken.Load() {
		u.wait() // it has nothing left to do, and says why
		var malformed *message.Malformed
		if errors.As(u.err, &malformed) {
			return &reasonBad
		}
		return reasonGone
	}
	if x.ctx.Err() != nil || x.gone() {
		return reasonGone
	}
	return nil
}

// gone tells whether the client is. One of HTTP/1 that still sends says so by its content; after that it may have to be written
// to, for which a deadline that an earlier response has left must not count.
func (x *exchange) gone() bool {
	if x.req.Major == 1 {
		if !x.uploaded() {
			return false
		}
		x.watch.writeArmed = time.Time{}
		_ = x.down.SetWriteDeadline(x.earliest(time.Time{}))
	}
	return x.down.Gone()
}

// armRead sets the upstream's read deadline. While bytes flow it is set anew only when half of it is gone.
func (x *exchange) armRead(now time.Time) {
	if now.Sub(x.watch.readArmed) < tick/2 {
		return
	}
	x.watch.readArmed = now
	_ = x.up.SetReadDeadline(x.earliest(now.Add(tick)))
	if x.woken.Load() {
		_ = x.up.SetReadDeadline(time.Unix(1, 0))
	}
	x.watchPermission(now)
}

// readResponse reads the next response head.
func (x *exchange) readResponse() error {
	x.watch.readArmed = time.Time{} // what was armed may be the connection of an earlier attempt
	for now := x.now; ; now = time.Now() {
		x.armRead(now)
		err := x.up.Response(&x.resp)
		if err == nil || !timeout(err) {
			return err
		}
		x.watch.readArmed = time.Time{}
		if x.cause = x.overdue(); x.cause != nil {
			return err
		}
	}
}

// armWrite bounds the next write to the client: by the stream's idle time, since a client that takes nothing makes no
// progress, and by what the request as a whole has left.
func (x *exchange) armWrite(now time.Time) {
	x.watch.moved(now)
	enough := tick / 2
	if idle := x.limitIdle(); idle > 0 {
		enough = min(enough, idle/4)
	}
	if now.Sub(x.watch.writeArmed) < enough {
		return
	}
	x.watch.writeArmed = now
	_ = x.down.SetWriteDeadline(x.earliest(time.Time{}))
	if x.woken.Load() && x.refusal() != nil {
		_ = x.down.SetWriteDeadline(time.Unix(1, 0))
	}
}
