package proxyprotocol

import (
	"bytes"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/hauberk-mesh/hauberk/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

func v2(command, family byte, length int, body string) string {
	return signatureV2 + string([]byte{command, family, byte(length >> 8), byte(length)}) + body
}

const (
	inet  = "\xc0\x00\x02\x01\xc6\x33\x64\x02\xdc\x04\x01\xbb" // 192.0.2.1 -> 198.51.100.2, 56324 -> 443
	inet6 = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" +
		"\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02" + "\xdc\x04\x01\xbb"
	mapped = "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xc0\x00\x02\x01" +
		"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xc6\x33\x64\x02" + "\xdc\x04\x01\xbb"
)

func TestParse(t *testing.T) {
	for _, tc := range []struct{ name, in, src, dst string }{
		{"v1 IPv4", "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n", "192.0.2.1:56324", "198.51.100.2:443"},
		{"v1 IPv6", "PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n", "[2001:db8::1]:1", "[2001:db8::2]:65535"},
		{"v1 port 0", "PROXY TCP4 192.0.2.1 198.51.100.2 0 443\r\n", "192.0.2.1:0", "198.51.100.2:443"},
		{"v1 mapped", "PROXY TCP6 ::ffff:192.0.2.1 ::ffff:198.51.100.2 5 6\r\n", "192.0.2.1:5", "198.51.100.2:6"},
		{"v1 unknown", "PROXY UNKNOWN\r\n", "", ""},
		{"v1 unknown with more", "PROXY UNKNOWN ffff::1 anything 1 2\r\n", "", ""},
		{"v1 longest", "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
			"[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535", "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"},
		{"v2 IPv4", v2(0x21, 0x11, 12, inet), "192.0.2.1:56324", "198.51.100.2:443"},
		{"v2 IPv6", v2(0x21, 0x21, 36, inet6), "[2001:db8::1]:56324", "[2001:db8::2]:443"},
		{"v2 mapped", v2(0x21, 0x21, 36, mapped), "192.0.2.1:56324", "198.51.100.2:443"},
		{"v2 with extensions", v2(0x21, 0x11, 12+4+3, inet+"\x01\x00\x01h"+"\x04\x00\x00"), "192.0.2.1:56324", "198.51.100.2:443"},
		{"v2 local", v2(0x20, 0x00, 0, ""), "", ""},
		{"v2 local with addresses", v2(0x20, 0x11, 12, inet), "", ""},
		{"v2 unspec", v2(0x21, 0x00, 3, "abc"), "", ""},
		{"v2 unix", v2(0x21, 0x31, 216, strings.Repeat("x", 216)), "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h, _, err := Parse([]byte(tc.in + "GET /"))
			if err != nil || h.Size != len(tc.in) {
				t.Fatalf("%+v %v", h, err)
			}
			if got := spell(h.Source); got != tc.src {
				t.Errorf("source %s, want %s", got, tc.src)
			}
			if got := spell(h.Destination); got != tc.dst {
				t.Errorf("destination %s, want %s", got, tc.dst)
			}
			whole := []byte(tc.in)
			for i := range whole { // byte by byte: never a wrong answer, and need is never more than there will be
				_, need, err := Parse(whole[:i])
				if !errors.Is(err, ErrShort) || need <= i || need > len(whole) {
					t.Fatalf("%d bytes: need %d, %v", i, need, err)
				}
			}
		})
	}
}

func spell(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func TestMalformed(t *testing.T) {
	for _, in := range []string{
		"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\n",
		"PROXY TCP4 192.0.2.1 198.51.100.2 56324\r\n",
		"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443 \r\n",
		"PROXY TCP4  192.0.2.1 198.51.100.2 56324 443\r\n",
		"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443 1\r\n",
		"PROXY TCP4 192.0.2.256 198.51.100.2 56324 443\r\n",
		"PROXY TCP4 192.0.2.01 198.51.100.2 56324 443\r\n",
		"PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
		"PROXY TCP6 192.0.2.1 198.51.100.2 1 2\r\n",
		"PROXY TCP6 fe80::1%eth0 fe80::2 1 2\r\n",
		"PROXY TCP4 192.0.2.1 198.51.100.2 65536 443\r\n",
		"PROXY TCP4 192.0.2.1 198.51.100.2 99999999999999999999 443\r\n",
		"PROXY TCP4 192.0.2.1 198.51.100.2 -1 443\r\n",
		"PROXY TCP4 192.0.2.1 198.51.100.2 +1 443\r\n",
		"PROXY TCP4 192.0.2.1 198.51.100.2 01 443\r\n",
		"PROXY TCP4 192.0.2.1 198.51.100.2  443\r\n",
		"PROXY UDP4 192.0.2.1 198.51.100.2 1 2\r\n",
		"PROXY tcp4 192.0.2.1 198.51.100.2 1 2\r\n",
		"PROXY \r\n",
		"PROXY \n",
		"PROXY UNKNOWN " + strings.Repeat("x", 200) + "\r\n",
		v2(0x11, 0x11, 12, inet),
		v2(0x22, 0x11, 12, inet),
		v2(0x21, 0x41, 12, inet),
		v2(0x21, 0x13, 12, inet),
		v2(0x21, 0x12, 12, inet),
		v2(0x21, 0x11, 11, inet[:11]),
		v2(0x21, 0x21, 12, inet),
		v2(0x21, 0x11, 14, inet+"\x01\x00"),
		v2(0x21, 0x11, 15, inet+"\x01\x00\x01"),
		v2(0x21, 0x11, 5000, inet+strings.Repeat("x", 4988)),
	} {
		h, _, err := Parse([]byte(in))
		if err == nil || errors.Is(err, ErrShort) || errors.Is(err, ErrNone) {
			t.Errorf("%q: %+v %v", in, h, err)
		}
	}
	for _, in := range []string{"GET / HTTP/1.1\r\n", "PROXY\t", "proxy TCP4", "\r\n\r\nGET", "\x16\x03\x01"} {
		if _, _, err := Parse([]byte(in)); !errors.Is(err, ErrNone) {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func TestAppend(t *testing.T) {
	v4, other4 := netip.MustParseAddrPort("192.0.2.1:56324"), netip.MustParseAddrPort("198.51.100.2:443")
	v6 := netip.MustParseAddrPort("[2001:db8::1]:1")
	if got := string(Append([]byte("x"), 1, v4, other4)); got != "xPROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n" {
		t.Errorf("%q", got)
	}
	if got := string(Append(nil, 2, v4, other4)); got != v2(0x21, 0x11, 12, inet) {
		t.Errorf("%q", got)
	}
	if got := string(Append(nil, 1, netip.AddrPort{}, v4)); got != "PROXY UNKNOWN\r\n" {
		t.Errorf("%q", got)
	}
	for version := 1; version <= 2; version++ {
		for _, pair := range [][2]netip.AddrPort{{v4, other4}, {v6, v6}, {v4, v6}, {v6, v4}, {{}, {}}} {
			b := Append(nil, version, pair[0], pair[1])
			h, _, err := Parse(b)
			if err != nil || h.Version != version || h.Size != len(b) || h.Source != pair[0] || h.Destination != pair[1] {
				t.Errorf("%v by version %d: %+v %v", pair, version, h, err)
			}
		}
	}
}

// FuzzParse: nothing crashes, more bytes never change an answer, and what is understood can be said again.
func FuzzParse(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n"))
	f.Add([]byte("PROXY UNKNOWN\r\n"))
	f.Add([]byte(v2(0x21, 0x11, 15, inet+"\x04\x00\x00")))
	f.Add([]byte(v2(0x21, 0x21, 36, inet6)))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, need, err := Parse(b)
		more, _, errMore := Parse(append(slices.Clone(b), "more"...))
		switch {
		case errors.Is(err, ErrShort):
			if need <= len(b) || need > MaxHeader {
				t.Fatalf("need %d of %d", need, len(b))
			}
			return
		case err != nil:
			if errMore == nil || errMore.Error() != err.Error() {
				t.Fatalf("%v, then %v", err, errMore)
			}
			return
		}
		if h.Size > len(b) || more != h || errMore != nil {
			t.Fatalf("%+v, then %+v %v", h, more, errMore)
		}
		if !h.Source.IsValid() {
			return
		}
		out := Append(nil, h.Version, h.Source, h.Destination)
		again, _, err := Parse(out)
		if err != nil || again.Source != h.Source || again.Destination != h.Destination {
			t.Fatalf("%+v was written as %q: %+v %v", h, out, again, err)
		}
		if h.Version == 1 && len(out) > maxV1 || bytes.HasPrefix(out, []byte("GET")) {
			t.Fatalf("%q", out)
		}
	})
}
