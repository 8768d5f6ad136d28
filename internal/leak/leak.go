// Package leak fails a test binary that leaves goroutines behind. Each package that starts any has
//
//	func TestMain(m *testing.M) { leak.Main(m) }
package leak

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
)

// Main runs the tests and then waits up to five seconds for all goroutines but the test's own to end.
func Main(m interface{ Run() int }) {
	code := m.Run()
	if code == 0 {
		if left := Wait(5 * time.Second); left != "" {
			fmt.Fprintf(os.Stderr, "leaked goroutines:\n\n%s\n", left)
			code = 1
		}
	}
	os.Exit(code)
}

// Wait returns the stacks of goroutines that are still there when patience ends, or "".
func Wait(patience time.Duration) string {
	deadline := time.Now().Add(patience)
	for {
		left := running()
		if left == "" || time.Now().After(deadline) {
			return left
		}
		time.Sleep(10 * time.Millisecond) // polling the runtime: there is nothing to wait on
	}
}

// expected are goroutines that the runtime, the testing package or a library starts once and never ends.
var expected = []string{
	"testing.", "runtime.goexit0", "runtime.gc", "runtime/trace", "os/signal.", "internal/leak.running",
	"runtime.ensureSigM", "created by runtime", "go.opencensus.io", "created by os/signal",
}

func running() string {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	var left []string
next:
	for _, g := range strings.Split(strings.TrimSpace(string(buf)), "\n\n") {
		for _, e := range expected {
			if strings.Contains(g, e) {
				continue next
			}
		}
		left = append(left, g)
	}
	return strings.Join(left, "\n\n")
}
