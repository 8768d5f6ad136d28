package http2

import (
	"encoding/binary"
	"os"
	"time"
)

// quiet is after how long without streams a connection gives up what it holds for speed alone: goroutines.
const quiet = 10 * time.Second

// clock is the one timer of a connection. It is armed at or before the earliest thing to come: streams' deadlines, a write
// that takes too long, keepalive, idleness. To move something later so costs nothing. Guarded by conn.mu.
type clock struct {
	timer   *time.Timer
	at      time.Time // zero: not armed
	stopped bool

	emptySince time.Time // no stream is open since then; zero: there are some
	pinged     time.Time // a keepalive PING is on its way since then
	drainBy    time.Time // the second GOAWAY is due, whether the peer answers or not
	endBy      time.Time // the frame or header block that has begun has to be whole
}

// arm makes sure that tick runs at t.
func (k *clock) arm(c *conn, t time.Time) {
	if k.stopped || !k.at.IsZero() && !t.Before(k.at) {
		return
	}
	k.at = t
	left := max(time.Until(t), 0)
	if k.timer == nil {
		k.timer = time.AfterFunc(left, c.tick)
		return
	}
	k.timer.Reset(left)
}

func (k *clock) stop() {
	k.stopped = true
	if k.timer != nil {
		k.timer.Stop()
	}
}

// tick does what is due and arms the timer for what is next.
func (c *conn) tick() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer.stopped || c.err != nil {
		return
	}
	now := time.Now()
	var next time.Time
	due := func(t time.Time) bool {
		if t.IsZero() {
			return false
		}
		if !t.After(now) {
			return true
		}
		if next.IsZero() || t.Before(next) {
			next = t
		}
		return false
	}
	c.timer.at = time.Time{}
	for _, st := range c.all {
		if !st.readExpired && due(st.readBy) {
			st.expireRead()
		}
		if !st.writeExpired && due(st.writeBy) {
			c.expireWrite(st)
		}
	}
	if c.out.writing && due(c.out.since.Add(c.opts.Stall)) {
		c.failAndClose(errStalled)
		return
	}
	if due(c.timer.endBy) {
		c.failAndClose(errSlow)
		return
	}
	c.keepAlive(now, due)
	c.rest(due)
	if due(c.timer.drainBy) {
		c.drainFinally()
	}
	if !next.IsZero() {
		c.timer.arm(c, next)
	}
}

// failAndClose is for where the lock is held: closing a TLS connection may take a while.
func (c *conn) failAndClose(err error) {
	c.failLocked(err)
	go func() { _ = c.net.Close() }()
}

// expireWrite ends what st waits for. If it is writing to the connection itself nothing but closing that ends it; the
// connection is no loss, since st is its only stream and the peer does not read.
func (c *conn) expireWrite(st *Stream) {
	st.writeExpired = true
	st.writing.Signal()
	if st.inline {
		c.out.hurried = true
		_ = c.net.SetWriteDeadline(time.Now().Add(inlineGrace))
	}
}

// inlineGrace is how long a stream's write may take beyond its deadline when it writes for the whole connection.
const inlineGrace = time.Second

// keepAlive asks a silent peer whether it lives.
func (c *conn) keepAlive(now time.Time, due func(time.Time) bool) {
	if c.opts.Ping <= 0 {
		return
	}
	k := &c.timer
	if !c.now.Before(k.pinged) {
		k.pinged = time.Time{} // something has come since
	}
	switch {
	case !k.pinged.IsZero():
		if due(k.pinged.Add(c.opts.PingTimeout)) {
			c.failAndClose(errNoPong)
		}
	case due(c.now.Add(c.opts.Ping)):
		k.pinged = now
		c.queuePing(pingAlive)
		c.kick(nil)
		due(now.Add(c.opts.PingTimeout))
	}
}

// rest is for connections without streams.
func (c *conn) rest(due func(time.Time) bool) {
	since := c.timer.emptySince
	if since.IsZero() {
		return
	}
	if c.idle > 0 && due(since.Add(c.idle)) {
		c.drainNow(errIdle)
		return
	}
	if due(since.Add(quiet)) {
		c.out.retire = true
		c.writer.Signal()
		if c.retire != nil {
			c.retire()
		}
	}
}

// What our PINGs carry, to know their answers.
const (
	pingAlive uint64 = 0x68617562616c6976
	pingDrain uint64 = 0x6861756264726169
)

func (c *conn) queuePing(data uint64) {
	var p [8]byte
	binary.BigEndian.PutUint64(p[:], data)
	c.queueFrame(framePing, 0, 0, p[:])
}

// SetReadDeadline bounds Await, Read and Response.
func (st *Stream) SetReadDeadline(t time.Time) error {
	st.c.mu.Lock()
	st.readBy, st.readExpired = t, false
	switch {
	case longAgo(t):
		st.expireRead()
	case !t.IsZero():
		st.c.timer.arm(st.c, t)
	}
	st.c.mu.Unlock()
	return nil
}

// SetWriteDeadline bounds all calls that send.
func (st *Stream) SetWriteDeadline(t time.Time) error {
	if t.IsZero() && !st.bounded.Load() {
		return nil // most exchanges never have one
	}
	st.bounded.Store(true)
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	st.writeBy, st.writeExpired = t, false
	switch {
	case longAgo(t):
		st.c.expireWrite(st)
	case !t.IsZero():
		st.c.timer.arm(st.c, t)
	}
	return nil
}

// longAgo is a deadline by which a call is ended from outside. It takes effect at once, without a look at the clock; for
// all others the timer decides.
func longAgo(t time.Time) bool { return !t.IsZero() && t.Unix() <= 1 }

func (st *Stream) expireRead() {
	st.readExpired = true
	st.reading.Signal()
}

// waitRead waits until something about the receiving side changes. It is called with the lock.
func (st *Stream) waitRead() error {
	if st.readExpired {
		return os.ErrDeadlineExceeded
	}
	st.reading.Wait()
	return nil
}

// waitWrite waits until something about the sending side changes. It is called with the lock.
func (st *Stream) waitWrite() error {
	if st.writeExpired {
		return os.ErrDeadlineExceeded
	}
	st.writing.Wait()
	return nil
}
