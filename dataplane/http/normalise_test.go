package http

import (
	"path"
	"strings"
	"testing"
)

func TestNormalise(t *testing.T) {
	for _, tc := range []struct {
		in, want string
		err      error
	}{
		{"/", "/", nil},
		{"/a/b", "/a/b", nil},
		{"*", "*", nil},
		{"/a/./b", "/a/b", nil},
		{"/a/../b", "/b", nil},
		{"/a/..", "/", nil},
		{"/a/b/..", "/a/", nil},
		{"/a/.", "/a/", nil},
		{"/a/...", "/a/...", nil},
		{"/.well-known/x", "/.well-known/x", nil},
		{"/a//b///c/", "/a/b/c/", nil},
		{"//a", "/a", nil},
		{"/a//../b", "/b", nil},
		{"/%61dmin", "/admin", nil},
		{"/a/%2e%2E/b", "/b", nil},
		{"/a%2d%7e%5F", "/a-~_", nil},
		{"/a%20b%c3%a4", "/a%20b%C3%A4", nil},
		{"/a%252e", "/a%252e", nil},
		{"/a%3Bb", "/a%3Bb", nil},
		{"/a;p=1/b", "/a;p=1/b", nil},
		{"/a/..;/b", "", errParameter},
		{"/a/.;x/b", "", errParameter},
		{"/..", "", errRoot},
		{"/a/../../b", "", errRoot},
		{"/%2e%2e/a", "", errRoot},
		{"/a%2fb", "", errSlash},
		{"/a%5Cb", "", errSlash},
		{"/a\\b", "", errBackslash},
		{"/a%00", "", errNUL},
		{"/a\x00", "", errNUL},
		{"/a%", "", errEscape},
		{"/a%1", "", errEscape},
		{"/a%zz", "", errEscape},
		{"a", "", errRelative},
		{"", "", errRelative},
	} {
		got, err := Normalise(tc.in, true, true, RejectEscapedSlashes)
		if got != tc.want && tc.err == nil || err != tc.err {
			t.Errorf("%q: %q %v, want %q %v", tc.in, got, err, tc.want, tc.err)
		}
	}
}

func TestNormaliseAsAsked(t *testing.T) {
	for _, tc := range []struct {
		in               string
		normalize, merge bool
		slashes          EscapedSlashes
		want             string
	}{
		{"/a//b/../%61", false, false, KeepEscapedSlashes, "/a//b/../%61"},
		{"/a//b/../%61", false, true, KeepEscapedSlashes, "/a/b/../%61"},
		{"/a//b/../%61", true, false, KeepEscapedSlashes, "/a//a"},
		{"/a%2fb", true, true, KeepEscapedSlashes, "/a%2Fb"},
		{"/a%2fb%2Fc", true, true, UnescapeAndForward, "/a/b/c"},
		{"/a%2f..%2fb", true, true, UnescapeAndForward, "/b"},
		{"/a%2f%2e%2E%2fb", true, true, UnescapeAndRedirect, "/b"},
		{"/a/%2fb", true, true, UnescapeAndForward, "/a/b"},
		{"/a/%2fb", false, false, UnescapeAndForward, "/a//b"},
		{"/a%5Cb", false, false, UnescapeAndForward, `/a\b`},
		{"/a%252Fb", true, true, UnescapeAndForward, "/a%252Fb"},
		{"/a%25%32%46b", true, true, UnescapeAndForward, "/a%252Fb"},
	} {
		if got, err := Normalise(tc.in, tc.normalize, tc.merge, tc.slashes); got != tc.want || err != nil {
			t.Errorf("%q: %q %v, want %q", tc.in, got, err, tc.want)
		}
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = Normalise("/a/normal/path%20x", true, true, RejectEscapedSlashes) }); n != 0 {
		t.Errorf("%v allocations for a normal path", n)
	}
}

// FuzzNormalise: what comes out is normal, and stays so.
// TestUnescapeRefuses what two readers could read differently even then.
func TestUnescapeRefuses(t *testing.T) {
	for in, want := range map[string]error{
		"/a%5Cb": errBackslash, "/%2f..": errRoot, "/a%2f..%2f..%2fb": errRoot, "/a%2f..;%2fb": errParameter, "/a%": errEscape, "/a%00%2f": errNUL,
	} {
		if got, err := Normalise(in, true, true, UnescapeAndForward); err != want {
			t.Errorf("%s: %q, %v, want %v", in, got, err, want)
		}
	}
	if EscapedSlash("/a%2") || EscapedSlash("/a/b") || !EscapedSlash("/%5c") || !EscapedSlash("%2F") || EscapedSlash("/%252F") {
		t.Error("EscapedSlash")
	}
}

func FuzzNormalise(f *testing.F) {
	for _, s := range []string{"/", "/a/../b", "/%61//%2e%2e/x", "/a/.%2e/..;/", "/%25%32%65", "/./", "/a/..b/.c/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		once, err := Normalise(in, true, true, RejectEscapedSlashes)
		if err != nil || once == "*" {
			return
		}
		twice, err := Normalise(once, true, true, RejectEscapedSlashes)
		if err != nil || twice != once {
			t.Fatalf("%q -> %q -> %q %v", in, once, twice, err)
		}
		// Package path is the oracle: nothing is left for it to clean but a slash at the end.
		if clean := path.Clean(once); clean != once && clean+"/" != once {
			t.Fatalf("%q -> %q, path.Clean: %q", in, once, clean)
		}
		if strings.Contains(once, "//") || strings.ContainsAny(once, "\x00\\") {
			t.Fatalf("%q -> %q", in, once)
		}
	})
}
