package listener_test

import (
	"bufio"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	hhttp "github.com/hauberk-mesh/hauberk/dataplane/http"
	"github.com/hauberk-mesh/hauberk/dataplane/route"
	"github.com/hauberk-mesh/hauberk/dataplane/upstream"
)

// Connections that change to opaque bytes, in every combination of versions.

const settingConnect http2.SettingID = 8

// accept is the answer to a WebSocket key.
func accept(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// echoSocket accepts an upgrade, says hello and sends back what comes; after the client's end it says bye and ends as well.
func echoSocket(t testing.TB, n network, v version) string {
	if v != h1 {
		return framesServer(t, n, []http2.Setting{{ID: settingConnect, Val: 1}}, func(p *peer) {
			for {
				switch f := p.next().(type) {
				case nil:
					return
				case *http2.MetaHeadersFrame:
					if f.PseudoValue("method") != "CONNECT" || f.PseudoValue("protocol") != "websocket" {
						t.Errorf("%v", f)
					}
					p.headers(f.StreamID, false, ":status", "200")
					_ = p.WriteData(f.StreamID, false, []byte("hello "))
				case *http2.DataFrame:
					_ = p.WriteData(f.StreamID, false, f.Data())
					if f.StreamEnded() {
						_ = p.WriteData(f.StreamID, true, []byte("bye"))
					}
				}
			}
		})
	}
	return script(t, n, func(c net.Conn, r *bufio.Reader) {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		if req.Method != "GET" || req.Header.Get("upgrade") != "websocket" || req.Header.Get("sec-websocket-key") == "" {
			t.Errorf("%v", req)
		}
		fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n\r\nhello ",
			accept(req.Header.Get("sec-websocket-key")))
		_, _ = io.Copy(c, r)
		_, _ = io.WriteString(c, "bye")
	})
}

// socket is the client's end of an upgraded connection.
type socket struct {
	io.Reader
	write func(string)
	half  func() // ends the sending side
	close func()
}

func openSocket(t testing.TB, r *running) *socket {
	raw, err := r.dial()
	if err != nil {
		t.Fatal(err)
	}
	c := patient(raw)
	if r.down == h1 {
		br := bufio.NewReader(c)
		const key = "dGhlIHNhbXBsZSBub25jZQ=="
		fmt.Fprintf(c, "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n\r\n", key)
		resp, err := http.ReadResponse(br, nil)
		if err != nil || resp.StatusCode != 101 || resp.Header.Get("sec-websocket-accept") != accept(key) {
			t.Fatalf("%v %v", err, resp)
		}
		return &socket{Reader: br, write: func(s string) { _, _ = io.WriteString(c, s) },
			half: func() { _ = c.(interface{ CloseWrite() error }).CloseWrite() }, close: func() { _ = c.Close() }}
	}
	p := framesClient(t, c)
	p.headers(1, false, ":method", "CONNECT", ":protocol", "websocket", ":scheme", "http", ":authority", "h", ":path", "/ws", "sec-websocket-version", "13")
	if f := p.nextHead(); f == nil || f.PseudoValue("status") != "200" {
		t.Fatalf("%v", f)
	}
	pr, pw := io.Pipe()
	go func() {
		for {
			f := p.next()
			switch f := f.(type) {
			case nil:
				_ = pw.CloseWithError(io.ErrUnexpectedEOF)
				return
			case *http2.DataFrame:
				_, _ = pw.Write(f.Data())
				if f.StreamEnded() {
					_ = pw.Close()
				}
			case *http2.RSTStreamFrame:
				_ = pw.CloseWithError(http2.StreamError{StreamID: 1, Code: f.ErrCode})
			}
		}
	}()
	return &socket{Reader: pr, write: func(s string) { _ = p.WriteData(1, false, []byte(s)) },
		half: func() { _ = p.WriteData(1, true, nil) }, close: func() { _ = c.Close() }}
}

func TestMatrixWebSocket(t *testing.T) {
	eachChain(t, func(t *testing.T, c chain) {
		n := memory()
		r := c.begin(t, n, []string{echoSocket(t, n, c.up)})
		s := openSocket(t, r)
		s.write("world")
		got := make([]byte, 11)
		if _, err := io.ReadFull(s, got); err != nil || string(got) != "hello world" {
			t.Fatalf("%q %v", got, err)
		}
		time.Sleep(10 * time.Minute)                     // no limit of requests holds for it
		big := strings.Repeat("0123456789abcdef", 1<<11) // as much as all windows have room for
		go func() {
			for i := 0; i < len(big); i += 1 << 13 {
				s.write(big[i : i+1<<13])
			}
			s.half()
		}()
		rest, err := io.ReadAll(s)
		if want := big + "bye"; string(rest) != want || err != nil {
			t.Errorf("%d bytes, want %d, %v", len(rest), len(want), err)
		}
		rec := r.entry.rec.wait(t, 1)[0]
		if rec.Status != 101 || rec.BytesIn != int64(5+len(big)) || rec.BytesOut != int64(11+len(big)+3) || rec.Flags != "" {
			t.Errorf("%+v", rec)
		}
		s.close()
	})
}

func TestMatrixWebSocketIdle(t *testing.T) {
	eachChain(t, func(t *testing.T, c chain) {
		n := memory()
		r := c.begin(t, n, []string{echoSocket(t, n, c.up)}, func(o *proxyOptions) { o.route = func(r *route.Route) { r.StreamIdle = 5 * time.Second } })
		s := openSocket(t, r)
		_, _ = io.ReadFull(s, make([]byte, 6))
		time.Sleep(4 * time.Second)
		s.write("x")
		_, _ = io.ReadFull(s, make([]byte, 1))
		began := time.Now()
		_, _ = io.ReadAll(s)
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("it ended after %s", took)
		}
		// Both proxies see it at the same moment, and one of them is first.
		if rec := r.entry.rec.wait(t, 1)[0]; rec.Flags != "SI" && (c.hops == 1 || rec.Flags != "UC") {
			t.Errorf("flags %q", rec.Flags)
		}
		s.close()
	})
}

// A change of protocol that is not allowed is refused, in both versions, and the connection goes on where it can.
func TestUpgradesRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memory()
		p := start(t, n, proxyOptions{endpoints: []string{server(t, n, h1, echo)}, http: func(s *hhttp.Spec) { s.Upgrades = hhttp.Upgrades{} },
			route: func(r *route.Route) {}})
		c := patient(p.conn())
		resp, _ := ask(t, c, bufio.NewReader(c), "GET", "GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
		if resp.StatusCode != 403 || resp.Header.Get("x-hauberk-reason") != "upgrade_refused" {
			t.Errorf("%d %v", resp.StatusCode, resp.Header)
		}
		f := framesClient(t, patient(p.conn()))
		f.headers(1, false, ":method", "CONNECT", ":protocol", "websocket", ":scheme", "http", ":authority", "h", ":path", "/")
		if got := f.status(1); got != "403" {
			t.Errorf("extended CONNECT: %s", got)
		}
		f.headers(3, false, ":method", "CONNECT", ":authority", "h:1")
		if got := f.status(3); got != "404" { // no route asks for it
			t.Errorf("CONNECT: %s", got)
		}
		f.request(5, true, "GET", "/")
		if got := f.status(5); got != "200" {
			t.Errorf("afterwards: %s", got)
		}
		c.Close()
		f.Conn.Close()
		p.stop()
	})
}

// CONNECT where a route asks for it: ended here, as plain TCP, or sent on.
func TestConnect(t *testing.T) {
	for _, down := range []version{h1, h2c} {
		for _, terminate := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s terminate=%t", down, terminate), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					n := memory()
					addr := script(t, n, func(c net.Conn, r *bufio.Reader) {
						if !terminate {
							req, err := http.ReadRequest(r)
							if err != nil || req.Method != "CONNECT" || req.Host != "there:22" {
								t.Errorf("%v %v", req, err)
							}
							fmt.Fprint(c, "HTTP/1.1 200 OK\r\n\r\n")
						}
						fmt.Fprint(c, "SSH ")
						_, _ = io.Copy(c, r)
						fmt.Fprint(c, "end")
					})
					p := start(t, n, proxyOptions{endpoints: []string{addr}, http: func(s *hhttp.Spec) { s.Upgrades.Connect = true },
						route: func(r *route.Route) { r.Match = &route.Match{Connect: true}; r.ConnectTerminate = terminate }})
					c := patient(p.conn())
					var got []byte
					if down == h1 {
						fmt.Fprint(c, "CONNECT there:22 HTTP/1.1\r\nHost: there:22\r\n\r\nearly ")
						br := bufio.NewReader(c)
						resp, err := http.ReadResponse(br, &http.Request{Method: "CONNECT"})
						if err != nil || resp.StatusCode != 200 {
							t.Fatalf("%v %v", resp, err)
						}
						fmt.Fprint(c, "late ")
						_ = c.(interface{ CloseWrite() error }).CloseWrite()
						got, _ = io.ReadAll(br)
					} else {
						f := framesClient(t, c)
						f.headers(1, false, ":method", "CONNECT", ":authority", "there:22")
						_ = f.WriteData(1, false, []byte("early "))
						if s := f.status(1); s != "200" {
							t.Fatal(s)
						}
						_ = f.WriteData(1, true, []byte("late "))
						for {
							d, ok := f.next().(*http2.DataFrame)
							if !ok {
								break
							}
							if got = append(got, d.Data()...); d.StreamEnded() {
								break
							}
						}
					}
					if string(got) != "SSH early late end" {
						t.Errorf("%q", got)
					}
					c.Close()
					if rec := p.rec.wait(t, 1)[0]; rec.Status != 200 || rec.Flags != "" || rec.BytesIn != 11 || rec.BytesOut != 18 {
						t.Errorf("%+v", rec)
					}
					p.stop()
				})
			})
		}
	}
}

// A terminated CONNECT says why there is no connection, and waits for one no longer than the request may last.
func TestConnectRefused(t *testing.T) {
	for _, tc := range []struct {
		name    string
		cluster func(*upstream.Spec)
		took    time.Duration
		want    string
		flags   string
	}{
		{"overflow", func(s *upstream.Spec) {
			s.Limits = &upstream.Limits{Pending: upstream.NoLimit, Requests: upstream.NoLimit, Retries: upstream.NoLimit}
		}, 0, "503 upstream_overflow", "UO"},
		{"silence", func(s *upstream.Spec) {
			s.ConnectTimeout = time.Minute
			s.TLS = &upstream.TLS{Opaque: &tls.Config{InsecureSkipVerify: true}}
		}, 2 * time.Second, "504 request_timeout", "DT"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := memory()
				addr := script(t, n, func(c net.Conn, r *bufio.Reader) { _, _ = io.Copy(io.Discard, r) })
				p := start(t, n, proxyOptions{endpoints: []string{addr}, http: func(s *hhttp.Spec) { s.Upgrades.Connect = true },
					cluster: tc.cluster, route: func(r *route.Route) {
						r.Match, r.ConnectTerminate, r.MaxStream = &route.Match{Connect: true}, true, 2*time.Second
					}})
				began := time.Now()
				c := patient(p.conn())
				fmt.Fprint(c, "CONNECT there:22 HTTP/1.1\r\nHost: there:22\r\n\r\n")
				resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: "GET"})
				if err != nil {
					t.Fatal(err)
				}
				if got := fmt.Sprint(resp.StatusCode, " ", resp.Header.Get("x-hauberk-reason")); got != tc.want || time.Since(began) != tc.took {
					t.Errorf("%s after %s", got, time.Since(began))
				}
				c.Close()
				if rec := p.rec.wait(t, 1)[0]; rec.Flags != tc.flags {
					t.Errorf("%+v", rec)
				}
				p.stop()
			})
		})
	}
}
