package listener_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/upstream"
)

// What a request and a connection may cost: DESIGN.md section 8.

// varied makes keep-alive requests whose path and one header are never the same twice, without allocating itself.
type varied struct {
	c   net.Conn
	req []byte
	at  [2]int // where the number is
	n   int
	buf [4096]byte
}

func vary(c net.Conn) *varied {
	v := &varied{c: c, req: []byte("GET /some/path/00000000?x=1 HTTP/1.1\r\nHost: backend\r\nUser-Agent: bench\r\nAccept: */*\r\n" +
		"X-Varies: 00000000\r\nX-Request-Id: 0123456789abcdef\r\n\r\n")}
	v.at[0] = bytes.Index(v.req, []byte("00000000"))
	v.at[1] = bytes.LastIndex(v.req, []byte("00000000"))
	return v
}

func (v *varied) once(t testing.TB) {
	v.n++
	for _, at := range v.at {
		for i, n := 7, v.n; i >= 0; i, n = i-1, n/10 {
			v.req[at+i] = byte('0' + n%10)
		}
	}
	if _, err := v.c.Write(v.req); err != nil {
		t.Fatal(err)
	}
	for got := 0; ; {
		n, err := v.c.Read(v.buf[got:])
		if err != nil {
			t.Fatal(err)
		}
		if got += n; bytes.HasSuffix(v.buf[:got], []byte("\r\n\r\nhello")) {
			return
		}
	}
}

// allocations is how many there are a request, after a warm-up, the collector's own aside.
func allocations(t testing.TB, c net.Conn) float64 {
	v := vary(c)
	for range 500 {
		v.once(t)
	}
	const runs = 2000
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range runs {
		v.once(t)
	}
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs-before.Mallocs) / runs
}

// A proxied HTTP/1.1 keep-alive request whose path and one header vary allocates nothing.
func TestAllocationsOfVariedRequests(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	n := sockets()
	p := start(t, n, proxyOptions{endpoints: []string{app(t, n)}, quiet: true})
	if got := allocations(t, p.conn()); got > 0.1 {
		t.Errorf("%.2f allocations a request", got)
	}
}

// Two hops with mutual TLS and HTTP/2 between them: crypto/tls allocates once for each read.
func TestAllocationsOfTwoHops(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	n := sockets()
	ca := newAuthority(t)
	in := start(t, n, proxyOptions{direction: 1, endpoints: []string{app(t, n)}, serverTLS: ca.h2server(idBackend), quiet: true})
	out := start(t, n, proxyOptions{endpoints: []string{in.addr}, clientTLS: ca.h2client(idFrontend), quiet: true,
		cluster: func(s *upstream.Spec) { s.Protocol = upstream.HTTP2 }})
	if got := allocations(t, out.conn()); got > 2.1 {
		t.Errorf("%.2f allocations a request over both proxies", got)
	}
}

// Ten thousand requests, one after the other, need one connection.
func TestSequentialRequestsReuseOneConnection(t *testing.T) {
	for _, protocol := range []upstream.Protocol{upstream.HTTP1, upstream.HTTP2} {
		n := memory()
		addr := app(t, n)
		if protocol == upstream.HTTP2 {
			addr = server(t, n, h2up, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })
		}
		p := start(t, n, proxyOptions{endpoints: []string{addr}, quiet: true, cluster: func(s *upstream.Spec) { s.Protocol = protocol }})
		v := vary(p.conn())
		for range 10000 {
			v.once(t)
		}
		if e := p.clusters[0].Endpoints()[0]; e.ConnectionsTotal != 1 || e.RequestsTotal != 10000 || e.RequestErrors != 0 {
			t.Errorf("%+v", e)
		}
	}
}

// resident is the memory of heap and stacks, and how many goroutines there are, once all is quiet.
func resident() (bytes int64, goroutines int) {
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse), runtime.NumGoroutine()
}

// A plain HTTP/1.1 connection that has carried a request and waits for the next one holds less than 4 KB and no goroutine; one
// of HTTP/2 has its tables and its reader, and for some seconds a writer and a handler that wait: less than 24 KB.
func TestIdleConnections(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector holds memory of its own")
	}
	for _, tc := range []struct {
		down       version
		many       int
		bytes      int64
		goroutines float64
	}{{h1, 1500, 4 << 10, 0.1}, {h2c, 250, 24 << 10, 3.1}} {
		t.Run(string(tc.down), func(t *testing.T) {
			n := sockets()
			p := start(t, n, proxyOptions{endpoints: []string{app(t, n)}, quiet: true})
			many := tc.many
			conns := make([]net.Conn, many)
			buf := make([]byte, 4096)
			open := func(i int) {
				c, err := n.dial(context.Background(), "tcp", p.addr) // not p.conn: a test's cleanups are memory too
				if err != nil {
					t.Fatal(err)
				}
				conns[i] = c
				if tc.down == h1 {
					fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
					for got := 0; !bytes.HasSuffix(buf[:got], []byte("hello")); {
						k, err := c.Read(buf[got:])
						if err != nil {
							t.Fatal(err)
						}
						got += k
					}
					return
				}
				f := framesClient(t, c)
				f.request(1, true, "GET", "/")
				if got := f.status(1); got != "200" {
					t.Fatal(got)
				}
			}
			for i := range 50 { // what is made once
				open(i)
			}
			const quiet = 1500 * time.Millisecond // after which a connection of HTTP/1 is parked
			time.Sleep(quiet)                     // sockets have no fake time
			before, g0 := resident()
			for i := 50; i < many; i++ {
				open(i)
			}
			time.Sleep(quiet)
			after, g1 := resident()
			each, goroutines := (after-before)/int64(many-50), float64(g1-g0)/float64(many-50)
			t.Logf("%d bytes, %.2f goroutines a connection", each, goroutines)
			if each > tc.bytes || goroutines > tc.goroutines {
				t.Errorf("%d bytes and %.2f goroutines a connection", each, goroutines)
			}
			for _, c := range conns {
				c.Close()
			}
		})
	}
}

// What was borrowed is given back, whatever has become of the requests: goroutines, requests in hand, connections.
func TestNothingIsHeldAfterwards(t *testing.T) {
	eachChain(t, func(t *testing.T, c chain) {
		n := memory()
		addr := server(t, n, c.up, func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/cut":
				_, _ = w.Write(pattern(50000))
				panic(http.ErrAbortHandler)
			case "/early":
				w.WriteHeader(413)
			case "/deaf":
				_, _ = w.Write(pattern(1 << 20))
			default:
				echo(w, r)
			}
		})
		r := c.begin(t, n, []string{addr})
		client := r.client(t)
		for i := range 60 {
			path := []string{"/cut", "/early", "/deaf", "/", "/204"}[i%5]
			var body io.Reader
			if i%3 > 0 {
				body = onlyReader{strings.NewReader(strings.Repeat("x", 1000*i))}
			}
			req, _ := http.NewRequest("POST", "http://backend"+path, body)
			resp, err := client.Do(req)
			if err != nil {
				continue
			}
			if path != "/deaf" {
				_, _ = io.Copy(io.Discard, resp.Body)
			}
			resp.Body.Close()
		}
		time.Sleep(3 * time.Second)
		for _, p := range []*proxy{r.entry, r.exit} {
			if e := p.clusters[0].Endpoints()[0]; e.RequestsActive != 0 {
				t.Errorf("%+v", e)
			}
		}
		// The connections are as good as new.
		for range 5 {
			if resp, body := do(t, client, "POST", "/", strings.NewReader("hello")); resp.StatusCode != 200 || body != "hello" {
				t.Errorf("%d %q", resp.StatusCode, body)
			}
		}
	})
}
