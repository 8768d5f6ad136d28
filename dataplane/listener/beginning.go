package listener

import (
	"bytes"

	"github.com/hauberk-mesh/hauberk/internal/buffers"
)

// beginsTLS tells whether b is, or may become, a TLS record with a ClientHello (RFC 8446 sections 5.1 and 4): type 22,
// version 3.x, two bytes of length, message 1. A shorter beginning that fits counts: taking plaintext for TLS ends in a
// failed handshake, the other way round would hand a caller's handshake to an application.
func beginsTLS(b []byte) bool {
	for i, c := range b {
		switch i {
		case 0:
			if c != 22 {
				return false
			}
		case 1:
			if c != 3 {
				return false
			}
		case 5:
			if c != 1 {
				return false
			}
		}
	}
	return len(b) > 0
}

// What a connection turns out to speak, in the words of Envoy's http_inspector, which become its application protocol.
const (
	http10 = "http/1.0"
	http11 = "http/1.1"
	h2c    = "h2c"
)

const prefaceLine = "PRI * HTTP/2.0"

// maxLine is how much of a request line is looked at: what is longer and could still be one is taken for one.
const maxLine = buffers.Small

// maxEmpty is how many CR and LF before it are skipped (RFC 9112 section 2.2 wants one empty line to be).
const maxEmpty = 8

// beginsHTTP tells what b begins with: HTTP by its version, or "" for something else. need is how many bytes b must hold for
// a better answer; 0 is done. Until then the answer is what it would be if no more came.
//
// It leans to HTTP: what an application might take for a request should meet the rules for requests, however oddly it is
// written. So empty lines before it, tabs, LF alone, an unknown version and HTTP/0.9 count. That is no barrier, since a client
// that waits is taken for opaque: where rules for paths matter, the protocol is declared and not guessed.
func beginsHTTP(b []byte) (protocol string, need int) {
	line := bytes.TrimLeft(b, "\r\n")
	switch {
	case len(b)-len(line) > maxEmpty:
		return "", 0
	case len(line) == 0:
		return "", len(b) + 1
	}
	end := bytes.IndexByte(line, '\n')
	if end >= 0 {
		line = line[:end]
	}
	method, rest, spaced := cutBlank(line)
	for _, c := range method {
		if !isToken(c) {
			return "", 0
		}
	}
	switch {
	case len(method) == 0 || spaced && !printable(rest):
		return "", 0
	case end >= 0:
		return version(method, bytes.TrimRight(rest, "\r\t "), line), 0
	case len(b) >= maxLine:
		return http11, 0
	}
	return http11, len(b) + 1
}

// cutBlank cuts at the first space or tab.
func cutBlank(b []byte) (before, after []byte, found bool) {
	i := bytes.IndexAny(b, " \t")
	if i < 0 {
		return b, nil, false
	}
	return b[:i], bytes.TrimLeft(b[i:], " \t"), true
}

// printable tells whether what follows a method may be a request's target and version; both may be beyond ASCII.
func printable(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\t' && c != '\r' || c == 0x7f {
			return false
		}
	}
	return true
}

// version reads the end of a whole line, after the method.
func version(method, rest, line []byte) string {
	last := rest[bytes.LastIndexAny(rest, " \t")+1:]
	switch {
	case bytes.Equal(bytes.TrimRight(line, "\r"), []byte(prefaceLine)):
		return h2c
	case bytes.EqualFold(last, []byte("HTTP/1.0")):
		return http10
	case len(last) >= 5 && bytes.EqualFold(last[:5], []byte("HTTP/")):
		return http11
	case bytes.EqualFold(method, []byte("GET")) && bytes.HasPrefix(rest, []byte("/")):
		return http10 // HTTP/0.9, which some servers still answer
	}
	return ""
}

// isToken is tchar of RFC 9110 section 5.6.2.
func isToken(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || bytes.IndexByte([]byte("!#$%&'*+-.^_`|~"), c) >= 0
}
