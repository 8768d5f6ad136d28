package listener_test

//lint:file-ignore SA1019 x/net is the oracle: another implementation than the one that net/http is tested with

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
	"github.com/hauberk-mesh/hauberk/dataplane/upstream"
)

// Every version of HTTP that a client may speak, against every one that a server may, through one proxy and through two.

// version is how one side speaks HTTP.
type version string

const (
	h1   version = "http1"
	h2c  version = "h2c" // prior knowledge
	h2s  version = "h2"  // over TLS, by ALPN
	h2up         = h2c   // upstream: plain HTTP/2
)

// chain is a client's version, a server's, and how many proxies stand between.
type chain struct {
	down, up version
	hops     int
}

func (c chain) String() string { return fmt.Sprintf("%s-%s-%dhop", c.down, c.up, c.hops) }

func chains() (all []chain) {
	for _, hops := range []int{1, 2} {
		for _, down := range []version{h1, h2c, h2s} {
			for _, up := range []version{h1, h2up} {
				all = append(all, chain{down, up, hops})
			}
		}
	}
	return all
}

// eachChain runs f on every chain of the matrix, in fake time.
func eachChain(t *testing.T, f func(t *testing.T, c chain)) {
	for _, c := range chains() {
		t.Run(c.String(), func(t *testing.T) { synctest.Test(t, func(t *testing.T) { f(t, c) }) })
	}
}

// running is a chain that runs: entry is the proxy that clients meet, exit the one in front of the server.
type running struct {
	chain
	entry, exit *proxy
	ca          *authority
	net         network
}

// begin starts the proxies of c in front of servers. Each option is applied to every proxy.
func (c chain) begin(t testing.TB, n network, servers []string, options ...func(*proxyOptions)) *running {
	r := &running{chain: c, net: n}
	if c.down == h2s || c.hops == 2 {
		r.ca = newAuthority(t)
	}
	with := func(o proxyOptions) proxyOptions {
		for _, f := range options {
			f(&o)
		}
		return o
	}
	app := func(o *proxyOptions) {
		before := o.cluster
		o.cluster = func(s *upstream.Spec) {
			if before != nil {
				before(s)
			}
			if c.up != h1 {
				s.Protocol = upstream.HTTP2
			}
		}
	}
	entry := with(proxyOptions{endpoints: servers})
	if c.hops == 2 {
		in := with(proxyOptions{direction: telemetry.Inbound, endpoints: servers, serverTLS: r.ca.h2server(idBackend)})
		app(&in)
		r.exit = start(t, n, in)
		entry.endpoints, entry.clientTLS = []string{r.exit.addr}, r.ca.h2client(idFrontend)
		before := entry.cluster
		entry.cluster = func(s *upstream.Spec) {
			if before != nil {
				before(s)
			}
			s.Protocol = upstream.HTTP2
		}
	} else {
		app(&entry)
	}
	if c.down == h2s {
		entry.serverTLS = r.ca.h2server(idFrontend)
	}
	r.entry = start(t, n, entry)
	if r.exit == nil {
		r.exit = r.entry
	}
	return r
}

func (a *authority) h2server(id string) *tls.Config {
	c := a.server(id)
	c.NextProtos = []string{"h2", "http/1.1"}
	return c
}

func (a *authority) h2client(id string) *upstream.TLS {
	t := a.client(id)
	t.Config.NextProtos = []string{"h2"}
	return t
}

// dial connects to the entry, with TLS if that is how the client speaks.
func (r *running) dial() (net.Conn, error) {
	c, err := r.net.dial(context.Background(), "tcp", r.entry.addr)
	if err != nil || r.down != h2s {
		return c, err
	}
	t := tls.Client(c, r.ca.h2client(idFrontend).Config)
	return t, t.Handshake()
}

// client speaks to the entry.
func (r *running) client(t testing.TB) *http.Client {
	var rt http.RoundTripper
	if r.down == h1 {
		tr := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 200,
			DialContext: func(context.Context, string, string) (net.Conn, error) { return r.dial() }, ExpectContinueTimeout: time.Minute}
		t.Cleanup(tr.CloseIdleConnections)
		rt = tr
	} else {
		tr := &http2.Transport{AllowHTTP: true, DisableCompression: true,
			DialTLSContext: func(context.Context, string, string, *tls.Config) (net.Conn, error) { return r.dial() }}
		t.Cleanup(tr.CloseIdleConnections)
		rt = tr
	}
	return &http.Client{Transport: rt, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// server is a net/http server of either version.
func server(t testing.TB, n network, v version, h http.HandlerFunc) string {
	ln := n.listen(t)
	s := &http.Server{Handler: h, Protocols: new(http.Protocols)}
	s.Protocols.SetHTTP1(v == h1)
	s.Protocols.SetUnencryptedHTTP2(v != h1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(ln)
	}()
	t.Cleanup(func() {
		_ = s.Close()
		<-done
	})
	return ln.Addr().String()
}

// onlyReader hides the length of what it reads.
type onlyReader struct{ io.Reader }

// do sends a request and reads its whole response.
func do(t testing.TB, c *http.Client, method, path string, body io.Reader, edit ...func(*http.Request)) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(method, "http://backend"+path, body)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range edit {
		f(req)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v after %d bytes", method, path, err, len(b))
	}
	return resp, string(b)
}

func pattern(n int) []byte { return bytes.Repeat([]byte("0123456789abcdef"), n/16+1)[:n] }

func TestMatrixBodies(t *testing.T) {
	eachChain(t, func(t *testing.T, c chain) {
		n := memory()
		r := c.begin(t, n, []string{server(t, n, c.up, echo)})
		client := r.client(t)
		for _, size := range []int{0, 1, 511, 512, 513, 4095, 4096, 4097, 16 << 10, 65535, 65536, 65537, 1<<20 + 1} {
			for _, streamed := range []bool{false, true} {
				var body io.Reader = bytes.NewReader(pattern(size))
				if streamed {
					body = onlyReader{body}
				}
				resp, got := do(t, client, "POST", "/", body)
				if resp.StatusCode != 200 || got != string(pattern(size)) {
					t.Errorf("%d bytes, streamed %t: %d, %d bytes back", size, streamed, resp.StatusCode, len(got))
				}
			}
		}
		for _, e := range r.exit.clusters[0].Endpoints() {
			if e.RequestsActive != 0 || e.RequestErrors != 0 || e.RequestsTotal != 26 {
				t.Errorf("%+v", e)
			}
		}
	})
}

func TestMatrixHeads(t *testing.T) {
	eachChain(t, func(t *testing.T, c chain) {
		n := memory()
		addr := server(t, n, c.up, func(w http.ResponseWriter, r *http.Request) {
			h := w.Header()
			h.Set("x-saw", fmt.Sprintf("%s %s %s %q", r.Method, r.RequestURI, r.Host, r.Header["X-Two"]))
			h.Add("set-cookie", "a=1")
			h.Add("set-cookie", "b=2")
			switch r.URL.Path {
			case "/204":
				w.WriteHeader(204)
			case "/304":
				h.Set("etag", `"x"`)
				w.WriteHeader(304)
			case "/length":
				h.Set("content-length", "5")
				_, _ = io.WriteString(w, "12345")
			case "/stream":
				for _, s := range []string{"one", "two", "three"} {
					_, _ = io.WriteString(w, s)
					w.(http.Flusher).Flush()
				}
			}
		})
		r := c.begin(t, n, []string{addr})
		client := r.client(t)
		for _, tc := range []struct {
			method, path string
			status       int
			length       int64
			body         string
		}{
			{"GET", "/204", 204, 0, ""}, {"HEAD", "/204", 204, 0, ""}, {"GET", "/304", 304, 0, ""}, {"HEAD", "/length", 200, 5, ""},
			{"GET", "/length", 200, 5, "12345"}, {"GET", "/stream", 200, -1, "onetwothree"}, {"HEAD", "/stream", 200, -1, ""},
			{"DELETE", "/length", 200, 5, "12345"}, {"OPTIONS", "/length?a=b&c", 200, 5, "12345"},
		} {
			resp, body := do(t, client, tc.method, tc.path, nil, func(r *http.Request) { r.Header["X-Two"] = []string{"a", "b"} })
			if resp.StatusCode != tc.status || body != tc.body || tc.length > 0 && resp.ContentLength != tc.length {
				t.Errorf("%s %s: %d %q, length %d", tc.method, tc.path, resp.StatusCode, body, resp.ContentLength)
			}
			if got, want := resp.Header.Get("x-saw"), fmt.Sprintf(`%s %s backend ["a" "b"]`, tc.method, tc.path); got != want {
				t.Errorf("the server saw %s, want %s", got, want)
			}
			if got := resp.Header["Set-Cookie"]; len(got) != 2 || got[0] != "a=1" || got[1] != "b=2" {
				t.Errorf("%s %s: cookies %q", tc.method, tc.path, got)
			}
		}
		for _, p := range []*proxy{r.entry, r.exit} {
			// On HTTP/2 another frame may take an answer along before its upstream connection is back in the pool.
			if got := p.clusters[0].Endpoints()[0].ConnectionsTotal; got < 1 || got > 2 {
				t.Errorf("%d upstream connections", got)
			}
		}
	})
}

func TestMatrixTrailers(t *testing.T) {
	eachChain(t, func(t *testing.T, c chain) {
		n := memory()
		addr := server(t, n, c.up, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Trailer", "x-down")
			b, _ := io.ReadAll(r.Body)
			_, _ = w.Write(b)
			w.Header().Set("x-down", "got "+r.Trailer.Get("x-up"))
		})
		client := c.begin(t, n, []string{addr}).client(t)
		for _, size := range []int{1, 1000, 200 << 10} {
			resp, body := do(t, client, "POST", "/", onlyReader{bytes.NewReader(pattern(size))}, func(r *http.Request) {
				r.Trailer = http.Header{"X-Up": {"sum"}}
				r.Header.Set("te", "trailers")
			})
			if len(body) != size || resp.Trailer.Get("x-down") != "got sum" {
				t.Errorf("%d of %d bytes, trailer %v", len(body), size, resp.Trailer)
			}
		}
	})
}

func TestMatrixInterim(t *testing.T) {
	eachChain(t, func(t *testing.T, c chain) {
		n := memory()
		addr := server(t, n, c.up, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/hints" {
				w.Header().Set("link", "</a>")
				w.WriteHeader(103)
				w.Header().Set("link", "</b>")
				w.WriteHeader(103)
			}
			echo(w, r)
		})
		client := c.begin(t, n, []string{addr}).client(t)
		var mu sync.Mutex
		var links []string
		trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			mu.Lock()
			defer mu.Unlock()
			links = append(links, fmt.Sprint(code, h.Get("link")))
			return nil
		}}
		resp, body := do(t, client, "POST", "/hints", strings.NewReader("hello"), func(r *http.Request) {
			*r = *r.WithContext(httptrace.WithClientTrace(r.Context(), trace))
		})
		if got := fmt.Sprint(links); got != "[103</a> 103</b>]" || body != "hello" || resp.StatusCode != 200 {
			t.Errorf("%s, then %d %q", got, resp.StatusCode, body)
		}
	})
}

// The client holds its content back until it is asked for it. Nobody but the server asks.
func TestMatrixExpectContinue(t *testing.T) {
	eachChain(t, func(t *testing.T, c chain) {
		n := memory()
		addr := server(t, n, c.up, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/no" {
				w.WriteHeader(417)
				return
			}
			echo(w, r)
		})
		client := c.begin(t, n, []string{addr}).client(t)
		expect := func(r *http.Request) { r.Header.Set("expect", "100-continue") }
		for range 3 {
			if resp, body := do(t, client, "POST", "/", strings.NewReader("hello"), expect); resp.StatusCode != 200 || body != "hello" {
				t.Errorf("%d %q", resp.StatusCode, body)
			}
			if resp, _ := do(t, client, "POST", "/no", strings.NewReader("hello"), expect); resp.StatusCode != 417 {
				t.Errorf("%d", resp.StatusCode)
			}
		}
	})
}

// A server that answers while the upload goes on is heard at once, and both go on side by side.
func TestMatrixEarlyResponse(t *testing.T) {
	eachChain(t, func(t *testing.T, c chain) {
		if c.down == h1 {
			return // net/http's client of HTTP/1.1 does not read while it writes; see TestEarlyAnswer
		}
		n := memory()
		addr := server(t, n, c.up, func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).EnableFullDuplex()
			w.WriteHeader(200)
			w.(http.Flusher).Flush()
			buf := make([]byte, 100)
			for {
				k, err := r.Body.Read(buf)
				_, _ = w.Write(buf[:k])
				w.(http.Flusher).Flush()
				if err != nil {
					return
				}
			}
		})
		r := c.begin(t, n, []string{addr})
		pr, pw := io.Pipe()
		req, _ := http.NewRequest("POST", "http://backend/", pr)
		resp, err := r.client(t).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 50 {
			want := fmt.Sprintf("message %d", i)
			if _, err := io.WriteString(pw, want); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, len(want))
			if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != want {
				t.Fatalf("%q %v", got, err)
			}
		}
		_ = pw.Close()
		if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) != 0 {
			t.Errorf("%q %v", rest, err)
		}
		resp.Body.Close()
		if rec := r.entry.rec.wait(t, 1)[0]; rec.Flags != "" || rec.BytesIn != rec.BytesOut {
			t.Errorf("%+v", rec)
		}
	})
}

// Much in both directions at once: each side's window fills while the other one is read.
func TestMatrixFullDuplex(t *testing.T) {
	eachChain(t, func(t *testing.T, c chain) {
		if c.down == h1 {
			return
		}
		n := memory()
		addr := server(t, n, c.up, func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).EnableFullDuplex()
			_, _ = io.Copy(w, r.Body)
		})
		r := c.begin(t, n, []string{addr})
		client := r.client(t)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				const size = 4 << 20
				req, _ := http.NewRequest("POST", "http://backend/", onlyReader{bytes.NewReader(pattern(size))})
				resp, err := client.Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				defer resp.Body.Close()
				if got, err := io.ReadAll(resp.Body); err != nil || !bytes.Equal(got, pattern(size)) {
					t.Errorf("%d bytes, %v", len(got), err)
				}
			})
		}
		wg.Wait()
		// What had its connection to itself has given it back: the next request needs no other one.
		before := r.entry.clusters[0].Endpoints()[0].ConnectionsTotal
		do(t, client, "GET", "/", nil)
		if after := r.entry.clusters[0].Endpoints()[0].ConnectionsTotal; after != before {
			t.Errorf("%d connections, then %d", before, after)
		}
	})
}

// A client that gives up is felt by the server, through every hop.
func TestMatrixClientCancels(t *testing.T) {
	for _, phase := range []string{"before the response", "in the response", "in the upload"} {
		t.Run(phase, func(t *testing.T) {
			eachChain(t, func(t *testing.T, c chain) {
				n := memory()
				reached, left := make(chan struct{}), make(chan struct{})
				addr := server(t, n, c.up, func(w http.ResponseWriter, r *http.Request) {
					defer close(left)
					switch phase {
					case "in the response":
						_, _ = io.WriteString(w, "begun")
						w.(http.Flusher).Flush()
					case "in the upload":
						_, _ = io.ReadFull(r.Body, make([]byte, 5))
						close(reached)
						if _, err := io.ReadAll(r.Body); err == nil {
							t.Error("an upload that was cut off looks whole")
						}
						return
					}
					close(reached)
					<-r.Context().Done()
				})
				r := c.begin(t, n, []string{addr})
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				var body io.Reader
				if phase == "in the upload" {
					pr, pw := io.Pipe()
					defer context.AfterFunc(ctx, func() { _ = pw.CloseWithError(context.Canceled) })()
					go func() { _, _ = io.WriteString(pw, "hello") }()
					body = pr
				}
				req, _ := http.NewRequestWithContext(ctx, "POST", "http://backend/", body)
				failed := make(chan error, 1)
				client := r.client(t)
				go func() {
					resp, err := client.Do(req)
					if err == nil {
						_, err = io.ReadAll(resp.Body)
						resp.Body.Close()
					}
					failed <- err
				}()
				<-reached
				cancel()
				<-left
				if err := <-failed; !errors.Is(err, context.Canceled) {
					t.Errorf("%v", err)
				}
				if rec := r.entry.rec.wait(t, 1)[0]; rec.Flags != "DC" {
					t.Errorf("flags %q, details %q", rec.Flags, rec.Details)
				}
			})
		})
	}
}

// A response that is cut off looks cut off, whatever carries it.
func TestMatrixServerResets(t *testing.T) {
	eachChain(t, func(t *testing.T, c chain) {
		n := memory()
		read := make(chan struct{})
		addr := server(t, n, c.up, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/head" {
				panic(http.ErrAbortHandler)
			}
			_, _ = w.Write(pattern(100))
			w.(http.Flusher).Flush()
			<-read // a reset takes with it what was not read yet
			panic(http.ErrAbortHandler)
		})
		r := c.begin(t, n, []string{addr})
		client := r.client(t)
		resp, err := client.Get("http://backend/")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.ReadFull(resp.Body, make([]byte, 100))
		close(read)
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err == nil || len(got) != 0 {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if resp, body := do(t, client, "POST", "/head", nil); resp.StatusCode != 503 || resp.Header.Get("x-hauberk-reason") != "upstream_reset" {
			t.Errorf("%d %q", resp.StatusCode, body)
		}
		for i, rec := range r.exit.rec.wait(t, 2)[:2] {
			if rec.Flags != "UC" {
				t.Errorf("record %d: flags %q, details %q", i, rec.Flags, rec.Details)
			}
		}
	})
}

// Connects that fail are answered with the reason, by whichever proxy makes them.
func TestMatrixNobodyThere(t *testing.T) {
	eachChain(t, func(t *testing.T, c chain) {
		n := memory()
		r := c.begin(t, n, []string{"127.0.0.1:1"})
		reason := map[int]string{1: "connect_failed", 2: "app_unreachable"}[c.hops]
		for range 3 {
			resp, _ := do(t, r.client(t), "POST", "/", strings.NewReader("body"))
			if resp.StatusCode != 503 || resp.Header.Get("x-hauberk-reason") != reason || resp.Header.Get("hauberk-unprocessed") != "" {
				t.Errorf("%d %v", resp.StatusCode, resp.Header)
			}
		}
	})
}
