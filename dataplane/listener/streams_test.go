package listener_test

import (
	"bufio"
	"context"
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

	"github.com/hauberk-mesh/hauberk/dataplane/filter"
	hhttp "github.com/hauberk-mesh/hauberk/dataplane/http"
	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
	"github.com/hauberk-mesh/hauberk/dataplane/listener"
	"github.com/hauberk-mesh/hauberk/dataplane/route"
	"github.com/hauberk-mesh/hauberk/dataplane/upstream"
)

// Streams of HTTP/2 that clients open.

// A client's RST_STREAM reaches the server in no time at all, whatever the proxy waits for.
func TestCancelIsPrompt(t *testing.T) {
	for _, up := range []version{h1, h2up} {
		for _, phase := range []string{"waiting", "answering", "uploading", "upload is stuck"} {
			t.Run(string(up)+" "+phase, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					n := memory()
					reached, left := make(chan struct{}), make(chan time.Time, 1)
					addr := server(t, n, up, func(w http.ResponseWriter, r *http.Request) {
						switch phase {
						case "answering":
							w.WriteHeader(200)
							w.(http.Flusher).Flush()
						case "uploading":
							_, _ = io.ReadFull(r.Body, make([]byte, 5))
						}
						close(reached)
						if phase == "uploading" || phase == "upload is stuck" && up == h1 {
							if phase != "uploading" {
								time.Sleep(time.Hour) // then it reads, and finds that it was cut off
							}
							_, _ = io.Copy(io.Discard, r.Body)
						} else {
							<-r.Context().Done()
						}
						left <- time.Now()
					})
					p := start(t, n, proxyOptions{endpoints: []string{addr}, cluster: func(s *upstream.Spec) {
						if up != h1 {
							s.Protocol = upstream.HTTP2
						}
					}})
					c := framesClient(t, patient(p.conn()))
					upload := strings.HasPrefix(phase, "upload")
					if upload {
						c.request(1, false, "POST", "/")
						_ = c.WriteData(1, false, []byte("hello"))
					} else {
						c.request(1, true, "GET", "/")
					}
					go func() {
						for c.next() != nil {
						}
					}()
					<-reached
					if phase == "upload is stuck" { // more than anybody on the way takes
						for range 15 {
							_ = c.WriteData(1, false, pattern(4096))
						}
					}
					synctest.Wait()
					time.Sleep(1300 * time.Millisecond) // between two ticks
					synctest.Wait()
					began := time.Now()
					_ = c.WriteRSTStream(1, http2.ErrCodeCancel)
					synctest.Wait()
					if rec := p.rec.wait(t, 1)[0]; rec.Flags != "DC" || !time.Now().Equal(began) {
						t.Errorf("after %s: %q %q", time.Since(began), rec.Flags, rec.Details)
					}
					if at := <-left; phase != "upload is stuck" && !at.Equal(began) {
						t.Errorf("the server knows after %s", at.Sub(began))
					}
					c.Conn.Close()
					p.stop()
				})
			})
		}
	}
}

// A connection with prior knowledge lives as long as it is used.
func TestPriorKnowledgeOutlivesTheFirstByte(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memory()
		p := start(t, n, proxyOptions{endpoints: []string{server(t, n, h1, echo)}, http: func(s *hhttp.Spec) { s.IdleTimeout = 10 * time.Second }})
		c := framesClient(t, patient(p.conn()))
		for id := uint32(1); id < 20; id += 2 {
			c.request(id, true, "GET", "/")
			if got := c.status(id); got != "200" {
				t.Fatalf("%s after %d requests", got, id/2)
			}
			time.Sleep(7 * time.Second)
		}
		began := time.Now()
		f, ok := c.next().(*http2.GoAwayFrame)
		if took := time.Since(began); !ok || f.ErrCode != http2.ErrCodeNo || took != 3*time.Second {
			t.Errorf("%v after %s", f, took)
		}
		c.Conn.Close()
		p.stop()
	})
}

// A connection that has carried as many requests as it may is drained: the last one is answered.
func TestMaxRequestsOfHTTP2(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memory()
		p := start(t, n, proxyOptions{endpoints: []string{server(t, n, h1, echo)}, http: func(s *hhttp.Spec) { s.MaxRequests = 3 }})
		c := framesClient(t, patient(p.conn()))
		for id := uint32(1); id < 7; id += 2 {
			c.request(id, true, "GET", "/")
			if got := c.status(id); got != "200" {
				t.Errorf("%s", got)
			}
		}
		for c.next() != nil {
		}
		c.Conn.Close()
		p.stop()
	})
}

// The limits of a request end it on the point, in both versions.
func TestTimeoutsOfStreams(t *testing.T) {
	for _, tc := range []struct {
		name   string
		route  func(*route.Route)
		send   func(c *peer)
		after  time.Duration
		status string
		flags  string
	}{
		{"request", func(r *route.Route) { r.RequestTimeout = 3500 * time.Millisecond }, nil, 3500 * time.Millisecond, "504", "UT"},
		{"short request", func(r *route.Route) { r.RequestTimeout = 20 * time.Millisecond }, nil, 20 * time.Millisecond, "504", "UT"},
		{"idle", func(r *route.Route) { r.StreamIdle = 10 * time.Second }, nil, 10 * time.Second, "504", "SI"},
		{"max stream", func(r *route.Route) { r.MaxStream = 7 * time.Second }, nil, 7 * time.Second, "504", "DT"},
		{"content does not come", func(r *route.Route) { r.StreamIdle = 5 * time.Second; r.RequestTimeout = time.Second },
			func(c *peer) { c.request(1, false, "POST", "/never") }, 5 * time.Second, "408", "SI"},
		{"response stalls", func(r *route.Route) { r.StreamIdle = 4 * time.Second },
			func(c *peer) { c.request(1, true, "GET", "/begin") }, 4 * time.Second, "INTERNAL_ERROR", "SI"},
	} {
		for _, up := range []version{h1, h2up} {
			t.Run(tc.name+" "+string(up), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					n := memory()
					addr := server(t, n, up, func(w http.ResponseWriter, r *http.Request) {
						if r.URL.Path == "/begin" {
							_, _ = io.WriteString(w, "begun")
							w.(http.Flusher).Flush()
						}
						_, _ = io.Copy(io.Discard, r.Body)
						<-r.Context().Done()
					})
					p := start(t, n, proxyOptions{endpoints: []string{addr}, route: tc.route, cluster: func(s *upstream.Spec) {
						if up != h1 {
							s.Protocol = upstream.HTTP2
						}
					}})
					c := framesClient(t, patient(p.conn()))
					began := time.Now()
					if tc.send != nil {
						tc.send(c)
					} else {
						c.request(1, true, "GET", "/never")
					}
					got := c.status(1)
					if tc.name == "response stalls" {
						got = c.status(1) // after the head
					}
					if took := time.Since(began); got != tc.status || took != tc.after {
						t.Errorf("%s after %s, want %s after %s", got, took, tc.status, tc.after)
					}
					if rec := p.rec.wait(t, 1)[0]; rec.Flags != tc.flags {
						t.Errorf("flags %q", rec.Flags)
					}
					c.Conn.Close()
					p.stop()
				})
			})
		}
	}
}

// denial is a permission that tests take back, by path.
type denial struct {
	mu    sync.Mutex
	paths string
}

func (d *denial) now(paths string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.paths = paths
}

func (d *denial) filters(s *hhttp.Spec) {
	s.Filters = []filter.HTTP{filterFunc(func(_ *filter.Conn, r *message.Request) *filter.Verdict {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.paths != "" && strings.Contains(d.paths, r.Path) {
			return &filter.Verdict{Refuse: true, Status: 403, Flags: "UAEX", Reason: "permission_denied", Rule: "R", Policy: "P", Details: "D"}
		}
		return nil
	})}
}

// A permission that is taken back ends the streams that it is about at once, by 403 where no response has begun and by a reset
// where one has, however busy or stuck they are, and no other ones.
func TestPermissionTakenBack(t *testing.T) {
	for _, c := range chains() {
		if c.hops == 2 || c.down == h2s {
			continue
		}
		t.Run(c.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := memory()
				var mu sync.Mutex
				ended := map[string]time.Time{}
				addr := server(t, n, c.up, func(w http.ResponseWriter, r *http.Request) {
					defer func() {
						mu.Lock()
						ended[r.URL.Path] = time.Now()
						mu.Unlock()
					}()
					switch r.URL.Path {
					case "/begun", "/kept":
						_, _ = io.WriteString(w, "begun")
						w.(http.Flusher).Flush()
					case "/stuck": // nobody reads it
						for {
							if _, err := w.Write(pattern(1 << 16)); err != nil {
								return
							}
						}
					case "/upload":
						_, _ = io.Copy(io.Discard, r.Body)
						return
					}
					<-r.Context().Done()
				})
				d := &denial{}
				r := c.begin(t, n, []string{addr}, func(o *proxyOptions) { o.http = d.filters })
				client := r.client(t)
				type result struct {
					path, what string
					at         time.Time
				}
				results := make(chan result, 10)
				get := func(path string) {
					var body io.Reader
					method := "GET"
					if path == "/upload" {
						pr, pw := io.Pipe()
						body, method = pr, "POST"
						go func() {
							for {
								if _, err := io.WriteString(pw, "x"); err != nil {
									return
								}
								time.Sleep(100 * time.Millisecond)
							}
						}()
					}
					req, _ := http.NewRequest(method, "http://backend"+path, body)
					resp, err := client.Do(req)
					what := ""
					if err != nil {
						what = "failed"
					} else {
						what = fmt.Sprint(resp.StatusCode)
						if path != "/stuck" {
							if _, err := io.ReadAll(resp.Body); err != nil {
								what += " cut"
							}
						}
						resp.Body.Close()
					}
					results <- result{path, what, time.Now()}
				}
				for _, path := range []string{"/waiting", "/begun", "/upload", "/kept", "/alsokept"} {
					go get(path)
				}
				stuck := patient(r.entry.conn())
				if c.down == h1 {
					fmt.Fprint(stuck, "GET /stuck HTTP/1.1\r\nHost: h\r\n\r\n")
				} else {
					framesClient(t, stuck).request(1, true, "GET", "/stuck")
				}
				time.Sleep(5300 * time.Millisecond)
				synctest.Wait()
				r.entry.l.Rejudge() // nothing has changed
				time.Sleep(5 * time.Second)
				d.now("/waiting /begun /upload /stuck")
				began := time.Now()
				r.entry.l.Rejudge()
				synctest.Wait()
				got := map[string]string{}
				for range len(results) {
					res := <-results
					got[res.path] = res.what
				}
				if got["/waiting"] != "403" || got["/begun"] != "200 cut" || got["/upload"] != "403" && got["/upload"] != "failed" || len(got) != 3 {
					t.Errorf("%v", got)
				}
				flags := map[string]string{}
				for _, rec := range r.entry.rec.wait(t, 4) {
					flags[rec.Path] = rec.Flags + " " + rec.Rule
				}
				synctest.Wait()
				mu.Lock()
				for _, path := range []string{"/waiting", "/begun", "/upload", "/stuck"} {
					late := time.Duration(0)
					if path == "/stuck" && c.down != h1 {
						late = time.Second // what it writes to the connection by itself is given a moment
					}
					if flags[path] != "UAEX R" || ended[path].Sub(began) > late {
						t.Errorf("%s: flags %q, ended %s after", path, flags[path], ended[path].Sub(began))
					}
				}
				mu.Unlock()
				r.entry.cancel() // ends those that are still allowed
				stuck.Close()
				for range 2 {
					<-results
				}
			})
		})
	}
}

// A drain lets HTTP/2 finish: GOAWAY first, streams that come meanwhile are served, then the last one ends the connection.
func TestDrainOfStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memory()
		addr := server(t, n, h1, func(w http.ResponseWriter, r *http.Request) { time.Sleep(4 * time.Second) })
		p := start(t, n, proxyOptions{endpoints: []string{addr}})
		c := framesClient(t, patient(p.conn()))
		c.request(1, true, "GET", "/")
		synctest.Wait()
		began := time.Now()
		drained := make(chan error, 1)
		go func() { drained <- p.l.Drain(context.Background()) }()
		synctest.Wait()
		c.request(3, true, "GET", "/") // it crosses the GOAWAY
		var log []string
		for {
			f := c.next()
			if f == nil {
				break
			}
			switch f := f.(type) {
			case *http2.GoAwayFrame:
				log = append(log, fmt.Sprint("goaway ", f.LastStreamID))
			case *http2.MetaHeadersFrame:
				log = append(log, fmt.Sprint(f.StreamID, " ", f.PseudoValue("status")))
			case *http2.RSTStreamFrame:
				log = append(log, fmt.Sprint(f.StreamID, " reset"))
			}
		}
		if got := strings.Join(log, ", "); got != "goaway 2147483647, goaway 3, 1 200, 3 200" && got != "goaway 2147483647, goaway 3, 3 200, 1 200" {
			t.Errorf("%s", got)
		}
		c.Conn.Close()
		if err := <-drained; err != nil || time.Since(began) > 6*time.Second {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		p.stop()
	})
}

// A bug in a filter ends the stream that met it, and no other one.
func TestPanicEndsOneStream(t *testing.T) {
	n := memory()
	var panics atomic.Int32
	p := start(t, n, proxyOptions{endpoints: []string{server(t, n, h2up, echo)}, cluster: overHTTP2,
		options: func(o *listener.Options) { o.OnPanic = func(any, []byte) { panics.Add(1) } },
		http: func(s *hhttp.Spec) {
			s.Filters = []filter.HTTP{filterFunc(func(_ *filter.Conn, r *message.Request) *filter.Verdict {
				if r.Path == "/bug" {
					panic("bug")
				}
				return nil
			})}
		}})
	c := framesClient(t, p.conn())
	c.request(1, false, "POST", "/")
	c.request(3, true, "GET", "/bug")
	if got := c.status(3); got != "INTERNAL_ERROR" {
		t.Errorf("the stream with the bug: %s", got)
	}
	_ = c.WriteData(1, true, []byte("hi"))
	if got := c.status(1); got != "200" {
		t.Errorf("the other one: %s", got)
	}
	if panics.Load() != 1 {
		t.Errorf("%d panics", panics.Load())
	}
}

// One client that stops reading leaves the others alone that share its way: each of their requests takes no time at all.
func TestOneClientThatStopsReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memory()
		ca := newAuthority(t)
		app := server(t, n, h1, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/much" {
				for {
					if _, err := w.Write(pattern(1 << 16)); err != nil {
						return
					}
				}
			}
			_, _ = w.Write(pattern(10000))
		})
		in := start(t, n, proxyOptions{direction: 1, endpoints: []string{app}, serverTLS: ca.h2server(idBackend)})
		out := start(t, n, proxyOptions{endpoints: []string{in.addr}, clientTLS: ca.h2client(idFrontend), cluster: overHTTP2})
		dead := patient(out.conn())
		fmt.Fprint(dead, "GET /much HTTP/1.1\r\nHost: h\r\n\r\n")
		synctest.Wait()
		began := time.Now()
		var wg sync.WaitGroup
		for range 63 {
			wg.Go(func() {
				c := patient(out.conn())
				defer c.Close()
				r := bufio.NewReader(c)
				for range 20 {
					if resp, body := ask(t, c, r, "GET", "GET /little HTTP/1.1\r\nHost: h\r\n\r\n"); resp.StatusCode != 200 || len(body) != 10000 {
						t.Errorf("%d, %d bytes", resp.StatusCode, len(body))
					}
				}
			})
		}
		wg.Wait()
		if took := time.Since(began); took != 0 {
			t.Errorf("they waited %s", took)
		}
		dead.Close()
		out.stop()
		in.stop()
	})
}

// An ingress that can not reach its application says so over HTTP/2, and the request goes to another one, POST with content
// too; the client never sees the word.
func TestUnprocessedOverHTTP2(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memory()
		ca := newAuthority(t)
		app := server(t, n, h2up, echo)
		var addrs []string
		var ins []*proxy
		for _, e := range []string{"127.0.0.1:1", app} {
			in := start(t, n, proxyOptions{direction: 1, endpoints: []string{e}, serverTLS: ca.h2server(idBackend), cluster: overHTTP2})
			ins, addrs = append(ins, in), append(addrs, in.addr)
		}
		out := start(t, n, proxyOptions{endpoints: addrs, clientTLS: ca.h2client(idFrontend), cluster: overHTTP2})
		c := patient(out.conn())
		r := bufio.NewReader(c)
		for range 10 {
			resp, body := ask(t, c, r, "POST", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody")
			if resp.StatusCode != 200 || body != "body" || resp.Header.Get("hauberk-unprocessed") != "" {
				t.Errorf("%d %q %v", resp.StatusCode, body, resp.Header)
			}
		}
		if len(ins[0].rec.wait(t, 1)) == 0 {
			t.Error("the one without an application was never asked")
		}
		c.Close()
		out.stop()
		for _, in := range ins {
			in.stop()
		}
	})
}

// A proxy's own hop is not to blame for what its application refuses: REFUSED_STREAM of an application travels on as
// unprocessed, to a proxy that knows of another one.
func TestRefusedByTheApplication(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memory()
		ca := newAuthority(t)
		refusing := framesServer(t, n, nil, func(p *peer) {
			for f := p.nextHead(); f != nil; f = p.nextHead() {
				_ = p.WriteRSTStream(f.StreamID, http2.ErrCodeRefusedStream)
			}
		})
		var addrs []string
		var ins []*proxy
		for _, e := range []string{refusing, server(t, n, h2up, echo)} {
			in := start(t, n, proxyOptions{direction: 1, endpoints: []string{e}, serverTLS: ca.h2server(idBackend), cluster: overHTTP2})
			ins, addrs = append(ins, in), append(addrs, in.addr)
		}
		out := start(t, n, proxyOptions{endpoints: addrs, clientTLS: ca.h2client(idFrontend), cluster: overHTTP2})
		c := patient(out.conn())
		r := bufio.NewReader(c)
		for range 10 {
			resp, body := ask(t, c, r, "POST", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody")
			if resp.StatusCode != 200 || body != "body" {
				t.Errorf("%d %q", resp.StatusCode, body)
			}
		}
		c.Close()
		out.stop()
		for _, in := range ins {
			in.stop()
		}
	})
}

// What TLS says about a connection in its midst is no proof that the requests on it were not processed.
func TestAlertUnderRequests(t *testing.T) {
	n := memory()
	ca := newAuthority(t)
	var posts atomic.Int32
	var corrupt atomic.Bool
	ln := n.listen(t)
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			posts.Add(1)
			corrupt.Store(true) // the next record that comes does not decrypt: the server sends an alert
			<-r.Context().Done()
		}
	}), TLSConfig: ca.h2server(idBackend)}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.ServeTLS(corrupting{ln, &corrupt}, "", "") }()
	t.Cleanup(func() { s.Close(); <-done })
	p := start(t, n, proxyOptions{endpoints: []string{ln.Addr().String()}, clientTLS: ca.h2client(idFrontend), cluster: overHTTP2})
	c := framesClient(t, p.conn())
	c.request(1, true, "GET", "/")
	if got := c.status(1); got != "200" {
		t.Fatal(got)
	}
	c.request(3, true, "POST", "/")
	eventually(t, "the request", func() bool { return posts.Load() == 1 })
	c.request(5, true, "GET", "/") // what it brings along does not decrypt
	if got := c.status(3); got != "503" {
		t.Errorf("POST: %s", got)
	}
	if posts.Load() != 1 {
		t.Errorf("the POST was made %d times", posts.Load())
	}
}

// corrupting spoils what is read next of its connections once on is set.
type corrupting struct {
	net.Listener
	on *atomic.Bool
}

func (l corrupting) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return spoiled{c, l.on}, err
}

type spoiled struct {
	net.Conn
	on *atomic.Bool
}

func (c spoiled) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 10 && c.on.CompareAndSwap(true, false) {
		p[n-1] ^= 1
	}
	return n, err
}

// Content that never pauses is not idle, however slowly the client takes it; and what bounds the whole stream ends it though
// nobody ever waits for the server.
func TestContentThatNeverPauses(t *testing.T) {
	for _, c := range chains() {
		if c.hops == 2 || c.down == h2s {
			continue
		}
		t.Run(c.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := memory()
				addr := server(t, n, c.up, func(w http.ResponseWriter, r *http.Request) {
					for {
						if _, err := w.Write(pattern(1 << 16)); err != nil {
							return
						}
					}
				})
				r := c.begin(t, n, []string{addr}, func(o *proxyOptions) {
					o.route = func(r *route.Route) { r.StreamIdle, r.MaxStream = 5*time.Second, 30*time.Second }
				})
				began := time.Now()
				resp, err := r.client(t).Get("http://backend/")
				if err != nil {
					t.Fatal(err)
				}
				buf := make([]byte, 256<<10)
				for err == nil {
					_, err = io.ReadFull(resp.Body, buf)
					time.Sleep(time.Second)
				}
				resp.Body.Close()
				synctest.Wait()
				rec := r.entry.rec.wait(t, 1)[0]
				if rec.Flags != "DT" || rec.Duration < 30*time.Second || rec.Duration > 31*time.Second {
					t.Errorf("flags %q after %s, client after %s", rec.Flags, rec.Duration, time.Since(began))
				}
			})
		})
	}
}
