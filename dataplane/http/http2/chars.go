package http2

// Classes of bytes, one bit each. They are those of http1, but for names: HTTP/2 has lower case alone.
const (
	isName   = 1 << iota // tchar without upper case: RFC 9113 section 8.2.1
	isToken              // tchar: RFC 9110 section 5.6.2
	isValue              // allowed in field values: VCHAR, SP, HTAB, obs-text (RFC 9110 section 5.5)
	isTarget             // allowed in a request target: visible ASCII without '#', which no request target has
	isHost               // allowed in an authority: RFC 3986 reg-name without escapes, IP literals, port; no user info
)

var class = func() (t [256]uint8) {
	for c := 'a'; c <= 'z'; c++ {
		t[c] |= isName | isToken | isHost
		t[c-'a'+'A'] |= isToken | isHost
	}
	for c := '0'; c <= '9'; c++ {
		t[c] |= isName | isToken | isHost
	}
	for _, c := range "!#$%&'*+-.^_`|~" {
		t[c] |= isName | isToken
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

// validValue: RFC 9113 section 8.2.1 also forbids white space at either end.
func validValue(s string) bool {
	if s == "" {
		return true
	}
	first, last := s[0], s[len(s)-1]
	return first != ' ' && first != '\t' && last != ' ' && last != '\t' && all(s, isValue)
}

// fold compares ASCII without case; b is lower case.
func fold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := 0; i < len(a); i++ {
		c := a[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != b[i] {
			return false
		}
	}
	return true
}

func hasPrefix(name, prefix string) bool {
	return len(name) >= len(prefix) && fold(name[:len(prefix)], prefix)
}
