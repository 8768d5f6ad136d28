package memconn

import (
	"io"
	"net"
	"os"
	"syscall"
)

// WaitBuffered blocks until n bytes can be read, no more will come (io.EOF), or the read deadline passes: sock.Filler.
func (c *Conn) WaitBuffered(n int) error { return c.wrap("wait", c.in.waitBuffered(n)) }

func (p *pipe) waitBuffered(n int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		switch {
		case p.readClosed:
			return net.ErrClosed
		case p.reset:
			return syscall.ECONNRESET
		case len(p.buf)-p.off >= n:
			return nil
		case p.writeErr != nil:
			return io.EOF
		case p.reader.passed:
			return os.ErrDeadlineExceeded
		}
		p.changed.Wait()
	}
}
