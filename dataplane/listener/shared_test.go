package listener_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/hauberk-mesh/hauberk/dataplane/route"
	"github.com/hauberk-mesh/hauberk/dataplane/upstream"
)

// Connections of HTTP/2 to endpoints, which many requests share.

func overHTTP2(s *upstream.Spec) { s.Protocol = upstream.HTTP2 }

// A request that a server's GOAWAY does not cover was not processed: it goes on another connection, to the same endpoint if
// there is no other one, whatever its method is.
func TestGoAwayCostsNoRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memory()
		var connections atomic.Int32
		addr := framesServer(t, n, nil, func(p *peer) {
			served := 0
			most := 1 + int(connections.Add(1)) // the first serves 2, the next 3, ...
			for {
				f := p.nextHead()
				if f == nil {
					return
				}
				if served++; served > most {
					_ = p.WriteGoAway(f.StreamID-2, http2.ErrCodeNo, nil)
					_, _ = io.Copy(io.Discard, p.Conn)
					return
				}
				p.headers(f.StreamID, true, ":status", "200")
			}
		})
		p := start(t, n, proxyOptions{endpoints: []string{addr}, cluster: overHTTP2})
		c := patient(p.conn())
		r := bufio.NewReader(c)
		for i := range 20 {
			if resp, _ := ask(t, c, r, "POST", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi"); resp.StatusCode != 200 {
				t.Errorf("request %d: %d %s", i, resp.StatusCode, resp.Header.Get("x-hauberk-reason"))
			}
		}
		if got := connections.Load(); got < 4 {
			t.Errorf("only %d connections: no GOAWAY was met", got)
		}
		c.Close()
		p.stop()
	})
}

// REFUSED_STREAM is tried elsewhere, POST with content too; any other reset may have been processed, and is not.
func TestRefusedStream(t *testing.T) {
	for code, want := range map[http2.ErrCode]int{http2.ErrCodeRefusedStream: 200, http2.ErrCodeInternal: 503, http2.ErrCodeCancel: 503} {
		t.Run(code.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := memory()
				var refused atomic.Int32
				refusing := framesServer(t, n, nil, func(p *peer) {
					for {
						switch f := p.next().(type) {
						case nil:
							return
						case *http2.MetaHeadersFrame:
							refused.Add(1)
							_ = p.WriteRSTStream(f.StreamID, code)
						}
					}
				})
				serving := server(t, n, h2up, echo)
				p := start(t, n, proxyOptions{endpoints: []string{refusing, serving}, cluster: overHTTP2})
				c := patient(p.conn())
				r := bufio.NewReader(c)
				seen := map[int]int{}
				for range 10 {
					resp, body := ask(t, c, r, "POST", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi")
					seen[resp.StatusCode]++
					if resp.StatusCode == 200 && body != "hi" {
						t.Errorf("%q", body)
					}
				}
				if refused.Load() == 0 || seen[want] == 0 || want == 200 && seen[503] != 0 {
					t.Errorf("%v, %d refused", seen, refused.Load())
				}
				c.Close()
				p.stop()
				p.t.(*testing.T).Log(seen)
			})
		})
	}
}

// A shared connection that is lost before a response has begun costs an idempotent request nothing.
func TestLostConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memory()
		var connections atomic.Int32
		addr := framesServer(t, n, nil, func(p *peer) {
			first := connections.Add(1) == 1
			for i := 0; ; i++ {
				f, ok := p.next().(*http2.MetaHeadersFrame)
				if !ok || first && i == 1 {
					return // without a word
				}
				p.headers(f.StreamID, true, ":status", "200")
			}
		})
		p := start(t, n, proxyOptions{endpoints: []string{addr}, cluster: overHTTP2})
		c := patient(p.conn())
		r := bufio.NewReader(c)
		for i := range 3 {
			if resp, _ := ask(t, c, r, "GET", "GET / HTTP/1.1\r\nHost: h\r\n\r\n"); resp.StatusCode != 200 {
				t.Errorf("request %d: %d", i, resp.StatusCode)
			}
		}
		if got := connections.Load(); got != 2 {
			t.Errorf("%d connections", got)
		}
		c.Close()
		p.stop()
	})
}

// With only one connection allowed, what has much content shares it: nobody is refused for that.
func TestHeavyWithOneConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memory()
		addr := server(t, n, h2up, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/heavy" {
				_, _ = w.Write(pattern(2 << 20))
				w.(http.Flusher).Flush()
				<-r.Context().Done()
				return
			}
			_, _ = io.WriteString(w, "light")
		})
		p := start(t, n, proxyOptions{endpoints: []string{addr}, cluster: func(s *upstream.Spec) {
			s.Protocol = upstream.HTTP2
			s.Limits = &upstream.Limits{Connections: 1, Pending: upstream.NoLimit, Requests: upstream.NoLimit, Retries: upstream.NoLimit}
		}})
		heavy := patient(p.conn())
		fmt.Fprint(heavy, "GET /heavy HTTP/1.1\r\nHost: h\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(heavy), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(resp.Body, make([]byte, 2<<20)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		c := patient(p.conn())
		if resp, body := ask(t, c, bufio.NewReader(c), "GET", "GET / HTTP/1.1\r\nHost: h\r\n\r\n"); resp.StatusCode != 200 || body != "light" {
			t.Errorf("%d %q", resp.StatusCode, body)
		}
		heavy.Close()
		c.Close()
		p.stop()
	})
}

// What has much content has its connection to itself: others get another one, and come back once it is done.
func TestHeavyHasItsConnectionToItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memory()
		go1 := make(chan struct{})
		var mu sync.Mutex
		froms := map[string]string{}
		addr := server(t, n, h2up, func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			froms[r.URL.Path] = r.RemoteAddr
			mu.Unlock()
			if r.URL.Path == "/heavy" {
				_, _ = w.Write(pattern(2 << 20))
				w.(http.Flusher).Flush()
				<-go1
			}
		})
		p := start(t, n, proxyOptions{endpoints: []string{addr}, cluster: overHTTP2})
		heavy, c := patient(p.conn()), patient(p.conn())
		hr, r := bufio.NewReader(heavy), bufio.NewReader(c)
		get := func(path string) { ask(t, c, r, "GET", "GET "+path+" HTTP/1.1\r\nHost: h\r\n\r\n") }
		get("/before")
		fmt.Fprint(heavy, "GET /heavy HTTP/1.1\r\nHost: h\r\n\r\n")
		resp, err := http.ReadResponse(hr, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(resp.Body, make([]byte, 2<<20)); err != nil {
			t.Fatal(err)
		}
		get("/beside")
		close(go1)
		_, _ = io.ReadAll(resp.Body)
		get("/after")
		if froms["/before"] != froms["/heavy"] || froms["/beside"] == froms["/heavy"] || froms["/after"] != froms["/heavy"] {
			t.Errorf("%v", froms)
		}
		heavy.Close()
		c.Close()
		p.stop()
	})
}

// As many streams on one connection as the server allows and no more than a hundred, then another one.
func TestStreamsPerConnection(t *testing.T) {
	for _, tc := range []struct {
		allowed     uint32
		requests    int
		connections int64
	}{{1000, 100, 1}, {1000, 101, 2}, {10, 25, 3}, {1, 4, 4}} {
		t.Run(fmt.Sprint(tc.allowed, tc.requests), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := memory()
				hold := make(chan struct{})
				ln := n.listen(t)
				s := &http.Server{Protocols: new(http.Protocols), HTTP2: &http.HTTP2Config{MaxConcurrentStreams: int(tc.allowed)},
					Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hold })}
				s.Protocols.SetUnencryptedHTTP2(true)
				go s.Serve(ln)
				p := start(t, n, proxyOptions{endpoints: []string{ln.Addr().String()}, cluster: overHTTP2})
				var all []net.Conn
				for range tc.requests {
					c := patient(p.conn())
					fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
					all = append(all, c)
				}
				synctest.Wait()
				if e := p.clusters[0].Endpoints()[0]; e.ConnectionsTotal != tc.connections || e.RequestsActive != int64(tc.requests) {
					t.Errorf("%+v", e)
				}
				close(hold)
				for _, c := range all {
					if resp, _ := ask(t, c, bufio.NewReader(c), "GET", ""); resp.StatusCode != 200 {
						t.Error(resp.StatusCode)
					}
					c.Close()
				}
				p.stop()
				s.Close()
			})
		})
	}
}

// An identity that was renewed is used at once: old connections go on to the end of their streams, and take no new ones.
func TestRotatedIdentity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memory()
		ca := newAuthority(t)
		hold := make(chan struct{})
		var epoch atomic.Uint64
		app := server(t, n, h1, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/held" {
				<-hold
			}
			_, _ = io.WriteString(w, r.URL.Path)
		})
		in := start(t, n, proxyOptions{direction: 1, endpoints: []string{app}, serverTLS: ca.h2server(idBackend)})
		identity := ca.h2client(idFrontend)
		identity.Epoch = epoch.Load
		out := start(t, n, proxyOptions{endpoints: []string{in.addr}, clientTLS: identity, cluster: overHTTP2})
		held, c := patient(out.conn()), patient(out.conn())
		r := bufio.NewReader(c)
		fmt.Fprint(held, "GET /held HTTP/1.1\r\nHost: h\r\n\r\n")
		synctest.Wait()
		total := func() int64 { return out.clusters[0].Endpoints()[0].ConnectionsTotal }
		active := func() int64 { return out.clusters[0].Endpoints()[0].ConnectionsActive }
		get := "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
		ask(t, c, r, "GET", get)
		if total() != 1 {
			t.Fatalf("%d connections", total())
		}
		epoch.Add(1)
		for range 3 {
			ask(t, c, r, "GET", get)
		}
		if total() != 2 || active() != 2 {
			t.Errorf("%d connections, %d open", total(), active())
		}
		close(hold)
		if resp, body := ask(t, held, bufio.NewReader(held), "GET", ""); resp.StatusCode != 200 || body != "/held" {
			t.Errorf("%d %q", resp.StatusCode, body)
		}
		time.Sleep(2 * time.Second)
		if active() != 1 {
			t.Errorf("%d connections are open after the old one's last stream", active())
		}
		held.Close()
		c.Close()
		out.stop()
		in.stop()
	})
}

// A leaf that has expired opens no stream: the ingress says that nothing was processed, and hangs up when it is done.
func TestExpiredLeaf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memory()
		ca := newAuthority(t)
		hold := make(chan struct{})
		app := server(t, n, h1, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/held" {
				<-hold
			}
		})
		in := start(t, n, proxyOptions{direction: 1, endpoints: []string{app}, serverTLS: ca.h2server(idBackend)})
		raw := patient(in.conn())
		c := framesClient(t, tlsClient(t, raw, ca, time.Hour), http2.Setting{})
		c.request(1, true, "GET", "/held")
		time.Sleep(2 * time.Hour)
		c.request(3, true, "GET", "/")
		f, ok := c.next().(*http2.MetaHeadersFrame)
		if !ok || f.PseudoValue("status") != "503" {
			t.Fatalf("%v", f)
		}
		fields := map[string]string{}
		for _, h := range f.Fields {
			fields[h.Name] = h.Value
		}
		if fields["x-hauberk-reason"] != "peer_expired" || fields["hauberk-unprocessed"] != "1" {
			t.Errorf("%v", fields)
		}
		goaway := false
		close(hold)
		held := ""
		for {
			f := c.next()
			if f == nil {
				break
			}
			switch f := f.(type) {
			case *http2.GoAwayFrame:
				goaway = true
			case *http2.MetaHeadersFrame:
				held = f.PseudoValue("status")
			}
		}
		if !goaway || held != "200" {
			t.Errorf("goaway %t, the stream from before: %q", goaway, held)
		}
		raw.Close()
		in.stop()
	})
}

// A change to WebSocket that the endpoint's version of HTTP/2 does not know is refused with a reason, and nothing hangs.
func TestUpgradeThatTheServerDoesNotKnow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memory()
		p := start(t, n, proxyOptions{endpoints: []string{server(t, n, h2up, echo)}, cluster: overHTTP2})
		c := patient(p.conn())
		resp, _ := ask(t, c, bufio.NewReader(c), "GET", "GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
		if resp.StatusCode != 503 || resp.Header.Get("x-hauberk-reason") != "connect_failed" {
			t.Errorf("%d %v", resp.StatusCode, resp.Header)
		}
		if rec := p.rec.wait(t, 1)[0]; !strings.Contains(rec.TransportFailure, "extended CONNECT") {
			t.Errorf("%+v", rec)
		}
		c.Close()
		p.stop()
	})
}

// A server that takes nothing holds no request for longer than it may last, though others' bytes stand before it.
func TestTimeoutBehindOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memory()
		hold := make(chan struct{})
		addr := framesServer(t, n, []http2.Setting{{ID: http2.SettingInitialWindowSize, Val: 1 << 30}}, func(p *peer) {
			_ = p.WriteWindowUpdate(0, 1<<30)
			for range 4 { // preface's frames and the first head; then nothing is read
				_, _ = p.ReadFrame()
			}
			<-hold
		})
		p := start(t, n, proxyOptions{endpoints: []string{addr}, cluster: overHTTP2, route: func(r *route.Route) { r.RequestTimeout = 3 * time.Second }})
		blocker := patient(p.conn())
		fmt.Fprint(blocker, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000000\r\n\r\n")
		go func() { _, _ = io.Copy(blocker, endless{}) }()
		synctest.Wait()
		c := patient(p.conn())
		began := time.Now()
		resp, _ := ask(t, c, bufio.NewReader(c), "GET", "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		if took := time.Since(began); resp.StatusCode != 504 || resp.Header.Get("x-hauberk-reason") != "request_timeout" || took != 3*time.Second {
			t.Errorf("%d %s after %s", resp.StatusCode, resp.Header.Get("x-hauberk-reason"), took)
		}
		close(hold)
		blocker.Close()
		c.Close()
		p.stop()
	})
}

// endless is content without an end.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// No request waits longer than it may for a connection that is being made.
func TestTimeoutOfADial(t *testing.T) {
	for _, protocol := range []upstream.Protocol{upstream.HTTP1, upstream.HTTP2} {
		synctest.Test(t, func(t *testing.T) {
			n := memory()
			silent := script(t, n, func(c net.Conn, r *bufio.Reader) { _, _ = io.Copy(io.Discard, r) })
			ca := newAuthority(t)
			p := start(t, n, proxyOptions{endpoints: []string{silent}, clientTLS: ca.h2client(idFrontend),
				route:   func(r *route.Route) { r.RequestTimeout = time.Second },
				cluster: func(s *upstream.Spec) { s.Protocol = protocol; s.ConnectTimeout = 5 * time.Second }})
			c := patient(p.conn())
			began := time.Now()
			resp, _ := ask(t, c, bufio.NewReader(c), "GET", "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
			if took := time.Since(began); resp.StatusCode != 504 || took != time.Second {
				t.Errorf("%d: %d %s after %s", protocol, resp.StatusCode, resp.Header.Get("x-hauberk-reason"), took)
			}
			c.Close()
			p.stop()
		})
	}
}

// A request's time begins when it is here as a whole, and ends on the point also where its content came by and by.
func TestTimeoutAfterAnUpload(t *testing.T) {
	for _, protocol := range []upstream.Protocol{upstream.HTTP1, upstream.HTTP2} {
		synctest.Test(t, func(t *testing.T) {
			n := memory()
			var addr string
			if protocol == upstream.HTTP1 {
				addr = script(t, n, func(c net.Conn, r *bufio.Reader) { _, _ = io.Copy(io.Discard, r) })
			} else {
				addr = server(t, n, h2up, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
			}
			p := start(t, n, proxyOptions{endpoints: []string{addr}, cluster: func(s *upstream.Spec) { s.Protocol = protocol },
				route: func(r *route.Route) { r.RequestTimeout = 250 * time.Millisecond }})
			c := patient(p.conn())
			fmt.Fprint(c, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n")
			time.Sleep(1300 * time.Millisecond)
			fmt.Fprint(c, "body")
			began := time.Now()
			resp, _ := ask(t, c, bufio.NewReader(c), "POST", "")
			if took := time.Since(began); resp.StatusCode != 504 || took != 250*time.Millisecond {
				t.Errorf("%d: %d after %s", protocol, resp.StatusCode, took)
			}
			c.Close()
			p.stop()
		})
	}
}

// A client of HTTP/1.1 gets trailers that were announced, though the response declared its length.
func TestTrailersOfADeclaredLength(t *testing.T) {
	n := memory()
	addr := framesServer(t, n, nil, func(p *peer) {
		for {
			f, ok := p.next().(*http2.MetaHeadersFrame)
			if !ok {
				return
			}
			p.headers(f.StreamID, false, ":status", "200", "content-length", "5", "trailer", "x-sum")
			_ = p.WriteData(f.StreamID, false, []byte("hello"))
			p.headers(f.StreamID, true, "x-sum", "42")
		}
	})
	p := start(t, n, proxyOptions{endpoints: []string{addr}, cluster: overHTTP2})
	resp, err := p.client().Get("http://x/")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if string(body) != "hello" || err != nil || resp.Trailer.Get("x-sum") != "42" {
		t.Errorf("%q %v, trailer %v", body, err, resp.Trailer)
	}
}
