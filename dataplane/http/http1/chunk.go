package http1

import "github.com/hauberk-mesh/hauberk/dataplane/http/message"

// Lines of chunks: RFC 9112 section 7.1. What follows them is in body.go.

// maxDigitsOfChunk is how many digits of a size fit an int64; as many are read, zeros included.
const maxDigitsOfChunk = 15

// maxExtra bounds what extensions a body may have beyond the bytes of its data: whoever reads it pays for both
// (CVE-2023-39326).
const maxExtra = 16 << 10

// size reads "1A;extension". Extensions are checked and dropped: RFC 9112 section 7.1.1.
func (b *Body) size() bool {
	line, ok := b.line(b.r.limits.ChunkLine)
	if !ok {
		return false
	}
	s := view(line)
	var n int64
	i := 0
	for ; i < len(s); i++ {
		d := unhex(s[i])
		if d < 0 {
			break
		}
		if i >= maxDigitsOfChunk {
			b.err = bad("chunk size is too big")
			return false
		}
		n = n<<4 | int64(d)
	}
	if i == 0 || !extensions(s[i:]) {
		b.err = bad("malformed chunk size")
		return false
	}
	if b.extra = max(0, b.extra+int64(len(s)-i)-n); b.extra > maxExtra {
		b.err = bad("chunk extensions are longer than the data and %d bytes", maxExtra)
		return false
	}
	if b.left = n; n == 0 {
		b.part = trailers
	}
	return true
}

// extensions tells whether s is any number of ";name", ";name=token" or ";name="quoted"". The spaces that RFC 9112 section
// 7.1.1 has between them are bad by its own words, and refused: nobody sends them who means well.
func extensions(s string) bool {
	for s != "" {
		if s[0] != ';' {
			return false
		}
		n := prefix(s[1:], message.IsToken)
		if n == 0 {
			return false
		}
		if s = s[1+n:]; s == "" || s[0] != '=' {
			continue
		}
		if s = s[1:]; s != "" && s[0] == '"' {
			n = quoted(s)
		} else {
			n = prefix(s, message.IsToken)
		}
		if n == 0 {
			return false
		}
		s = s[n:]
	}
	return true
}

// quoted is the length of the quoted string that s begins with (RFC 9110 section 5.6.4), 0 if it does not end.
func quoted(s string) int {
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return i + 1
		case s[i] == '\\':
			if i++; i == len(s) || message.Class[s[i]]&message.IsValue == 0 {
				return 0
			}
		case message.Class[s[i]]&message.IsValue == 0:
			return 0
		}
	}
	return 0
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
