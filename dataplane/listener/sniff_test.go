package listener

import "testing"

func TestBeginsTLS(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want bool
	}{
		{"\x16\x03\x01\x02\x00\x01", true}, {"\x16\x03\x03\x00\x05\x01", true}, {"\x16", true}, {"\x16\x03\x01", true},
		{"", false}, {"GET / ", false}, {"\x16\x02\x01\x02\x00\x01", false}, {"\x16\x03\x01\x02\x00\x02", false}, {"\x15\x03\x03\x00\x02\x02", false},
	} {
		if got := beginsTLS([]byte(tc.in)); got != tc.want {
			t.Errorf("%q: %t", tc.in, got)
		}
	}
}

// FuzzBeginsTLS: more bytes only ever turn yes into no.
func FuzzBeginsTLS(f *testing.F) {
	f.Add([]byte("\x16\x03\x01\x02\x00\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for i := 1; i < len(b); i++ {
			if !beginsTLS(b[:i]) && beginsTLS(b) {
				t.Fatalf("%q", b)
			}
		}
	})
}
