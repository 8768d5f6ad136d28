package http

import (
	"errors"
	"strings"
)

// Paths are normalised once, before routing and permission, and what was decided on is what is forwarded (DESIGN section 5).
// Whatever the application's own idea of a path is, it must not find in it a segment that the permission did not see. So
// what two readers could read differently is refused: NUL, an encoded slash or backslash, a malformed escape, a backslash
// (WHATWG URLs take it for a slash), "..", encoded or not, that climbs above the root, and an ASCII character in an overlong
// form of UTF-8.

// Refusals of a path.
var (
	errEscape    = errors.New("malformed percent escape in path")
	errNUL       = errors.New("NUL in path")
	errSlash     = errors.New("encoded slash in path")
	errBackslash = errors.New("backslash in path")
	errRelative  = errors.New("path does not begin with a slash")
	errRoot      = errors.New("path climbs above the root")
	errParameter = errors.New("dot segment with parameters in path")
	errOverlong  = errors.New("overlong UTF-8 in path")
)

// Normalise applies what a chain asks for: normalize decodes unreserved escapes, writes the hex digits of the others in
// upper case and removes dot segments (RFC 3986 section 6.2.2); merge makes one slash of several; slashes says what becomes
// of %2F and %5C; one that is unescaped counts as a slash from then on. A path that needs nothing is returned as it is, without allocation. It is idempotent.
func Normalise(path string, normalize, merge bool, slashes EscapedSlashes) (string, error) {
	if path == "*" {
		return path, nil
	}
	if path == "" || path[0] != '/' {
		return "", errRelative
	}
	clean, err := check(path, normalize, merge, slashes)
	if err != nil || clean {
		return path, err
	}
	if slashes == UnescapeAndForward || slashes == UnescapeAndRedirect {
		path = unescapeSlashes(path)
	}
	if normalize {
		path = unescape(path)
	}
	// Slashes before dots: in "/a//../b" the empty segment is what ".." would remove (RFC 3986 section 5.2.4), and one who
	// merges first sees "/b". Merging first gives what file systems and most applications do.
	if merge {
		path = mergeSlashes(path)
	}
	if normalize {
		return removeDots(path)
	}
	return path, nil
}

// check refuses what must be, and tells whether the path is already normal.
func check(path string, normalize, merge bool, slashes EscapedSlashes) (clean bool, err error) {
	clean = true
	for i := 0; i < len(path); i++ {
		switch c := path[i]; {
		case c == 0:
			return false, errNUL
		case c == '\\' && normalize:
			return false, errBackslash
		case c >= 0xc0 && normalize && overlong(path[i:]):
			return false, errOverlong
		case c == '%':
			if i+2 >= len(path) || unhex(path[i+1]) < 0 || unhex(path[i+2]) < 0 {
				if normalize || slashes != KeepEscapedSlashes {
					return false, errEscape
				}
				continue
			}
			b := byte(unhex(path[i+1])<<4 | unhex(path[i+2]))
			if b == 0 {
				return false, errNUL
			}
			if b >= 0xc0 && normalize && overlong(path[i:]) {
				return false, errOverlong
			}
			if b == '/' || b == '\\' {
				switch {
				case slashes == RejectEscapedSlashes:
					return false, errSlash
				case slashes != KeepEscapedSlashes && b == '\\' && normalize:
					return false, errBackslash
				}
				clean = clean && slashes == KeepEscapedSlashes
			}
			if unreserved(b) || path[i+1] >= 'a' || path[i+2] >= 'a' {
				clean = clean && !normalize
			}
		case c == '/':
			if merge && i+1 < len(path) && path[i+1] == '/' {
				clean = false
			}
			if normalize && i+1 < len(path) && path[i+1] == '.' {
				clean = false // perhaps a dot segment
			}
		}
	}
	return clean, nil
}

// overlong tells whether s begins with a character that is written in more bytes than it needs, escaped or not. UTF-8 forbids
// that, and careless decoders read "%C0%AF" as a slash.
func overlong(s string) bool {
	first, n := octet(s)
	second, m := octet(s[n:])
	if m == 0 || second&0xc0 != 0x80 {
		return false // no UTF-8 at all: perhaps Latin-1
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
	case len(s) < 3 || unhex(s[1]) < 0 || unhex(s[2]) < 0:
		return 0, 0
	}
	return byte(unhex(s[1])<<4 | unhex(s[2])), 3
}

// unescape decodes what needs no escape and writes the rest in upper case. Escapes were checked.
func unescape(path string) string {
	if strings.IndexByte(path, '%') < 0 {
		return path
	}
	const hex = "0123456789ABCDEF"
	out := make([]byte, 0, len(path))
	for i := 0; i < len(path); i++ {
		if path[i] != '%' {
			out = append(out, path[i])
			continue
		}
		b := byte(unhex(path[i+1])<<4 | unhex(path[i+2]))
		if i += 2; unreserved(b) {
			out = append(out, b)
		} else {
			out = append(out, '%', hex[b>>4], hex[b&15])
		}
	}
	return string(out)
}

// EscapedSlash tells whether a path has a slash or a backslash that is escaped.
func EscapedSlash(path string) bool {
	for i := 0; i+2 < len(path); i++ {
		if c := path[i+1]; path[i] == '%' && (c == '2' && path[i+2]|0x20 == 'f' || c == '5' && path[i+2]|0x20 == 'c') {
			return true
		}
	}
	return false
}

// unescapeSlashes decodes %2F and %5C and nothing else, once: %252F stays what it is.
func unescapeSlashes(path string) string {
	if !EscapedSlash(path) {
		return path
	}
	return strings.NewReplacer("%2F", "/", "%2f", "/", "%5C", `\`, "%5c", `\`).Replace(path)
}

func mergeSlashes(path string) string {
	if !strings.Contains(path, "//") {
		return path
	}
	out := make([]byte, 0, len(path))
	for i := 0; i < len(path); i++ {
		if path[i] != '/' || i == 0 || path[i-1] != '/' {
			out = append(out, path[i])
		}
	}
	return string(out)
}

// removeDots resolves "." and ".." segments. A path that ends in one ends in a slash then.
func removeDots(path string) (string, error) {
	if !strings.Contains(path, "/.") {
		return path, nil
	}
	out := make([]byte, 0, len(path))
	for rest := path; rest != ""; {
		end := strings.IndexByte(rest[1:], '/') + 1
		if end == 0 {
			end = len(rest)
		}
		segment, last := rest[:end], end == len(rest)
		rest = rest[end:]
		switch segment {
		case "/.":
		case "/..":
			cut := strings.LastIndexByte(string(out), '/')
			if cut < 0 {
				return "", errRoot
			}
			out = out[:cut]
		default:
			// Servers that cut parameters off before they resolve segments read "/..;x" as "..", and "/..%3Bx" if they decode
			// even before.
			after := strings.TrimPrefix(strings.TrimPrefix(segment, "/."), ".")
			if strings.HasPrefix(after, ";") || strings.HasPrefix(after, "%3B") {
				return "", errParameter
			}
			out = append(out, segment...)
			continue
		}
		if last {
			out = append(out, '/')
		}
	}
	if len(out) == 0 {
		return "/", nil
	}
	return string(out), nil
}

func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~'
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
