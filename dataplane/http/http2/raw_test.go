package http2

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/net/http2"
	xhpack "golang.org/x/net/http2/hpack"
)

// raw speaks frames with golang.org/x/net's Framer: it can say what a correct peer never would.
type raw struct {
	*http2.Framer
	t    testing.TB
	conn net.Conn
	enc  *xhpack.Encoder
	buf  bytes.Buffer
}

func newRaw(t testing.TB, c net.Conn) *raw {
	r := &raw{Framer: http2.NewFramer(c, c), t: t, conn: c}
	r.AllowIllegalWrites = true
	r.ReadMetaHeaders = xhpack.NewDecoder(4096, nil)
	r.SetMaxReadFrameSize(1 << 20)
	r.enc = xhpack.NewEncoder(&r.buf)
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	t.Cleanup(func() { c.Close() })
	return r
}

// rawClient greets a server.
func rawClient(t testing.TB, c net.Conn, settings ...http2.Setting) *raw {
	r := newRaw(t, c)
	_, _ = io.WriteString(c, clientPreface)
	_ = r.WriteSettings(settings...)
	_ = r.WriteSettingsAck()
	return r
}

// rawServer greets a client.
func rawServer(t testing.TB, c net.Conn, settings ...http2.Setting) *raw {
	r := newRaw(t, c)
	preface := make([]byte, len(clientPreface))
	if _, err := io.ReadFull(c, preface); err != nil || string(preface) != clientPreface {
		t.Fatal(string(preface), err)
	}
	_ = r.WriteSettings(settings...)
	_ = r.WriteSettingsAck()
	return r
}

func (r *raw) encode(fields ...string) []byte {
	r.buf.Reset()
	for i := 0; i < len(fields); i += 2 {
		_ = r.enc.WriteField(xhpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return bytes.Clone(r.buf.Bytes())
}

func (r *raw) head(id uint32, end bool, fields ...string) {
	_ = r.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: r.encode(fields...), EndHeaders: true, EndStream: end})
}

func (r *raw) get(id uint32) {
	r.head(id, true, ":method", "GET", ":scheme", "http", ":authority", "h", ":path", "/")
}

func (r *raw) post(id uint32, more ...string) {
	r.head(id, false, append([]string{":method", "POST", ":scheme", "http", ":authority", "h", ":path", "/"}, more...)...)
}

// next returns the next frame that is not about the connection's settings and windows.
func (r *raw) next() http2.Frame {
	r.t.Helper()
	for {
		f, err := r.ReadFrame()
		if err != nil {
			r.t.Fatal(err)
		}
		switch f.Header().Type {
		case http2.FrameSettings, http2.FrameWindowUpdate:
			continue
		}
		return f
	}
}

func (r *raw) wantReset(id uint32, code Code) {
	r.t.Helper()
	f := r.next()
	if x, ok := f.(*http2.RSTStreamFrame); !ok || x.StreamID != id || x.ErrCode != http2.ErrCode(code) {
		r.t.Fatalf("got %v, want RST_STREAM %v", f, code)
	}
}

// wantGoAway reads on until the connection ends, which must be by a GOAWAY with this code.
func (r *raw) wantGoAway(code Code) {
	r.t.Helper()
	var said http2.Frame
	for {
		f, err := r.ReadFrame()
		if x, ok := f.(*http2.GoAwayFrame); ok {
			if Code(x.ErrCode) != code {
				r.t.Fatalf("GOAWAY %v %q, want %v", x.ErrCode, x.DebugData(), code)
			}
			said = x
		}
		if err != nil && !errors.As(err, new(http2.StreamError)) {
			if said == nil {
				r.t.Fatalf("no GOAWAY: %v", err)
			}
			return
		}
	}
}

func (r *raw) wantHead(id uint32, status string) *http2.MetaHeadersFrame {
	r.t.Helper()
	f := r.next()
	h, ok := f.(*http2.MetaHeadersFrame)
	if !ok || h.StreamID != id || h.PseudoValue("status") != status {
		r.t.Fatalf("got %v, want a response %s", f, status)
	}
	return h
}
