package main

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/hauberk-mesh/hauberk/cli"
	"github.com/hauberk-mesh/hauberk/internal/leak"
)

// asHauberk makes this test binary be the peer, as asBench makes it be the client and the backend.
const asHauberk = "HAUBERK_BENCH_AS_HAUBERK=1"

func TestMain(m *testing.M) {
	set := func(assignment string) bool {
		name, value, _ := strings.Cut(assignment, "=")
		return os.Getenv(name) == value
	}
	switch {
	case set(asHauberk):
		os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	case set(asBench):
		os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
	}
	leak.Main(m)
}

// TestEveryWorkload runs the whole, for moments, with Hauberk alone: what it measures then means nothing, but every request
// must succeed and every number be there.
func TestEveryWorkload(t *testing.T) {
	if testing.Short() {
		t.Skip("starts some thirty processes")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	pinned := ""
	if runtime.NumCPU() > 1 {
		pinned = ",w1pin"
		everyNumber(t, self, "w3rsa,w3mtls,hsmrsa,hsec", "hauberk")
	}
	everyNumber(t, self, "w1,w2,w4,w5,w6"+pinned, "direct,hauberk,hauberk-h1")
}

// everyNumber measures workloads of peers and looks at what comes out.
func everyNumber(t *testing.T, self, names, peers string) {
	var out, progress bytes.Buffer
	o := options{workloads: names, peers: peers, base: "hauberk", output: "json", reps: 1,
		seconds: 0.3, connections: 8, hauberk: self, env: []string{asHauberk}}
	if err := measureAll(o, &out, &progress); err != nil {
		t.Fatalf("%v\n%s", err, progress.String())
	}
	var got struct {
		Results []struct {
			Workload, Peer  string
			Medians, Ratios metrics
		}
	}
	t.Log(progress.String())
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, r := range got.Results {
		seen[r.Workload]++
		if r.Medians["errors"] != 0 {
			t.Errorf("%s of %s: %v requests failed", r.Workload, r.Peer, r.Medians["errors"])
		}
		if r.Peer == "direct" {
			continue
		}
		for _, w := range workloads {
			for _, c := range w.columns {
				v, ok := r.Medians[c.metric]
				if w.name == r.Workload && (!ok || v <= 0 && !mayBeNothing(c.metric)) {
					t.Errorf("%s of %s: %s is %v", r.Workload, r.Peer, c.metric, v)
				}
			}
		}
	}
	for _, name := range strings.Split(names, ",") {
		want := len(strings.Split(peers, ","))
		if name == "w6" { // not without a proxy
			want--
		}
		if seen[name] != want {
			t.Errorf("%s has %d results, want %d", name, seen[name], want)
		}
	}
}

// mayBeNothing: what is added to the time without a proxy may be negative, and in moments the kernel counts no CPU.
func mayBeNothing(metric string) bool {
	return strings.HasPrefix(metric, "added") || strings.HasPrefix(metric, "cpu") || metric == "busy"
}

// On a busy machine a proxy may get no processor for as long as it is measured; what comes of it is still a number.
func TestSpentNothing(t *testing.T) {
	m := metrics{"requests": 5, "bytes": 0}
	m.spent(0, 0.3)
	if _, err := json.Marshal(m); err != nil {
		t.Error(err)
	}
}

func TestTable(t *testing.T) {
	w := workload{name: "w", title: "W", columns: []column{
		{metric: "requestsPerSecond", title: "req/s", mark: 1.15, aim: 1.25}, {metric: "p50Micros", title: "p50 us", digits: 1},
		{metric: "p50Micros", against: "b"}, {metric: "addedP50Micros", title: "added", mark: 1, aim: 0.8},
		{metric: "addedP50Micros", against: "b", mark: 2, aim: 3},
	}}
	r := results{base: "a", absent: []string{"envoy (not on PATH)"}}
	for _, v := range []float64{10, 40, 20} {
		r.add(w, peer{name: "a"}, metrics{"requestsPerSecond": v, "p50Micros": v, "errors": 0, "noise": 0.1})
		r.add(w, peer{name: "b"}, metrics{"requestsPerSecond": 2 * v, "p50Micros": v / 2, "errors": 1, "noise": 0.1})
		r.add(w, peer{name: "direct"}, metrics{"requestsPerSecond": 3 * v, "p50Micros": 5, "errors": 0, "noise": 0.1})
	}
	var out strings.Builder
	if err := r.table(&out); err != nil {
		t.Fatal(err)
	}
	const want = `
### W

| peer | req/s | x (mark 1.15, aim 1.25) | p50 us | x b | added | x (mark 1.00, aim 0.80) | x b (mark 2.00, aim 3.00) | runs | errors | noise |
|---|---|---|---|---|---|---|---|---|---|---|
| a | 20 | 1.00 | 20.0 | 2.00 | 15 | 1.00 | 3.00 | 3 | 0 | 0.10 |
| b | 40 | 2.00 | 10.0 | 1.00 | 5 | 0.33 | 1.00 | 3 | 1 | 0.10 |
| direct | 60 | 3.00 | 5.0 | 0.50 |  |  |  | 3 | 0 | 0.10 |

Not measured: envoy (not on PATH)
`
	if out.String() != want {
		t.Errorf("got\n%s", out.String())
	}
	if even := median([]float64{4, 1, 3, 2}); math.Abs(even-2.5) > 1e-9 {
		t.Errorf("median of an even number is %v", even)
	}
}

// TestUsage: what can't be done is said before anything runs.
func TestUsage(t *testing.T) {
	for _, args := range [][]string{{"-w", "w9"}, {"-peers", "squid"}, {"-o", "xml"}, {"-reps", "0"}, {"extra"}, {"-nothing"}} {
		var out, errs strings.Builder
		if code := run(args, &out, &errs); code != 2 || out.Len() > 0 || errs.Len() == 0 {
			t.Errorf("%v: exit %d, %q, %q", args, code, out.String(), errs.String())
		}
	}
	_, absent, err := findPeers(options{peers: "direct,hauberk", hauberk: "/nonexistent/hauberk"})
	if err != nil || len(absent) != 1 || !strings.Contains(absent[0], "hauberk (") {
		t.Errorf("absent %q, %v", absent, err)
	}
}
