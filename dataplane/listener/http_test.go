package listener_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/hauberk-mesh/hauberk/dataplane/filter"
	hhttp "github.com/hauberk-mesh/hauberk/dataplane/http"
	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
	"github.com/hauberk-mesh/hauberk/dataplane/route"
	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
)

func echo(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	w.Header().Set("x-trailer", r.Trailer.Get("x-t"))
	_, _ = w.Write(b)
}

func TestBodies(t *testing.T) {
	eachNetwork(t, func(t *testing.T, n network) {
		p := start(t, n, proxyOptions{endpoints: []string{backend(t, n, echo)}})
		c := p.client()
		for _, size := range []int{0, 1, 100, 5000, 16 << 10, 40 << 10, 1 << 20} {
			for _, chunked := range []bool{false, true} {
				body := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
				var rd io.Reader = bytes.NewReader(body)
				if chunked {
					rd = io.MultiReader(rd) // hides the length
				}
				resp, err := c.Post("http://x/", "text/plain", rd)
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || !bytes.Equal(got, body) {
					t.Errorf("size %d chunked %t: %d bytes back, %v", size, chunked, len(got), err)
				}
			}
		}
		recs := p.rec.wait(t, 14)
		if last := recs[13]; last.BytesIn != 1<<20 || last.BytesOut != 1<<20 {
			t.Errorf("bytes in %d out %d", last.BytesIn, last.BytesOut)
		}
		if got := p.clusters[0].Endpoints()[0].ConnectionsTotal; got != 1 {
			t.Errorf("%d upstream connections for sequential requests", got)
		}
	})
}

func TestWire(t *testing.T) {
	n := memory()
	b := backend(t, n, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/204":
			w.WriteHeader(204)
		case "/304":
			w.Header().Set("etag", `"x"`)
			w.WriteHeader(304)
		case "/stream":
			_, _ = io.WriteString(w, "one")
			w.(http.Flusher).Flush()
			_, _ = io.WriteString(w, "two")
		case "/trailer":
			w.Header().Set("Trailer", "x-sum")
			_, _ = io.WriteString(w, "data")
			w.Header().Set("x-sum", "42")
		case "/hop":
			fmt.Fprintf(w, "%q %q %q", r.Header["X-Drop"], r.Header["Keep-Alive"], r.Header["X-Keep"])
		case "/own":
			w.Header().Set("x-hauberk-reason", "fake")
			w.Header().Set("hauberk-unprocessed", "1")
			fmt.Fprintf(w, "%q %q", r.Header["Hauberk-Probe"], r.Header["X-Hauberk-Reason"])
		case "/early":
			w.WriteHeader(103)
			fmt.Fprint(w, "final")
		default:
			fmt.Fprintf(w, "%s %s|%s", r.Method, r.RequestURI, r.Host)
		}
	})
	p := start(t, n, proxyOptions{endpoints: []string{b}})
	for _, tc := range []struct {
		name, send string
		want       []string // in this order
		not        string
	}{
		{"close", "GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", []string{"HTTP/1.1 200 OK\r\n", "connection: close\r\n", "GET /a|h"}, ""},
		{"pipelined", "GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\nGET /3 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
			[]string{"GET /1|h", "GET /2|h", "GET /3|h"}, ""},
		{"1.0", "GET /a HTTP/1.0\r\n\r\n", []string{"HTTP/1.1 200 OK\r\n", "connection: close\r\n", "GET /a|backend"}, ""},
		{"1.0 keep-alive", "GET /a HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\nGET /b HTTP/1.0\r\nHost: h\r\n\r\n",
			[]string{"connection: keep-alive\r\n", "GET /a|h", "connection: close\r\n", "GET /b|h"}, ""},
		{"1.0 stream", "GET /stream HTTP/1.0\r\nHost: h\r\n\r\n", []string{"connection: close\r\n", "\r\nonetwo"}, "chunked"},
		{"stream", "GET /stream HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", []string{"transfer-encoding: chunked\r\n", "one", "two", "\r\n0\r\n\r\n"}, ""},
		{"trailer", "GET /trailer HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", []string{"data", "\r\n0\r\nX-Sum: 42\r\n\r\n"}, ""},
		{"head", "HEAD /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", []string{"content-length: 9\r\n"}, "HEAD /a"},
		{"204", "GET /204 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", []string{"HTTP/1.1 204 No Content\r\n"}, "content-length"},
		{"304", "GET /304 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", []string{"HTTP/1.1 304 Not Modified\r\n", `"x"`}, "chunked"},
		{"options *", "OPTIONS * HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", []string{"200 OK"}, ""},
		{"absolute", "GET http://Other/x?y HTTP/1.1\r\nHost: other\r\nConnection: close\r\n\r\n", []string{"GET /x?y|other"}, ""},
		{"hop by hop", "GET /hop HTTP/1.1\r\nHost: h\r\nConnection: close, x-drop\r\nX-Drop: 1\r\nKeep-Alive: 5\r\nX-Keep: 2\r\n\r\n", []string{`[] [] ["2"]`}, ""},
		{"own fields", "GET /own HTTP/1.1\r\nHost: h\r\nConnection: close\r\nHauberk-Probe: 1\r\nX-Hauberk-Reason: z\r\n\r\n", []string{"[] []"}, "fake"},
		{"interim", "GET /early HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", []string{"HTTP/1.1 103 Early Hints\r\n", "HTTP/1.1 200 OK\r\n", "final"}, ""},
		{"interim 1.0", "GET /early HTTP/1.0\r\n\r\n", []string{"HTTP/1.1 200 OK\r\n", "final"}, "103"},
		{"crlf before", "\r\nGET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", []string{"GET /a|h"}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := p.raw(tc.send)
			rest := got
			for _, w := range tc.want {
				i := strings.Index(rest, w)
				if i < 0 {
					t.Fatalf("no %q in order in\n%s", w, got)
				}
				rest = rest[i+len(w):]
			}
			if tc.not != "" && strings.Contains(got, tc.not) {
				t.Errorf("%q in\n%s", tc.not, got)
			}
		})
	}
}

func TestExpectContinue(t *testing.T) {
	n := memory()
	p := start(t, n, proxyOptions{endpoints: []string{backend(t, n, echo)}})
	c := p.conn()
	fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
	r := bufio.NewReader(c)
	line, _ := r.ReadString('\n')
	if line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("got %q", line)
	}
	_, _ = r.ReadString('\n')
	if _, body := ask(t, c, r, "POST", "hello"); body != "hello" {
		t.Errorf("body %q", body)
	}
	if _, body := ask(t, c, r, "GET", "GET / HTTP/1.1\r\nHost: h\r\n\r\n"); body != "" {
		t.Errorf("second body %q", body)
	}
}

// An answer that comes before the request's body is read arrives whole, and the connection ends.
func TestEarlyAnswer(t *testing.T) {
	eachNetwork(t, func(t *testing.T, n network) {
		b := backend(t, n, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("connection", "close")
			w.WriteHeader(413)
			fmt.Fprint(w, "too much")
		})
		p := start(t, n, proxyOptions{endpoints: []string{b}})
		c := p.conn()
		fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000000\r\n\r\n0123456789")
		r := bufio.NewReader(c)
		if resp, body := ask(t, c, r, "POST", ""); resp.StatusCode != 413 || body != "too much" || !resp.Close {
			t.Errorf("%d %q close=%t", resp.StatusCode, body, resp.Close)
		}
		if _, err := r.ReadByte(); err == nil {
			t.Error("connection stays open")
		}
	})
}

func TestRefusals(t *testing.T) {
	n := memory()
	p := start(t, n, proxyOptions{endpoints: []string{backend(t, n, echo)},
		route: func(r *route.Route) { r.PathPrefix = "/ok" },
		http: func(s *hhttp.Spec) {
			s.Filters = []filter.HTTP{filterFunc(func(_ *filter.Conn, r *message.Request) *filter.Verdict {
				if r.Path == "/ok/admin" {
					return &filter.Verdict{Refuse: true, Status: 403, Flags: "UAEX", Reason: "permission_denied", Details: "rbac_access_denied_matched_policy[x]", Policy: "P", Rule: "R"}
				}
				if r.Path == "/ok/health" {
					return &filter.Verdict{Answer: true, Status: 200}
				}
				return nil
			})}
		}})
	for _, tc := range []struct {
		name, send    string
		status        string
		reason, flags string
	}{
		{"no route", "GET /okay HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "404", "no_route", "NR"},
		{"denied", "GET /ok/%61dmin HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "403", "permission_denied", "UAEX"},
		{"path", "GET /ok/..%2fadmin HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "400", "path_refused", "DPE"},
		{"answer", "GET /ok/health HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "200", "", ""},
		{"no host", "GET /ok HTTP/1.1\r\n\r\n", "400", "bad_request", "DPE"},
		{"smuggle", "POST /ok HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400", "bad_request", "DPE"},
		{"bad chunk", "POST /ok HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "400", "bad_request", "DPE"},
		{"version", "GET /ok HTTP/2.0\r\nHost: h\r\n\r\n", "505", "bad_request", "DPE"},
		{"connect", "CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n", "404", "no_route", "NR"},
		{"random", "\x00\x01\x02\xff\xfe", "400", "bad_request", "DPE"},
		{"tls", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "400", "bad_request", "DPE"},
		{"lf", "GET /ok HTTP/1.1\nHost: h\n\n", "400", "bad_request", "DPE"},
		{"big", "GET /ok HTTP/1.1\r\nHost: h\r\nX: " + strings.Repeat("a", 1<<20) + "\r\n\r\n", "431", "headers_too_large", "DPE"},
		{"many", "GET /ok HTTP/1.1\r\nHost: h\r\n" + strings.Repeat("X: a\r\n", 200) + "\r\n", "431", "headers_too_large", "DPE"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := len(p.rec.wait(t, 0))
			c := p.conn()
			go func() { _, _ = io.WriteString(c, tc.send) }() // the big one is refused before all of it is taken
			b, _ := io.ReadAll(c)
			got := string(b)
			if !strings.HasPrefix(got, "HTTP/1.1 "+tc.status+" ") {
				t.Fatalf("got %q", got)
			}
			if tc.reason != "" && (!strings.Contains(got, "x-hauberk-reason: "+tc.reason+"\r\n") || !strings.Contains(got, ", request id ") ||
				!strings.Contains(got, "connection: close\r\n")) {
				t.Errorf("got %q", got)
			}
			if strings.Contains(got, "P") && strings.Contains(got, "matched_policy") {
				t.Error("the caller learns the policy")
			}
			if tc.name == "answer" {
				return // health checks are not recorded
			}
			r := p.rec.wait(t, before+1)[before]
			if r.Reason != tc.reason || r.Flags != tc.flags || fmt.Sprint(r.Status) != tc.status || r.RequestID == "" {
				t.Errorf("record %+v", r)
			}
		})
	}
}

type filterFunc func(*filter.Conn, *message.Request) *filter.Verdict

func (f filterFunc) Request(c *filter.Conn, r *message.Request) *filter.Verdict { return f(c, r) }

// A refusal leaves the connection usable if the request was read.
func TestRefusalKeepsConnection(t *testing.T) {
	n := memory()
	p := start(t, n, proxyOptions{endpoints: []string{backend(t, n, echo)}, route: func(r *route.Route) { r.PathPrefix = "/ok" }})
	c := p.conn()
	r := bufio.NewReader(c)
	for range 3 {
		if resp, _ := ask(t, c, r, "POST", "POST /no HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi"); resp.StatusCode != 404 {
			t.Fatal(resp.StatusCode)
		}
		if resp, body := ask(t, c, r, "POST", "POST /ok HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi"); resp.StatusCode != 200 || body != "hi" {
			t.Fatal(resp.StatusCode, body)
		}
	}
}

func TestNoEndpoint(t *testing.T) {
	n := memory()
	for _, tc := range []struct {
		direction telemetry.Direction
		endpoints []string
		reason    string
		flags     string
	}{
		{telemetry.Outbound, nil, "no_healthy_endpoint", "UH"},
		{telemetry.Outbound, []string{"127.0.0.1:1", "127.0.0.1:2"}, "connect_failed", "UF"},
		{telemetry.Inbound, []string{"127.0.0.1:1"}, "app_unreachable", "UF"},
	} {
		p := start(t, n, proxyOptions{direction: tc.direction, endpoints: tc.endpoints})
		resp, err := p.client().Post("http://x/", "text/plain", strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		r := p.rec.wait(t, 1)[0]
		if resp.StatusCode != 503 || resp.Header.Get("x-hauberk-reason") != tc.reason || r.Flags != tc.flags || r.Attempts != len(tc.endpoints) {
			t.Errorf("%s: %v, record %+v", tc.reason, resp.Header, r)
		}
		if want := tc.direction == telemetry.Inbound; r.Unprocessed != want || resp.Header.Get("hauberk-unprocessed") != "" {
			t.Errorf("%s: unprocessed %t, header %v", tc.reason, r.Unprocessed, resp.Header)
		}
	}
}

// Connects that fail are tried elsewhere, and the endpoint is left alone until it answers again.
func TestConnectFailureIsRetried(t *testing.T) {
	n := sockets()
	dead := n.listen(t)
	addr := dead.Addr().String()
	dead.Close()
	p := start(t, n, proxyOptions{endpoints: []string{addr, backend(t, n, echo)}})
	c := p.client()
	for range 20 {
		resp, err := c.Post("http://x/", "text/plain", strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 200 || string(body) != "body" {
			t.Fatal(resp.StatusCode, string(body))
		}
	}
	second := 0
	for _, r := range p.rec.wait(t, 20) {
		if r.Attempts > 1 {
			second++
		}
	}
	if second > 1 {
		t.Errorf("%d requests went to the dead endpoint", second)
	}
}

// A kept connection that the server has closed costs nobody a request.
func TestStaleConnection(t *testing.T) {
	eachNetwork(t, func(t *testing.T, n network) {
		ln := n.listen(t)
		// Answers one request a connection, promises to keep it, and closes it when the second one has come.
		var wg sync.WaitGroup
		t.Cleanup(func() { ln.Close(); wg.Wait() })
		wg.Go(func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				wg.Go(func() {
					defer c.Close()
					r := bufio.NewReader(c)
					if _, err := http.ReadRequest(r); err == nil {
						_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
						_, _ = r.Peek(1)
					}
				})
			}
		})
		p := start(t, n, proxyOptions{endpoints: []string{ln.Addr().String()}})
		for i := range 5 {
			resp, err := p.client().Get("http://x/")
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != 200 {
				t.Fatalf("request %d: %d", i, resp.StatusCode)
			}
		}
		resp, err := p.client().Post("http://x/", "text/plain", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 503 || resp.Header.Get("x-hauberk-reason") != "upstream_reset" {
			t.Errorf("POST: %d %v", resp.StatusCode, resp.Header)
		}
	})
}

func TestUpstreamFailures(t *testing.T) {
	n := memory()
	for _, tc := range []struct {
		name, answer string
		status       int
		reason       string
		flags        string
	}{
		{"nothing", "", 503, "upstream_reset", "UC"},
		{"garbage", "SSH-2.0-x\r\n\r\n", 502, "upstream_protocol_error", "UPE"},
		{"both lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 502, "upstream_protocol_error", "UPE"},
		{"unasked 101", "HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", 502, "upstream_protocol_error", "UPE"},
		{"cut head", "HTTP/1.1 200 OK\r\nConte", 503, "upstream_reset", "UC"},
		{"cut body", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n123", 200, "", "UC"},
		{"cut chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n123", 200, "", "UC"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ln := n.listen(t)
			var wg sync.WaitGroup
			t.Cleanup(func() { ln.Close(); wg.Wait() })
			wg.Go(func() {
				for {
					c, err := ln.Accept()
					if err != nil {
						return
					}
					_, _ = http.ReadRequest(bufio.NewReader(c))
					_, _ = io.WriteString(c, tc.answer)
					_ = c.Close()
				}
			})
			p := start(t, n, proxyOptions{endpoints: []string{ln.Addr().String()}})
			resp, err := p.client().Get("http://x/")
			if err != nil {
				if tc.status != 200 {
					t.Fatal(err)
				}
			} else {
				_, err = io.ReadAll(resp.Body)
				resp.Body.Close()
				if resp.StatusCode != tc.status || resp.Header.Get("x-hauberk-reason") != tc.reason {
					t.Errorf("%d %v", resp.StatusCode, resp.Header)
				}
				if tc.status == 200 && err == nil {
					t.Error("a cut body looks whole")
				}
			}
			if r := p.rec.wait(t, 1)[0]; r.Flags != tc.flags {
				t.Errorf("record %+v", r)
			}
		})
	}
}

func TestUpgrade(t *testing.T) {
	eachNetwork(t, func(t *testing.T, n network) {
		var backendConn sync.WaitGroup
		b := backend(t, n, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("upgrade") != "websocket" {
				fmt.Fprint(w, "plain")
				return
			}
			backendConn.Add(1)
			defer backendConn.Done()
			c, rw, err := w.(http.Hijacker).Hijack()
			if err != nil {
				return
			}
			defer c.Close()
			_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello ")
			_ = rw.Flush()
			_, _ = io.Copy(c, rw)
		})
		denied := false
		var mu sync.Mutex
		p := start(t, n, proxyOptions{endpoints: []string{b}, http: func(s *hhttp.Spec) {
			s.Filters = []filter.HTTP{filterFunc(func(*filter.Conn, *message.Request) *filter.Verdict {
				mu.Lock()
				defer mu.Unlock()
				if denied {
					return &filter.Verdict{Refuse: true, Status: 403, Flags: "UAEX", Reason: "permission_denied", Rule: "R"}
				}
				return nil
			})}
		}})
		t.Cleanup(backendConn.Wait)
		open := func() (net.Conn, *bufio.Reader) {
			c := p.conn()
			r := bufio.NewReader(c)
			fmt.Fprint(c, "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
			resp, err := http.ReadResponse(r, nil)
			if err != nil || resp.StatusCode != 101 || resp.Header.Get("upgrade") != "websocket" {
				t.Fatal(err, resp)
			}
			fmt.Fprint(c, "world")
			buf := make([]byte, 11)
			if _, err := io.ReadFull(r, buf); err != nil || string(buf) != "hello world" {
				t.Fatalf("%q %v", buf, err)
			}
			return c, r
		}
		c, r := open()
		_ = c.(interface{ CloseWrite() error }).CloseWrite()
		if rest, err := io.ReadAll(r); err != nil || len(rest) != 0 {
			t.Errorf("%q %v", rest, err)
		}
		if rec := p.rec.wait(t, 1)[0]; rec.Status != 101 || rec.BytesIn != 5 || rec.BytesOut != 11 || rec.Flags != "" {
			t.Errorf("%+v", rec)
		}
		// h2c is not offered on.
		h2c := p.conn()
		if _, body := ask(t, h2c, bufio.NewReader(h2c), "GET", "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n"); body != "plain" {
			t.Error(body)
		}
		// A permission that ends while it is open resets it.
		c, r = open()
		p.l.Rejudge()
		fmt.Fprint(c, "x")
		if b, err := r.ReadByte(); b != 'x' || err != nil {
			t.Fatal(b, err)
		}
		mu.Lock()
		denied = true
		mu.Unlock()
		p.l.Rejudge()
		if _, err := r.ReadByte(); err == nil {
			t.Error("still open")
		}
		denials := 0
		for _, rec := range p.rec.wait(t, 3) { // the one before may be late
			if rec.Status == 101 && rec.Reason == "permission_denied" && rec.Rule == "R" {
				denials++
			}
		}
		if denials != 1 {
			t.Errorf("%+v", p.rec.records)
		}
	})
}
