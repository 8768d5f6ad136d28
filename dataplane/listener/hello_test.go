package listener

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
)

// clientHello is what crypto/tls sends as its first flight.
func clientHello(t testing.TB, cfg *tls.Config) []byte {
	t.Helper()
	c, s := net.Pipe()
	defer s.Close()
	done := make(chan error, 1)
	go func() { done <- tls.Client(c, cfg).Handshake() }()
	b := make([]byte, 64<<10)
	n, err := s.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	<-done
	return b[:n]
}

// hellos are of many shapes: versions, names, protocols, key shares of hundreds and of more than a thousand bytes.
func hellos(t testing.TB) map[string]*tls.Config {
	many := make([]string, 0, 100)
	for i := range 100 {
		many = append(many, strings.Repeat("p", i+1))
	}
	return map[string]*tls.Config{
		"plain":        {ServerName: "cart.example", MaxVersion: tls.VersionTLS12},
		"alpn":         {ServerName: "Cart.Example", NextProtos: []string{"h2", "http/1.1"}},
		"no name":      {InsecureSkipVerify: true},
		"no name alpn": {InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}},
		"classical":    {ServerName: "a", CurvePreferences: []tls.CurveID{tls.X25519}},
		"post-quantum": {ServerName: "b.c", CurvePreferences: []tls.CurveID{tls.X25519MLKEM768, tls.X25519}},
		"old":          {ServerName: "old.example", MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11},
		"long":         {ServerName: "long.example", NextProtos: many},
	}
}

// cut makes records of at most size bytes of what is in b's one.
func cut(b []byte, size int) []byte {
	var out []byte
	for piece := range slices.Chunk(b[recordHeader:], size) {
		out = append(append(out, 22, 3, 1, byte(len(piece)>>8), byte(len(piece))), piece...)
	}
	return out
}

// oracle is how crypto/tls, asked as a server, reads the hello: the oracle.
func oracle(t testing.TB, b []byte) hello {
	t.Helper()
	c, s := net.Pipe()
	defer c.Close()
	var got *tls.ClientHelloInfo
	done := make(chan error, 1)
	go func() {
		done <- tls.Server(s, &tls.Config{GetConfigForClient: func(i *tls.ClientHelloInfo) (*tls.Config, error) {
			got = i
			return nil, errors.New("seen")
		}}).Handshake()
	}()
	go func() { _, _ = c.Read(make([]byte, 100)); c.Close() }() // its alert
	_, _ = c.Write(b)
	<-done
	s.Close()
	if got == nil {
		t.Fatal("crypto/tls does not understand it")
	}
	return hello{serverName: strings.ToLower(got.ServerName), alpn: got.SupportedProtos}
}

func TestParseHello(t *testing.T) {
	for name, cfg := range hellos(t) {
		t.Run(name, func(t *testing.T) {
			whole := clientHello(t, cfg)
			want := oracle(t, whole)
			if want.serverName != strings.ToLower(cfg.ServerName) || len(want.alpn) != len(cfg.NextProtos) {
				t.Fatalf("%+v", want)
			}
			for _, b := range [][]byte{whole, cut(whole, len(whole)/2), cut(whole, len(whole)/14)} {
				h, need, err := parseHello(append(slices.Clone(b), "next record"...))
				if err != nil || need != 0 || h.serverName != want.serverName || !slices.Equal(h.alpn, want.alpn) {
					t.Fatalf("%+v %d %v", h, need, err)
				}
				for i := range b { // less of it is never an answer, and never asks for more than there will be
					if _, need, err := parseHello(slices.Clone(b[:i])); err != nil || need <= i || need > len(b) {
						t.Fatalf("%d of %d bytes: need %d, %v", i, len(b), need, err)
					}
				}
			}
			if _, _, err := parseHello(cut(whole, len(whole)/20)); !errors.Is(err, errHelloLong) {
				t.Errorf("20 records: %v", err)
			}
		})
	}
}

func TestParseHelloRefuses(t *testing.T) {
	whole := clientHello(t, &tls.Config{ServerName: "cart.example", NextProtos: []string{"h2"}, CurvePreferences: []tls.CurveID{tls.X25519}})
	at := bytes.Index(whole, []byte("cart.example"))
	edit := func(i int, c byte) []byte {
		b := slices.Clone(whole)
		b[i] = c
		return b
	}
	for name, b := range map[string][]byte{
		"another message":       edit(5, 2),
		"empty record":          append([]byte{22, 3, 1, 0, 0}, whole...),
		"another record":        append(cut(whole, 10)[:15], 23, 3, 3, 0, 1, 0),
		"huge record":           edit(3, 0x41),
		"length of a message":   edit(8, whole[8]-1),
		"a name that lies":      edit(at-1, 13),
		"an empty name":         edit(at-1, 0),
		"a name with a space":   edit(at+1, ' '),
		"a name with a newline": edit(at+1, '\n'),
		"a name ends with dot":  edit(at+11, '.'),
		"a name with a quote":   edit(at+1, '"'),
	} {
		if h, need, err := parseHello(b); err == nil {
			t.Errorf("%s: %+v, need %d", name, h, need)
		}
	}
	long := slices.Concat([]byte{22, 3, 1, 0x40, 0, 1, 0, 0xff, 0xff}, make([]byte, 16<<10-4))
	if _, _, err := parseHello(slices.Clone(long)); !errors.Is(err, errHelloLong) {
		t.Errorf("64 KiB: %v", err)
	}
}

// FuzzParseHello: nothing crashes, an answer stays the same when more follows, and what is found in a whole hello is what
// crypto/tls finds there.
func FuzzParseHello(f *testing.F) {
	for _, cfg := range hellos(f) {
		b := clientHello(f, cfg)
		f.Add(b)
		f.Add(cut(b, 100))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, need, err := parseHello(slices.Clone(b))
		more, needMore, errMore := parseHello(append(slices.Clone(b), 0, 1, 2, 3))
		switch {
		case err != nil:
			if errMore == nil || h.serverName != "" {
				t.Fatalf("%v, then %v", err, errMore)
			}
		case need > 0:
			if need <= len(b) || need > maxHello+recordHeader {
				t.Fatalf("need %d of %d", need, len(b))
			}
		case errMore != nil || needMore != 0 || more.serverName != h.serverName || !slices.Equal(more.alpn, h.alpn):
			t.Fatalf("%+v, then %+v %v", h, more, errMore)
		case !hostName(h.serverName):
			t.Fatalf("%q", h.serverName)
		}
	})
}
