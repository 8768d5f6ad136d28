package why

import (
	"strings"
	"testing"

	proxy "github.com/hauberk-mesh/hauberk/dataplane/http"
)

var paths = []string{
	"/", "/a", "/a/", "//a", "/a//b", "/a/./b", "/a/../b", "/a/..", "/a/.", "/..", "/../a", "/a/b/../../c", "/%61dmin", "/a%2fb", "/a%2Fb",
	"/a%5cb", `/a\b`, "/%00", "/a%", "/a%zz", "/%e2%82%ac", "/%E2", "/..;x/a", "/.;x", "/...", "/.a", "a", "*", "/a/%2e%2e/b", "/%2e", "//", "/a;b/../c",
}

// TestNormaliseAgreesWithTheProxy: what why judges is what the proxies judge.
func TestNormaliseAgreesWithTheProxy(t *testing.T) {
	for _, p := range paths {
		compare(t, p)
	}
}

func FuzzNormalise(f *testing.F) {
	for _, p := range paths {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, path string) {
		if !strings.Contains(path, "?") {
			compare(t, path)
		}
	})
}

func compare(t *testing.T, path string) {
	t.Helper()
	got, err := normalise(path)
	want, wantErr := proxy.Normalise(path, true, true, proxy.RejectEscapedSlashes)
	if (err != nil) != (wantErr != nil) || err == nil && got != want {
		t.Errorf("%q: got %q (%v), the proxy has %q (%v)", path, got, err, want, wantErr)
	}
}
