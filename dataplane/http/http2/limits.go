package http2

import "time"

// Bounds against peers that make work or hold memory without asking for anything. What goes beyond them ends the connection
// with GOAWAY(ENHANCE_YOUR_CALM).
const (
	// MaxResets is how many streams in a row may be reset before they were answered: CVE-2023-44487 (rapid reset: each
	// reset makes room for another request, so that the limit of open streams does not limit work) and CVE-2025-8671 (made
	// you reset: the peer breaks the protocol so that we reset). A stream that is answered takes one from the count, and so
	// does time. Whatever the count, no more handlers run than MaxStreams: a stream that was reset keeps its place until its
	// handler has returned.
	MaxResets = 200
	// resetsPerSecond are forgiven: a peer whose callers lose patience is no attacker.
	resetsPerSecond = 50
	// prematurely is the age below which a reset by the peer counts.
	prematurely = time.Second

	// MaxControl is how many frames in a row may come that move nothing: PING (CVE-2019-9512), PRIORITY (CVE-2019-9513),
	// SETTINGS (CVE-2019-9515), empty frames (CVE-2019-9518), window updates of a few bytes (CVE-2019-9511 and 9517, data
	// dribble), RST_STREAM of closed streams (CVE-2019-9514), frames of unknown types. Requests, data in either direction
	// and time earn it back.
	MaxControl = 1000
	// controlPerSecond are forgiven, controlPerStream are earned by each request, and one by each dataPerControl bytes.
	controlPerSecond = 100
	controlPerStream = 8
	dataPerControl   = 64

	// maxReplies is how many answers to PING, SETTINGS and broken streams may wait while the peer does not read.
	maxReplies = 1000
	// maxPending is how many bytes of messages wait for the connection before senders wait themselves.
	maxPending = 256 << 10

	// maxContinuations is how many CONTINUATION frames a header block may have: CVE-2024-27316 and its kin, where blocks
	// never end. Their bytes are bounded by Options.MaxHeader.
	maxContinuations = 32
	// maxInterim is how many interim responses a server may send for one request, and how many may wait unread.
	maxInterim       = 32
	maxInterimUnread = 8
	// maxGrown bounds the sum of all receive windows of a connection beyond their first size.
	maxGrown = 16 << 20
	// maxForgotten is how many streams that we reset are remembered, since frames for them may still be under way.
	maxForgotten = 256
)

// debts counts what the peer has done without use. Guarded by conn.mu.
type debts struct {
	resets, control int
	resetsAt        time.Time
	controlAt       time.Time
}

// pay takes what time has forgiven from n.
func pay(n int, at *time.Time, now time.Time, perSecond int) int {
	if at.IsZero() {
		*at = now
	}
	if passed := now.Sub(*at); passed >= time.Second {
		*at = now
		n -= int(min(passed/time.Second, 1<<20)) * perSecond
	}
	return max(n, 0)
}

// uselessReset counts a stream that was reset before it was answered.
func (c *conn) uselessReset() error {
	d := &c.debts
	d.resets = pay(d.resets, &d.resetsAt, c.now, resetsPerSecond) + 1
	if d.resets > c.opts.MaxResets {
		return calm("too many streams were reset")
	}
	return nil
}

// useless counts a frame that moves nothing.
func (c *conn) useless() error {
	d := &c.debts
	if d.control++; d.control > c.opts.MaxControl {
		if d.control = pay(d.control, &d.controlAt, c.now, controlPerSecond); d.control > c.opts.MaxControl {
			return calm("too many frames that move nothing")
		}
	}
	return nil
}

// useful earns n frames back.
func (c *conn) useful(n int) { c.debts.control = max(0, c.debts.control-n) }
