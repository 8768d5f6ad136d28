package http1

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
)

func readRequest(s string) (*Request, *Reader, error) {
	r := NewReader(strings.NewReader(s))
	m := &Request{}
	err := r.ReadRequest(m)
	return m, r, err
}

func TestRequestHead(t *testing.T) {
	m, _, err := readRequest("GET /a/b?c=d HTTP/1.1\r\nHost: Example.com:80\r\nX-A:  v \t\r\nConnection: keep-alive, X-Gone\r\nx-gone: 1\r\nKeep-Alive: 3\r\n" +
		"TE: trailers\r\nProxy-Connection: x\r\nX-Empty:\r\nX-Obs: \xff\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	want := &Request{Request: message.Request{Method: "GET", Authority: "example.com:80", Path: "/a/b", Query: "?c=d", Original: "/a/b?c=d", Major: 1, Minor: 1, Length: message.Absent, Trailers: true,
		Header: message.Header{Fields: []message.Field{{Name: "X-A", Value: "v"}, {Name: "X-Empty", Value: ""}, {Name: "X-Obs", Value: "\xff"}}}}}
	if d := cmp.Diff(want, m); d != "" {
		t.Error(d)
	}
}

func TestRequestFraming(t *testing.T) {
	for _, tc := range []struct {
		head  string
		body  Framing
		close bool
	}{
		{"GET / HTTP/1.1\r\nHost: h\r\n", Framing{}, false},
		{"GET / HTTP/1.1\r\nHost: h\r\nConnection: Close\r\n", Framing{}, true},
		{"GET / HTTP/1.0\r\n", Framing{}, true},
		{"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n", Framing{}, false},
		{"POST / HTTP/1.1\r\nHost:\r\nContent-Length: 0\r\n", Framing{Kind: Length}, false},
		{"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 007\r\n", Framing{Length, 7}, false},
		{"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n", Framing{Kind: Chunked}, false},
	} {
		m, _, err := readRequest(tc.head + "\r\n")
		if err != nil || m.Body != tc.body || m.Close != tc.close {
			t.Errorf("%q: %+v close=%t %v", tc.head, m.Body, m.Close, err)
		}
	}
}

// Each of these has been read in two ways by two servers somewhere.
func TestRequestRefused(t *testing.T) {
	h := "Host: h\r\n"
	for _, tc := range []struct {
		head   string
		status int
	}{
		{"GET  / HTTP/1.1\r\n" + h, 400},
		{"GET / HTTP/1.1 \r\n" + h, 400},
		{" GET / HTTP/1.1\r\n" + h, 400},
		{"GET /\r\n" + h, 400},
		{"GET / a HTTP/1.1\r\n" + h, 400},
		{"G(T / HTTP/1.1\r\n" + h, 400},
		{"GET / http/1.1\r\n" + h, 400},
		{"GET / HTTP/1.2\r\n" + h, 505},
		{"GET / HTTP/3\r\n" + h, 505},
		{"GET /a#b HTTP/1.1\r\n" + h, 400},
		{"GET /\x7f HTTP/1.1\r\n" + h, 400},
		{"GET /\xc3\xa4 HTTP/1.1\r\n" + h, 400},
		{"GET a HTTP/1.1\r\n" + h, 400},
		{"GET * HTTP/1.1\r\n" + h, 400},
		{"GET ftp://h/ HTTP/1.1\r\n" + h, 400},
		{"GET http://u@h/ HTTP/1.1\r\n" + h, 400},
		{"GET http:///a HTTP/1.1\r\n" + h, 400},
		{"CONNECT / HTTP/1.1\r\n" + h, 400},
		{"CONNECT h HTTP/1.1\r\n" + h, 400},
		{"CONNECT h:x HTTP/1.1\r\n" + h, 400},
		{"CONNECT h:1 HTTP/1.1\r\n" + h + "Content-Length: 1\r\n", 400},
		{"GET / HTTP/1.1\r\n", 400},
		{"GET / HTTP/1.1\r\n" + h + h, 400},
		{"GET / HTTP/1.1\r\nHost: a b\r\n", 400},
		{"GET / HTTP/1.1\r\nHost: a/b\r\n", 400},
		{"GET / HTTP/1.1\r\nHost: a@b\r\n", 400},
		{"GET / HTTP/1.1\r\n" + h + "X : 1\r\n", 400},
		{"GET / HTTP/1.1\r\n" + h + " folded\r\n", 400},
		{"GET / HTTP/1.1\r\n" + h + "X: 1\r\n\tfolded\r\n", 400},
		{"GET / HTTP/1.1\r\n" + h + ": v\r\n", 400},
		{"GET / HTTP/1.1\r\n" + h + "X\r\n", 400},
		{"GET / HTTP/1.1\r\n" + h + "X: a\rb\r\n", 400},
		{"GET / HTTP/1.1\r\n" + h + "X: a\x00b\r\n", 400},
		{"GET / HTTP/1.1\r\n" + h + "X: a\nY: b\r\n", 400},
		{"GET / HTTP/1.1\n" + h, 400},
		{"POST / HTTP/1.1\r\n" + h + "Content-Length: 1\r\nContent-Length: 1\r\n", 400},
		{"POST / HTTP/1.1\r\n" + h + "Content-Length: 1, 1\r\n", 400},
		{"POST / HTTP/1.1\r\n" + h + "Content-Length: +1\r\n", 400},
		{"POST / HTTP/1.1\r\n" + h + "Content-Length: -1\r\n", 400},
		{"POST / HTTP/1.1\r\n" + h + "Content-Length: 0x1\r\n", 400},
		{"POST / HTTP/1.1\r\n" + h + "Content-Length: \r\n", 400},
		{"POST / HTTP/1.1\r\n" + h + "Content-Length: 9223372036854775808\r\n", 400},
		{"POST / HTTP/1.1\r\n" + h + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", 400},
		{"POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400},
		{"POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked, chunked\r\n", 501},
		{"POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: gzip, chunked\r\n", 501},
		{"POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: identity\r\n", 501},
		{"POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: \x0bchunked\r\n", 400},
		{"POST / HTTP/1.0\r\n" + h + "Transfer-Encoding: chunked\r\n", 400},
		{"GET / HTTP/1.1\r\n" + h + strings.Repeat("X: 1\r\n", MaxFields), 431},
		{"GET /" + strings.Repeat("a", MaxHead) + " HTTP/1.1\r\n" + h, 414},
		{"GET / HTTP/1.1\r\n" + h + "X: " + strings.Repeat("a", MaxHead) + "\r\n", 431},
	} {
		_, _, err := readRequest(tc.head + "\r\n")
		var e *Error
		if !errors.As(err, &e) || e.Status != tc.status {
			t.Errorf("%.80q: %v, want status %d", tc.head, err, tc.status)
		}
	}
}

func TestResponseHead(t *testing.T) {
	for _, tc := range []struct {
		method, head string
		body         Framing
		declared     int64
		close, bad   bool
	}{
		{"GET", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n", Framing{Length, 3}, 3, false, false},
		{"GET", "HTTP/1.1 200\r\n", Framing{Kind: UntilClose}, message.Unknown, true, false},
		{"GET", "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n", Framing{Length, 3}, 3, true, false},
		{"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n", Framing{}, 3, false, false},
		{"GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n", Framing{}, 3, false, false},
		{"GET", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n", Framing{}, message.Absent, false, false},
		{"GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", Framing{Kind: Chunked}, message.Unknown, false, false},
		{"GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n", Framing{}, 0, false, true},
		{"GET", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n", Framing{}, 0, false, true},
		{"GET", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n", Framing{}, 0, false, true},
		{"GET", "HTTP/2 200 OK\r\n", Framing{}, 0, false, true},
		{"GET", "HTTP/1.1 20 OK\r\n", Framing{}, 0, false, true},
		{"GET", "HTTP/1.1 099 OK\r\n", Framing{}, 0, false, true},
		{"GET", "HTTP/1.1 200OK\r\n", Framing{}, 0, false, true},
		{"GET", "HTTP/1.1 101 Switching\r\n", Framing{}, 0, false, true},
	} {
		m := &Response{}
		err := NewReader(strings.NewReader(tc.head+"\r\n")).ReadResponse(m, tc.method)
		if tc.bad {
			if err == nil {
				t.Errorf("%q is accepted", tc.head)
			}
			continue
		}
		if err != nil || m.Body != tc.body || m.Length != tc.declared || m.Close != tc.close {
			t.Errorf("%s %q: %+v %v", tc.method, tc.head, m, err)
		}
	}
}

func readBody(src io.Reader, f Framing) (string, *Body, *Reader, error) {
	r := NewReader(src)
	b := &Body{}
	b.Reset(r, f)
	all, err := io.ReadAll(b)
	return string(all), b, r, err
}

func TestBody(t *testing.T) {
	big := strings.Repeat("0123456789", 10000)
	for _, tc := range []struct {
		name, wire string
		f          Framing
		want       string
		rest       string
		fails      bool
	}{
		{"none", "next", Framing{}, "", "next", false},
		{"length", "12345next", Framing{Length, 5}, "12345", "next", false},
		{"length short", "123", Framing{Length, 5}, "123", "", true},
		{"big", big + "next", Framing{Length, int64(len(big))}, big, "next", false},
		{"until close", big, Framing{Kind: UntilClose}, big, "", false},
		{"chunked", "3\r\nabc\r\n00A;x=\"y\"\r\n0123456789\r\n0\r\n\r\nnext", Framing{Kind: Chunked}, "abc0123456789", "next", false},
		{"chunked big", "186A0\r\n" + big + "\r\n0\r\n\r\nnext", Framing{Kind: Chunked}, big, "next", false},
		{"trailers", "1\r\na\r\n0\r\nX-A: 1\r\nContent-Length: 5\r\n\r\nnext", Framing{Kind: Chunked}, "a", "next", false},
		{"chunk cut", "5\r\nabc", Framing{Kind: Chunked}, "abc", "", true},
		{"no last chunk", "1\r\na\r\n", Framing{Kind: Chunked}, "a", "", true},
		{"too long", "1\r\nab\r\n0\r\n\r\n", Framing{Kind: Chunked}, "a", "", true},
		{"bare lf", "1\na\n0\n\n", Framing{Kind: Chunked}, "", "", true},
		{"no size", "\r\n", Framing{Kind: Chunked}, "", "", true},
		{"space", "1 \r\na\r\n0\r\n\r\n", Framing{Kind: Chunked}, "", "", true},
		{"sign", "+1\r\na\r\n0\r\n\r\n", Framing{Kind: Chunked}, "", "", true},
		{"prefix", "0x1\r\na\r\n0\r\n\r\n", Framing{Kind: Chunked}, "", "", true},
		{"overflow", "10000000000000001\r\na\r\n0\r\n\r\n", Framing{Kind: Chunked}, "", "", true},
		{"cr in extension", "1;\ra\r\na\r\n0\r\n\r\n", Framing{Kind: Chunked}, "", "", true},
		{"long extension", "1;" + strings.Repeat("x", 5000) + "\r\na\r\n0\r\n\r\n", Framing{Kind: Chunked}, "", "", true},
		{"folded trailer", "0\r\nX: 1\r\n y\r\n\r\n", Framing{Kind: Chunked}, "", "", true},
		{"long trailers", "0\r\n" + strings.Repeat("X: "+strings.Repeat("a", 1000)+"\r\n", 50) + "\r\n", Framing{Kind: Chunked}, "", "", true},
	} {
		for how, src := range map[string]io.Reader{"whole": strings.NewReader(tc.wire), "by bytes": iotest.OneByteReader(strings.NewReader(tc.wire))} {
			got, b, r, err := readBody(src, tc.f)
			if got != tc.want || (err != nil) != tc.fails {
				t.Errorf("%s, %s: %.40q %v", tc.name, how, got, err)
				continue
			}
			if tc.fails {
				continue
			}
			rest, _ := io.ReadAll(src)
			if left := string(r.Take(r.Buffered())) + string(rest); left != tc.rest {
				t.Errorf("%s, %s: rest %.40q", tc.name, how, left)
			}
			if !b.Done() || b.Count() != int64(len(tc.want)) {
				t.Errorf("%s, %s: done %t, count %d", tc.name, how, b.Done(), b.Count())
			}
			if tc.name == "trailers" && !cmp.Equal(b.Trailer().Fields, []message.Field{{Name: "X-A", Value: "1"}}) {
				t.Errorf("trailers %v", b.Trailer())
			}
		}
	}
}

// What is written is what net/http reads.
func TestWrite(t *testing.T) {
	m, _, err := readRequest("POST /x?y HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nX-A: 2\r\nTransfer-Encoding: chunked\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	out := AppendRequest(nil, &m.Request)
	out = appendChunk(out, []byte("hello"))
	out = appendChunk(out, nil)
	out = AppendLastChunk(out, &message.Header{Fields: []message.Field{{Name: "X-T", Value: "t"}}})
	req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(out)))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(req.Body)
	if err != nil || string(body) != "hello" || req.RequestURI != "/x?y" || req.Host != "h" || len(req.Header["X-A"]) != 2 || req.Trailer.Get("x-t") != "t" {
		t.Errorf("%q %v %+v", body, err, req)
	}
}

// Naming fields in Connection is answered by a search for each: as many as there may be fields are taken, no more.
func TestConnectionOptions(t *testing.T) {
	for n, refused := range map[int]bool{MaxFields: false, MaxFields + 1: true, 30000: true} {
		_, _, err := readRequest("GET / HTTP/1.1\r\nHost: h\r\nConnection: close" + strings.Repeat(",x", n) + "\r\n\r\n")
		if (err != nil) != refused {
			t.Errorf("%d options: %v", n, err)
		}
	}
}
