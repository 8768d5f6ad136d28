package why

import (
	"errors"
	"strings"
)

// normalise does to a path what the proxies do before they route and judge (DESIGN section 5): unreserved escapes decoded,
// slashes merged, dot segments removed. What they refuse is an error. The query is left out, since permissions ignore it.
// The two halves of the program import nothing of each other; a test compares this with the proxy's own.
func normalise(path string) (string, error) {
	path, _, _ = strings.Cut(path, "?")
	if path == "*" {
		return path, nil // OPTIONS *
	}
	if !strings.HasPrefix(path, "/") {
		return "", errors.New("does not begin with /")
	}
	decoded, err := decodeUnreserved(path)
	if err != nil {
		return "", err
	}
	var kept []string
	segments := strings.Split(decoded, "/")
	for i, s := range segments {
		last := i == len(segments)-1
		switch {
		case s == "..":
			if len(kept) == 0 {
				return "", errors.New("climbs above the root")
			}
			kept = kept[:len(kept)-1]
		case s == "." || s == "":
		case dotWithParameters(s):
			return "", errors.New("has a dot segment with parameters")
		default:
			kept = append(kept, s)
			if last {
				return "/" + strings.Join(kept, "/"), nil
			}
		}
	}
	// What ended in a slash or a dot segment is a directory.
	if len(kept) == 0 {
		return "/", nil
	}
	return "/" + strings.Join(kept, "/") + "/", nil
}

// dotWithParameters tells whether a segment is a dot segment to whoever cuts parameters off first, written plainly or escaped.
func dotWithParameters(segment string) bool {
	for _, dots := range [...]string{".", ".."} {
		if after, ok := strings.CutPrefix(segment, dots); ok && (strings.HasPrefix(after, ";") || strings.HasPrefix(after, "%3B")) {
			return true
		}
	}
	return false
}

// overlong tells whether path begins with a character in more bytes of UTF-8 than it needs, escaped or not: careless decoders
// read "%C0%AF" as a slash.
func overlong(path string) bool {
	first, n := octet(path)
	second, m := octet(path[n:])
	if n == 0 || m == 0 || second&0xc0 != 0x80 {
		return false
	}
	return first == 0xc0 || first == 0xc1 || first == 0xe0 && second < 0xa0 || first == 0xf0 && second < 0x90 || first >= 0xf8
}

// octet is the first byte that s stands for, and how long it is written; 0: there is none.
func octet(s string) (b byte, n int) {
	switch {
	case s == "":
		return 0, 0
	case s[0] != '%':
		return s[0], 1
	case len(s) < 3 || hex(s[1]) < 0 || hex(s[2]) < 0:
		return 0, 0
	}
	return byte(hex(s[1])<<4 | hex(s[2])), 3
}

// decodeUnreserved decodes escapes of letters, digits and -._~ (RFC 3986, 2.3), and refuses those that hide a separator.
func decodeUnreserved(path string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		c := path[i]
		if c == 0 {
			return "", errors.New("holds a NUL")
		}
		if c == '\\' {
			return "", errors.New("holds a backslash")
		}
		if overlong(path[i:]) {
			return "", errors.New("holds overlong UTF-8")
		}
		if c != '%' {
			b.WriteByte(c)
			continue
		}
		if i+2 >= len(path) || hex(path[i+1]) < 0 || hex(path[i+2]) < 0 {
			return "", errors.New("has a % that is no escape")
		}
		switch d := byte(hex(path[i+1])<<4 | hex(path[i+2])); {
		case d == 0:
			return "", errors.New("holds an encoded NUL")
		case d == '/' || d == '\\':
			return "", errors.New("holds an encoded slash")
		case d >= 'a' && d <= 'z', d >= 'A' && d <= 'Z', d >= '0' && d <= '9', strings.IndexByte("-._~", d) >= 0:
			b.WriteByte(d)
		default:
			b.WriteString(strings.ToUpper(path[i : i+3]))
		}
		i += 2
	}
	return b.String(), nil
}

func hex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
