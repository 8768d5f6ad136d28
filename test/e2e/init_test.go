package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// TestInitIsSmall: the binary is big, a sidecar must not be (DESIGN section 6). What runs before main is the same for all
// verbs; it allocates less than 4 MB. How long it takes is BenchmarkInit's business.
func TestInitIsSmall(t *testing.T) {
	bytes, milliseconds := initCost(t)
	t.Logf("%d bytes in %.1f ms", bytes, milliseconds)
	if bytes > 4<<20 {
		t.Errorf("package initialisation allocates %d bytes, more than 4 MB: GODEBUG=inittrace=1 shows which package", bytes)
	}
}

// BenchmarkInit reports the clock time of all package initialisation. The budget is 5 ms.
func BenchmarkInit(b *testing.B) {
	var total float64
	for b.Loop() {
		_, ms := initCost(b)
		total += ms
	}
	b.ReportMetric(total/float64(b.N), "init-ms/op")
}

func initCost(t testing.TB) (bytes int, milliseconds float64) {
	t.Helper()
	cmd := program("version")
	cmd.Env = append(cmd.Env, "GODEBUG=inittrace=1")
	trace, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, trace)
	}
	packages := 0
	for line := range strings.Lines(string(trace)) {
		// init internal/bytealg @0.008 ms, 0.002 ms clock, 0 bytes, 0 allocs
		var name string
		var at, clock float64
		var n, allocs int
		if _, err := fmt.Sscanf(line, "init %s @%f ms, %f ms clock, %d bytes, %d allocs", &name, &at, &clock, &n, &allocs); err != nil {
			continue
		}
		packages++
		bytes += n
		milliseconds += clock
	}
	if packages == 0 {
		t.Fatalf("the runtime printed no trace:\n%s", trace)
	}
	return bytes, milliseconds
}
