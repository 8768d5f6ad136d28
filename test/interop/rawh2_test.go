package interop

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// field is a header field as it is sent, pseudo-headers first.
type field struct{ name, value string }

// rawStream is what one side has received of a stream of HTTP/2.
type rawStream struct {
	c  *rawConn
	id uint32

	heads [][]field // the head, those of 1xx, the trailers: in the order in which they came
	data  bytes.Buffer
	ended bool          // END_STREAM
	reset http2.ErrCode // of RST_STREAM, if wasReset
	gone  error         // the connection is over, or wasReset
	room  int           // that the other side has left of the stream's window
}

// rawConn is an end of an HTTP/2 connection that sends what a test tells it, and nothing else but SETTINGS, acknowledgements and
// window updates. Clients of libraries would refuse to send half of it.
type rawConn struct {
	net.Conn
	framer *http2.Framer

	writing sync.Mutex // guards below
	enc     *hpack.Encoder
	block   bytes.Buffer

	mu       sync.Mutex // guards below
	changed  *sync.Cond
	streams  map[uint32]*rawStream
	next     uint32
	settings map[http2.SettingID]uint32
	room     int           // that the other side has left of the connection's window
	err      error         // the connection is over
	goAway   error         // it takes no more streams
	onPing   func([8]byte) // of an acknowledgement; nil: nobody

	onStream func(*rawStream) // server: a goroutine for each
	running  sync.WaitGroup
}

func newRawConn(c net.Conn) *rawConn {
	r := &rawConn{Conn: c, framer: http2.NewFramer(c, c), streams: map[uint32]*rawStream{}, next: 1, settings: map[http2.SettingID]uint32{}, room: 65535}
	r.changed = sync.NewCond(&r.mu)
	r.enc = hpack.NewEncoder(&r.block)
	r.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	return r
}

// dialH2 connects with prior knowledge, or by TLS and ALPN, and waits for the server's settings.
func dialH2(t testing.TB, addr string, trust *tls.Config) *rawConn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if trust != nil {
		trust = trust.Clone()
		trust.NextProtos = []string{"h2"}
		c = tls.Client(c, trust)
	}
	r := newRawConn(c)
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	if err := r.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	_ = r.framer.WriteWindowUpdate(0, 1<<24)
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.read()
	}()
	t.Cleanup(func() {
		_ = c.Close()
		<-done
	})
	r.await(t, "the server's settings", func() bool { return len(r.settings) > 0 || r.err != nil })
	return r
}

// serveH2 is a server whose answers a test writes by hand. It returns its address.
func serveH2(t testing.TB, handle func(*rawStream)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			running.Go(func() { serveRaw(c, handle) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		running.Wait()
	})
	return l.Addr().String()
}

func serveRaw(c net.Conn, handle func(*rawStream)) {
	defer c.Close()
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(c, preface); err != nil || string(preface) != http2.ClientPreface {
		return
	}
	r := newRawConn(c)
	r.onStream = handle
	_ = r.framer.WriteSettings(
		http2.Setting{ID: http2.SettingEnableConnectProtocol, Val: 1}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20},
	)
	_ = r.framer.WriteWindowUpdate(0, 1<<24)
	r.read()
	r.running.Wait()
}

// read takes frames until the connection is over.
func (r *rawConn) read() {
	for {
		f, err := r.framer.ReadFrame()
		var bad http2.StreamError
		if err != nil && !errors.As(err, &bad) {
			r.update(func() {
				r.err = err
				for _, s := range r.streams {
					if s.gone == nil {
						s.gone = err
					}
				}
			})
			return
		}
		if err == nil {
			r.take(f)
		}
	}
}

// update changes what others wait for.
func (r *rawConn) update(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
	r.changed.Broadcast()
}

func (r *rawConn) take(f http2.Frame) {
	switch f := f.(type) {
	case *http2.SettingsFrame:
		if f.IsAck() {
			return
		}
		r.update(func() {
			r.settings[0] = 1 // that they have come
			before := r.window()
			_ = f.ForeachSetting(func(s http2.Setting) error { r.settings[s.ID] = s.Val; return nil })
			for _, s := range r.streams {
				s.room += r.window() - before
			}
		})
		r.write(func() { _ = r.framer.WriteSettingsAck() })
	case *http2.WindowUpdateFrame:
		r.update(func() {
			if s := r.streams[f.StreamID]; s != nil {
				s.room += int(f.Increment)
			} else if f.StreamID == 0 {
				r.room += int(f.Increment)
			}
		})
	case *http2.PingFrame:
		if data := f.Data; f.IsAck() {
			r.mu.Lock()
			heard := r.onPing
			r.mu.Unlock()
			if heard != nil {
				heard(data)
			}
		} else {
			r.write(func() { _ = r.framer.WritePing(true, data) })
		}
	case *http2.MetaHeadersFrame:
		r.head(f)
	case *http2.DataFrame:
		n := uint32(len(f.Data()))
		r.update(func() {
			if s := r.streams[f.StreamID]; s != nil {
				s.data.Write(f.Data())
				s.ended = s.ended || f.StreamEnded()
			}
		})
		if n > 0 {
			r.write(func() {
				_ = r.framer.WriteWindowUpdate(0, n)
				_ = r.framer.WriteWindowUpdate(f.StreamID, n)
			})
		}
	case *http2.GoAwayFrame:
		r.update(func() {
			r.goAway = fmt.Errorf("GOAWAY: %v", f.ErrCode)
			for id, s := range r.streams {
				if id > f.LastStreamID && s.gone == nil {
					s.gone = r.goAway
				}
			}
		})
	case *http2.RSTStreamFrame:
		r.update(func() {
			if s := r.streams[f.StreamID]; s != nil {
				s.reset, s.gone = f.ErrCode, fmt.Errorf("stream was reset: %v", f.ErrCode)
			}
		})
	}
}

// head takes HEADERS, of which a server makes a stream.
func (r *rawConn) head(f *http2.MetaHeadersFrame) {
	var fields []field
	for _, h := range f.Fields {
		fields = append(fields, field{h.Name, h.Value})
	}
	var begun *rawStream
	r.update(func() {
		s := r.streams[f.StreamID]
		if s == nil && r.onStream != nil {
			s = &rawStream{c: r, id: f.StreamID, room: r.window()}
			r.streams[f.StreamID], begun = s, s
		}
		if s != nil {
			s.heads = append(s.heads, fields)
			s.ended = s.ended || f.StreamEnded()
		}
	})
	if begun != nil {
		r.running.Go(func() { r.onStream(begun) })
	}
}

func (r *rawConn) write(do func()) {
	r.writing.Lock()
	defer r.writing.Unlock()
	do()
}

// open sends a request.
func (r *rawConn) open(end bool, fields ...field) *rawStream {
	r.mu.Lock()
	s := &rawStream{c: r, id: r.next, gone: cmp.Or(r.err, r.goAway), room: r.window()}
	r.streams[s.id] = s
	r.next += 2
	r.mu.Unlock()
	s.sendHead(end, fields...)
	return s
}

func (s *rawStream) sendHead(end bool, fields ...field) {
	s.c.write(func() {
		s.c.block.Reset()
		for _, f := range fields {
			_ = s.c.enc.WriteField(hpack.HeaderField{Name: f.name, Value: f.value})
		}
		_ = s.c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: s.id, BlockFragment: s.c.block.Bytes(), EndHeaders: true, EndStream: end})
	})
}

// window is what a new stream may send at first. r.mu is held.
func (r *rawConn) window() int {
	if v, told := r.settings[http2.SettingInitialWindowSize]; told {
		return int(v)
	}
	return 65535
}

// Write sends DATA as the windows allow.
func (s *rawStream) Write(b []byte) (int, error) {
	for sent := 0; sent < len(b); {
		n, err := s.take(len(b) - sent)
		if err != nil {
			return sent, err
		}
		s.c.write(func() { err = s.c.framer.WriteData(s.id, false, b[sent:sent+n]) })
		if err != nil {
			return sent, err
		}
		sent += n
	}
	return len(b), nil
}

// take waits for room in both windows, and takes at most a frame of it.
func (s *rawStream) take(want int) (int, error) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	for s.room <= 0 || s.c.room <= 0 {
		if s.gone != nil {
			return 0, s.gone
		}
		s.c.changed.Wait()
	}
	n := min(want, 16<<10, s.room, s.c.room)
	s.room -= n
	s.c.room -= n
	return n, s.gone
}

func (s *rawStream) end() { s.c.write(func() { _ = s.c.framer.WriteData(s.id, true, nil) }) }

// Read takes content as it comes.
func (s *rawStream) Read(b []byte) (int, error) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	for s.data.Len() == 0 {
		switch {
		case s.gone != nil:
			return 0, s.gone
		case s.ended:
			return 0, io.EOF
		}
		s.c.changed.Wait()
	}
	return s.data.Read(b)
}

// Close ends the stream in both directions, as the end of a connection of HTTP/1 does.
func (s *rawStream) Close() error {
	s.end()
	return nil
}

// get is a field of the nth head, "" if there is none.
func (s *rawStream) get(nth int, name string) string {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if nth < len(s.heads) {
		for _, f := range s.heads[nth] {
			if f.name == name {
				return f.value
			}
		}
	}
	return ""
}

// headed waits for the first head, or the end.
func (s *rawStream) headed(t testing.TB) {
	t.Helper()
	s.c.await(t, "a response", func() bool { return len(s.heads) > 0 || s.gone != nil })
}

// over waits for the end of a stream and returns its status, or why it has none.
func (s *rawStream) over(t testing.TB) (status string) {
	t.Helper()
	s.c.await(t, "the end of the stream", func() bool { return s.ended || s.gone != nil })
	if status = s.get(0, ":status"); status == "" {
		return fmt.Sprint(s.gone)
	}
	return status
}

// await waits until something holds that update changes.
func (r *rawConn) await(t testing.TB, what string, holds func() bool) {
	t.Helper()
	late := time.AfterFunc(20*time.Second, func() { r.update(func() { r.err = errLate }) })
	defer late.Stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	for !holds() {
		if errors.Is(r.err, errLate) {
			t.Fatalf("20 s without %s", what)
		}
		r.changed.Wait()
	}
}

var errLate = errors.New("too late")
