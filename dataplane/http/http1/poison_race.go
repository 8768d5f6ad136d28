//go:build race

package http1

// poison overwrites strings that nobody may use any more, in tests: they are built with the race detector.
func poison(p []byte) {
	for i := range p {
		p[i] = '?'
	}
}
