package http1

import (
	"errors"
	"io"
	"strings"
	"testing"
)

// TestLimits: each limit holds to the byte, whether the message is there at once or comes byte by byte.
func TestLimits(t *testing.T) {
	tight := Limits{Line: 30, Head: 100, Fields: 3, ChunkLine: 20, Trailers: 40}
	line := func(n int) string {
		return "GET /" + strings.Repeat("a", n-len("GET / HTTP/1.1")) + " HTTP/1.1\r\nHost: h\r\n\r\n"
	}
	head := func(n int) string {
		h := "GET / HTTP/1.1\r\nHost: h\r\nX: "
		return h + strings.Repeat("a", n-len(h)-len("\r\n")) + "\r\n\r\n"
	}
	fields := func(n int) string { return get + strings.Repeat("X: 1\r\n", n-1) + "\r\n" }
	size := func(n int) string { return chunked + "1;" + strings.Repeat("x", n-len("1;")) + "\r\na\r\n0\r\n\r\n" }
	trailers := func(n int) string {
		return chunked + "0\r\nX: " + strings.Repeat("a", n-len("X: \r\n")) + "\r\n\r\n"
	}
	trailerFields := func(n int) string { return chunked + "0\r\n" + strings.Repeat("X: 1\r\n", n) + "\r\n" }
	for _, c := range []struct {
		name   string
		limit  int
		wire   func(int) string
		status int // 0: the body fails
	}{
		{"line", tight.Line, line, 414},
		{"head", tight.Head, head, 431},
		{"fields", tight.Fields, fields, 431},
		{"chunk line", tight.ChunkLine, size, 0},
		{"trailers", tight.Trailers, trailers, 0},
		{"trailer fields", tight.Fields, trailerFields, 0},
	} {
		for _, n := range []int{c.limit, c.limit + 1, c.limit + 2, 20 * c.limit} {
			for how, src := range arrivals(c.wire(n) + smuggled) {
				r := NewReader(src)
				r.Limit(tight)
				if strings.HasPrefix(c.name, "chunk") || strings.HasPrefix(c.name, "trailer") {
					r.Limit(Limits{ChunkLine: tight.ChunkLine, Trailers: tight.Trailers, Fields: tight.Fields})
				}
				var m Request
				err := r.ReadRequest(&m)
				if err == nil {
					err = restOf(r, m.Body)
				}
				var e *Error
				if n <= c.limit {
					if err != nil {
						t.Errorf("%s of %d, %s: %v", c.name, n, how, err)
					}
				} else if !errors.As(err, &e) || c.status != 0 && e.Status != c.status {
					t.Errorf("%s of %d, %s: %v, want %d", c.name, n, how, err, c.status)
				}
			}
		}
	}
}

// TestExtensionsOfBigChunks: a server that signs each chunk may go on for ever.
func TestExtensionsOfBigChunks(t *testing.T) {
	wire := chunked + strings.Repeat("80;signature="+strings.Repeat("x", 64)+"\r\n"+strings.Repeat("a", 0x80)+"\r\n", 1000) + "0\r\n\r\n"
	r := NewReader(strings.NewReader(wire))
	var m Request
	if err := r.ReadRequest(&m); err != nil {
		t.Fatal(err)
	}
	if err := restOf(r, m.Body); err != nil {
		t.Error(err)
	}
}

func TestLimitsOfResponses(t *testing.T) {
	r := NewReader(strings.NewReader(ok + "A: 1\r\nB: 2\r\n\r\n"))
	r.Limit(Limits{Fields: 1})
	var m Response
	var e *Error
	if err := r.ReadResponse(&m, "GET"); !errors.As(err, &e) {
		t.Error(err)
	}
}

// endless is a peer that never ends what it has begun.
type endless struct {
	begin, more string
	sent        int
}

func (e *endless) Read(p []byte) (int, error) {
	if e.begin != "" {
		n := copy(p, e.begin)
		e.begin = e.begin[n:]
		return n, nil
	}
	n := 0
	for n < len(p) {
		n += copy(p[n:], e.more)
	}
	e.sent += n
	return n, nil
}

// TestMemoryIsBounded: who sends without end is refused before much of it is held.
func TestMemoryIsBounded(t *testing.T) {
	for _, c := range []struct{ name, begin, more string }{
		{"method", "", "A"},
		{"target", "GET /", "a"},
		{"field", "GET / HTTP/1.1\r\nHost: h\r\nX: ", "a"},
		{"fields", "GET / HTTP/1.1\r\n", "X: 1\r\n"},
		{"chunk extension", chunked + "1", ";x"},
		{"chunk size", chunked, "0"},
		{"chunks of extensions", chunked, "1;" + strings.Repeat("x", 900) + "\r\na\r\n"},
		{"trailer", chunked + "0\r\nX: ", "a"},
		{"trailers", chunked + "0\r\n", "X: 1\r\n"},
		{"trailers that are left out", chunked + "0\r\n", "Host: 1\r\n"},
	} {
		src := &endless{begin: c.begin, more: c.more}
		r := NewReader(src)
		var m Request
		err := r.ReadRequest(&m)
		if err == nil {
			err = restOf(r, m.Body)
		}
		var e *Error
		if !errors.As(err, &e) || errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %v", c.name, err)
		}
		if src.sent > 4*MaxHead || cap(r.buf) > 4*MaxHead || cap(r.text.block) > 4*MaxHead {
			t.Errorf("%s: %d bytes were taken, %d are held", c.name, src.sent, cap(r.buf)+cap(r.text.block))
		}
	}
}
