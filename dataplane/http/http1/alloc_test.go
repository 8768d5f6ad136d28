//go:build !race

package http1

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
)

// scripted is a connection that gives what its script says, message by message, and takes anything.
type scripted struct {
	next    func() []byte
	rest    []byte
	written int
}

func (c *scripted) Read(p []byte) (int, error) {
	if len(c.rest) == 0 {
		c.rest = c.next()
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func (c *scripted) Write(p []byte) (int, error)      { c.written += len(p); return len(p), nil }
func (c *scripted) Close() error                     { return nil }
func (c *scripted) LocalAddr() net.Addr              { return nil }
func (c *scripted) RemoteAddr() net.Addr             { return nil }
func (c *scripted) SetDeadline(time.Time) error      { return nil }
func (c *scripted) SetReadDeadline(time.Time) error  { return nil }
func (c *scripted) SetWriteDeadline(time.Time) error { return nil }

// counter is a message with a number in it that is another one each time.
type counter struct {
	n    int
	wire []byte
	at   []int // of the number's digits
}

func (c *counter) next() []byte {
	c.n++
	for _, at := range c.at {
		for i, n := 5, c.n; i >= 0; i, n = i-1, n/10 {
			c.wire[at+i] = byte('0' + n%10)
		}
	}
	return c.wire
}

func newCounter(wire string) *counter {
	c := &counter{wire: []byte(wire)}
	for i := range wire {
		if wire[i] == '#' && (i == 0 || wire[i-1] != '#') {
			c.at = append(c.at, i)
		}
	}
	return c
}

// proxied is what a request costs in this package: read, written on, its response read and written back.
func proxied(t testing.TB, request, response string) func() {
	down := NewServer(&scripted{next: newCounter(request).next})
	up := NewClient(&scripted{next: newCounter(response).next})
	var m message.Response
	relay := func(from message.Content, to message.Outlet) {
		for !from.Done() {
			p, err := to.Room()
			if err != nil {
				t.Fatal(err)
			}
			n, err := from.Read(p)
			if err != nil && err != io.EOF {
				t.Fatal(err)
			}
			if err := to.Send(n); err != nil {
				t.Fatal(err)
			}
		}
		if err := to.End(from.Trailer()); err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		if err := down.Next(); err != nil {
			t.Fatal(err)
		}
		if err := down.ReadHead(); err != nil {
			t.Fatal(err)
		}
		if err := up.Request(down.Head(), false); err != nil {
			t.Fatal(err)
		}
		relay(down, up)
		if err := up.Response(&m); err != nil {
			t.Fatal(err)
		}
		if err := down.Respond(&m, false); err != nil {
			t.Fatal(err)
		}
		relay(up, down)
		if !down.Keep() || !up.Reusable() {
			t.Fatal("the connections can not go on")
		}
		up.Release()
	}
}

const (
	allocRequest = "GET /orders/######?page=1 HTTP/1.1\r\nHost: orders.mesh:8080\r\nUser-Agent: curl/8\r\nAccept: */*\r\n" +
		"Connection: keep-alive\r\nX-Request-Id: ######\r\n\r\n"
	allocPost = "POST /orders/###### HTTP/1.1\r\nHost: orders.mesh\r\nConnection: te, x-hop\r\nTE: trailers\r\nX-Hop: 1\r\n" +
		"Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n0\r\nX-Sum: ######\r\n\r\n"
	allocResponse = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nDate: Mon, 21 Oct 2013 20:13:21 GMT\r\nX-Id: ######\r\n" +
		"Content-Length: 5\r\n\r\nhello"
	allocChunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6;a=\"b\"\r\n######\r\n0\r\nX-Sum: ######\r\n\r\n"
)

func TestExchangesDoNotAllocate(t *testing.T) {
	for _, c := range []struct{ name, request, response string }{
		{"GET", allocRequest, allocResponse},
		{"chunks and trailers", allocPost, allocChunks},
	} {
		exchange := proxied(t, c.request, c.response)
		for range 100 {
			exchange()
		}
		if n := testing.AllocsPerRun(1000, exchange); n != 0 {
			t.Errorf("%s: %v allocations", c.name, n)
		}
	}
}

func BenchmarkExchange(b *testing.B) {
	exchange := proxied(b, allocRequest, allocResponse)
	b.ReportAllocs()
	for b.Loop() {
		exchange()
	}
}
