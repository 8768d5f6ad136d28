package handshake

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hauberk-mesh/hauberk/internal/leak"
)

// asPart makes the test binary be a part of the measurement.
const asPart = "HAUBERK_HANDSHAKE_TEST_PART"

func TestMain(m *testing.M) {
	if os.Getenv(asPart) == "" {
		leak.Main(m)
		return
	}
	if err := Part(context.Background(), os.Args[1], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// short is a measurement that says little, of processes that are real.
func short(t *testing.T) Options {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	o := Defaults()
	o.Command, o.Env, o.Duration, o.Concurrency = []string{self}, []string{asPart + "=1"}, 300*time.Millisecond, 4
	return o
}

// TestRun: every figure is there and none contradicts another, for each kind of key and key exchange at least once.
func TestRun(t *testing.T) {
	for _, c := range []struct {
		key, curve string
		mutual     bool
		providers  []string
	}{
		{"rsa2048", "x25519", false, Providers()},
		{"rsa2048", "p256", true, []string{"memory"}},
		{"ecdsa-p256", "secp256r1mlkem768", true, Providers()},
		{"ecdsa-p256", "x25519mlkem768", false, []string{"memory"}},
	} {
		t.Run(c.key+"/"+c.curve, func(t *testing.T) {
			o := short(t)
			o.Key, o.Curve, o.Mutual, o.Providers = c.key, c.curve, c.mutual, c.providers
			told := 0.0
			o.Progress = func(done float64, provider string) {
				if done < told || done > 1 || provider == "" {
					t.Errorf("progress went from %v to %v, of %q", told, done, provider)
				}
				told = done
			}
			r, err := Run(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if told < 0.5 || len(r.Results) != len(c.providers) || (r.Compared != nil) != (len(c.providers) > 1) || r.Machine.CPUs < 1 {
				t.Errorf("progress ended at %v, report %+v", told, r)
			}
			for i, got := range r.Results {
				check(t, o, c.providers[i], got)
			}
		})
	}
}

func check(t *testing.T, o Options, provider string, got Result) {
	t.Helper()
	if got.Provider != provider || got.Key != o.Key || got.Curve != o.Curve || got.Mutual != o.Mutual || got.Concurrency != o.Concurrency {
		t.Errorf("another result than was asked for: %+v", got)
	}
	if got.Failed != 0 {
		t.Errorf("%d handshakes failed: %s", got.Failed, got.LastError)
	}
	if got.Handshakes == 0 || got.CPUMicrosPerHandshake <= 0 || got.HandshakesPerSecond <= 0 || got.P50ms <= 0 || got.P99ms < got.P50ms || got.ServerBusy <= 0 {
		t.Errorf("figures are missing: %+v", got)
	}
	if product := got.HandshakesPerCPUSecond * got.CPUMicrosPerHandshake; math.Abs(product-1e6) > 1 {
		t.Errorf("%v handshakes a CPU second of %v µs each", got.HandshakesPerCPUSecond, got.CPUMicrosPerHandshake)
	}
	if got.Backend == "" || provider == "memory" && (got.Backend != "std" || got.BatchFill != 0) {
		t.Errorf("backend %q, batch fill %v of provider %s", got.Backend, got.BatchFill, provider)
	}
}

// TestInterrupted: Ctrl-C ends the processes too, and soon.
func TestInterrupted(t *testing.T) {
	o := short(t)
	o.Duration = time.Hour
	ctx, cancel := context.WithCancelCause(t.Context())
	ctrlC := errors.New("interrupted")
	o.Progress = func(float64, string) { cancel(ctrlC) }
	r, err := Run(ctx, o)
	if r != nil || !errors.Is(err, ctrlC) {
		t.Errorf("%v, %v", r, err)
	}
	tasks, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		if left, _ := os.ReadFile(task); strings.TrimSpace(string(left)) != "" {
			t.Errorf("processes are left: %s", left)
		}
	}
}

// TestPartDies: what a part says last is told.
func TestPartDies(t *testing.T) {
	o := short(t)
	o.Env = nil // so it is a test binary that knows no test of that name
	o.Command = append(o.Command, "-test.run=^$", "-no-such-flag")
	if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "server of the benchmark") || !strings.Contains(err.Error(), "no-such-flag") {
		t.Errorf("%v", err)
	}
	o.Command = []string{"/nonexistent/hauberk"}
	if _, err := Run(t.Context(), o); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("%v", err)
	}
}

func TestPartRefuses(t *testing.T) {
	for name, in := range map[string]string{"cook": "", serverPart: `{"Provider":"memory"}`, clientPart: `{"Server":"AAAA"}`} {
		if err := Part(t.Context(), name, strings.NewReader(in), io.Discard); err == nil {
			t.Errorf("%s took %q", name, in)
		}
	}
	for _, name := range []string{serverPart, clientPart} { // whoever has started it is gone
		if err := Part(t.Context(), name, strings.NewReader(""), io.Discard); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestValidate(t *testing.T) {
	if err := Defaults().Validate(); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(*Options){
		`provider: "qat" is none of memory, batch`:                         func(o *Options) { o.Providers = []string{"memory", "qat"} },
		"provider: name at least one":                                      func(o *Options) { o.Providers = nil },
		`key: "rsa1024" is none of rsa2048, rsa3072, rsa4096, ecdsa-p256`:  func(o *Options) { o.Key = "rsa1024" },
		`curve: "X25519" is none of x25519, p256, x25519mlkem768, secp256`: func(o *Options) { o.Curve = "X25519" },
		"concurrency: 0 is not between 1 and 10000":                        func(o *Options) { o.Concurrency = 0 },
		"concurrency: 10001":                                               func(o *Options) { o.Concurrency = 10001 },
		"duration: 1ms is not between 100ms and 1h0m0s":                    func(o *Options) { o.Duration = time.Millisecond },
		"duration: 2h0m0s":                                                 func(o *Options) { o.Duration = 2 * time.Hour },
	} {
		o := Defaults()
		change(&o)
		if err := o.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestRounds(t *testing.T) {
	for d, want := range map[time.Duration]int{100 * time.Millisecond: 3, 6 * time.Second: 3, 8 * time.Second: 5, 10 * time.Second: 5, time.Minute: 31} {
		n, each, warm := Options{Duration: d}.rounds()
		if n != want || time.Duration(n)*each > d || warm > each || warm <= 0 {
			t.Errorf("%v: %d rounds of %v, warm-up %v", d, n, each, warm)
		}
	}
}

// TestSum: medians of figures, sums of counts.
func TestSum(t *testing.T) {
	at := func(cpu, n int64, p50, p99 float64, batches map[int]uint64) round {
		return round{serverSample{CPUMicros: cpu, Handshakes: n, Batches: batches}, clientResult{Handshakes: n, P50ms: p50, P99ms: p99}, 2}
	}
	rounds := []round{
		at(1_000_000, 5_000, 4, 9, map[int]uint64{1: 2, 4: 6}),
		at(1_000_000, 2_000, 6, 20, map[int]uint64{8: 2}),
		at(1_000_000, 4_000, 5, 10, nil),
	}
	rounds[1].client.Failed, rounds[1].client.LastError, rounds[2].server.Failed = 2, "refused", 1
	var r Result
	r.sum(rounds)
	if r.CPUMicrosPerHandshake != 250 || r.HandshakesPerCPUSecond != 4000 || r.HandshakesPerSecond != 2000 || r.ServerBusy != 0.5 {
		t.Errorf("speed %+v", r)
	}
	if r.P50ms != 5 || r.P99ms != 10 || r.Handshakes != 11_000 || r.Failed != 3 || r.LastError != "refused" {
		t.Errorf("latency or counts %+v", r)
	}
	if r.BatchFill != 4.2 { // 42 operations in 10 batches
		t.Errorf("batch fill %v of %v", r.BatchFill, r.Batches)
	}
	if got := median([]float64{9, 1, 3, 2}); got != 2.5 {
		t.Errorf("the median of an even number is %v", got)
	}
	sorted := make([]time.Duration, 101)
	for i := range sorted {
		sorted[i] = time.Duration(i) * time.Millisecond
	}
	if p50, p99 := quantile(sorted, 0.5), quantile(sorted, 0.99); p50 != 50 || p99 != 99 {
		t.Errorf("p50 %v, p99 %v", p50, p99)
	}
}

func TestSince(t *testing.T) {
	before := serverSample{CPUMicros: 10, Handshakes: 3, Failed: 1, Batches: map[int]uint64{1: 5, 4: 2}}
	after := serverSample{CPUMicros: 40, Handshakes: 9, Failed: 1, LastError: "old", Batches: map[int]uint64{1: 5, 4: 4, 8: 1}}
	got, _ := json.Marshal(after.since(before))
	if want := `{"CPUMicros":30,"Handshakes":6,"Failed":0,"LastError":"old","Batches":{"4":2,"8":1}}`; string(got) != want {
		t.Errorf("%s", got)
	}
}

func sample() *Report {
	return &Report{
		Machine: Machine{CPU: "A <fast> CPU", CPUs: 2, Go: "go1.26", ClientApart: true}, Seconds: 10, Rounds: 5,
		Results: []Result{
			{Provider: "memory", Key: "rsa2048", Curve: "x25519", Concurrency: 32, HandshakesPerCPUSecond: 1000, CPUMicrosPerHandshake: 1000, P50ms: 30, P99ms: 60},
			{Provider: "batch", Key: "rsa2048", Curve: "x25519", Concurrency: 32, HandshakesPerCPUSecond: 4000, CPUMicrosPerHandshake: 250, P50ms: 7, P99ms: 15, BatchFill: 6.25},
		},
	}
}

// TestSVG: the plot is well-formed, its bars are as long as the figures are high, and it reads in the dark.
func TestSVG(t *testing.T) {
	text := sample().SVG()
	var widths []float64
	for d := xml.NewDecoder(strings.NewReader(string(text))); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "rect" {
			var width float64
			isBar := false
			for _, a := range e.Attr {
				switch {
				case a.Name.Local == "width":
					width, _ = strconv.ParseFloat(a.Value, 64)
				case a.Name.Local == "class":
					isBar = a.Value == "bar" || a.Value == "best"
				}
			}
			if isBar {
				widths = append(widths, width)
			}
		}
	}
	if len(widths) != 2 || widths[1] != barsRight-barsLeft || widths[0] != widths[1]/4 {
		t.Errorf("bars of %v", widths)
	}
	for _, want := range []string{"prefers-color-scheme: dark", ">4,000</text>", "A &lt;fast&gt; CPU", "32 clients", "6.2 operations a batch", "one core (CPU 0)"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func TestCount(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 999.4: "999", 1000: "1,000", 12345.6: "12,346", 1234567: "1,234,567"} {
		if got := Count(v); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
}

func TestCores(t *testing.T) {
	for want, m := range map[string]Machine{
		"on any core": {ServerCPU: -1}, "which the clients share": {ServerCPU: 0}, "(CPU 3), the clients on others": {ServerCPU: 3, ClientApart: true},
	} {
		if got := m.Cores(); !strings.Contains(got, want) {
			t.Errorf("%+v: %s", m, got)
		}
	}
}
