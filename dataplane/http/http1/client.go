package http1

import (
	"net"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
)

// Client is the client's end of a connection: one exchange after the other. It is the message.Client of each; a new one begins
// with Request.
type Client struct {
	Body
	outlet
	resp Response
	r    *Reader
	read deadline

	method  string
	begun   bool // a byte of a response has come
	sent    bool // the request is complete
	settled bool // the final head was read
}

// NewClient makes the end of a connection that was dialled.
func NewClient(c net.Conn) *Client {
	return &Client{r: NewReader(c), outlet: outlet{c: c}}
}

// Request is message.Client.
func (c *Client) Request(m *message.Request, end bool) error {
	c.method, c.begun, c.sent, c.settled = m.Method, false, end, false
	c.held(AppendRequest(c.begin(), m), requestFraming(m).Kind, end)
	return c.outlet.err
}

// End is message.Outlet.
func (c *Client) End(trailer *message.Header) error {
	err := c.outlet.End(trailer)
	c.sent = err == nil
	return err
}

// Response is message.Client.
func (c *Client) Response(m *message.Response) error {
	c.resp.Header = m.Header // its memory
	err := c.r.ReadResponse(&c.resp, c.method)
	*m = c.resp.Response
	if err != nil {
		c.begun = c.begun || c.r.Buffered() > 0
		return err
	}
	c.begun = true
	if m.Status >= 200 || m.Status == 101 {
		c.settled = true
		c.Body.Reset(c.r, c.resp.Body)
	}
	return nil
}

// Begun is message.Client.
func (c *Client) Begun() bool { return c.begun || c.r.Buffered() > 0 }

// Reusable tells whether the connection may carry another exchange: this one is complete in both directions, and the server
// did not say that it closes.
func (c *Client) Reusable() bool {
	return c.sent && c.settled && c.Body.Done() && c.Body.Err() == nil && !c.resp.Close && c.resp.Status != 101 && c.r.Idle() && c.outlet.err == nil
}

// Alive tells whether the idle connection may still carry an exchange.
func (c *Client) Alive() bool { return c.r.Alive() }

// Release gives buffers back, while the connection is idle. The strings of the last response are not valid any more.
func (c *Client) Release() {
	c.r.Release()
	c.r.text.release()
}

// Limit sets what is taken of the responses that follow.
func (c *Client) Limit(l Limits) { c.r.Limit(l) }

// SetReadDeadline is message.Content.
func (c *Client) SetReadDeadline(t time.Time) error {
	if !c.read.moveSoon(t) {
		return nil
	}
	return c.c.SetReadDeadline(t)
}

// Abort is message.Client.
func (c *Client) Abort() {
	c.r.Discard()
	c.drop()
	_ = c.c.Close()
}

// Tunnel is message.Client.
func (c *Client) Tunnel() net.Conn { return tunnel(c.c, c.r) }
