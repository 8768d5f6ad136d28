// Package memconn is a network in memory: listeners, dialers and connections that behave as TCP on loopback does, and that
// work inside testing/synctest, where sockets do not. Connections are buffered (a write does not wait for the read, until
// the buffer is full), half-close, observe deadlines, can be waited on and peeked into, and can be reset.
//
// It is for tests and for running a mesh in one process. It does not model loss or delay. Start at Network.
package memconn

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// bufferSize is what one direction holds before writers wait: in the range of a socket's, small enough that tests of
// back-pressure fill it at once.
const bufferSize = 64 << 10

// Pair returns two ends of one connection with the given addresses.
func Pair(a, b net.Addr) (*Conn, *Conn) {
	ab, ba := newPipe(), newPipe()
	return &Conn{in: ba, out: ab, local: a, remote: b}, &Conn{in: ab, out: ba, local: b, remote: a}
}

// Conn is one end. It is safe for concurrent use as every net.Conn is.
type Conn struct {
	in, out       *pipe
	local, remote net.Addr
	once          sync.Once
	mu            sync.Mutex // guards reset
	reset         bool
}

// Read takes buffered bytes.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.in.read(p)
	return n, c.wrap("read", err)
}

// Write waits while the buffer is full.
func (c *Conn) Write(p []byte) (int, error) {
	n, err := c.out.write(p)
	return n, c.wrap("write", err)
}

// Close ends both directions. The peer reads what was written before, then the end; if this end had unread bytes, or
// SetLinger(0) was called, it gets a reset instead, as with TCP.
func (c *Conn) Close() error {
	err := c.wrap("close", net.ErrClosed)
	c.once.Do(func() {
		err = nil
		unread := c.in.closeRead()
		c.mu.Lock()
		hard := c.reset
		c.mu.Unlock()
		if hard || unread {
			c.out.abort(hard)
		}
		c.out.closeWrite(net.ErrClosed)
	})
	return err
}

// CloseWrite ends the sending direction.
func (c *Conn) CloseWrite() error {
	c.out.closeWrite(syscall.EPIPE)
	return nil
}

// SetLinger with 0 makes Close a reset, as on a TCP connection.
func (c *Conn) SetLinger(sec int) error {
	c.mu.Lock()
	c.reset = sec == 0
	c.mu.Unlock()
	return nil
}

// PeekNow copies readable bytes and consumes none: sock.Peeker.
func (c *Conn) PeekNow(p []byte) (int, error) { return c.in.peek(p) }

// WaitReadable blocks until Read would not.
func (c *Conn) WaitReadable() error { return c.wrap("wait", c.in.wait()) }

// PeerReset tells whether the peer has reset the connection.
func (c *Conn) PeerReset() bool {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	return c.in.reset
}

// PeerClosed tells whether the peer has ended its sending side.
func (c *Conn) PeerClosed() bool {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	return c.in.writeErr != nil || c.in.reset
}

// LocalAddr is this end's address.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr is the other end's address.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(t time.Time) error {
	_ = c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

// SetReadDeadline bounds Read and WaitReadable.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.in.reader.set(&c.in.mu, &c.in.changed, t)
	return nil
}

// SetWriteDeadline bounds Write.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.out.writer.set(&c.out.mu, &c.out.changed, t)
	return nil
}

// wrap gives errors the type that callers test for (net.Error, Timeout) and leaves io.EOF alone.
func (c *Conn) wrap(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &net.OpError{Op: op, Net: "mem", Source: c.local, Addr: c.remote, Err: err}
}

// pipe is one direction.
type pipe struct {
	mu      sync.Mutex // guards all below
	changed sync.Cond
	buf     []byte // unread bytes are buf[off:]
	off     int

	writeErr       error // set: the writer's side is closed
	readClosed     bool
	reset          bool // the reader gets ECONNRESET
	reader, writer deadline
}

func newPipe() *pipe {
	p := &pipe{}
	p.changed.L = &p.mu
	return p
}

func (p *pipe) readable() bool {
	return len(p.buf) > p.off || p.writeErr != nil || p.reset || p.readClosed
}

func (p *pipe) wait() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.readable() {
		if p.reader.passed {
			return os.ErrDeadlineExceeded
		}
		p.changed.Wait()
	}
	return nil
}

func (p *pipe) read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		switch {
		case p.readClosed:
			return 0, net.ErrClosed
		case p.reader.passed:
			return 0, os.ErrDeadlineExceeded
		case p.reset:
			return 0, syscall.ECONNRESET
		case len(b) == 0:
			return 0, nil
		case len(p.buf) > p.off:
			n := copy(b, p.buf[p.off:])
			p.off += n
			if p.off == len(p.buf) {
				p.buf, p.off = p.buf[:0], 0
			}
			p.changed.Broadcast()
			return n, nil
		case p.writeErr != nil:
			return 0, io.EOF
		}
		p.changed.Wait()
	}
}

func (p *pipe) peek(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.readClosed:
		return 0, net.ErrClosed
	case p.reset:
		return 0, syscall.ECONNRESET
	case len(p.buf) > p.off:
		return copy(b, p.buf[p.off:]), nil
	case p.writeErr != nil:
		return 0, nil
	}
	return 0, syscall.EAGAIN
}

func (p *pipe) write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for {
		switch {
		case p.writeErr != nil:
			return n, p.writeErr
		case p.writer.passed:
			return n, os.ErrDeadlineExceeded
		case p.reset:
			return n, syscall.ECONNRESET
		case p.readClosed:
			return n, syscall.EPIPE
		}
		if len(b) == 0 {
			return n, nil
		}
		if free := bufferSize - (len(p.buf) - p.off); free > 0 {
			if p.off > 0 {
				p.buf = p.buf[:copy(p.buf, p.buf[p.off:])]
				p.off = 0
			}
			k := min(free, len(b))
			p.buf = append(p.buf, b[:k]...)
			n, b = n+k, b[k:]
			p.changed.Broadcast()
			continue
		}
		p.changed.Wait()
	}
}

// closeRead ends the reader's side and tells whether bytes were lost by it.
func (p *pipe) closeRead() (unread bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	unread = len(p.buf) > p.off
	p.readClosed = true
	p.buf, p.off = nil, 0
	p.reader.stop()
	p.changed.Broadcast()
	return unread
}

func (p *pipe) closeWrite(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.writeErr == nil || err == net.ErrClosed {
		p.writeErr = err
	}
	p.writer.stop()
	p.changed.Broadcast()
}

// abort makes the reader see a reset; discard loses what it has not read yet, as SO_LINGER 0 does.
func (p *pipe) abort(discard bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if discard || len(p.buf) == p.off {
		p.buf, p.off = nil, 0
		p.reset = true
	}
	p.changed.Broadcast()
}

// deadline is one side's. Its timer wakes all who wait on the pipe.
type deadline struct {
	passed bool
	timer  *time.Timer
	serial int // a timer that was stopped too late finds another number
}

func (d *deadline) set(mu *sync.Mutex, changed *sync.Cond, t time.Time) {
	mu.Lock()
	defer mu.Unlock()
	d.stop()
	d.passed = false
	defer changed.Broadcast()
	if t.IsZero() {
		return
	}
	left := time.Until(t)
	if left <= 0 {
		d.passed = true
		return
	}
	serial := d.serial
	d.timer = time.AfterFunc(left, func() {
		mu.Lock()
		defer mu.Unlock()
		if d.serial == serial {
			d.passed = true
			changed.Broadcast()
		}
	})
}

func (d *deadline) stop() {
	d.serial++
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}
