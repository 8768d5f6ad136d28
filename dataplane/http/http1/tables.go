package http1

// Classes of bytes, one bit each.
const (
	isToken  = 1 << iota // tchar: RFC 9110 section 5.6.2
	isValue              // allowed in field values: VCHAR, SP, HTAB, obs-text (RFC 9110 section 5.5)
	isTarget             // allowed in a request target: visible ASCII without '#', which no request target has
	isHost               // allowed in Host: RFC 3986 reg-name, IP literals, port
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
	for _, c := range "!$%&'()*+,-.:;=[]_~" {
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

func token(s string) bool { return s != "" && all(s, isToken) }

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

func trim(s string) string {
	for len(s) > 0 && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for len(s) > 0 && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}
