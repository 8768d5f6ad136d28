package mbrsa

import (
	"crypto"
	"crypto/rsa"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestCompare prints how many operations a second of CPU time this package, crypto/rsa and OpenSSL compute: medians of rounds
// in which they take turns. It measures, and fails only where something does not run:
//
//	HAUBERK_COMPARE=1 taskset -c 0 go test -run Compare -v ./accel/mbrsa
func TestCompare(t *testing.T) {
	if os.Getenv("HAUBERK_COMPARE") == "" {
		t.Skip("a measurement of a minute and a half: HAUBERK_COMPARE=1 runs it")
	}
	if err := Supported(); err != nil {
		t.Skip(err)
	}
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is not on PATH: there is nothing to compare with")
	}
	version, _ := exec.Command("openssl", "version").Output()
	t.Logf("%s, %s, %d CPUs", strings.TrimSpace(string(version)), runtime.Version(), runtime.NumCPU())
	for _, bits := range testSizes {
		compare(t, bits)
	}
}

func compare(t *testing.T, bits int) {
	priv, key := testKey(t, bits, 0)
	w := NewWorker(bits)
	defer w.Close()
	type contender struct {
		name  string
		rate  func() float64
		rates []float64
	}
	all := []*contender{
		{name: "openssl", rate: func() float64 { return opensslRate(t, bits) }},
		{name: "crypto/rsa", rate: func() float64 {
			digest := make([]byte, 32)
			return cpuRate(1, func() {
				if _, err := rsa.SignPKCS1v15(nil, priv, crypto.SHA256, digest); err != nil {
					t.Fatal(err)
				}
			})
		}},
	}
	for _, n := range []int{1, 4, 8} {
		ops := opsFor(n, key)
		all = append(all, &contender{name: fmt.Sprintf("n=%d", n), rate: func() float64 { return cpuRate(n, func() { w.Run(ops) }) }})
	}
	for range 7 {
		for _, c := range all {
			c.rates = append(c.rates, c.rate())
		}
	}
	for _, c := range all {
		slices.Sort(c.rates)
	}
	median := func(i int) float64 { return all[i].rates[len(all[i].rates)/2] }
	for i, c := range all {
		t.Logf("%d %-10s %8.0f ops/s %7.0f us   %5.2f x openssl %6.2f x crypto/rsa   (%.0f to %.0f)", bits, c.name,
			median(i), 1e6/median(i), median(i)/median(0), median(i)/median(1), c.rates[0], c.rates[len(c.rates)-1])
	}
	t.Logf("%d a lone operation takes %.2f of crypto/rsa's time", bits, median(1)/median(2))
}

// cpuRate is operations a second of the thread's CPU time.
func cpuRate(n int, run func()) float64 {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	now := func() time.Duration {
		var ts unix.Timespec
		_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts) // it can't fail: the clock exists
		return time.Duration(ts.Nano())
	}
	run()
	start, done := now(), 0
	for now()-start < 300*time.Millisecond {
		run()
		done += n
	}
	return float64(done) / (now() - start).Seconds()
}

// opensslRate is OpenSSL's own figure, of CPU time too.
func opensslRate(t *testing.T, bits int) float64 {
	out, err := exec.Command("openssl", "speed", "-seconds", "1", fmt.Sprintf("rsa%d", bits)).Output()
	if err != nil {
		t.Fatalf("openssl speed: %v", err)
	}
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) == 7 && f[0] == "rsa" {
			rate, err := strconv.ParseFloat(f[5], 64)
			if err != nil {
				t.Fatal(err)
			}
			return rate
		}
	}
	t.Fatalf("openssl speed did not print what was expected:\n%s", out)
	return 0
}
