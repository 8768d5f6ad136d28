package message

import (
	"encoding/binary"
	"unsafe"
)

// Classes of bytes in a head, one bit each: Class[c]&IsToken. Both versions of HTTP have the same, but for names, which are in lower
// case in HTTP/2.
const (
	IsName   = 1 << iota // tchar without upper case: RFC 9113 section 8.2.1
	IsToken              // tchar: RFC 9110 section 5.6.2
	IsValue              // allowed in field values: VCHAR, SP, HTAB, obs-text (RFC 9110 section 5.5)
	IsTarget             // allowed in a request target: visible ASCII without '#', which no request target has
	IsHost               // allowed in Host and :authority: RFC 3986 reg-name without escapes, IP literals, port; no user info
)

// Class is the classes of each byte.
var Class = func() (t [256]uint8) {
	for c := 'a'; c <= 'z'; c++ {
		t[c] |= IsName | IsToken | IsHost
		t[c-'a'+'A'] |= IsToken | IsHost
	}
	for c := '0'; c <= '9'; c++ {
		t[c] |= IsName | IsToken | IsHost
	}
	for _, c := range "!#$%&'*+-.^_`|~" {
		t[c] |= IsName | IsToken
	}
	for _, c := range "!$&'()*+,-.:;=[]_~" {
		t[c] |= IsHost
	}
	for c := 0x20; c < 0x100; c++ {
		if c != 0x7f {
			t[c] |= IsValue
		}
	}
	t['\t'] |= IsValue
	for c := 0x21; c < 0x7f; c++ {
		if c != '#' {
			t[c] |= IsTarget
		}
	}
	return t
}()

// All tells whether every byte of s is of a class.
func All(s string, is uint8) bool {
	for i := 0; i < len(s); i++ {
		if Class[s[i]]&is == 0 {
			return false
		}
	}
	return true
}

// AllValue is All(s, IsValue), faster. Most of a head is values: it looks at eight bytes at once, and at each by itself only where
// one of them is a control character, of which a tab is allowed.
func AllValue(s string) bool {
	const ones = 0x0101010101010101
	b := unsafe.Slice(unsafe.StringData(s), len(s))
	for ; len(b) >= 8; b = b[8:] {
		x := binary.LittleEndian.Uint64(b)
		del := x ^ ones*0x7f
		if ((x-ones*0x20)&^x|(del-ones)&^del)&(ones*0x80) != 0 && !All(unsafe.String(&b[0], 8), IsValue) {
			return false
		}
	}
	return All(unsafe.String(unsafe.SliceData(b), len(b)), IsValue)
}

// Fold compares ASCII without case; lower is in lower case.
func Fold(s, lower string) bool {
	if len(s) != len(lower) {
		return false
	}
	for i := 0; i < len(s); i++ {
		if toLower(s[i]) != lower[i] {
			return false
		}
	}
	return true
}

// EqualFold compares ASCII without case.
func EqualFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := 0; i < len(a); i++ {
		if a[i] != b[i] && toLower(a[i]) != toLower(b[i]) {
			return false
		}
	}
	return true
}

func toLower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// HasPrefix tells whether a field's name begins with prefix, which is in lower case.
func HasPrefix(name, prefix string) bool {
	return len(name) >= len(prefix) && Fold(name[:len(prefix)], prefix)
}

// MayTrail tells whether a field may stand after the content. RFC 9110 section 6.5.1 forbids framing, routing and authentication
// there; and the mesh's own words are believed in heads only.
func MayTrail(name string) bool {
	for _, f := range [...]string{"host", "content-length", "transfer-encoding", "connection", "keep-alive", "upgrade", "te",
		"trailer", "expect", "authorization", "cookie", "set-cookie", "content-type", "content-encoding", "content-range",
		"x-request-id", "x-forwarded-for", "x-forwarded-proto"} {
		if Fold(name, f) {
			return false
		}
	}
	return !HasPrefix(name, "hauberk-") && !HasPrefix(name, "x-hauberk-")
}
