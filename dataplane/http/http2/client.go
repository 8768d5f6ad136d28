package http2

import (
	"context"
	"fmt"
	"net"
)

// ClientConn is the client's end of a connection.
type ClientConn struct{ c *conn }

// NewClient makes the client's end of nc: it sends the preface and starts to read. Streams can be opened at once.
func NewClient(nc net.Conn, o Options) (*ClientConn, error) {
	c := newConn(nc, o, false)
	c.mu.Lock()
	s := c.out.tail(len(clientPreface))
	*s = append(*s, clientPreface...)
	c.out.bytes += len(clientPreface)
	c.queueGreeting()
	c.timer.emptySince = c.now
	if c.opts.Ping > 0 {
		c.timer.arm(c, c.now.Add(c.opts.Ping))
	}
	c.mu.Unlock()
	go c.run() // which lets the greeting leave before it waits
	return &ClientConn{c}, nil
}

// Open begins a new exchange. ErrBusy says that as many are open as may be, ErrClosing that the connection takes no more.
func (cc *ClientConn) Open() (*Stream, error) {
	c := cc.c
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.err != nil || c.goaway.draining || c.nextID > maxStreamID:
		return nil, ErrClosing
	case len(c.all) >= int(min(c.peer.streams, c.opts.MaxStreams)):
		return nil, ErrBusy
	}
	st := c.newStream()
	c.enter(st)
	return st, nil
}

// Release ends the use of a client's stream, which nobody may touch afterwards. An exchange that is not complete is aborted.
func (st *Stream) Release() {
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if st.place >= 0 {
		st.reset(Cancel, "released")
		c.kick(st)
	}
	st.recycle()
}

// Ready blocks until the server's first SETTINGS have come: it speaks HTTP/2, and has accepted our certificate, which in TLS
// 1.3 it judges after the client's handshake is done.
func (cc *ClientConn) Ready(ctx context.Context) error {
	select {
	case <-cc.c.ready:
		return nil
	case <-cc.c.done:
		if err := cc.Err(); err != nil {
			return err
		}
		return ErrClosing
	case <-ctx.Done():
		return fmt.Errorf("no HTTP/2 settings came: %w", ctx.Err())
	}
}

// Streams is how many are open now.
func (cc *ClientConn) Streams() int {
	cc.c.mu.Lock()
	defer cc.c.mu.Unlock()
	return len(cc.c.all)
}

// Drain opens no more streams, and closes the connection when the last one has ended.
func (cc *ClientConn) Drain() {
	c := cc.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil || c.goaway.draining {
		return
	}
	c.drainNow(errDrained)
}

// Close ends the connection and all its streams at once.
func (cc *ClientConn) Close() error { return cc.c.close(errClosed) }

// Done is closed when the connection takes no new stream.
func (cc *ClientConn) Done() <-chan struct{} { return cc.c.done }

// Err is why the connection is dead; nil while it lives.
func (cc *ClientConn) Err() error {
	cc.c.mu.Lock()
	defer cc.c.mu.Unlock()
	return cc.c.err
}
