package http2

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/http2"

	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
)

// TestMalformedRequests: each is refused on its own stream, and the connection serves the next one.
func TestMalformedRequests(t *testing.T) {
	ok := []string{":method", "GET", ":scheme", "http", ":authority", "h", ":path", "/"}
	with := func(more ...string) []string { return append(slices.Clone(ok), more...) }
	replaced := func(name, value string) []string {
		s := slices.Clone(ok)
		s[slices.Index(s, name)+1] = value
		return s
	}
	cases := map[string][]string{
		"no method":                ok[2:],
		"no scheme":                slices.Concat(ok[:2], ok[4:]),
		"no authority":             slices.Concat(ok[:4], ok[6:]),
		"no path":                  ok[:6],
		"empty path":               replaced(":path", ""),
		"relative path":            replaced(":path", "a"),
		"asterisk with GET":        replaced(":path", "*"),
		"path with a fragment":     replaced(":path", "/#"),
		"path with a space":        replaced(":path", "/a b"),
		"path with CR LF":          replaced(":path", "/a\r\nx: y"),
		"user info":                replaced(":authority", "u@h"),
		"authority with a path":    replaced(":authority", "h/x"),
		"empty authority":          replaced(":authority", ""),
		"method with a space":      replaced(":method", "GET /"),
		"pseudo-header twice":      append(with(), ":path", "/"),
		"pseudo-header after":      append([]string{"a", "b"}, ok...),
		"unknown pseudo-header":    append([]string{":x", "b"}, ok...),
		"response's pseudo-header": append([]string{":status", "200"}, ok...),
		"upper case":               with("Accept", "x"),
		"name with a space":        with("a b", "x"),
		"empty name":               with("", "x"),
		"value with LF":            with("a", "x\ny"),
		"value with NUL":           with("a", "x\x00y"),
		"value with space first":   with("a", " x"),
		"value with tab last":      with("a", "x\t"),
		"connection":               with("connection", "close"),
		"keep-alive":               with("keep-alive", "1"),
		"proxy-connection":         with("proxy-connection", "close"),
		"transfer-encoding":        with("transfer-encoding", "chunked"),
		"upgrade":                  with("upgrade", "websocket"),
		"te gzip":                  with("te", "gzip"),
		"content_length":           with("content_length", "3"),
		"transfer_encoding":        with("transfer_encoding", "chunked"),
		"escape in authority":      replaced(":authority", "h%2e"),
		"host disagrees":           with("host", "other"),
		"host twice":               with("host", "h", "host", "h"),
		"length and no content":    with("content-length", "1"),
		"length twice":             with("content-length", "0", "content-length", "0"),
		"length with a sign":       with("content-length", "+0"),
		"length as a list":         with("content-length", "0, 0"),
		"length too large":         with("content-length", "99999999999999999999"),
		"protocol not announced":   {":method", "CONNECT", ":protocol", "websocket", ":scheme", "http", ":authority", "h", ":path", "/"},
		"protocol without CONNECT": append([]string{":protocol", "websocket"}, ok...),
		"CONNECT with path":        {":method", "CONNECT", ":authority", "h:1", ":path", "/"},
		"CONNECT to nothing":       {":method", "CONNECT"},
	}
	a, b := pair(t, false)
	serve(t, b, Options{}, echo)
	r := rawClient(t, a)
	id := uint32(1)
	for name, fields := range cases {
		r.head(id, true, fields...)
		f := r.next()
		if x, ok := f.(*http2.RSTStreamFrame); !ok || x.StreamID != id || x.ErrCode != http2.ErrCodeProtocol {
			t.Fatalf("%s: got %v", name, f)
		}
		r.get(id + 2)
		r.wantHead(id+2, "200")
		id += 4
	}
}

// TestHeads: what is right arrives as it should.
func TestHeads(t *testing.T) {
	heads := make(chan message.Request, 1)
	a, b := pair(t, false)
	serve(t, b, Options{ExtendedConnect: true}, func(st *Stream) {
		q := *st.Head()
		q.Header.Fields = slices.Clone(q.Header.Fields)
		heads <- q
		_ = st.Respond(&message.Response{Status: 204, Length: message.Absent}, true)
	})
	r := rawClient(t, a)
	id := uint32(1)
	head := func(end bool, fields ...string) *message.Request {
		t.Helper()
		r.head(id, end, fields...)
		q := <-heads
		r.wantHead(id, "204")
		if !end {
			r.wantReset(id, NoError)
		}
		id += 2
		return &q
	}
	basic := []string{":method", "GET", ":scheme", "https", ":authority", "EXAMPLE.com", ":path", "/a?b=c"}
	q := head(true, append(basic, "te", "trailers", "expect", "100-continue", "cookie", "a=1", "x", "y", "cookie", "b=2", "host", "Example.COM")...)
	if q.Authority != "example.com" || q.Path != "/a" || q.Query != "?b=c" || q.Original != "/a?b=c" || q.Scheme != "https" ||
		!q.Trailers || !q.ExpectContinue || q.Major != 2 || q.Length != message.Absent ||
		fmt.Sprint(q.Header.Fields) != "[{cookie a=1; b=2} {x y}]" {
		t.Errorf("%+v", q)
	}
	q = head(false, basic...)
	if q.Trailers || q.ExpectContinue || q.Length != message.Unknown || len(q.Header.Fields) != 0 {
		t.Errorf("%+v", q)
	}
	if q = head(false, append(basic, "content-length", "17")...); q.Length != 17 {
		t.Errorf("%+v", q)
	}
	if q = head(true, append(basic, "content-length", "0")...); q.Length != 0 {
		t.Errorf("%+v", q)
	}
	q = head(true, ":method", "GET", ":scheme", "http", ":path", "/", "host", "only")
	if q.Authority != "only" || q.Header.Has("host") {
		t.Errorf("%+v", q)
	}
	if q = head(true, ":method", "OPTIONS", ":scheme", "http", ":path", "*", ":authority", "h"); !q.Asterisk || q.Path != "*" {
		t.Errorf("%+v", q)
	}
	q = head(false, ":method", "CONNECT", ":authority", "h:443")
	if q.Method != "CONNECT" || q.Authority != "h:443" || q.Path != "" || q.Length != message.Absent {
		t.Errorf("%+v", q)
	}
}

func TestHeadTooLarge(t *testing.T) {
	a, b := pair(t, false)
	serve(t, b, Options{MaxHeader: 8 << 10, MaxFields: 20}, echo)
	r := rawClient(t, a)
	r.head(1, true, ":method", "GET", ":scheme", "http", ":authority", "h", ":path", "/", "a", strings.Repeat("x", 9000))
	r.wantHead(1, "431")
	var many []string
	for range 30 {
		many = append(many, "a", "b")
	}
	r.post(3, many...)
	r.wantHead(3, "431")
	r.wantReset(3, NoError)
	r.get(5) // HPACK's table is still the same on both sides
	r.wantHead(5, "200")
}

func TestContentLength(t *testing.T) {
	a, b := pair(t, false)
	errs, started := make(chan error, 1), make(chan bool)
	serve(t, b, Options{}, func(st *Stream) {
		started <- true
		for {
			if _, err := st.Read(make([]byte, 100)); err != nil {
				errs <- err
				return
			}
		}
	})
	r := rawClient(t, a)
	id := uint32(1)
	for _, rest := range []func(){
		func() { _ = r.WriteData(id, true, []byte("ab")) },
		func() { _ = r.WriteData(id, false, []byte("abcd")) },
		func() { _ = r.WriteData(id, false, []byte("ab")); r.head(id, true, "trailer-field", "x") },
	} {
		r.post(id, "content-length", "3")
		<-started
		rest()
		r.wantReset(id, ProtocolError)
		if err := <-errs; !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Error(id, err)
		}
		id += 2
	}
}
