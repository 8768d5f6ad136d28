package http1

import (
	"bytes"
	"errors"
	"io"
	"net"

	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
	"github.com/hauberk-mesh/hauberk/internal/buffers"
	"github.com/hauberk-mesh/hauberk/internal/sock"
)

// Reader reads messages from a connection, one after the other. It is not safe for concurrent use.
//
// It borrows its buffer: Release gives it back when nothing is buffered, so that a connection that waits holds none.
type Reader struct {
	src  io.Reader
	wait *sock.Waiter // of src, if it is a connection: it is waited on without a buffer
	buf  []byte
	r, w int
	err  error // what ended src; timeouts are not kept

	text   text   // of the present message's strings
	fields fields // of the head that is being read
	limits Limits
}

// NewReader returns a Reader of src.
func NewReader(src io.Reader) *Reader {
	r := &Reader{src: src, limits: Limits{}.orDefault()}
	if c, ok := src.(net.Conn); ok {
		r.wait = sock.NewWaiter(c)
	}
	return r
}

// Limit sets what is taken from here on.
func (r *Reader) Limit(l Limits) { r.limits = l.orDefault() }

// Idle tells whether nothing is left of earlier messages and the connection has not ended, as far as is known.
func (r *Reader) Idle() bool { return r.Buffered() == 0 && r.err == nil }

// Alive tells whether the idle connection may carry another message: nothing is buffered, and nothing has come that nobody
// asked for, not even its end.
func (r *Reader) Alive() bool {
	return r.Idle() && (r.wait == nil || r.wait.Alive())
}

// Buffered is how many bytes were received and not yet consumed.
func (r *Reader) Buffered() int { return r.w - r.r }

// EndsHead tells whether what is buffered ends as a head does: then reading it will most likely not wait.
func (r *Reader) EndsHead() bool { return bytes.HasSuffix(r.buf[r.r:r.w], []byte("\r\n\r\n")) }

// Take consumes the n next buffered bytes; they are valid until the next read.
func (r *Reader) Take(n int) []byte {
	b := r.buf[r.r : r.r+n]
	r.r += n
	return b
}

// Release gives the buffer back if it is empty.
func (r *Reader) Release() {
	if r.r == r.w && r.buf != nil {
		buffers.Put(r.buf)
		r.buf, r.r, r.w = nil, 0, 0
	}
}

// Discard gives the buffer back with whatever is in it: the connection is at its end.
func (r *Reader) Discard() {
	r.r = r.w
	r.Release()
	if r.err == nil {
		r.err = net.ErrClosed
	}
}

// Await blocks until the next message begins. The strings of the last one are not valid any more. Where the connection allows
// it, it holds no buffer meanwhile.
func (r *Reader) Await() error {
	if r.Buffered() > 0 {
		r.text.forget()
		return nil
	}
	r.text.release()
	if r.err != nil {
		return r.err
	}
	if _, err := r.awaitReadable(); err != nil {
		return err
	}
	return r.fill()
}

// awaitReadable blocks until there is something to read, holding no buffer, and tells whether it could: not on a connection
// below which nobody can look. Nothing may be buffered.
func (r *Reader) awaitReadable() (bool, error) {
	if r.err != nil {
		return false, r.err
	}
	if r.wait == nil {
		return false, nil
	}
	r.Release()
	err := r.wait.WaitReadable()
	if err == sock.ErrNotSupported {
		return false, nil
	}
	if err != nil {
		return false, r.failed(err)
	}
	return true, nil
}

// fill reads once, making room first. It returns nil if it got anything.
func (r *Reader) fill() error {
	if r.err != nil {
		return r.err
	}
	switch {
	case r.buf == nil:
		r.buf = buffers.GetSmall()
	case r.r == r.w:
		r.r, r.w = 0, 0
	case r.w == len(r.buf) && r.r > 0:
		r.w = copy(r.buf, r.buf[r.r:r.w])
		r.r = 0
	case r.w == len(r.buf):
		if len(r.buf) > r.limits.Head {
			return r.limits.headTooLarge()
		}
		grown := make([]byte, 2*len(r.buf))
		r.w = copy(grown, r.buf)
		buffers.Put(r.buf)
		r.buf = grown
	}
	n, err := r.src.Read(r.buf[r.w:])
	r.w += n
	if n > 0 {
		if err != nil {
			_ = r.failed(err) // for the next one
		}
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return r.failed(err)
}

// direct reads past the buffer, which must be empty.
func (r *Reader) direct(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	n, err := r.src.Read(p)
	if err != nil {
		err = r.failed(err)
		if n > 0 {
			err = nil
		}
	}
	return n, err
}

func (r *Reader) failed(err error) error {
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() {
		return err
	}
	r.err = err
	return err
}

// head reads up to and with the empty line and returns the lines before it, each with its CRLF, as a view of text. A line that
// ends in LF alone is refused as soon as it is seen, not after a wait for more: what a lenient parser takes for the end of a
// head must not be the middle of one here.
func (r *Reader) head() (string, error) {
	line := 0 // start of the present line, from r.r
	seen := 0 // searched so far
	for {
		b := r.buf[r.r:r.w]
		for {
			i := bytes.IndexByte(b[seen:], '\n')
			if i < 0 {
				seen = len(b)
				break
			}
			end := seen + i
			if end == line || b[end-1] != '\r' {
				return "", bad("line ends without CR")
			}
			if line == 0 && end-1 > r.limits.Line {
				return "", r.limits.lineTooLong()
			}
			seen = end + 1
			if end-line == 1 {
				if line == 0 {
					return "", bad("empty head")
				}
				if line > r.limits.Head {
					return "", r.limits.headTooLarge()
				}
				s := r.text.keep(b[:line])
				r.r += seen
				return s, nil
			}
			line = seen
		}
		switch {
		case line == 0 && len(b) > r.limits.Line+len("\r"):
			return "", r.limits.lineTooLong()
		case len(b) > r.limits.Head+len("\r"):
			return "", r.limits.headTooLarge()
		}
		if len(b) > 0 && message.Class[b[0]]&message.IsToken == 0 {
			return "", bad("not HTTP: begins with byte 0x%02x", b[0])
		}
		if err := r.fill(); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return "", err
		}
	}
}
