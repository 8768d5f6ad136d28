package http2

import (
	"time"

	"github.com/hauberk-mesh/hauberk/internal/sock"
)

// How long a client may take to answer the PING of a drain, and to close a connection that was drained.
const (
	drainPatience = 5 * time.Second
	closePatience = time.Second
)

// drainFinally sends the second GOAWAY, which names the last request that will be served.
func (c *conn) drainFinally() {
	c.timer.drainBy = time.Time{}
	if c.goaway.final {
		return
	}
	c.goaway.final, c.goaway.last = true, c.lastPeer
	c.queueGoAway(NoError, c.lastPeer, "")
	c.kick(nil)
}

// drainNow is for connections without streams: there is nothing to wait for.
func (c *conn) drainNow(why error) {
	c.goaway.draining = true
	c.closeDone()
	if c.goaway.reason == nil {
		c.goaway.reason = why
	}
	if c.server {
		c.drainFinally()
	} else if len(c.all) == 0 { // a server that hears of it may refuse a stream that was opened and not sent yet
		c.queueGoAway(NoError, 0, "")
		c.kick(nil)
	}
	c.maybeDrained()
}

// maybeDrained closes the connection if it is draining and there is nothing left to do. It is called with the lock.
func (c *conn) maybeDrained() {
	g := &c.goaway
	if !g.draining || g.closing || c.err != nil || len(c.all) > 0 || c.handlers > 0 || len(c.fresh) > 0 {
		return
	}
	if c.server && !g.final && !g.byPeer {
		return // the client does not know yet
	}
	if !c.out.empty() {
		c.kick(nil)
		return // and then again
	}
	g.closing = true
	go c.shut()
}

// shut closes a connection so that the peer reads all that was sent: the reader ends with the peer's side.
func (c *conn) shut() {
	_ = c.net.SetReadDeadline(time.Now().Add(closePatience))
	_ = sock.CloseWrite(c.net)
}
