package multiregex

import (
	"regexp"
	"strings"
	"testing"
)

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		patterns, text string
		want           int
	}{
		{"a", "a", 0}, {"a", "ab", -1}, {"a", "xa", -1}, {"a|ab", "ab", 0}, {"x,a.*", "abc", 1}, {"", "", 0}, {"", "a", -1},
		{"^abc|^abd", "abd", 0}, {"^abc|abd", "abd", 0}, {"^abc|x", "x", 0}, {"^/a(b)?", "/a", 0}, {"/a/.*", "/b/c", -1}, {"^a{0}b", "b", 0},
		{"(?i)abc", "ABC", 0}, {"(?m)a$", "a\nb", -1}, {"a", "a\n", -1}, {`\Qa.b`, "a.b", 0}, {`\Qa.b`, "axb", -1}, {`\Qa.b\E`, "a.b", 0},
		{"/v[0-9]+/.*", "/v12/x", 0}, {"a.c", "a\nc", -1}, {"(?s)a.c", "a\nc", 0}, {"^a$", "a", 0},
	} {
		s, err := Compile(strings.Split(c.patterns, ",")...)
		if err != nil {
			t.Errorf("%s: %v", c.patterns, err)
			continue
		}
		if got := s.Match(c.text); got != c.want {
			t.Errorf("%s on %q: %d, want %d", c.patterns, c.text, got, c.want)
		}
	}
}

func TestRefused(t *testing.T) {
	for pattern, want := range map[string]string{
		"a)|(b":                           "unexpected )",
		"(":                               "missing closing )",
		`(?=a)`:                           "invalid or unsupported Perl syntax",
		`(a)\1`:                           "invalid escape sequence",
		"(abcdefghij){999}":               "above the limit",
		strings.Repeat("a", MaxProgram+1): "above the limit",
	} {
		if _, err := Compile("ok", pattern); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "pattern 1: ") {
			t.Errorf("%.20s: %v", pattern, err)
		}
	}
}

func TestSubstitution(t *testing.T) {
	for _, c := range []struct{ pattern, replacement, text, want string }{
		{"^/service/([^/]+)(/.*)$", `\2/instance/\1`, "/service/foo/v1/api", "/v1/api/instance/foo"},
		{"one", "two", "/xxx/one/yyy/one/zzz", "/xxx/two/yyy/two/zzz"},
		{"^(.*?)one(.*)$", `\1two\2`, "/xxx/one/yyy/one/zzz", "/xxx/two/yyy/one/zzz"},
		{"(?i)/xxx/", "/yyy/", "/aaa/XxX/bbb", "/aaa/yyy/bbb"},
		{"a", `$1\\\0`, "a", `$1\a`},
	} {
		s, err := CompileSubstitution(c.pattern, c.replacement)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Apply(c.text); got != c.want {
			t.Errorf("%s -> %s on %s: %s, want %s", c.pattern, c.replacement, c.text, got, c.want)
		}
	}
	for replacement, want := range map[string]string{`\`: "ends with a backslash", `\x`: "is neither", `\2`: "the pattern has 1 groups"} {
		if _, err := CompileSubstitution("(a)", replacement); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", replacement, err)
		}
	}
}

// FuzzCompile: whatever is compiled matches what regexp, asked for a match of the whole text, does.
func FuzzCompile(f *testing.F) {
	for _, p := range []string{"a", "a|ab", `\Qx`, "(?i)a", "a)|(b", "[", "(a*)*"} {
		f.Add(p, "ab", `\0`)
	}
	f.Fuzz(func(t *testing.T, pattern, text, replacement string) {
		s, err := Compile(pattern)
		if err != nil {
			return
		}
		re, err := regexp.Compile(pattern)
		if err != nil {
			t.Fatalf("%q: regexp refuses it: %v", pattern, err)
		}
		whole, err := regexp.Compile(`\A(?:` + pattern + `)\z`)
		if got := s.Match(text) == 0; got && !re.MatchString(text) || err == nil && got != whole.MatchString(text) {
			t.Fatalf("%q on %q: %v", pattern, text, got)
		}
		if sub, err := CompileSubstitution(pattern, replacement); err == nil {
			sub.Apply(text)
		}
	})
}

// BenchmarkMatch has the longest path that a request can bring beside a usual one.
func BenchmarkMatch(b *testing.B) {
	s, err := Compile("/api/v[0-9]+/users/[^/]+/items(/.*)?")
	if err != nil {
		b.Fatal(err)
	}
	for name, text := range map[string]string{"usual": "/api/v1/users/jane/items/17", "longest": "/api/v1/users/" + strings.Repeat("x", 60<<10), "other": "/" + strings.Repeat("x", 60<<10)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.Match(text)
			}
		})
	}
}
