package http1

import (
	"encoding/binary"
	"unsafe"
)

// Classes of bytes, one bit each.
const (
	isToken  = 1 << iota // tchar: RFC 9110 section 5.6.2
	isValue              // allowed in field values: VCHAR, SP, HTAB, obs-text (RFC 9110 section 5.5)
	isTarget             // allowed in a request target: visible ASCII without '#', which no request target has
	isHost               // allowed in Host: RFC 3986 reg-name without escapes, IP literals, port
)

var class = func() (t [256]uint8) {
	for c := 'a'; c <= 'z'; c++ {
		t[c] |= isToken | isHost
		t[c-'a'+'A'] |= isToken | isHost
	}
	for c := '0'; c <= '9'; c++ {
		t[c] |= isToken | isHost
	}
	for _, c := range "!#$%&'*+-.^_`|~" {
		t[c] |= isToken
	}
	for _, c := range "!$&'()*+,-.:;=[]_~" {
		t[c] |= isHost
	}
	for c := 0x20; c < 0x100; c++ {
		if c != 0x7f {
			t[c] |= isValue
		}
	}
	t['\t'] |= isValue
	for c := 0x21; c < 0x7f; c++ {
		if c != '#' {
			t[c] |= isTarget
		}
	}
	return t
}()

func all(s string, is uint8) bool {
	for i := 0; i < len(s); i++ {
		if class[s[i]]&is == 0 {
			return false
		}
	}
	return true
}

// valid tells whether s may be a field's value. Most of a head is such: it looks at eight bytes at once, and at each by itself
// only where one of them is a control character, of which a tab is allowed.
func valid(s string) bool {
	const ones = 0x0101010101010101
	b := unsafe.Slice(unsafe.StringData(s), len(s))
	for ; len(b) >= 8; b = b[8:] {
		x := binary.LittleEndian.Uint64(b)
		del := x ^ ones*0x7f
		if ((x-ones*0x20)&^x|(del-ones)&^del)&(ones*0x80) != 0 && !all(view(b[:8]), isValue) {
			return false
		}
	}
	return all(view(b), isValue)
}

// prefix is how many bytes of that class s begins with.
func prefix(s string, is uint8) int {
	i := 0
	for i < len(s) && class[s[i]]&is != 0 {
		i++
	}
	return i
}

func token(s string) bool { return s != "" && all(s, isToken) }

// fold compares ASCII without case; b is lower case.
func fold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := 0; i < len(a); i++ {
		if lower(a[i]) != b[i] {
			return false
		}
	}
	return true
}

// equalFold compares ASCII without case.
func equalFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := 0; i < len(a); i++ {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

func trim(s string) string {
	for len(s) > 0 && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for len(s) > 0 && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}
