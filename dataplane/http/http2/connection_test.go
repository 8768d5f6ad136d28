package http2

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
)

func TestGoAway(t *testing.T) {
	a, b := pair(t, false)
	cc := dial(t, a, Options{})
	r := rawServer(t, b)
	first, second := open(t, cc, get("h", "/"), true), open(t, cc, get("h", "/"), true)
	defer first.Release()
	defer second.Release()
	third, _ := cc.Open()
	defer third.Release()
	_ = r.WriteGoAway(1, http2.ErrCodeNo, nil)
	var m message.Response
	if err := second.Response(&m); !errors.Is(err, message.ErrUnprocessed) {
		t.Error(err)
	}
	if err := third.Request(get("h", "/"), true); !errors.Is(err, message.ErrUnprocessed) {
		t.Error(err)
	}
	<-cc.Done()
	if _, err := cc.Open(); !errors.Is(err, ErrClosing) {
		t.Error(err)
	}
	r.next()
	r.head(1, true, ":status", "200")
	if err := first.Response(&m); err != nil || m.Status != 200 {
		t.Error(m, err)
	}
	for { // then the client closes
		if _, err := r.ReadFrame(); err != nil {
			break
		}
	}
}

func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, false)
		var closed bool
		release := make(chan bool)
		s := NewServer(b, Options{OnClose: func() { closed = true }})
		over := make(chan error)
		go func() { over <- s.Serve(func(st *Stream) { <-release; echo(st) }) }()
		cc := dial(t, a, Options{})
		st := open(t, cc, get("h", "/"), true)
		synctest.Wait()
		s.Drain()
		synctest.Wait()
		select {
		case <-cc.Done():
		default:
			t.Error("the client has not heard of it")
		}
		if s.Streams() != 1 || cc.Streams() != 1 {
			t.Error(s.Streams(), cc.Streams())
		}
		close(release)
		var m message.Response
		if err := st.Response(&m); err != nil || m.Status != 200 {
			t.Error(m, err)
		}
		st.Release()
		if err := <-over; err != nil || !closed {
			t.Error(err, closed)
		}
	})
}

// A client that does not answer the PING of a drain gets the second GOAWAY all the same.
func TestDrainWithoutAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, false)
		s := serve(t, b, Options{}, echo)
		r := rawClient(t, a)
		r.get(1)
		r.wantHead(1, "200")
		s.Drain()
		if f := r.next().(*http2.GoAwayFrame); f.LastStreamID != maxStreamID {
			t.Error(f)
		}
		r.next() // PING
		r.get(3) // crossed the GOAWAY
		r.wantHead(3, "200")
		began := time.Now()
		if f := r.next().(*http2.GoAwayFrame); f.LastStreamID != 3 || time.Since(began) != drainPatience {
			t.Error(f, time.Since(began))
		}
		if _, err := r.ReadFrame(); err != io.EOF {
			t.Error(err)
		}
	})
}

func TestClientDrains(t *testing.T) {
	a, b := pair(t, false)
	release := make(chan bool)
	serve(t, b, Options{}, func(st *Stream) { <-release; echo(st) })
	closed := make(chan bool)
	cc, _ := NewClient(a, Options{OnClose: func() { close(closed) }})
	st := open(t, cc, get("h", "/"), true)
	cc.Drain()
	<-cc.Done()
	if _, err := cc.Open(); !errors.Is(err, ErrClosing) {
		t.Error(err)
	}
	close(release)
	var m message.Response
	if err := st.Response(&m); err != nil || m.Status != 200 {
		t.Error(m, err)
	}
	st.Release()
	<-closed
	if err := cc.Err(); err != errDrained {
		t.Error(err)
	}
}

func TestIdleAndKeepalive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, false)
		s := serve(t, b, Options{}, echo)
		s.SetIdle(time.Minute)
		cc := dial(t, a, Options{Ping: 10 * time.Second})
		began := time.Now()
		if m, _, _, err := roundTrip(cc, get("h", "/"), nil, nil); err != nil || m.Status != 200 {
			t.Fatal(m, err)
		}
		<-cc.Done()
		if d := time.Since(began); d != time.Minute {
			t.Error(d)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, false)
		cc := dial(t, a, Options{Ping: 10 * time.Second, PingTimeout: 3 * time.Second})
		began := time.Now()
		go func() { _, _ = io.Copy(io.Discard, b) }() // reads, and answers nothing
		<-cc.Done()
		if d := time.Since(began); d != 13*time.Second || !errors.Is(cc.Err(), errNoPong) {
			t.Error(d, cc.Err())
		}
		b.Close()
	})
}

func TestBusy(t *testing.T) {
	a, b := pair(t, false)
	release := make(chan bool)
	serve(t, b, Options{MaxStreams: 3}, func(st *Stream) { <-release; echo(st) })
	cc := dial(t, a, Options{MaxStreams: 2})
	one, two := open(t, cc, get("h", "/"), true), open(t, cc, get("h", "/"), true)
	if _, err := cc.Open(); !errors.Is(err, ErrBusy) || !errors.Is(err, message.ErrUnprocessed) {
		t.Error(err)
	}
	close(release)
	var m message.Response
	_ = one.Response(&m)
	_ = two.Response(&m)
	one.Release()
	two.Release()
	if m, _, _, err := roundTrip(cc, get("h", "/"), nil, nil); err != nil || m.Status != 200 {
		t.Error(m, err)
	}
}

// More streams than the server takes are refused, with the word that nothing was done.
func TestTooManyStreams(t *testing.T) {
	a, b := pair(t, false)
	release := make(chan bool)
	serve(t, b, Options{MaxStreams: 2}, func(st *Stream) { <-release })
	defer close(release)
	r := rawClient(t, a)
	r.get(1)
	r.get(3)
	r.get(5)
	r.wantReset(5, RefusedStream)
}

func TestPanicEndsOneStream(t *testing.T) {
	a, b := pair(t, false)
	said := make(chan string, 1)
	o := Options{OnPanic: func(v any, stack []byte) { said <- fmt.Sprint(v, bytes.Contains(stack, []byte("connection_test.go"))) }}
	serve(t, b, o, func(st *Stream) {
		if st.Head().Path == "/bug" {
			panic("bug")
		}
		echo(st)
	})
	cc := dial(t, a, Options{})
	if _, _, _, err := roundTrip(cc, get("h", "/bug"), nil, nil); err == nil {
		t.Error("no error")
	}
	if s := <-said; s != "bugtrue" {
		t.Error(s)
	}
	if m, _, _, err := roundTrip(cc, get("h", "/"), nil, nil); err != nil || m.Status != 200 {
		t.Error(m, err)
	}
}

// TestTinyWindows: a hundred streams in both directions over windows of a few bytes must never wait for each other.
func TestTinyWindows(t *testing.T) {
	onBoth(t, func(t *testing.T, tcp bool) {
		a, b := pair(t, tcp)
		o := Options{StreamWindow: 200, MaxWindow: 300, MaxControl: 1 << 30}
		serve(t, b, o, echo)
		cc := dial(t, a, o)
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				sent := bytes.Repeat([]byte{byte(i)}, 10_000)
				q := post()
				if m, body, _, err := roundTrip(cc, q, sent, nil); err != nil || !bytes.Equal(body, sent) {
					t.Error(i, m, len(body), err)
				}
			})
		}
		wg.Wait()
	})
}

// TestSlowReader: a client that does not read one response leaves the others alone, and holds no more than a window.
func TestSlowReader(t *testing.T) {
	onBoth(t, func(t *testing.T, tcp bool) {
		a, b := pair(t, tcp)
		serve(t, b, Options{}, func(st *Stream) {
			if st.Head().Path == "/slow" {
				_ = st.Respond(&message.Response{Status: 200, Length: message.Unknown}, false)
				_ = st.Write(make([]byte, 10<<20))
				return
			}
			echo(st)
		})
		cc := dial(t, a, Options{})
		slow := open(t, cc, get("h", "/slow"), true)
		defer slow.Release()
		var m message.Response
		if err := slow.Response(&m); err != nil {
			t.Fatal(err)
		}
		for range 20 {
			sent := make([]byte, 500_000)
			if _, body, _, err := roundTrip(cc, post(), sent, nil); err != nil || len(body) != len(sent) {
				t.Fatal(len(body), err)
			}
		}
		slow.c.mu.Lock()
		defer slow.c.mu.Unlock()
		if slow.unread > 64<<10 {
			t.Error(slow.unread, "bytes are held")
		}
	})
}

// TestConnectionLost: who waits hears of it, and it is no clean end.
func TestConnectionLost(t *testing.T) {
	a, b := pair(t, false)
	started, ended := make(chan bool), make(chan error, 1)
	serve(t, b, Options{}, func(st *Stream) {
		started <- true
		_, err := io.ReadAll(io.Reader(st))
		ended <- err
	})
	cc := dial(t, a, Options{})
	st := open(t, cc, post(), false)
	defer st.Release()
	_ = st.Write([]byte("x"))
	_ = st.Flush()
	<-started
	answered := make(chan error)
	go func() { var m message.Response; answered <- st.Response(&m) }()
	_ = cc.Close()
	if err := <-answered; !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, message.ErrUnprocessed) {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		t.Error(err)
	}
	if _, err := cc.Open(); !errors.Is(err, message.ErrUnprocessed) {
		t.Error(err)
	}
}

// TestResponseLengths: what has no content says so, whatever it declares.
func TestResponseLengths(t *testing.T) {
	a, b := pair(t, false)
	cc := dial(t, a, Options{})
	r := rawServer(t, b)
	id := uint32(1)
	for _, c := range []struct {
		method, status, declared string
		end                      bool
		want                     int64
	}{
		{"GET", "200", "", true, 0},
		{"GET", "200", "", false, message.Unknown},
		{"GET", "200", "3", false, 3},
		{"HEAD", "200", "3", true, 3},
		{"HEAD", "200", "", true, message.Absent},
		{"GET", "204", "", true, message.Absent},
		{"GET", "304", "5", true, 5},
	} {
		q := get("h", "/")
		q.Method = c.method
		st := open(t, cc, q, true)
		r.next()
		fields := []string{":status", c.status}
		if c.declared != "" {
			fields = append(fields, "content-length", c.declared)
		}
		r.head(id, c.end, fields...)
		if !c.end {
			_ = r.WriteData(id, true, []byte("abc"))
		}
		var m message.Response
		if err := st.Response(&m); err != nil || m.Length != c.want {
			t.Error(c, m, err)
		}
		if _, err := io.ReadAll(io.Reader(st)); err != nil {
			t.Error(c, err)
		}
		st.Release()
		id += 2
	}
	for _, bad := range [][]string{{":status", "20"}, {":status", "abc"}, {}, {":status", "200", "connection", "close"},
		{":status", "101"}, {":status", "200", ":path", "/"}, {":status", "200", "X", "y"}} {
		st := open(t, cc, get("h", "/"), true)
		r.next()
		r.head(id, true, bad...)
		var m message.Response
		if err := st.Response(&m); err == nil {
			t.Error(bad, "was taken")
		}
		r.wantReset(id, ProtocolError)
		st.Release()
		id += 2
	}
}

// TestLargeHeads need CONTINUATION, and more than one buffer.
func TestLargeHeads(t *testing.T) {
	a, b := pair(t, true)
	serve(t, b, Options{}, echo)
	hc := transport(t, a, 16384)
	big := strings.Repeat("a=~", 15_000)
	q, _ := http.NewRequest("GET", "http://h/", nil)
	q.Header.Add("Cookie", big)
	for range 2 {
		p, err := hc.RoundTrip(q)
		if err != nil {
			t.Fatal(err)
		}
		p.Body.Close()
		if p.Header.Get("X-Cookie") != big {
			t.Error("the cookie has changed")
		}
	}
}

// TestOnGone: the handler hears of it while it runs, and not after it has returned.
func TestOnGone(t *testing.T) {
	a, b := pair(t, false)
	started, told := make(chan bool), make(chan string, 10)
	serve(t, b, Options{}, func(st *Stream) {
		path := strings.Clone(st.Head().Path)
		gone := make(chan bool)
		st.OnGone(func() {
			_ = st.SetReadDeadline(time.Unix(1, 0)) // it may use the stream
			told <- path
			close(gone)
		})
		started <- true
		if path != "/done" {
			<-gone
		}
	})
	cc := dial(t, a, Options{})
	for _, path := range []string{"/done", "/reset", "/lost"} {
		q := post()
		q.Path = path
		st := open(t, cc, q, false)
		defer st.Release()
		_ = st.Flush()
		<-started
		switch path {
		case "/reset":
			st.Abort()
		case "/lost":
			_ = cc.Close()
		default:
			var m message.Response
			if err := st.Response(&m); err == nil {
				t.Error("a response")
			}
			continue
		}
		if got := <-told; got != path {
			t.Error(got, "instead of", path)
		}
	}
}

// TestWriteDeadlineWithoutReader: a stream that writes for the connection by itself, to a peer that takes nothing, comes back
// soon after its deadline; the connection is lost by that.
func TestWriteDeadlineWithoutReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, false)
		cc := dial(t, a, Options{})
		r := rawServer(t, b, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
		_ = r.WriteWindowUpdate(0, 1<<30)
		synctest.Wait()
		st := open(t, cc, post(), false)
		defer st.Release()
		began := time.Now()
		_ = st.SetWriteDeadline(began.Add(5 * time.Second))
		if err := st.Write(make([]byte, 1<<20)); err == nil || time.Since(began) > 5*time.Second+inlineGrace {
			t.Error(err, time.Since(began))
		}
	})
}

// TestStall: what nobody takes for too long ends the connection, streams or not.
func TestStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, false)
		over := make(chan error, 1)
		go func() {
			over <- NewServer(b, Options{Stall: 30 * time.Second}).Serve(func(st *Stream) {
				if st.Respond(&message.Response{Status: 200, Length: message.Unknown}, false) == nil {
					_ = st.Write(make([]byte, 1<<20))
				}
			})
		}()
		r := rawClient(t, a, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
		_ = r.WriteWindowUpdate(0, 1<<30)
		began := time.Now()
		r.get(1)
		if err := <-over; !errors.Is(err, errStalled) || time.Since(began) != 30*time.Second {
			t.Error(err, time.Since(began))
		}
	})
}

// TestQuiet: a connection that is not used holds neither buffers nor goroutines but its reader's.
func TestQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, false)
		s := serve(t, b, Options{}, echo)
		cc := dial(t, a, Options{})
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				if _, _, _, err := roundTrip(cc, post(), make([]byte, 30_000), nil); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		time.Sleep(3 * quiet)
		synctest.Wait()
		for _, c := range []*conn{cc.c, s.c} {
			c.mu.Lock()
			if c.out.running || len(c.out.segs) > 0 || c.buf != nil || c.spare != nil || len(s.parked) > 0 {
				t.Error("it holds", c.out.running, len(c.out.segs), c.buf != nil, c.spare != nil, len(s.parked))
			}
			c.mu.Unlock()
		}
		if _, _, _, err := roundTrip(cc, post(), make([]byte, 30_000), nil); err != nil {
			t.Error("it does not wake up:", err)
		}
	})
}

// TestEarly: what was read of a connection before is the begin of it.
func TestEarly(t *testing.T) {
	a, b := pair(t, false)
	serve(t, b, Options{Early: []byte(clientPreface[:7])}, echo)
	r := newRaw(t, a)
	_, _ = io.WriteString(a, clientPreface[7:])
	_ = r.WriteSettings()
	r.get(1)
	r.wantHead(1, "200")
}

// A header block that is sent a byte now and then does not hold its connection for longer than Options.Head, whether it stops
// between frames or in the middle of one. Whole ones in between are given the time anew.
func TestSlowHead(t *testing.T) {
	for name, begin := range map[string]func(r *raw){
		"no END_HEADERS": func(r *raw) {
			_ = r.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: r.encode(":method", "GET"), EndStream: true})
		},
		"half a frame": func(r *raw) { _, _ = r.conn.Write([]byte{0, 0, 20, 1, 5, 0, 0, 0, 3, 0x82}) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := pair(t, false)
				serve(t, b, Options{Head: 3 * time.Second}, echo)
				r := rawClient(t, a)
				r.get(1)
				r.wantHead(1, "200")
				_ = r.conn.SetDeadline(time.Now().Add(time.Hour))
				time.Sleep(time.Minute)
				began := time.Now()
				begin(r)
				for {
					if _, err := r.ReadFrame(); err != nil {
						break
					}
				}
				if took := time.Since(began); took != 3*time.Second {
					t.Errorf("it ended after %s", took)
				}
			})
		})
	}
}

// A client that has sent more than our window before it knew of it may end its message all the same: an empty DATA frame takes
// no room (RFC 9113 section 6.9.1).
func TestEndBelowZero(t *testing.T) {
	a, b := pair(t, false)
	release := make(chan struct{})
	serve(t, b, Options{StreamWindow: 200, MaxWindow: 300}, func(st *Stream) {
		<-release
		echo(st)
	})
	r := newRaw(t, a)
	_, _ = io.WriteString(a, clientPreface)
	_ = r.WriteSettings()
	r.post(1)
	_ = r.WriteData(1, false, make([]byte, 1000))
	_ = r.WriteSettingsAck()
	_ = r.WriteData(1, true, nil)
	close(release)
	r.wantHead(1, "200")
}
