package listener

import (
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/http"
	"github.com/hauberk-mesh/hauberk/internal/sock"
)

// An HTTP/1 connection that has been idle for a moment is parked: its goroutine ends, with its stack and all that served the
// last request, and the listener's lot waits for it. Five thousand of them cost what a few hundred do that wait by themselves.

// park is http.Conn.Park. Once it has returned true, the connection may already be served again.
func (c *conn) park(until time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.l.draining.Load() {
		return false
	}
	place, err := c.l.lot.Park(c.web.Conn, until, c)
	if err != nil {
		return false // in memory, or about to end: it waits as any other
	}
	c.place, c.drain = place, c.unpark
	return true
}

// unpark has a parked connection served again, to find out why: a drain has begun, or it was cut.
func (c *conn) unpark() {
	c.mu.Lock()
	place := c.place
	c.mu.Unlock()
	c.l.lot.Wake(place)
}

// Wake is sock.Guest: there is something to read, or the time is over.
func (c *conn) Wake() {
	c.mu.Lock() // until park has returned
	c.place, c.drain = sock.Place{}, nil
	c.mu.Unlock()
	c.l.run(c, func() bool { return http.Serve(c.l.serving, c.web) })
}
