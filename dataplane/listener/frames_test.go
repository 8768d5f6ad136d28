package listener_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// peer is one end of a connection of HTTP/2, frame by frame: for what no library does.
type peer struct {
	*http2.Framer
	net.Conn
	t    testing.TB
	mu   sync.Mutex // guards all below, and writes
	enc  *hpack.Encoder
	head bytes.Buffer
}

func (p *peer) WriteData(id uint32, end bool, b []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.Framer.WriteData(id, end, b)
}

func (p *peer) WriteRSTStream(id uint32, code http2.ErrCode) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.Framer.WriteRSTStream(id, code)
}

func (p *peer) WriteSettingsAck() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.Framer.WriteSettingsAck()
}

func (p *peer) WritePing(ack bool, data [8]byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.Framer.WritePing(ack, data)
}

func newPeer(t testing.TB, c net.Conn, r io.Reader) *peer {
	p := &peer{Framer: http2.NewFramer(c, r), Conn: c, t: t}
	p.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	p.enc = hpack.NewEncoder(&p.head)
	return p
}

// framesServer is a server of HTTP/2 with prior knowledge that does what a test says with each connection. serve is called
// once both sides have greeted.
func framesServer(t testing.TB, n network, settings []http2.Setting, serve func(p *peer)) string {
	return script(t, n, func(c net.Conn, r *bufio.Reader) {
		preface := make([]byte, len(http2.ClientPreface))
		if _, err := io.ReadFull(r, preface); err != nil || string(preface) != http2.ClientPreface {
			return
		}
		p := newPeer(t, c, r)
		_ = p.WriteSettings(settings...)
		serve(p)
	})
}

// framesClient greets a server.
func framesClient(t testing.TB, c net.Conn, settings ...http2.Setting) *peer {
	_, _ = io.WriteString(c, http2.ClientPreface)
	p := newPeer(t, c, bufio.NewReader(c))
	_ = p.WriteSettings(settings...)
	return p
}

// headers sends a head; pairs are names and values.
func (p *peer) headers(id uint32, end bool, pairs ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.head.Reset()
	for i := 0; i < len(pairs); i += 2 {
		_ = p.enc.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
	}
	_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.head.Bytes(), EndStream: end, EndHeaders: true})
}

// request sends a request's head.
func (p *peer) request(id uint32, end bool, method, path string, more ...string) {
	p.headers(id, end, append([]string{":method", method, ":scheme", "http", ":authority", "backend", ":path", path}, more...)...)
}

// next is the next frame that is about a message or the connection's end; SETTINGS and PING are answered. Nil: there is none.
func (p *peer) next() http2.Frame {
	for {
		f, err := p.ReadFrame()
		if err != nil {
			return nil
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				_ = p.WriteSettingsAck()
			}
		case *http2.PingFrame:
			if !f.IsAck() {
				_ = p.WritePing(true, f.Data)
			}
		case *http2.WindowUpdateFrame:
		default:
			return f
		}
	}
}

// nextHead is the next head, or nil at the connection's end.
func (p *peer) nextHead() *http2.MetaHeadersFrame {
	for {
		switch f := p.next().(type) {
		case nil:
			return nil
		case *http2.MetaHeadersFrame:
			return f
		}
	}
}

// status waits for a response's final head on a stream.
func (p *peer) status(id uint32) string {
	p.t.Helper()
	for {
		switch f := p.next().(type) {
		case nil:
			return "closed"
		case *http2.MetaHeadersFrame:
			if f.StreamID == id && f.PseudoValue("status")[0] != '1' {
				return f.PseudoValue("status")
			}
		case *http2.RSTStreamFrame:
			if f.StreamID == id {
				return f.ErrCode.String()
			}
		}
	}
}

// patient is a connection of a test in fake time.
func patient(c net.Conn) net.Conn {
	_ = c.SetDeadline(time.Now().Add(1000 * time.Hour))
	return c
}

// tlsClient shakes hands as a proxy of the mesh whose leaf lives for so long.
func tlsClient(t testing.TB, c net.Conn, ca *authority, life time.Duration) net.Conn {
	config := ca.h2client(idFrontend).Config.Clone()
	config.Certificates = []tls.Certificate{ca.leaf(idFrontend, life)}
	tc := tls.Client(c, config)
	if err := tc.Handshake(); err != nil {
		t.Fatal(err)
	}
	return tc
}
