package http1

import (
	"bytes"
	"errors"
	"io"
	"sync/atomic"

	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
)

// direct reads skip the Reader's buffer when at least so much is wanted: smaller ones would cost more calls than copies.
const directMin = 8 << 10

// Body is the body of the message whose head was read last. The zero value is no body.
type Body struct {
	r    *Reader
	kind Kind
	left int64 // Length: of the body; Chunked: of the present chunk
	part part  // Chunked: what comes next once left is 0
	done bool
	err  error

	extra        int64 // bytes of chunk extensions, beyond those of data
	trailerBytes int   // that were read, and how many fields
	trailers     int
	count        int64
	trailer      message.Header // framing and routing fields are left out
	ended        atomic.Bool    // done, for another goroutine
}

// part is the state of a chunked body: RFC 9112 section 7.1.
type part uint8

const (
	sizeLine part = iota
	dataEnd       // the CRLF after a chunk's data
	trailers
)

// Reset makes b the body that follows a head read from r.
func (b *Body) Reset(r *Reader, f Framing) {
	b.trailer.Reset()
	b.r, b.kind, b.left, b.part, b.err, b.count = r, f.Kind, f.Length, sizeLine, nil, 0
	b.extra, b.trailerBytes, b.trailers = 0, 0, 0
	if f.Kind == Chunked {
		b.left = 0
	}
	b.done = f.Kind == None || f.Kind == Length && f.Length == 0
	b.ended.Store(b.done)
}

// finish notes that the body was read to its end.
func (b *Body) finish() {
	b.done = true
	b.ended.Store(true)
}

// Trailer are the fields after a chunked body, once it is Done.
func (b *Body) Trailer() *message.Header { return &b.trailer }

// Await blocks until a Read would not: see message.Content.
func (b *Body) Await() error {
	for b.Available() == 0 && b.err == nil && !b.done {
		if b.r.Buffered() > 0 { // the beginning of a chunk's size, or of a trailer
			if err := b.r.fill(); err != nil {
				return b.ends(err)
			}
			continue
		}
		readable, err := b.r.awaitReadable()
		if err != nil {
			return b.ends(err)
		}
		if readable && (b.kind != Chunked || b.left > 0) {
			return nil
		}
		if err := b.r.fill(); err != nil {
			if err = b.ends(err); err == io.EOF {
				return nil
			}
			return err
		}
	}
	return b.err
}

// Done tells whether the body was read to its end. It looks at what is buffered and never blocks.
func (b *Body) Done() bool {
	if !b.done && b.kind == Chunked {
		b.advance()
	}
	return b.done
}

// Count is how many bytes of data were read so far.
func (b *Body) Count() int64 { return b.count }

// Err is what is wrong with the body as far as it was looked at.
func (b *Body) Err() error { return b.err }

// Available is how many bytes of data can be had without blocking.
func (b *Body) Available() int {
	if b.done || b.err != nil {
		return 0
	}
	if b.kind == Chunked {
		b.advance()
	}
	n := int64(b.r.Buffered())
	if b.kind != UntilClose && n > b.left {
		n = b.left
	}
	return int(n)
}

// Take consumes n of the Available bytes. They are valid until the next read.
func (b *Body) Take(n int) []byte {
	p := b.r.Take(n)
	b.took(n)
	return p
}

// Read blocks for data. The end is io.EOF, on its own; a connection that ends before the body is io.ErrUnexpectedEOF. After
// a timeout it can be called again, and nothing was lost.
func (b *Body) Read(p []byte) (int, error) {
	for {
		if n := min(b.Available(), len(p)); n > 0 {
			return copy(p, b.Take(n)), nil
		}
		if b.err != nil {
			return 0, b.err
		}
		if b.done {
			return 0, io.EOF
		}
		n, err := b.more(p)
		if n > 0 {
			return n, nil
		}
		if err != nil {
			return 0, b.ends(err)
		}
	}
}

// more gets bytes: into p where its size makes that worth while and nothing but data can come, otherwise into the buffer.
func (b *Body) more(p []byte) (int, error) {
	if b.r.Buffered() == 0 && len(p) >= directMin {
		switch {
		case b.kind == UntilClose:
			n, err := b.r.direct(p)
			b.took(n)
			return n, err
		case b.left >= directMin:
			b.r.Release()
			n, err := b.r.direct(p[:min(int64(len(p)), b.left)])
			b.took(n)
			return n, err
		}
	}
	return 0, b.r.fill()
}

func (b *Body) took(n int) {
	b.count += int64(n)
	if b.kind == UntilClose {
		return
	}
	b.left -= int64(n)
	if b.left > 0 {
		return
	}
	if b.kind == Length {
		b.finish()
	} else {
		b.part = dataEnd
	}
}

func (b *Body) ends(err error) error {
	if err == io.EOF {
		if b.kind == UntilClose {
			b.finish()
			return io.EOF
		}
		err = io.ErrUnexpectedEOF
	}
	var t interface{ Timeout() bool }
	if !errors.As(err, &t) || !t.Timeout() {
		b.err = err
	}
	return err
}

// advance parses what stands between chunks, as far as it is buffered.
func (b *Body) advance() {
	for b.left == 0 && !b.done && b.err == nil {
		var more bool
		switch b.part {
		case dataEnd:
			more = b.crlf()
		case sizeLine:
			more = b.size()
		case trailers:
			more = b.trailerLine()
		}
		if !more {
			return
		}
	}
}

func (b *Body) crlf() bool {
	buf := b.r.buf[b.r.r:b.r.w]
	if len(buf) > 0 && buf[0] != '\r' || len(buf) > 1 && buf[1] != '\n' {
		b.err = bad("chunk is longer than its size")
		return false
	}
	if len(buf) < 2 {
		return false
	}
	b.r.r += 2
	b.part = sizeLine
	return true
}

// line returns the next whole line without its CRLF, consumed. It is valid until the next read.
func (b *Body) line(limit int) ([]byte, bool) {
	buf := b.r.buf[b.r.r:b.r.w]
	i := bytes.IndexByte(buf, '\n')
	if i > limit+len("\r") || i < 0 && len(buf) > limit+len("\r") {
		b.err = bad("line in a chunked body is longer than %d bytes", limit)
		return nil, false
	}
	if i < 0 {
		return nil, false
	}
	if i == 0 || buf[i-1] != '\r' {
		b.err = bad("line ends without CR in a chunked body")
		return nil, false
	}
	b.r.r += i + 1
	return buf[:i-1], true
}

func (b *Body) trailerLine() bool {
	limits := &b.r.limits
	line, ok := b.line(limits.Trailers)
	if !ok {
		return false
	}
	if len(line) == 0 {
		b.finish()
		return false
	}
	b.trailerBytes += len(line) + len("\r\n")
	if b.trailers++; b.trailerBytes > limits.Trailers || b.trailers > limits.Fields {
		b.err = bad("trailers are longer than %d bytes or %d fields", limits.Trailers, limits.Fields)
		return false
	}
	name, value, err := splitField(b.r.text.keep(line))
	if err != nil {
		b.err = err
		return false
	}
	if message.MayTrail(name) {
		b.trailer.Add(name, value)
	}
	return true
}
