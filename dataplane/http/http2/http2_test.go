package http2

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
	"github.com/hauberk-mesh/hauberk/internal/leak"
	"github.com/hauberk-mesh/hauberk/internal/memconn"
)

func TestMain(m *testing.M) { leak.Main(m) }

// pair returns two ends of a connection, in memory or over TCP.
func pair(t testing.TB, tcp bool) (client, server net.Conn) {
	t.Helper()
	if !tcp {
		a, b := memconn.Pair(&net.TCPAddr{}, &net.TCPAddr{})
		return a, b
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return client, server
}

// serve runs a server on c until the test ends or the connection is over.
func serve(t testing.TB, c net.Conn, o Options, handle func(*Stream)) *Server {
	s := NewServer(c, o)
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(handle) }()
	t.Cleanup(func() { c.Close(); <-done })
	return s
}

func dial(t testing.TB, c net.Conn, o Options) *ClientConn {
	t.Helper()
	cc, err := NewClient(c, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	return cc
}

func onBoth(t *testing.T, f func(t *testing.T, tcp bool)) {
	t.Run("memory", func(t *testing.T) { f(t, false) })
	t.Run("tcp", func(t *testing.T) { f(t, true) })
}

// echo answers with what was sent, trailers included, and tells in headers what it saw.
func echo(st *Stream) {
	q := st.Head()
	m := message.Response{Status: 200, Length: message.Unknown}
	m.Header.Add("X-Method", q.Method)
	m.Header.Add("x-path", q.Path+q.Query)
	m.Header.Add("x-authority", q.Authority)
	m.Header.Add("x-cookie", q.Header.Get("cookie"))
	m.Header.Add("x-length", fmt.Sprint(q.Length))
	if q.Length == message.Absent {
		_ = st.Respond(&m, true)
		return
	}
	if err := st.Respond(&m, false); err != nil {
		return
	}
	for {
		room, err := st.Room()
		if err != nil {
			return
		}
		n, err := st.Read(room)
		if err == io.EOF {
			break
		}
		if err != nil || st.Send(n) != nil {
			st.Abort()
			return
		}
		if st.Available() == 0 && st.Flush() != nil {
			return
		}
	}
	_ = st.End(st.Trailer())
}

func get(authority, path string) *message.Request {
	return &message.Request{Method: "GET", Scheme: "http", Authority: authority, Path: path, Length: message.Absent}
}

// roundTrip sends a request with a body (nil: none) and reads the whole response.
func roundTrip(cc *ClientConn, q *message.Request, body []byte, trailer *message.Header) (*message.Response, []byte, *message.Header, error) {
	st, err := cc.Open()
	if err != nil {
		return nil, nil, nil, err
	}
	defer st.Release()
	sent := make(chan error, 1)
	if err := st.Request(q, body == nil); err != nil {
		return nil, nil, nil, err
	}
	if body == nil {
		sent <- nil
	} else {
		go func() {
			err := st.Write(body)
			if err == nil {
				err = st.End(trailer)
			}
			sent <- err
		}()
	}
	defer func() { <-sent }()
	var m message.Response
	if err := st.Response(&m); err != nil {
		return nil, nil, nil, err
	}
	for i := range m.Header.Fields {
		f := &m.Header.Fields[i]
		f.Name, f.Value = strings.Clone(f.Name), strings.Clone(f.Value)
	}
	var got []byte
	buf := make([]byte, 10_000)
	for {
		n, err := st.Read(buf)
		got = append(got, buf[:n]...)
		if err == io.EOF {
			break
		}
		if err != nil {
			return &m, got, nil, err
		}
	}
	tr := &message.Header{}
	for _, f := range st.Trailer().Fields {
		tr.Add(strings.Clone(f.Name), strings.Clone(f.Value))
	}
	return &m, got, tr, nil
}

func TestOwnClientAndServer(t *testing.T) {
	onBoth(t, func(t *testing.T, tcp bool) {
		a, b := pair(t, tcp)
		serve(t, b, Options{}, echo)
		cc := dial(t, a, Options{})
		m, body, _, err := roundTrip(cc, get("example.com", "/a"), nil, nil)
		if err != nil || m.Status != 200 || len(body) != 0 || m.Length != 0 || m.Header.Get("x-length") != "-2" {
			t.Fatal(m, body, err)
		}
		for _, size := range []int{0, 1, 500, 513, 16384, 70_000, 3_000_000} {
			q := get("example.com", "/a?b")
			q.Method, q.Length = "POST", int64(size)
			sent := bytes.Repeat([]byte("0123456"), size/7+1)[:size]
			m, body, trailer, err := roundTrip(cc, q, sent, &message.Header{Fields: []message.Field{{Name: "Sum", Value: "7"}}})
			if err != nil || m.Status != 200 || !bytes.Equal(body, sent) || trailer.Get("sum") != "7" || m.Header.Get("x-path") != "/a?b" {
				t.Fatal(size, m, len(body), trailer, err)
			}
		}
		if n := cc.Streams(); n != 0 {
			t.Error(n, "streams are left")
		}
	})
}

func TestManyStreams(t *testing.T) {
	onBoth(t, func(t *testing.T, tcp bool) {
		a, b := pair(t, tcp)
		serve(t, b, Options{}, echo)
		cc := dial(t, a, Options{})
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				for j := range 5 {
					q := get("example.com", fmt.Sprintf("/%d/%d", i, j))
					q.Method, q.Length = "POST", message.Unknown
					sent := bytes.Repeat([]byte{byte(i)}, 1000*i)
					m, body, _, err := roundTrip(cc, q, sent, nil)
					if err != nil || !bytes.Equal(body, sent) || m.Header.Get("x-path") != q.Path {
						t.Error(i, j, m, len(body), err)
						return
					}
				}
			})
		}
		wg.Wait()
	})
}

// transport is net/http's client, which is golang.org/x/net's, on one connection.
func transport(t *testing.T, c net.Conn, maxFrame int) *http.ClientConn {
	t.Helper()
	tr := &http.Transport{Protocols: new(http.Protocols), HTTP2: &http.HTTP2Config{MaxReadFrameSize: maxFrame},
		DialContext: func(context.Context, string, string) (net.Conn, error) { return c, nil }}
	tr.Protocols.SetUnencryptedHTTP2(true)
	cc, err := tr.NewClientConn(t.Context(), "http", "h:80")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	return cc
}

// netHTTP is net/http's server on the connection server, whose other end is client.
func netHTTP(t *testing.T, client, server net.Conn, handle http.HandlerFunc) {
	s := &http.Server{Handler: handle, Protocols: new(http.Protocols)}
	s.Protocols.SetUnencryptedHTTP2(true)
	l := &listener{accept: make(chan net.Conn, 1), addr: server.LocalAddr()}
	l.accept <- server
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() { client.Close(); _ = s.Close(); <-done })
}

// listener has accepted one connection, and waits for no other.
type listener struct {
	accept chan net.Conn
	once   sync.Once
	addr   net.Addr
}

func (l *listener) Accept() (net.Conn, error) {
	if c := <-l.accept; c != nil {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (l *listener) Close() error   { l.once.Do(func() { close(l.accept) }); return nil }
func (l *listener) Addr() net.Addr { return l.addr }

// TestAgainstTransport: net/http's client.
func TestAgainstTransport(t *testing.T) {
	onBoth(t, func(t *testing.T, tcp bool) {
		a, b := pair(t, tcp)
		serve(t, b, Options{}, echo)
		cc := transport(t, a, 0)
		var wg sync.WaitGroup
		for i := 1; i <= 50; i++ { // not 0: this client never ends an empty body with trailers
			wg.Go(func() {
				size := i * i * 100
				sent := bytes.Repeat([]byte{'x'}, size)
				q, _ := http.NewRequest("POST", "http://Example.com/p?q=1", bytes.NewReader(sent))
				q.Header.Add("Cookie", "a=1")
				q.Header.Add("Cookie", "b=2")
				q.Trailer = http.Header{"Sum": {"9"}}
				r, err := cc.RoundTrip(q)
				if err != nil {
					t.Error(err)
					return
				}
				defer r.Body.Close()
				got, err := io.ReadAll(r.Body)
				if err != nil || !bytes.Equal(got, sent) || r.Trailer.Get("Sum") != "9" || r.Header.Get("X-Path") != "/p?q=1" ||
					r.Header.Get("X-Authority") != "example.com" || r.Header.Get("X-Cookie") != "a=1; b=2" {
					t.Error(i, len(got), r.Header, r.Trailer, err)
				}
			})
		}
		wg.Wait()
	})
}

// TestAgainstServer: net/http's server.
func TestAgainstServer(t *testing.T) {
	onBoth(t, func(t *testing.T, tcp bool) {
		a, b := pair(t, tcp)
		netHTTP(t, a, b, func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("X-Length", fmt.Sprint(q.ContentLength))
			w.Header().Set("Trailer", "Sum")
			w.WriteHeader(200)
			_, _ = io.Copy(w, q.Body)
			w.Header().Set("Sum", q.Trailer.Get("Sum"))
		})
		cc := dial(t, a, Options{})
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				sent := bytes.Repeat([]byte{'x'}, i*i*100)
				q := get("example.com", "/")
				q.Method, q.Length, q.Trailers = "POST", int64(len(sent)), true
				q.Header.Add("Trailer", "Sum")
				m, body, trailer, err := roundTrip(cc, q, sent, &message.Header{Fields: []message.Field{{Name: "Sum", Value: "9"}}})
				if err != nil || !bytes.Equal(body, sent) || trailer.Get("sum") != "9" || m.Header.Get("X-Length") != fmt.Sprint(len(sent)) {
					t.Error(i, m, len(body), trailer, err)
				}
			})
		}
		wg.Wait()
	})
}
