package tls

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// FuzzRecords feeds any bytes in pieces of any size: they go up unchanged, and never beyond the end of a record in one call,
// whatever the lengths in them say.
func FuzzRecords(f *testing.F) {
	record := func(n int) []byte { return append([]byte{23, 3, 3, byte(n >> 8), byte(n)}, make([]byte, n)...) }
	f.Add(record(3), uint16(1), uint16(1))
	f.Add(append(record(0), record(1)...), uint16(6), uint16(600))
	f.Add(append(record(16401), record(70)...), uint16(16000), uint16(20000))
	f.Add([]byte{22, 3}, uint16(1), uint16(5))
	f.Add([]byte{1, 2, 3, 255, 255, 0, 0}, uint16(4), uint16(9))
	f.Fuzz(func(t *testing.T, stream []byte, in, out uint16) {
		r := newRecords(&pieces{left: stream, size: max(1, int(in))})
		var got []byte
		p := make([]byte, max(1, int(out)))
		end, complete := recordEnd(stream, 0)
		for {
			n, err := r.Read(p)
			if got = append(got, p[:n]...); len(got) > end {
				t.Fatalf("a read went on to byte %d, beyond the record that ends at %d", len(got), end)
			}
			if len(got) == end {
				end, complete = recordEnd(stream, end)
			}
			if here := r.w - r.r; here > 0 && r.whole() != (complete && here >= end-len(got)) {
				t.Fatalf("after %d bytes, %d here: whole is %v", len(got), here, r.whole())
			}
			if err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(got, stream) {
			t.Error("other bytes went up than came")
		}
	})
}

// recordEnd is where the record that begins at from ends, or the end of s, which may come before.
func recordEnd(s []byte, from int) (end int, complete bool) {
	if len(s)-from < header {
		return len(s), false
	}
	end = from + header + int(binary.BigEndian.Uint16(s[from+3:]))
	return min(end, len(s)), end <= len(s)
}

// pieces is a connection that yields what is left in pieces of one size.
type pieces struct {
	net.Conn
	left []byte
	size int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.left) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.left[:min(len(p.left), p.size)])
	p.left = p.left[n:]
	return n, nil
}

// TestRecordsWithoutData: what follows data in the same piece may be a key update or an empty record. Read returns the data
// and does not wait for more; an update that asks for one in return gets it.
func TestRecordsWithoutData(t *testing.T) {
	clientCfg, serverCfg := mutual(t)
	var log bytes.Buffer
	clientCfg.KeyLogWriter = &log
	c, s := loopback(t)
	x, y := shaken(t, c, s, clientCfg, serverCfg, plainClient, ourServer)
	defer y.Close()
	defer c.Close()
	if x.(*tls.Conn).ConnectionState().CipherSuite != tls.TLS_AES_128_GCM_SHA256 {
		t.Skip("the records below are made for another suite")
	}
	from := newSealer(t, secretOf(t, log.String(), "CLIENT_TRAFFIC_SECRET_0"))
	wire := from.seal(23, []byte("hello"))
	wire = append(wire, from.seal(23, nil)...)
	wire = append(wire, from.seal(22, []byte{24, 0, 0, 1, 1})...) // RFC 8446 section 4.6.3: KeyUpdate, update_requested
	from = newSealer(t, expand(t, from.secret, "traffic upd", sha256.Size))
	wire = append(wire, from.seal(23, []byte(", world"))...)
	half := from.seal(23, []byte("!"))
	wire = append(wire, half[:9]...)
	if _, err := c.Write(wire); err != nil {
		t.Fatal(err)
	}
	_ = y.SetReadDeadline(time.Now().Add(10 * time.Second))
	var got []byte
	for string(got) != "hello, world" {
		b := make([]byte, 100)
		n, err := y.Read(b)
		if err != nil {
			t.Fatalf("after %q: %v", got, err)
		}
		got = append(got, b[:n]...)
	}
	if _, err := c.Write(half[9:]); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 100)
	if n, err := y.Read(b); string(b[:n]) != "!" || err != nil {
		t.Fatalf("read %q, %v", b[:n], err)
	}
	if _, err := y.Write([]byte("bye")); err != nil {
		t.Fatal(err)
	}
	_ = x.SetReadDeadline(time.Now().Add(10 * time.Second))
	if n, err := x.Read(b); string(b[:n]) != "bye" || err != nil { // under the updated key, which only the answer announced
		t.Fatalf("the client read %q, %v", b[:n], err)
	}
}

// sealer makes records of TLS 1.3 under AES-128-GCM (RFC 8446 section 5.2).
type sealer struct {
	secret, iv []byte
	aead       cipher.AEAD
	seq        uint64
}

func newSealer(t *testing.T, secret []byte) *sealer {
	block, err := aes.NewCipher(expand(t, secret, "key", 16))
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	return &sealer{secret: secret, iv: expand(t, secret, "iv", 12), aead: aead}
}

func (s *sealer) seal(kind byte, data []byte) []byte {
	plain := append(bytes.Clone(data), kind)
	n := len(plain) + s.aead.Overhead()
	head := []byte{23, 3, 3, byte(n >> 8), byte(n)}
	nonce := bytes.Clone(s.iv)
	for i := range 8 {
		nonce[4+i] ^= byte(s.seq >> (56 - 8*i))
	}
	s.seq++
	return s.aead.Seal(bytes.Clone(head), nonce, plain, head)
}

// expand is HKDF-Expand-Label with an empty context (RFC 8446 section 7.1).
func expand(t *testing.T, secret []byte, label string, n int) []byte {
	info := append([]byte{byte(n >> 8), byte(n), byte(6 + len(label))}, "tls13 "+label...)
	out, err := hkdf.Expand(sha256.New, secret, string(append(info, 0)), n)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func secretOf(t *testing.T, log, label string) []byte {
	for line := range strings.Lines(log) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == label {
			secret, err := hex.DecodeString(f[2])
			if err != nil {
				t.Fatal(err)
			}
			return secret
		}
	}
	t.Fatal("the handshake logged no " + label)
	return nil
}
