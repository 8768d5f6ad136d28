package http1

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/http/httputil"
	"strings"
	"testing"
	"testing/iotest"
)

// FuzzRequest: what is accepted here net/http accepts too and reads in the same way, and what is written is read back alike.
func FuzzRequest(f *testing.F) {
	for _, s := range []string{
		"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
		"POST /a?b HTTP/1.1\r\nHost: h:1\r\nContent-Length: 3\r\nConnection: x-y, close\r\nX-Y: 1\r\n\r\nabc",
		"POST http://o/p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
		"OPTIONS * HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
		"GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := NewReader(bytes.NewReader(data))
		var m Request
		if err := r.ReadRequest(&m); err != nil {
			var slow Request
			if NewReader(iotest.OneByteReader(bytes.NewReader(data))).ReadRequest(&slow) == nil {
				t.Fatalf("accepted byte by byte, refused at once: %q: %v", data, err)
			}
			return
		}
		trimmed := bytes.TrimPrefix(data, []byte("\r\n"))
		if m.Method == "CONNECT" {
			return // net/http takes anything for its target
		}
		oracle, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(trimmed)))
		if err != nil {
			// net/http parses the target as a URL and is stricter about escapes; the head itself must not be in doubt.
			if !strings.Contains(err.Error(), "parse ") && !strings.Contains(err.Error(), "invalid URI") {
				t.Fatalf("accepted %q, net/http: %v", data, err)
			}
			return
		}
		if oracle.Method != m.Method || oracle.RequestURI != m.Original {
			t.Fatalf("%q: %s %s, net/http: %s %s", data, m.Method, m.Original, oracle.Method, oracle.RequestURI)
		}
		want := int64(0)
		switch m.Body.Kind {
		case Length:
			want = m.Body.Length
		case Chunked:
			want = -1
		}
		if oracle.ContentLength != want {
			t.Fatalf("%q: length %d, net/http: %d", data, want, oracle.ContentLength)
		}
		if !strings.EqualFold(oracle.Host, m.Authority) {
			t.Fatalf("%q: host %q, net/http: %q", data, m.Authority, oracle.Host)
		}
		wire := AppendRequest(nil, &m.Request)
		var again Request
		if err := NewReader(bytes.NewReader(wire)).ReadRequest(&again); err != nil {
			t.Fatalf("%q was written as %q, which is refused: %v", data, wire, err)
		}
		if again.Method != m.Method || again.Path != m.Path || again.Query != m.Query || again.Body != m.Body || again.Authority != m.Authority ||
			len(again.Header.Fields) != len(m.Header.Fields) || again.Upgrade != m.Upgrade {
			t.Fatalf("%q was written as %q", data, wire)
		}
	})
}

// FuzzResponse: what is accepted is framed as net/http frames it.
func FuzzResponse(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"HTTP/1.0 404\r\n\r\nx",
		"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n",
	} {
		f.Add([]byte(s), false)
	}
	f.Fuzz(func(t *testing.T, data []byte, head bool) {
		method := "GET"
		if head {
			method = "HEAD"
		}
		var m Response
		if NewReader(bytes.NewReader(data)).ReadResponse(&m, method) != nil {
			return
		}
		oracle, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(data)), &http.Request{Method: method})
		if err != nil {
			t.Fatalf("accepted %q, net/http: %v", data, err)
		}
		if oracle.StatusCode != m.Status {
			t.Fatalf("%q: %d, net/http: %d", data, m.Status, oracle.StatusCode)
		}
		chunked := len(oracle.TransferEncoding) > 0
		if !head && m.Status >= 200 && m.Status != 204 && m.Status != 304 {
			if chunked != (m.Body.Kind == Chunked) || m.Body.Kind == Length && oracle.ContentLength != m.Body.Length {
				t.Fatalf("%q: %+v, net/http: %v %d", data, m.Body, oracle.TransferEncoding, oracle.ContentLength)
			}
		}
		wire := AppendResponse(nil, &m.Response, responseFraming(&m.Response, method, 1), true, 1)
		var again Response
		if err := NewReader(bytes.NewReader(wire)).ReadResponse(&again, method); err != nil || again.Status != m.Status {
			t.Fatalf("%q was written as %q: %v", data, wire, err)
		}
	})
}

// FuzzChunked: a body that is accepted is read as net/http reads it, however it arrives.
func FuzzChunked(f *testing.F) {
	for _, s := range []string{"0\r\n\r\n", "3\r\nabc\r\n0\r\n\r\nnext", "a;x\r\n0123456789\r\n0\r\nX: y\r\n\r\n", "1\r\nab\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, _, _, err := readBody(bytes.NewReader(data), Framing{Kind: Chunked})
		slow, _, _, slowErr := readBody(iotest.OneByteReader(bytes.NewReader(data)), Framing{Kind: Chunked})
		if got != slow || (err == nil) != (slowErr == nil) {
			t.Fatalf("%q: %q %v at once, %q %v by bytes", data, got, err, slow, slowErr)
		}
		if err != nil {
			return
		}
		want, oerr := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(data)))
		if oerr != nil || string(want) != got {
			t.Fatalf("%q: %q, net/http: %q %v", data, got, want, oerr)
		}
	})
}
