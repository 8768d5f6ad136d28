package http2

import (
	"bytes"
	"io"
	"testing"
	"time"

	"golang.org/x/net/http2"
	xhpack "golang.org/x/net/http2/hpack"

	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
	"github.com/hauberk-mesh/hauberk/internal/sock"
)

// conversation is what a peer says in a seed.
func conversation(say func(f *http2.Framer, head func(id uint32, end bool, fields ...string))) []byte {
	var out, block bytes.Buffer
	f := http2.NewFramer(&out, nil)
	f.AllowIllegalWrites = true
	enc := xhpack.NewEncoder(&block)
	say(f, func(id uint32, end bool, fields ...string) {
		block.Reset()
		for i := 0; i < len(fields); i += 2 {
			_ = enc.WriteField(xhpack.HeaderField{Name: fields[i], Value: fields[i+1]})
		}
		_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: end})
	})
	return out.Bytes()
}

// bounded checks what must hold for every connection at any time.
func bounded(t *testing.T, c *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.all) > int(c.opts.MaxStreams) || c.handlers > int(c.opts.MaxStreams) || c.grown < 0 || c.grown > maxGrown {
		t.Fatalf("%d streams, %d handlers, windows grown by %d", len(c.all), c.handlers, c.grown)
	}
	for _, st := range c.all {
		if st.unread > max(defaultWindow, int64(c.opts.MaxWindow)) {
			t.Fatalf("%d bytes are held", st.unread)
		}
	}
	if cap(c.fragments) > 8*c.opts.MaxHeader {
		t.Fatal("header fragments", cap(c.fragments))
	}
}

func FuzzServer(f *testing.F) {
	f.Add(conversation(func(f *http2.Framer, head func(uint32, bool, ...string)) {
		head(1, true, ":method", "GET", ":scheme", "http", ":authority", "h", ":path", "/")
		head(3, false, ":method", "POST", ":scheme", "http", ":authority", "h", ":path", "/?", "content-length", "3", "te", "trailers")
		_ = f.WriteData(3, false, []byte("abc"))
		head(3, true, "grpc-status", "0")
		head(5, false, ":method", "CONNECT", ":protocol", "websocket", ":scheme", "http", ":authority", "h", ":path", "/")
		_ = f.WriteDataPadded(5, true, []byte("abc"), make([]byte, 5))
		_ = f.WritePing(false, [8]byte{1})
		_ = f.WriteRSTStream(1, http2.ErrCodeCancel)
	}))
	f.Add(conversation(func(f *http2.Framer, head func(uint32, bool, ...string)) {
		_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte("\x82\x84")})
		_ = f.WriteContinuation(1, true, []byte("\x86\x41\x01h"))
		_ = f.WriteWindowUpdate(0, 100)
		_ = f.WriteWindowUpdate(1, 1<<31-1)
		_ = f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}, http2.Setting{ID: http2.SettingHeaderTableSize, Val: 0})
		_ = f.WritePriority(3, http2.PriorityParam{StreamDep: 1})
		_ = f.WriteGoAway(0, http2.ErrCodeNo, []byte("bye"))
		_ = f.WriteRawFrame(0x42, 0, 7, []byte("unknown"))
	}))
	f.Fuzz(func(t *testing.T, in []byte) {
		a, b := pair(t, false)
		s := NewServer(b, Options{MaxStreams: 4, ExtendedConnect: true, MaxHeader: 4096})
		over := make(chan struct{})
		go func() {
			defer close(over)
			_ = s.Serve(func(st *Stream) { bounded(t, st.c); echo(st) })
		}()
		go func() {
			greeting := conversation(func(f *http2.Framer, _ func(uint32, bool, ...string)) { _ = f.WriteSettings() })
			_, _ = io.WriteString(a, clientPreface)
			_, _ = a.Write(greeting)
			_, _ = a.Write(in)
			_ = sock.CloseWrite(a)
		}()
		_ = a.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.Copy(io.Discard, struct{ io.Reader }{a}); err != nil && err != io.EOF {
			t.Log(err) // a reset, because not all was read
		}
		a.Close()
		<-over
		bounded(t, s.c)
		s.c.mu.Lock() // the writer may still be about to find out
		defer s.c.mu.Unlock()
		if s.c.out.bytes != 0 && s.c.err == nil {
			t.Fatal("not all was written, and nothing is wrong")
		}
	})
}

func FuzzClient(f *testing.F) {
	f.Add(conversation(func(f *http2.Framer, head func(uint32, bool, ...string)) {
		head(1, false, ":status", "103", "link", "x")
		head(1, false, ":status", "200", "content-length", "3")
		_ = f.WriteData(1, false, []byte("abc"))
		head(1, true, "grpc-status", "0")
		_ = f.WriteGoAway(1, http2.ErrCodeNo, nil)
	}))
	f.Add(conversation(func(f *http2.Framer, head func(uint32, bool, ...string)) {
		head(1, true, ":status", "304", "content-length", "3")
		head(3, false, ":status", "200")
		_ = f.WritePushPromise(http2.PushPromiseParam{StreamID: 3, PromiseID: 2})
	}))
	f.Fuzz(func(t *testing.T, in []byte) {
		a, b := pair(t, false)
		closed := make(chan struct{})
		cc, _ := NewClient(a, Options{MaxHeader: 4096, ExtendedConnect: true, OnClose: func() { close(closed) }})
		_ = b.SetDeadline(time.Now().Add(10 * time.Second))
		one, err := cc.Open()
		if err != nil {
			t.Fatal(err)
		}
		two, err := cc.Open()
		if err != nil {
			t.Fatal(err)
		}
		q := get("h", "/")
		q.Method = "HEAD"
		_ = one.Request(get("h", "/"), true)
		_ = two.Request(q, false)
		_ = two.Flush()
		go func() { _, _ = io.Copy(io.Discard, struct{ io.Reader }{b}) }()
		_, _ = b.Write(conversation(func(f *http2.Framer, _ func(uint32, bool, ...string)) { _ = f.WriteSettings() }))
		_, _ = b.Write(in)
		_ = sock.CloseWrite(b)
		for _, st := range []*Stream{one, two} {
			var m message.Response
			for st.Response(&m) == nil && m.Status < 200 && m.Status != 101 {
			}
			if n, err := io.Copy(io.Discard, struct{ io.Reader }{st}); err == nil && st.Done() && m.Length >= 0 && n != 0 && n != m.Length {
				t.Errorf("%d bytes of %d, and no error", n, m.Length)
			}
			bounded(t, cc.c)
			st.Release()
		}
		_ = cc.Close()
		b.Close()
		<-closed
	})
}
