package mbecdsa

import (
	"crypto/ecdsa"
	"crypto/rand"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestCompare measures signatures per second of CPU time beside crypto/ecdsa and OpenSSL, by turns in one run, on demand:
// HAUBERK_COMPARE=1. HAUBERK_COMPARE=12 makes it 12 rounds. Every signature of ours was checked; theirs are not.
func TestCompare(t *testing.T) {
	rounds, err := strconv.Atoi(os.Getenv("HAUBERK_COMPARE"))
	if err != nil {
		t.Skip("set HAUBERK_COMPARE=1, or to the number of rounds")
	}
	if err := Supported(); err != nil {
		t.Skip(err)
	}
	if rounds == 1 {
		rounds = 7
	}
	version, err := exec.Command("openssl", "version").Output()
	if err != nil {
		t.Skip("no openssl on PATH: ", err)
	}
	rnd := seeded(70)
	w, ops := NewWorker(), batch(t, rnd, Ops)
	priv, digest := privateKey(t, scalar(rnd)), message(rnd, 32)
	peers := []struct {
		name string
		rate func() float64
		all  []float64
	}{
		{name: "mbecdsa", rate: func() float64 { return Ops * rateOf(func() { w.Run(ops) }) }},
		{name: "mbecdsa, one operation", rate: func() float64 { return rateOf(func() { w.Run(ops[:1]) }) }},
		{name: "crypto/ecdsa", rate: func() float64 {
			return rateOf(func() {
				if _, err := ecdsa.SignASN1(rand.Reader, priv, digest); err != nil {
					t.Fatal(err)
				}
			})
		}},
		{name: strings.TrimSpace(string(version)), rate: func() float64 { return opensslRate(t) }},
	}
	for range rounds {
		for i := range peers {
			peers[i].all = append(peers[i].all, peers[i].rate())
		}
	}
	mustVerify(t, ops)
	ours := median(peers[0].all)
	for _, p := range peers {
		m := median(p.all)
		t.Logf("%9.0f signatures a second (%.0f to %.0f), mbecdsa is %.2f times that: %s",
			m, slices.Min(p.all), slices.Max(p.all), ours/m, p.name)
	}
}

// rateOf calls f for about half a second and returns calls per second of this thread's CPU time.
func rateOf(f func()) float64 {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	calls, begin := 0, threadTime()
	for spent := time.Duration(0); ; spent = threadTime() - begin {
		if spent >= 500*time.Millisecond {
			return float64(calls) / spent.Seconds()
		}
		for range 100 {
			f()
		}
		calls += 100
	}
}

func threadTime() time.Duration {
	const thread = 1 // RUSAGE_THREAD
	var u syscall.Rusage
	if err := syscall.Getrusage(thread, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// opensslRate is what openssl speed says, which counts its CPU time too.
func opensslRate(t *testing.T) float64 {
	out, err := exec.Command("openssl", "speed", "-seconds", "2", "ecdsap256").Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	fields := strings.Fields(lines[len(lines)-1]) // ..., seconds to sign, to verify, sign/s, verify/s
	rate, err := strconv.ParseFloat(fields[len(fields)-2], 64)
	if err != nil {
		t.Fatalf("openssl speed: %v in %q", err, lines[len(lines)-1])
	}
	return rate
}

func median(x []float64) float64 { return slices.Sorted(slices.Values(x))[len(x)/2] }
