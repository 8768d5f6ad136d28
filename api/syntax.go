package api

import (
	"fmt"
	"strings"
)

// The functions of this file return what is wrong, as the message and the fix of a Problem; "" is valid.

// CheckName tests the name of a resource: a DNS-1123 subdomain, at most 253 characters.
func CheckName(s string) (message, fix string) {
	if s == "" {
		return "is missing", "give the resource a name, as metadata: {name: cart-1}"
	}
	if len(s) > 253 {
		return "is longer than 253 characters", "shorten it"
	}
	for part := range strings.SplitSeq(s, ".") {
		if !isDNSLabel(part) {
			return fmt.Sprintf("%q is not a name", s), "use lower-case letters, digits, '-' and '.', with a letter or digit at both ends of each part" + suggestName(s)
		}
	}
	return "", ""
}

// CheckDNSLabel tests what becomes one part of a host name or of a trust domain: DNS-1123, at most 63 characters.
func CheckDNSLabel(s string) (message, fix string) {
	if isDNSLabel(s) {
		return "", ""
	}
	return fmt.Sprintf("%q is not a DNS label", s), "use at most 63 lower-case letters, digits and '-', with a letter or digit at both ends" + suggestName(s)
}

// CheckPort tests a TCP port.
func CheckPort(p uint32) (message, fix string) {
	if p >= 1 && p <= 65535 {
		return "", ""
	}
	return fmt.Sprintf("%d is not a port", p), "write a number from 1 to 65535"
}

// suggestName says what a near miss could be called.
func suggestName(s string) string {
	s = strings.ToLower(s)
	s = strings.NewReplacer("_", "-", " ", "-", "/", "-").Replace(s)
	if m := strings.Trim(s, "-."); isDNSLabel(m) {
		return ", as " + m
	}
	return ""
}

func isDNSLabel(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c != '-' && !isLower(c) && !isDigit(c) {
			return false
		}
	}
	return true
}

// isQualified tests the name part of a label's key and, where it is not empty, a label's value.
func isQualified(s string) bool {
	if s == "" || len(s) > 63 || !isAlnum(s[0]) || !isAlnum(s[len(s)-1]) {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c != '-' && c != '_' && c != '.' && !isAlnum(c) {
			return false
		}
	}
	return true
}

// CheckLabelKey tests a label's key: a name of at most 63 characters, before it perhaps a DNS name and a slash.
func CheckLabelKey(key string) (message, fix string) {
	prefix, name, prefixed := strings.Cut(key, "/")
	if !prefixed {
		prefix, name = "", key
	}
	if prefixed {
		if m, _ := CheckName(prefix); m != "" {
			return "has a key whose part before '/' is not a DNS name", "write it as example.com/name"
		}
	}
	if !isQualified(name) {
		return "has a key that is not a label's", "use at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends"
	}
	return "", ""
}

// CheckLabelValue tests a label's value. It may be empty.
func CheckLabelValue(value string) (message, fix string) {
	if value != "" && !isQualified(value) {
		return fmt.Sprintf("%q is not a label's value", value), "use at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends"
	}
	return "", ""
}

func isLower(c byte) bool { return c >= 'a' && c <= 'z' }
func isDigit(c byte) bool { return c >= '0' && c <= '9' }
func isAlnum(c byte) bool { return isLower(c) || isDigit(c) || c >= 'A' && c <= 'Z' }
