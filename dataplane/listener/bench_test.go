package listener_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
)

// app answers GETs without net/http, so that what is measured is the proxy.
func app(b testing.TB, n network) string {
	answer := []byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n\r\nhello")
	return script(b, n, func(c net.Conn, r *bufio.Reader) {
		for {
			for {
				line, err := r.ReadSlice('\n')
				if err != nil {
					return
				}
				if len(line) == 2 {
					break
				}
			}
			if _, err := c.Write(answer); err != nil {
				return
			}
		}
	})
}

// get makes keep-alive requests on one connection, without allocating.
func get(b *testing.B, c net.Conn) {
	req := []byte("GET /some/path?x=1 HTTP/1.1\r\nHost: backend\r\nUser-Agent: bench\r\nAccept: */*\r\nX-Request-Id: 0123456789abcdef\r\n\r\n")
	buf := make([]byte, 4096)
	resp := 0
	once := func() {
		if _, err := c.Write(req); err != nil {
			b.Fatal(err)
		}
		for got := 0; got == 0 || got < resp; {
			n, err := c.Read(buf)
			if err != nil {
				b.Fatal(err)
			}
			if got += n; resp == 0 {
				resp = got
			}
		}
	}
	once()
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		once()
	}
	b.StopTimer()
}

// BenchmarkProxyHTTP1 is a keep-alive GET through one proxy, on one connection: time is latency.
func BenchmarkProxyHTTP1(b *testing.B) {
	for _, n := range []struct {
		name string
		net  func() network
	}{{"loopback", sockets}, {"memconn", memory}} {
		b.Run(n.name, func(b *testing.B) {
			net := n.net()
			p := start(b, net, proxyOptions{endpoints: []string{app(b, net)}, quiet: true})
			get(b, p.conn())
		})
	}
}

// BenchmarkProxyTwoHops is the same through two proxies with mutual TLS between them.
func BenchmarkProxyTwoHops(b *testing.B) {
	n := sockets()
	ca := newAuthority(b)
	in := start(b, n, proxyOptions{direction: 1, endpoints: []string{app(b, n)}, serverTLS: ca.server(idBackend), quiet: true})
	out := start(b, n, proxyOptions{endpoints: []string{in.addr}, clientTLS: ca.client(idFrontend), quiet: true})
	get(b, out.conn())
}

// BenchmarkProxyBody is bytes of a response's body through one proxy.
func BenchmarkProxyBody(b *testing.B) {
	n := sockets()
	const size = 16 << 20
	chunk := make([]byte, 256<<10)
	p := start(b, n, proxyOptions{quiet: true, endpoints: []string{script(b, n, func(c net.Conn, r *bufio.Reader) {
		for {
			if _, err := http.ReadRequest(r); err != nil {
				return
			}
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", size)
			for range size / len(chunk) {
				if _, err := c.Write(chunk); err != nil {
					return
				}
			}
		}
	})}})
	c := p.conn()
	r := bufio.NewReaderSize(c, 256<<10)
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			b.Fatal(err)
		}
	}
}

// A request's allocations are a budget: strings of two heads and what the sockets take.
func TestAllocationsPerRequest(t *testing.T) {
	n := sockets()
	p := start(t, n, proxyOptions{endpoints: []string{app(t, n)}, quiet: true})
	c := p.conn()
	r := testing.Benchmark(func(b *testing.B) { get(b, c) })
	if got := r.AllocsPerOp(); got > 4 {
		t.Errorf("%d allocations a request", got)
	}
}
