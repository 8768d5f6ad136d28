package listener_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/route"
)

// slowly answers each request after some time, and its content in two pieces with as much time between.
func slowly(wait time.Duration, chunked bool) func(c net.Conn, r *bufio.Reader) {
	return func(c net.Conn, r *bufio.Reader) {
		for {
			if _, err := http.ReadRequest(r); err != nil {
				return
			}
			time.Sleep(wait)
			if chunked {
				fmt.Fprint(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
				time.Sleep(wait)
				fmt.Fprint(c, "6\r\nsecond\r\n0\r\n\r\n")
			} else {
				fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nfirst")
				time.Sleep(wait)
				fmt.Fprint(c, "second")
			}
		}
	}
}

// A client that has ended its sending side waits for its answer, and gets it whole, however slowly it comes.
func TestHalfClosedClient(t *testing.T) {
	for _, chunked := range []bool{false, true} {
		for _, minor := range []int{0, 1} {
			t.Run(fmt.Sprintf("chunked=%t 1.%d", chunked, minor), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					n := memory()
					p := start(t, n, proxyOptions{endpoints: []string{script(t, n, slowly(3*time.Second, chunked))},
						route: func(r *route.Route) { r.RequestTimeout = 15 * time.Second }})
					c := patient(p.conn())
					r := bufio.NewReader(c)
					if minor == 1 { // what an earlier exchange has left on the connection does not count
						ask(t, c, r, "GET", "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
						time.Sleep(20 * time.Second)
					}
					fmt.Fprintf(c, "GET / HTTP/1.%d\r\nHost: h\r\n\r\n", minor)
					_ = c.(interface{ CloseWrite() error }).CloseWrite()
					resp, err := http.ReadResponse(r, nil)
					for err == nil && resp.StatusCode == 100 {
						resp, err = http.ReadResponse(r, nil)
					}
					if err != nil {
						t.Fatal(err)
					}
					if body, err := io.ReadAll(resp.Body); string(body) != "firstsecond" || err != nil {
						t.Errorf("%q %v", body, err)
					}
					if rest, err := io.ReadAll(r); len(rest) != 0 || err != nil {
						t.Errorf("after it: %q %v", rest, err)
					}
					c.Close()
					p.stop()
				})
			})
		}
	}
}

// A client that is gone is noticed within two ticks: before its answer, and in an answer whose framing lets it be asked.
func TestGoneClient(t *testing.T) {
	for _, phase := range []string{"before", "in"} {
		t.Run(phase, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := memory()
				gone := make(chan time.Time, 1)
				p := start(t, n, proxyOptions{endpoints: []string{script(t, n, func(c net.Conn, r *bufio.Reader) {
					_, _ = http.ReadRequest(r)
					if phase == "in" {
						fmt.Fprint(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
					}
					_, _ = r.Peek(1)
					gone <- time.Now()
				})}})
				c := patient(p.conn())
				fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
				if phase == "in" {
					resp, err := http.ReadResponse(bufio.NewReader(c), nil)
					if err != nil {
						t.Fatal(err)
					}
					_, _ = io.ReadFull(resp.Body, make([]byte, 5))
				}
				time.Sleep(10 * time.Second)
				closed := time.Now()
				c.Close()
				if took := (<-gone).Sub(closed); took > 2*time.Second {
					t.Errorf("after %s", took)
				}
				if rec := p.rec.wait(t, 1)[0]; rec.Flags != "DC" {
					t.Errorf("%+v", rec)
				}
				p.stop()
			})
		})
	}
}

// On sockets a client that is gone answers with a reset whatever it is sent.
func TestGoneClientOnSockets(t *testing.T) {
	n := sockets()
	gone := make(chan struct{})
	p := start(t, n, proxyOptions{endpoints: []string{script(t, n, func(c net.Conn, r *bufio.Reader) {
		_, _ = http.ReadRequest(r)
		_, _ = r.Peek(1)
		close(gone)
	})}})
	c, err := n.dial(context.Background(), "tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	c.Close()
	select {
	case <-gone:
	case <-time.After(10 * time.Second):
		t.Error("the server still waits")
	}
}
