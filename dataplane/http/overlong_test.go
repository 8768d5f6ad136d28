package http

import "testing"

// TestNormaliseOverlong: what test/interop found to get past a path rule. Latin-1, which is no UTF-8 at all, still passes.
func TestNormaliseOverlong(t *testing.T) {
	for path, want := range map[string]error{
		"/%c1%a1dmin": errOverlong, "/%C0%AF": errOverlong, "/\xc0\xae\xc0\xae/x": errOverlong, "/\xc1%a1": errOverlong,
		"/%e0%81%a1": errOverlong, "/%f0%80%81%a1": errOverlong, "/%f8%80%80%81%a1": errOverlong,
		"/x/..%3b/admin": errParameter, "/x/.%3Bv=1": errParameter, "/x/%2e%2e%3b": errParameter, "/..;": errParameter,
		"/%E9t%E9": nil, "/%C0": nil, "/%C0x": nil, "/%c3%a9": nil, "/%E2%82%AC": nil, "/%F0%9F%98%80": nil, "/\xc3\xa9": nil, "/%E0%A4%A8": nil,
		"/..%3Ax": nil, "/...;x": nil, "/x/.y%3B": nil, "/%C0%": errEscape,
	} {
		if _, err := Normalise(path, true, true, RejectEscapedSlashes); err != want {
			t.Errorf("%q: %v, want %v", path, err, want)
		}
	}
}
