package listener

import (
	"strings"
	"testing"
)

func TestBeginsTLS(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want bool
	}{
		{"\x16\x03\x01\x02\x00\x01", true}, {"\x16\x03\x03\x00\x05\x01", true}, {"\x16", true}, {"\x16\x03\x01", true},
		{"", false}, {"GET / ", false}, {"\x16\x02\x01\x02\x00\x01", false}, {"\x16\x03\x01\x02\x00\x02", false}, {"\x15\x03\x03\x00\x02\x02", false},
	} {
		if got := beginsTLS([]byte(tc.in)); got != tc.want {
			t.Errorf("%q: %t", tc.in, got)
		}
	}
}

// FuzzBeginsTLS: more bytes only ever turn yes into no.
func FuzzBeginsTLS(f *testing.F) {
	f.Add([]byte("\x16\x03\x01\x02\x00\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for i := 1; i < len(b); i++ {
			if !beginsTLS(b[:i]) && beginsTLS(b) {
				t.Fatalf("%q", b)
			}
		}
	})
}

func TestBeginsHTTP(t *testing.T) {
	for _, tc := range []struct {
		in, want string
		more     bool // it waits for more
	}{
		{"GET / HTTP/1.1\r\n", http11, false},
		{"GET / HTTP/1.0\r\n", http10, false},
		{"POST http://a/b HTTP/1.1\n", http11, false},
		{"X-ODD!  /a b  HTTP/1.1\r\n", http11, false},
		{"GET\t/\tHTTP/1.1\r\n", http11, false},
		{"get / http/1.1\r\n", http11, false},
		{"GET / HTTP/1.2\r\n", http11, false},
		{"\r\nGET / HTTP/1.1\r\n", http11, false},
		{"GET /admin\r\n", http10, false},
		{"OPTIONS * HTTP/1.1\r\n", http11, false},
		{"GET /\xff HTTP/1.1\r\n", http11, false},
		{"PRI * HTTP/2.0\r\n", h2c, false},
		{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", h2c, false},
		{"G", http11, true}, {"GET /", http11, true}, {"\r\n", "", true}, {"PRI * HT", http11, true},
		{"GET /" + strings.Repeat("a", maxLine), http11, false},
		// What is something else.
		{"EHLO client.example\r\n", "", false},
		{"USER anonymous\r\n", "", false},
		{"*1\r\n$4\r\nPING\r\n", "", false},
		{"PING\r\n", "", false},
		{"SET key value\r\n", "", false},
		{"\x16\x03\x01\x02\x00\x01", "", false},
		{"\x00\x00\x00\x08\x04\xd2\x16\x2f", "", false}, // PostgreSQL asks for TLS
		{"\x00\x00\x00\x21\x00\x03\x00\x00user", "", false},
		{"SSH-2.0-OpenSSH_9.2\r\n", "", false},
		{"{\"op\":\"query\"}", "", false},
		{"GET \x01", "", false},
		{" GET / HTTP/1.1\r\n", "", false},
		{strings.Repeat("\r\n", 5), "", false},
	} {
		got, need := beginsHTTP([]byte(tc.in))
		if got != tc.want || need > 0 != tc.more {
			t.Errorf("%q: %q, need %d", tc.in, got, need)
		}
		for i := 1; i < len(tc.in); i++ { // nothing that becomes HTTP is given up before its line has come
			if before, need := beginsHTTP([]byte(tc.in[:i])); tc.want != "" && need == 0 && before != tc.want {
				t.Errorf("%q: %q already", tc.in[:i], before)
			}
		}
	}
}

// FuzzBeginsHTTP: an answer that is final stays, whatever follows.
func FuzzBeginsHTTP(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\n"), []byte("Host: a"))
	f.Add([]byte("PRI * HTTP/2.0\r\n"), []byte("\r\nSM"))
	f.Fuzz(func(t *testing.T, b, more []byte) {
		p, need := beginsHTTP(b)
		if need > 0 {
			if need <= len(b) || need > maxLine {
				t.Fatalf("need %d of %d", need, len(b))
			}
			return
		}
		if len(b) > 0 && len(b) < maxLine {
			if again, need := beginsHTTP(append(b[:len(b):len(b)], more...)); again != p || need != 0 {
				t.Fatalf("%q, then %q", p, again)
			}
		}
	})
}
