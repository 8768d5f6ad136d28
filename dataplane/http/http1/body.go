package http1

import (
	"bytes"
	"errors"
	"io"

	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
)

// Limits of what a chunked body may carry beside its data.
const (
	maxChunkLine = 1 << 10 // size and extensions of one chunk
	maxTrailers  = 16 << 10
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

	trailerBytes int
	count        int64
	// Trailer holds the fields after a chunked body, once it is Done; framing and routing fields are left out.
	Trailer message.Header
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
	b.Trailer.Reset()
	*b = Body{r: r, kind: f.Kind, left: f.Length, Trailer: b.Trailer}
	if f.Kind == Chunked {
		b.left = 0
	}
	b.done = f.Kind == None || f.Kind == Length && f.Length == 0
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
			return 0, b.ended(err)
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
		b.done = true
	} else {
		b.part = dataEnd
	}
}

func (b *Body) ended(err error) error {
	if err == io.EOF {
		if b.kind == UntilClose {
			b.done = true
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

// line returns the next whole line without its CRLF, consumed.
func (b *Body) line(limit int) (string, bool) {
	buf := b.r.buf[b.r.r:b.r.w]
	i := bytes.IndexByte(buf, '\n')
	if i > limit || i < 0 && len(buf) > limit {
		b.err = bad("line in a chunked body is longer than %d bytes", limit)
		return "", false
	}
	if i < 0 {
		return "", false
	}
	if i == 0 || buf[i-1] != '\r' {
		b.err = bad("line ends without CR in a chunked body")
		return "", false
	}
	s := string(buf[:i-1])
	b.r.r += i + 1
	return s, true
}

// size reads "1A;extension". Extensions are checked and dropped: RFC 9112 section 7.1.1.
func (b *Body) size() bool {
	s, ok := b.line(maxChunkLine)
	if !ok {
		return false
	}
	var n int64
	i := 0
	for ; i < len(s); i++ {
		d := unhex(s[i])
		if d < 0 {
			break
		}
		if i >= 15 { // what fits an int64, leading zeros included
			b.err = bad("chunk size is too big")
			return false
		}
		n = n<<4 | int64(d)
	}
	if i == 0 || i < len(s) && s[i] != ';' || !all(s[i:], isValue) {
		b.err = bad("malformed chunk size")
		return false
	}
	if b.left = n; n == 0 {
		b.part = trailers
	}
	return true
}

func (b *Body) trailerLine() bool {
	s, ok := b.line(maxTrailers)
	if !ok {
		return false
	}
	if s == "" {
		b.done = true
		return false
	}
	if b.trailerBytes += len(s); b.trailerBytes > maxTrailers || len(b.Trailer.Fields) >= MaxFields {
		b.err = bad("trailers are longer than %d bytes or %d fields", maxTrailers, MaxFields)
		return false
	}
	name, value, err := splitField(s)
	if err != nil {
		b.err = err
		return false
	}
	if mayTrail(name) {
		b.Trailer.Add(name, value)
	}
	return true
}

// mayTrail leaves out what RFC 9110 section 6.5.1 forbids in trailers: framing, routing, authentication, and the mesh's own
// words, which are believed in heads only.
func mayTrail(name string) bool {
	for _, f := range [...]string{"host", "content-length", "transfer-encoding", "connection", "keep-alive", "upgrade", "te",
		"trailer", "expect", "authorization", "cookie", "set-cookie", "content-type", "content-encoding", "content-range",
		"x-request-id", "x-forwarded-for", "x-forwarded-proto"} {
		if fold(name, f) {
			return false
		}
	}
	return !HasPrefix(name, "hauberk-") && !HasPrefix(name, "x-hauberk-")
}

// HasPrefix tells whether a field name begins with prefix, which is lower case.
func HasPrefix(name, prefix string) bool {
	return len(name) >= len(prefix) && fold(name[:len(prefix)], prefix)
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
