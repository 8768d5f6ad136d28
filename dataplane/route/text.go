package route

import (
	"strings"

	"github.com/hauberk-mesh/hauberk/accel/multiregex"
)

// Text matches a string. The zero value holds for the empty string.
type Text struct {
	Kind  TextKind
	Value string
	Fold  bool            // regardless of the case of ASCII letters; not for TextRegex
	Regex *multiregex.Set // of TextRegex
}

// TextKind says how a string is compared.
type TextKind uint8

// TextIs holds for the string itself; TextRegex for what the expression takes as a whole.
const (
	TextIs TextKind = iota
	TextBegins
	TextEnds
	TextContains
	TextRegex
)

func (t *Text) matches(s string) bool {
	switch t.Kind {
	case TextBegins:
		return begins(s, t.Value, t.Fold)
	case TextEnds:
		return len(s) >= len(t.Value) && same(s[len(s)-len(t.Value):], t.Value, t.Fold)
	case TextContains:
		if !t.Fold {
			return strings.Contains(s, t.Value)
		}
		for i := 0; i+len(t.Value) <= len(s); i++ {
			if same(s[i:i+len(t.Value)], t.Value, true) {
				return true
			}
		}
		return false
	case TextRegex:
		return t.Regex.Match(s) >= 0
	}
	return same(s, t.Value, t.Fold)
}

func begins(s, prefix string, fold bool) bool {
	return len(s) >= len(prefix) && same(s[:len(prefix)], prefix, fold)
}

// same compares; folding is of ASCII letters alone, so that no letter of another script stands for one of them.
func same(a, b string, fold bool) bool {
	if !fold || len(a) != len(b) {
		return a == b
	}
	for i := 0; i < len(a); i++ {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
