package http2

import (
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"golang.org/x/net/http2"

	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
)

// Each flood is sent until the connection breaks, while another goroutine reads what comes back.
func flood(t *testing.T, o Options, handle func(*Stream), send func(r *raw, i int) error) {
	t.Helper()
	a, b := pair(t, false)
	serve(t, b, o, handle)
	r := rawClient(t, a)
	ended := make(chan int)
	go func() {
		i := 0
		for i < 100_000 && send(r, i) == nil {
			i++
		}
		ended <- i
	}()
	r.wantGoAway(EnhanceYourCalm)
	a.Close()
	if n := <-ended; n >= 100_000 {
		t.Error("the flood was not stopped")
	}
}

// CVE-2023-44487.
func TestRapidReset(t *testing.T) {
	var running, most atomic.Int32
	release := make(chan bool)
	defer close(release)
	handle := func(st *Stream) {
		if n := running.Add(1); n > most.Load() {
			most.Store(n)
		}
		defer running.Add(-1)
		<-release // a handler that does not look whether the client is still there
	}
	flood(t, Options{MaxStreams: 10}, handle, func(r *raw, i int) error {
		r.get(uint32(2*i + 1))
		return r.WriteRSTStream(uint32(2*i+1), http2.ErrCodeCancel)
	})
	if n := most.Load(); n > 10 {
		t.Errorf("%d handlers ran at once", n)
	}
}

// CVE-2025-8671: the peer makes us reset its streams.
func TestMadeYouReset(t *testing.T) {
	flood(t, Options{}, func(st *Stream) { _ = st.Await() }, func(r *raw, i int) error {
		id := uint32(2*i + 1)
		r.post(id)
		return r.WriteWindowUpdate(id, 0)
	})
	flood(t, Options{}, func(st *Stream) { _ = st.Await() }, func(r *raw, i int) error {
		id := uint32(2*i + 1)
		r.post(id, "content-length", "0")
		return r.WriteData(id, true, []byte("x"))
	})
	flood(t, Options{}, echo, func(r *raw, i int) error {
		r.head(uint32(2*i+1), true, ":method", "GET", "Malformed", "x")
		return r.WritePriority(1, http2.PriorityParam{StreamDep: 3})
	})
}

func TestContinuationFlood(t *testing.T) {
	block := func(i int) []byte { return []byte("\x00\x01a\x7f\x80\x3f" + strings.Repeat("b", 8000)) }
	open := false
	send := func(piece func(i int) []byte) func(*raw, int) error {
		open = false
		return func(r *raw, i int) error {
			if !open {
				open = true
				return r.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: r.encode(":method", "GET")})
			}
			return r.WriteContinuation(1, false, piece(i))
		}
	}
	flood(t, Options{}, echo, send(block))
	flood(t, Options{}, echo, send(func(int) []byte { return nil }))
}

// HPACK bomb: one large entry of the table, named by one byte again and again.
func TestHeaderBomb(t *testing.T) {
	a, b := pair(t, false)
	serve(t, b, Options{}, echo)
	r := rawClient(t, a)
	block := r.encode(":method", "GET", ":scheme", "http", ":authority", "h", ":path", "/", "a", strings.Repeat("b", 3900))
	block = append(block, strings.Repeat("\xbe", 16000)...) // 62 MB, decoded
	_ = r.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndHeaders: true, EndStream: true})
	r.wantHead(1, "431")
}

func TestControlFloods(t *testing.T) {
	for name, send := range map[string]func(r *raw, i int) error{
		"ping":     func(r *raw, i int) error { return r.WritePing(false, [8]byte{}) },
		"pong":     func(r *raw, i int) error { return r.WritePing(true, [8]byte{}) },
		"settings": func(r *raw, i int) error { return r.WriteSettings() },
		"settings with values": func(r *raw, i int) error {
			return r.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: uint32(i)})
		},
		"ack":                      func(r *raw, i int) error { return r.WriteSettingsAck() },
		"priority":                 func(r *raw, i int) error { return r.WritePriority(uint32(2*i+1), http2.PriorityParam{StreamDep: 0}) },
		"unknown":                  func(r *raw, i int) error { return r.WriteRawFrame(0x77, 0, 0, []byte("x")) },
		"window of the connection": func(r *raw, i int) error { return r.WriteWindowUpdate(0, 1) },
		"empty data": func(r *raw, i int) error {
			if i == 0 {
				r.post(1)
			}
			return r.WriteData(1, false, nil)
		},
		"padding alone": func(r *raw, i int) error {
			if i == 0 {
				r.post(1)
			}
			return r.WriteDataPadded(1, false, nil, make([]byte, 10))
		},
		"window of a stream": func(r *raw, i int) error {
			if i == 0 {
				r.post(1)
			}
			return r.WriteWindowUpdate(1, 1)
		},
		"resets of a closed stream": func(r *raw, i int) error {
			if i == 0 {
				r.get(1)
			}
			return r.WriteRSTStream(1, http2.ErrCodeCancel)
		},
	} {
		t.Run(name, func(t *testing.T) { flood(t, Options{}, echo, send) })
	}
}

// CVE-2019-9511: the client takes a large response byte by byte.
func TestDataDribble(t *testing.T) {
	a, b := pair(t, false)
	serve(t, b, Options{}, func(st *Stream) {
		if st.Respond(&message.Response{Status: 200, Length: message.Unknown}, false) == nil {
			_ = st.Write(make([]byte, 1<<20))
		}
	})
	r := rawClient(t, a, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1})
	r.get(1)
	go func() {
		for i := 0; i < 100_000 && r.WriteWindowUpdate(1, 1) == nil; i++ {
		}
	}()
	r.wantGoAway(EnhanceYourCalm)
}

// CVE-2019-9517 and its kin: the client asks and asks, and does not read. What waits for it is bounded, and so are the
// handlers that make more.
func TestPeerDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, false)
		var handled atomic.Int32
		s := serve(t, b, Options{MaxStreams: 50}, func(st *Stream) {
			handled.Add(1)
			m := message.Response{Status: 200, Length: message.Unknown}
			if st.Respond(&m, false) == nil && st.Write(make([]byte, 60_000)) == nil {
				_ = st.End(nil)
			}
		})
		r := rawClient(t, a, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
		_ = r.WriteWindowUpdate(0, 1<<30)
		for i := range uint32(2000) {
			r.get(2*i + 1)
			if r.WritePing(false, [8]byte{}) != nil {
				break
			}
		}
		synctest.Wait()
		s.c.mu.Lock()
		bytes := s.c.out.bytes
		s.c.mu.Unlock()
		if bytes > 2*maxPending+100*maxReplies || handled.Load() > 100 {
			t.Errorf("%d bytes wait after %d handlers", bytes, handled.Load())
		}
	})
}

// A client role is flooded as well: a server that sends interim responses without end.
func TestInterimFlood(t *testing.T) {
	a, b := pair(t, false)
	cc := dial(t, a, Options{})
	st, err := cc.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer st.Release()
	if err := st.Request(get("h", "/"), true); err != nil {
		t.Fatal(err)
	}
	r := rawServer(t, b)
	if f := r.next(); f.Header().StreamID != 1 {
		t.Fatal(f)
	}
	for range maxInterimUnread + 1 {
		r.head(1, false, ":status", "103", "link", "x")
	}
	r.wantReset(1, ProtocolError)
}

// More than a stream's window may hold is an error of that stream; the connection lives.
func TestWindowIsKept(t *testing.T) {
	a, b := pair(t, false)
	block := make(chan bool)
	defer close(block)
	serve(t, b, Options{}, func(st *Stream) {
		if st.Head().Method == "POST" {
			<-block
			return
		}
		echo(st)
	})
	r := rawClient(t, a)
	r.post(1)
	go func() {
		for range 5 {
			_ = r.WriteData(1, false, make([]byte, 16384))
		}
		r.get(3)
	}()
	r.wantReset(1, FlowControlError)
	r.wantHead(3, "200")
}
