package listener_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	hhttp "github.com/hauberk-mesh/hauberk/dataplane/http"
	"github.com/hauberk-mesh/hauberk/dataplane/listener"
	"github.com/hauberk-mesh/hauberk/dataplane/route"
	"github.com/hauberk-mesh/hauberk/dataplane/upstream"
)

// script is a server that does what each test says with every connection that it gets, in memory and in fake time.
func script(t testing.TB, n network, serve func(c net.Conn, r *bufio.Reader)) string {
	ln := n.listen(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c, bufio.NewReader(c))
			}()
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	return ln.Addr().String()
}

func TestTimeouts(t *testing.T) {
	const hangs = 1000 * time.Hour
	never := func(c net.Conn, r *bufio.Reader) { _, _ = io.Copy(io.Discard, r) }
	get := "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
	for _, tc := range []struct {
		name   string
		serve  func(c net.Conn, r *bufio.Reader)
		route  func(*route.Route)
		http   func(*hhttp.Spec)
		send   string
		after  time.Duration // when the proxy answers
		answer string        // "" is no bytes at all
		flags  string
	}{
		{"request", never, func(r *route.Route) { r.RequestTimeout = 3500 * time.Millisecond }, nil, get,
			3500 * time.Millisecond, "504 request_timeout", "UT"},
		{"stream idle", never, func(r *route.Route) { r.StreamIdle = 10 * time.Second }, nil, get, 10 * time.Second, "504 stream_idle_timeout", "SI"},
		{"max stream", never, func(r *route.Route) { r.MaxStream = 7 * time.Second }, nil, get, 7 * time.Second, "504 request_timeout", "DT"},
		{"body does not come", never, func(r *route.Route) { r.StreamIdle = 10 * time.Second; r.RequestTimeout = time.Second }, nil,
			"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n123", 10 * time.Second, "408 stream_idle_timeout", "SI"},
		{"head does not come", never, nil, func(s *hhttp.Spec) { s.RequestHeaders = 2 * time.Second }, "GET / HT",
			2 * time.Second, "408 request_headers_timeout", ""},
		{"no request", never, nil, func(s *hhttp.Spec) { s.IdleTimeout = 20 * time.Second }, "", 20 * time.Second, "", ""},
		{"max connection", never, nil, func(s *hhttp.Spec) { s.MaxConnection = 15 * time.Second }, "", 15 * time.Second, "", ""},
		{"response stalls", func(c net.Conn, r *bufio.Reader) {
			_, _ = http.ReadRequest(r)
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n123")
			never(c, r)
		}, func(r *route.Route) { r.StreamIdle = 5 * time.Second }, nil, get, 5 * time.Second, "200", "SI"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := memory()
				p := start(t, n, proxyOptions{endpoints: []string{script(t, n, tc.serve)}, route: tc.route, http: tc.http})
				c := p.conn()
				_ = c.SetDeadline(time.Now().Add(hangs))
				began := time.Now()
				_, _ = io.WriteString(c, tc.send)
				r := bufio.NewReader(c)
				_, err := r.Peek(1)
				if tc.answer == "200" {
					_, _ = io.ReadAll(r)
				}
				if took := time.Since(began); took != tc.after {
					t.Errorf("after %s, want %s", took, tc.after)
				}
				switch {
				case tc.answer == "":
					if err == nil {
						t.Error("there is an answer")
					}
				case tc.answer != "200":
					resp, err := http.ReadResponse(r, nil)
					if err != nil {
						t.Fatal(err)
					}
					if got := fmt.Sprint(resp.StatusCode, " ", resp.Header.Get("x-hauberk-reason")); got != tc.answer {
						t.Errorf("got %s, want %s", got, tc.answer)
					}
				}
				c.Close()
				synctest.Wait()
				if tc.answer != "" {
					if recs := p.rec.wait(t, 1); recs[0].Flags != tc.flags {
						t.Errorf("record %+v", recs[0])
					}
				}
				p.stop()
			})
		})
	}
}

// A stream that moves is not idle, however long it takes; a client that has gone ends it within a tick.
func TestSlowStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memory()
		gone := make(chan time.Duration, 1)
		b := script(t, n, func(c net.Conn, r *bufio.Reader) {
			_, _ = http.ReadRequest(r)
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
			for range 10 {
				time.Sleep(4 * time.Second)
				fmt.Fprint(c, "2\r\nhi\r\n")
			}
			at := time.Now()
			_, _ = r.Peek(1) // until the proxy gives up
			gone <- time.Since(at)
		})
		p := start(t, n, proxyOptions{endpoints: []string{b}, route: func(r *route.Route) { r.StreamIdle = 5 * time.Second }})
		c := p.conn()
		_ = c.SetDeadline(time.Now().Add(time.Hour))
		began := time.Now()
		fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 20)
		if _, err := io.ReadFull(resp.Body, buf); err != nil || time.Since(began) != 40*time.Second {
			t.Fatalf("%q %v after %s", buf, err, time.Since(began))
		}
		c.Close()
		if took := <-gone; took > 2*time.Second {
			t.Errorf("the client's end was noticed after %s", took)
		}
		if r := p.rec.wait(t, 1)[0]; r.Flags != "DC" {
			t.Errorf("%+v", r)
		}
		p.stop()
	})
}

func TestProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &switchable{network: memory()}
		var health []string
		up := script(t, n.network, func(c net.Conn, r *bufio.Reader) {
			for {
				if _, err := http.ReadRequest(r); err != nil {
					return
				}
				fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			}
		})
		var spec upstream.Spec
		spec.Protocol = upstream.HTTP1
		spec.Probe = upstream.Probe{Kind: upstream.ProbeHTTP, Interval: time.Second}
		spec.Endpoints = []upstream.EndpointSpec{{Addr: mustAddr(up)}}
		began := time.Now()
		cluster := upstream.Build(nil, spec, upstream.Deps{Dial: n.dial, OnHealth: func(_, _ string, up bool, _ string) {
			health = append(health, fmt.Sprintf("%t %s", up, time.Since(began)))
		}})
		n.broken.Store(true)
		e := cluster.Pick(nil)
		if _, err := cluster.Open(context.Background(), e, false); err == nil {
			t.Fatal("connected")
		}
		if cluster.Ready() || !e.Down() {
			t.Error("still ready")
		}
		time.Sleep(5200 * time.Millisecond)
		n.broken.Store(false)
		time.Sleep(1200 * time.Millisecond)
		synctest.Wait()
		if !cluster.Ready() {
			t.Error("not ready again")
		}
		if got := strings.Join(health, ", "); got != "false 0s, true 5.55s" {
			t.Errorf("health: %s", got)
		}
		if got := n.dials.Load(); got != 10 { // 1, then after 50 ms, 150, 350, 750, 1550, 2550 ...: what is doubled is bounded
			t.Errorf("%d dials", got)
		}
		cluster.Release()
	})
}

func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memory()
		b := script(t, n, func(c net.Conn, r *bufio.Reader) {
			for {
				req, err := http.ReadRequest(r)
				if err != nil {
					return
				}
				if req.URL.Path == "/slow" {
					time.Sleep(10 * time.Second)
				}
				fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			}
		})
		p := start(t, n, proxyOptions{endpoints: []string{b}})
		slow, idle, used := p.conn(), p.conn(), p.conn()
		for _, c := range []net.Conn{slow, idle, used} {
			_ = c.SetDeadline(time.Now().Add(time.Hour))
		}
		fmt.Fprint(slow, "GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
		synctest.Wait()
		began := time.Now()
		drained := make(chan error)
		go func() { drained <- p.l.Drain(context.Background()) }()
		synctest.Wait()
		if _, err := n.dial(context.Background(), "tcp", p.addr); err == nil {
			t.Error("still accepts")
		}
		time.Sleep(500 * time.Millisecond)
		ur := bufio.NewReader(used)
		if resp, body := ask(t, used, ur, "GET", "GET / HTTP/1.1\r\nHost: h\r\n\r\n"); body != "ok" || !resp.Close {
			t.Errorf("%q close=%t", body, resp.Close)
		}
		if b, err := io.ReadAll(idle); len(b) != 0 || err != nil || time.Since(began) != time.Second {
			t.Errorf("idle connection: %q %v after %s", b, err, time.Since(began))
		}
		if resp, body := ask(t, slow, bufio.NewReader(slow), "GET", ""); body != "ok" || !resp.Close {
			t.Errorf("slow: %q close=%t", body, resp.Close)
		}
		if err := <-drained; err != nil || time.Since(began) != 10*time.Second {
			t.Errorf("drained: %v after %s", err, time.Since(began))
		}
		p.stop()
	})
}

func TestDrainDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memory()
		p := start(t, n, proxyOptions{endpoints: []string{script(t, n, func(c net.Conn, r *bufio.Reader) { _, _ = io.Copy(io.Discard, r) })}})
		c := p.conn()
		_ = c.SetDeadline(time.Now().Add(time.Hour))
		fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := p.l.Drain(ctx); err != context.DeadlineExceeded {
			t.Errorf("drain: %v", err)
		}
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("still open")
		}
		p.stop()
	})
}

// Silence on a Permissive TCP inbound is plaintext after 100 ms; a hello that is cut short ends with the handshake's time.
func TestSniffTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memory()
		ca := newAuthority(t)
		b := script(t, n, func(c net.Conn, r *bufio.Reader) { fmt.Fprint(c, "220 hello\r\n"); _, _ = io.Copy(io.Discard, r) })
		p := start(t, n, proxyOptions{endpoints: []string{b}, spec: func(s *listener.Spec) {
			tcpChain(s, 0)
			plain := *s.Chains[0]
			secure := plain
			secure.TLS, secure.Match.Transport, plain.Match.Transport = ca.server(idBackend), listener.TLS, listener.RawBuffer
			s.Sniff, s.SniffTimeout, s.PlaintextOnSniffIdle = true, 100*time.Millisecond, true
			s.Chains = []*listener.Chain{&secure, &plain}
		}})
		c := p.conn()
		_ = c.SetDeadline(time.Now().Add(time.Hour))
		began := time.Now()
		if line, err := bufio.NewReader(c).ReadString('\n'); line != "220 hello\r\n" || time.Since(began) != 100*time.Millisecond {
			t.Errorf("%q %v after %s", line, err, time.Since(began))
		}
		cut := p.conn()
		_ = cut.SetDeadline(time.Now().Add(time.Hour))
		began = time.Now()
		fmt.Fprint(cut, "\x16\x03\x01")
		_, _ = io.ReadAll(cut)
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("after %s", took)
		}
		synctest.Wait()
		if len(p.handshakes) != 1 || !strings.Contains(p.handshakes[0].Error(), "not done after 10s") {
			t.Errorf("%v", p.handshakes)
		}
		c.Close()
		p.stop()
	})
}
