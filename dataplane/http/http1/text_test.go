package http1

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
)

// TestStringsLastUntilTheNextMessage: through the content and the trailers, in however many pieces they come.
func TestStringsLastUntilTheNextMessage(t *testing.T) {
	body := strings.Repeat("x", 100_000)
	long := strings.Repeat("v", textSize)
	wire := fmt.Sprintf("POST /path?q HTTP/1.1\r\nHost: host\r\nX-A: value\r\nTransfer-Encoding: chunked\r\n\r\n"+
		"%x\r\n%s\r\n0\r\nX-B: trailer\r\nX-C: %s\r\n\r\n", len(body), body, long)
	for how, src := range arrivals(wire + smuggled) {
		r := NewReader(src)
		var m Request
		if err := r.ReadRequest(&m); err != nil {
			t.Fatal(err)
		}
		var b Body
		b.Reset(r, m.Body)
		if n, err := io.Copy(io.Discard, &b); err != nil || n != int64(len(body)) {
			t.Fatal(n, err)
		}
		if m.Method != "POST" || m.Path != "/path" || m.Query != "?q" || m.Authority != "host" || m.Header.Get("x-a") != "value" ||
			b.Trailer().Get("x-b") != "trailer" || b.Trailer().Get("x-c") != long {
			t.Errorf("%s: %+v, %+v", how, m, b.Trailer())
		}
	}
}

// TestMemoryOfStringsIsReused is the reason for the rule that the last test tests.
func TestMemoryOfStringsIsReused(t *testing.T) {
	r := NewReader(strings.NewReader("GET /one HTTP/1.1\r\nHost: h\r\n\r\nGET /two HTTP/1.1\r\nHost: h\r\n\r\n"))
	var m Request
	if err := r.ReadRequest(&m); err != nil {
		t.Fatal(err)
	}
	path, kept := m.Path, strings.Clone(m.Path)
	if err := r.ReadRequest(&m); err != nil {
		t.Fatal(err)
	}
	if path != "/two" || kept != "/one" || m.Path != "/two" {
		t.Errorf("%q, %q, %q", path, kept, m.Path)
	}
	if cap(r.text.block) != textSize {
		t.Errorf("holds %d", cap(r.text.block))
	}
	if err := r.ReadRequest(&m); err != io.EOF || cap(r.text.block) != 0 {
		t.Errorf("while it waits: %v, holds %d", err, cap(r.text.block))
	}
}

func TestPoison(t *testing.T) {
	var x text
	s := x.keep([]byte("abc"))
	x.forget()
	want := "abc"
	if p := []byte("z"); true {
		if poison(p); p[0] == '?' { // built with the race detector
			want = "???"
		}
	}
	if s != want {
		t.Errorf("%q", s)
	}
}

// TestValid: at every place of a string, and beside bytes that might borrow from it, the fast way says what the table says.
func TestValid(t *testing.T) {
	for c := range 256 {
		for _, d := range []byte("\x00\t\x1f a\x7f\x80\xff") {
			s := "0123456" + string([]byte{byte(c), d}) + "x"
			for from := range len(s) {
				if got := message.AllValue(s[from:]); got != message.All(s[from:], message.IsValue) {
					t.Fatalf("%q: %t", s[from:], got)
				}
			}
		}
	}
	if !message.AllValue("") || !message.AllValue("\t 12345678 \xff") {
		t.Error("refuses what is allowed")
	}
}
