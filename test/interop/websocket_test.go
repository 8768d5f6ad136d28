package interop

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// frame is one frame of WebSocket (RFC 6455, 5.2).
type frame struct {
	fin     bool
	rsv     byte // bits 1 to 3, as they stand in the first byte: 0x40, 0x20, 0x10
	op      byte
	payload []byte
}

const (
	opContinuation, opText, opBinary = 0, 1, 2
	opClose, opPing, opPong          = 8, 9, 10
)

func text(s string) frame          { return frame{fin: true, op: opText, payload: []byte(s)} }
func binaryOf(n int) frame         { return frame{fin: true, op: opBinary, payload: noise(n)} }
func part(op byte, s string) frame { return frame{op: op, payload: []byte(s)} }
func ping(s string) frame          { return frame{fin: true, op: opPing, payload: []byte(s)} }
func pong(s string) frame          { return frame{fin: true, op: opPong, payload: []byte(s)} }
func last(s string) frame          { return frame{fin: true, op: opContinuation, payload: []byte(s)} }
func closing(code int, s string) frame {
	return frame{fin: true, op: opClose, payload: append(binary.BigEndian.AppendUint16(nil, uint16(code)), s...)}
}

// noise is the same bytes each time.
func noise(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{7}).Read(b)
	return b
}

// append writes a frame; a client's is masked.
func (f frame) append(out []byte, masked bool) []byte {
	first := f.rsv | f.op
	if f.fin {
		first |= 0x80
	}
	mask := byte(0)
	if masked {
		mask = 0x80
	}
	switch n := len(f.payload); {
	case n < 126:
		out = append(out, first, mask|byte(n))
	case n < 1<<16:
		out = binary.BigEndian.AppendUint16(append(out, first, mask|126), uint16(n))
	default:
		out = binary.BigEndian.AppendUint64(append(out, first, mask|127), uint64(n))
	}
	if !masked {
		return append(out, f.payload...)
	}
	key := [4]byte{0x12, 0x34, 0x56, 0x78}
	out = append(out, key[:]...)
	for i, b := range f.payload {
		out = append(out, b^key[i%4])
	}
	return out
}

func readFrame(r io.Reader) (f frame, err error) {
	var head [2]byte
	if _, err = io.ReadFull(r, head[:]); err != nil {
		return f, err
	}
	f.fin, f.rsv, f.op = head[0]&0x80 != 0, head[0]&0x70, head[0]&0x0f
	n := uint64(head[1] & 0x7f)
	if n >= 126 {
		long := make([]byte, 2)
		if n == 127 {
			long = make([]byte, 8)
		}
		if _, err = io.ReadFull(r, long); err != nil {
			return f, err
		}
		n = 0
		for _, b := range long {
			n = n<<8 | uint64(b)
		}
	}
	var key [4]byte
	if head[1]&0x80 != 0 {
		if _, err = io.ReadFull(r, key[:]); err != nil {
			return f, err
		}
	}
	f.payload = make([]byte, n)
	if _, err = io.ReadFull(r, f.payload); err != nil {
		return f, err
	}
	for i := range f.payload {
		f.payload[i] ^= key[i%4]
	}
	return f, nil
}

// echo is a server of WebSocket that sends each message back in one frame, and ends with who breaks the rules.
func echo(rw io.ReadWriter) {
	send := func(f frame) { _, _ = rw.Write(f.append(nil, false)) }
	r := bufio.NewReader(rw)
	var message []byte
	kind := byte(0)
	for {
		f, err := readFrame(r)
		switch {
		case err != nil:
			return
		case f.rsv != 0, f.op > opBinary && f.op < opClose, f.op > opPong, f.op >= opClose && (!f.fin || len(f.payload) > 125):
			send(closing(1002, "protocol error"))
			return
		case f.op == opPing:
			send(frame{fin: true, op: opPong, payload: f.payload})
			continue
		case f.op == opPong:
			continue
		case f.op == opClose:
			send(f)
			return
		case f.op == opContinuation && kind == 0, f.op != opContinuation && kind != 0:
			send(closing(1002, "fragment out of order"))
			return
		}
		if f.op != opContinuation {
			kind = f.op
		}
		if message = append(message, f.payload...); !f.fin {
			continue
		}
		if kind == opText && !utf8.Valid(message) {
			send(closing(1007, "not UTF-8"))
			return
		}
		send(frame{fin: true, op: kind, payload: message})
		message, kind = nil, 0
	}
}

// wsCases are in the manner of the Autobahn suite: what is sent, what has to come back.
func wsCases() map[string]struct{ send, want []frame } {
	type c = struct{ send, want []frame }
	same := func(f ...frame) c { return c{f, f} }
	cases := map[string]c{
		"ping, empty":              {[]frame{ping("")}, []frame{pong("")}},
		"ping, text":               {[]frame{ping("hello")}, []frame{pong("hello")}},
		"ping, 125 bytes":          {[]frame{{fin: true, op: opPing, payload: noise(125)}}, []frame{{fin: true, op: opPong, payload: noise(125)}}},
		"ping, 126 bytes":          {[]frame{{fin: true, op: opPing, payload: noise(126)}}, []frame{closing(1002, "protocol error")}},
		"pings, ten at once":       {repeat(ping("x"), 10), repeat(pong("x"), 10)},
		"pong, unasked":            {[]frame{pong("?"), text("a")}, []frame{text("a")}},
		"rsv bits":                 {[]frame{{fin: true, rsv: 0x40, op: opText, payload: []byte("a")}}, []frame{closing(1002, "protocol error")}},
		"rsv bits after a message": {[]frame{text("a"), {fin: true, rsv: 0x70, op: opPing}}, []frame{text("a"), closing(1002, "protocol error")}},
		"reserved opcode 3":        {[]frame{{fin: true, op: 3}}, []frame{closing(1002, "protocol error")}},
		"reserved opcode 11":       {[]frame{text("a"), {fin: true, op: 11}}, []frame{text("a"), closing(1002, "protocol error")}},
		"fragments, two":           {[]frame{part(opText, "he"), last("llo")}, []frame{text("hello")}},
		"fragments, empty":         {[]frame{part(opText, ""), part(opContinuation, ""), last("")}, []frame{text("")}},
		"fragments, ping between":  {[]frame{part(opText, "he"), ping("p"), last("llo")}, []frame{pong("p"), text("hello")}},
		"fragmented ping":          {[]frame{part(opPing, "he"), last("llo")}, []frame{closing(1002, "protocol error")}},
		"continuation of nothing":  {[]frame{last("x")}, []frame{closing(1002, "fragment out of order")}},
		"text inside fragments":    {[]frame{part(opText, "x"), text("y")}, []frame{closing(1002, "fragment out of order")}},
		"UTF-8":                    same(text("Hällo ∆ 界 🙂")),
		"UTF-8, split in a letter": {[]frame{part(opText, "\xe7\x95"), last("\x8c")}, []frame{text("界")}},
		"not UTF-8":                {[]frame{text("\xc0\xaf")}, []frame{closing(1007, "not UTF-8")}},
		"close, no code":           same(frame{fin: true, op: opClose}),
		"close, longest reason":    same(closing(1000, strings.Repeat("r", 123))),
		"close, then more":         {[]frame{closing(1000, ""), text("late")}, []frame{closing(1000, "")}},
	}
	for _, n := range []int{0, 1, 125, 126, 127, 128, 1000, 65535, 65536, 65537, 1 << 20} {
		cases[fmt.Sprintf("text of %d", n)] = same(text(strings.Repeat("*", n)))
		cases[fmt.Sprintf("binary of %d", n)] = same(binaryOf(n))
	}
	for _, code := range []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 4999, 0, 999, 65535} {
		cases[fmt.Sprintf("close %d", code)] = same(closing(code, "why"))
	}
	many := part(opBinary, "")
	fragments := []frame{many}
	for _, b := range noise(500) {
		fragments = append(fragments, part(opContinuation, string(b2s(b))))
	}
	fragments = append(fragments, last(""))
	var whole []byte
	for _, f := range fragments {
		whole = append(whole, f.payload...)
	}
	cases["fragments, 500 of a byte"] = c{fragments, []frame{{fin: true, op: opBinary, payload: whole}}}
	cases["messages, 200 at once"] = same(repeat(text("message"), 200)...)
	return cases
}

func b2s(b byte) []byte { return []byte{b} }

func repeat(f frame, n int) []frame {
	out := make([]frame, n)
	for i := range out {
		out[i] = f
	}
	return out
}

// tunnel is a changed connection or stream, of either version.
type tunnel interface {
	io.ReadWriter
	// CloseWrite ends this direction alone.
	CloseWrite() error
}

func TestWebSocket(t *testing.T) {
	for _, serverH2 := range []bool{false, true} {
		addr, _ := newChain(t, links{server: wsServer(t, serverH2), h2: serverH2})
		for _, clientH2 := range []bool{false, true} {
			dial := func(t *testing.T, path string) (tunnel, string) { return wsDial(t, addr, path, clientH2) }
			t.Run(fmt.Sprintf("HTTP/2 %v to HTTP/2 %v", clientH2, serverH2), func(t *testing.T) {
				for name, c := range wsCases() {
					t.Run(name, func(t *testing.T) { wsCase(t, dial, c.send, c.want) })
				}
				t.Run("opaque", func(t *testing.T) { wsOpaque(t, dial) })
				t.Run("half-close", func(t *testing.T) { wsHalfClose(t, dial) })
				t.Run("server ends first", func(t *testing.T) { wsServerEnds(t, dial) })
				t.Run("refused", func(t *testing.T) {
					if _, status := dial(t, "/refuse"); status != "403" {
						t.Errorf("status %s, want the server's 403", status)
					}
				})
			})
		}
	}
}

type wsDialer func(t *testing.T, path string) (tunnel, string)

func (d wsDialer) open(t *testing.T, path string) tunnel {
	t.Helper()
	c, status := d(t, path)
	if c == nil {
		t.Fatalf("not upgraded: %s", status)
	}
	return c
}

func wsCase(t *testing.T, dial wsDialer, send, want []frame) {
	c := dial.open(t, "/echo")
	var out []byte
	for _, f := range send {
		out = f.append(out, true)
	}
	sent := make(chan error, 1)
	go func() {
		_, err := c.Write(out)
		sent <- err
	}()
	r := bufio.NewReader(c)
	for i, w := range want {
		got, err := readFrame(r)
		if err != nil {
			t.Fatalf("frame %d: %v", i, err)
		}
		if got.fin != w.fin || got.rsv != w.rsv || got.op != w.op || !bytes.Equal(got.payload, w.payload) {
			t.Fatalf("frame %d: opcode %d of %d bytes %.40q, want opcode %d of %d bytes %.40q", i, got.op, len(got.payload), got.payload, w.op, len(w.payload), w.payload)
		}
	}
	if err := <-sent; err != nil && want[len(want)-1].op != opClose {
		t.Errorf("sending: %v", err)
	}
	if want[len(want)-1].op == opClose {
		if _, err := r.ReadByte(); err == nil {
			t.Error("something came after the close frame")
		}
	}
}

// wsOpaque: what is no WebSocket at all passes as it is.
func wsOpaque(t *testing.T, dial wsDialer) {
	c := dial.open(t, "/opaque")
	sent := noise(300_000)
	go func() { _, _ = c.Write(sent) }()
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%v, equal %v", err, bytes.Equal(got, sent))
	}
}

// wsHalfClose: the end of one direction arrives, and the other one goes on.
func wsHalfClose(t *testing.T, dial wsDialer) {
	c := dial.open(t, "/count")
	if _, err := c.Write(noise(100_000)); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); err != nil || string(got) != "100000" {
		t.Errorf("%.80q, %v, want the count", got, err)
	}
}

// wsServerEnds: what the server says last arrives before the end does.
func wsServerEnds(t *testing.T, dial wsDialer) {
	c := dial.open(t, "/bye")
	if got, err := io.ReadAll(c); err != nil || len(got) != 200_000 {
		t.Errorf("%d bytes, %v, want 200000", len(got), err)
	}
}

// wsDial asks for an upgrade. A nil tunnel comes with the status instead.
func wsDial(t *testing.T, addr, path string, h2 bool) (tunnel, string) {
	t.Helper()
	if h2 {
		c := dialH2(t, addr, nil)
		c.mu.Lock()
		allowed := c.settings[8] // SETTINGS_ENABLE_CONNECT_PROTOCOL
		c.mu.Unlock()
		if allowed != 1 {
			t.Fatal("the proxy does not announce extended CONNECT (RFC 8441)")
		}
		s := c.open(false, field{":method", "CONNECT"}, field{":protocol", "websocket"}, field{":scheme", "http"}, field{":authority", "server"}, field{":path", path},
			field{"sec-websocket-version", "13"}, field{"sec-websocket-protocol", "chat"})
		s.headed(t)
		if status := s.get(0, ":status"); status != "200" {
			return nil, status
		}
		if got := s.get(0, "sec-websocket-protocol"); got != "chat" {
			t.Errorf("protocol %q", got)
		}
		return s, "200"
	}
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	const key = "dGhlIHNhbXBsZSBub25jZQ=="
	fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: server\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: %s\r\nSec-WebSocket-Protocol: chat\r\n\r\n", path, key)
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return nil, fmt.Sprint(resp.StatusCode)
	}
	if got := resp.Header.Get("Sec-WebSocket-Accept"); got != acceptOf(key) {
		t.Errorf("accept %q, want %q", got, acceptOf(key))
	}
	if got := resp.Header.Get("Sec-WebSocket-Protocol"); got != "chat" || !strings.EqualFold(resp.Header.Get("Upgrade"), "websocket") {
		t.Errorf("protocol %q, upgrade %q", got, resp.Header.Get("Upgrade"))
	}
	return &tcpTunnel{c.(*net.TCPConn), r}, "101"
}

func acceptOf(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// tcpTunnel begins with what was read behind the head.
type tcpTunnel struct {
	*net.TCPConn
	r *bufio.Reader
}

func (c *tcpTunnel) Read(b []byte) (int, error) { return c.r.Read(b) }

// CloseWrite ends a stream's direction.
func (s *rawStream) CloseWrite() error {
	s.end()
	return nil
}

// wsServe is what a server does with a tunnel, by the path.
func wsServe(path string, c tunnel) {
	switch path {
	case "/echo":
		echo(c)
	case "/opaque":
		_, _ = io.Copy(struct{ io.Writer }{c}, c)
	case "/count":
		n, err := io.Copy(io.Discard, c)
		if err == nil {
			fmt.Fprint(c, n)
		}
	case "/bye":
		_, _ = c.Write(noise(200_000))
	}
}

// wsServer accepts upgrades by HTTP/1.1, or by extended CONNECT.
func wsServer(t *testing.T, h2 bool) string {
	if h2 {
		return serveH2(t, func(s *rawStream) {
			path := s.get(0, ":path")
			if s.get(0, ":method") != "CONNECT" || s.get(0, ":protocol") != "websocket" || path == "/refuse" {
				s.sendHead(true, field{":status", "403"})
				return
			}
			s.sendHead(false, field{":status", "200"}, field{"sec-websocket-protocol", s.get(0, "sec-websocket-protocol")})
			wsServe(path, s)
			s.end()
		})
	}
	return serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key := r.Header.Get("Sec-WebSocket-Key")
		if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") || key == "" || r.URL.Path == "/refuse" || r.Header.Get("Sec-WebSocket-Version") != "13" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: %s\r\n\r\n",
			acceptOf(key), r.Header.Get("Sec-WebSocket-Protocol"))
		wsServe(r.URL.Path, &tcpTunnel{c.(*net.TCPConn), rw.Reader})
		_ = c.(*net.TCPConn).CloseWrite()
		_, err = io.Copy(io.Discard, rw.Reader) // a close with data unread would be a reset, and lose what was sent
		if err != nil && !errors.Is(err, net.ErrClosed) {
			return
		}
	}))
}
