package overload

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/hauberk-mesh/hauberk/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// gauge is a resource that a test turns.
type gauge struct{ percent atomic.Int64 }

func (g *gauge) set(at float64) { g.percent.Store(int64(at * 100)) }

func (g *gauge) monitor() Monitor {
	return Monitor{Name: "gauge", Pressure: func() float64 { return float64(g.percent.Load()) / 100 }}
}

func TestActions(t *testing.T) {
	g := &gauge{}
	var changes []string
	shrunk := 0
	m := New(Spec{
		Monitors: []Monitor{g.monitor()},
		Actions: map[Action][]Trigger{
			StopAcceptingRequests: {{"gauge", 0.9, 0.9}},
			DisableKeepAlive:      {{"gauge", 0.5, 0.7}, {"nothing", 0.1, 0.1}},
			RejectConnections:     {{"gauge", 0.99, 0.99}},
			ShrinkHeap:            {{"gauge", 0.8, 0.8}},
		},
	}, Deps{Shrink: func() { shrunk++ }, OnChange: func(a Action, s float64) { changes = append(changes, fmt.Sprintf("%s %.1g", a, s)) }})
	if m.ShedRequests() || m.EndKeepAlive() || m.RejectConnection() {
		t.Error("acts before anything was measured")
	}
	for _, step := range []struct {
		at                   float64
		shed, keep, reject   float64
		shrunk               int
		shedAlways, keepSome bool
	}{
		{at: 0.4}, {at: 0.6, keep: 0.5, keepSome: true}, {at: 0.8, keep: 1, shrunk: 1}, {at: 0.9, keep: 1, shed: 1, shrunk: 2, shedAlways: true},
		{at: 2, keep: 1, shed: 1, reject: 1, shrunk: 3, shedAlways: true}, {at: 0.1, shrunk: 3},
	} {
		g.set(step.at)
		m.Refresh()
		s := m.Status()
		if !near(s.Actions["stop_accepting_requests"], step.shed) || !near(s.Actions["disable_http_keepalive"], step.keep) ||
			!near(s.Actions["reject_incoming_connections"], step.reject) || s.Pressure["gauge"] != step.at || shrunk != step.shrunk {
			t.Errorf("%+v: %+v, shrunk %d", step, s, shrunk)
		}
		if m.ShedRequests() != step.shedAlways {
			t.Errorf("%+v: sheds %t", step, !step.shedAlways)
		}
		yes := 0
		for range 2000 {
			if m.EndKeepAlive() {
				yes++
			}
		}
		if some := yes > 700 && yes < 1300; some != step.keepSome { // 13 standard deviations
			t.Errorf("%+v: ends %d of 2000", step, yes)
		}
	}
	want := "[disable_http_keepalive 0.5 shrink_heap 1 stop_accepting_requests 1 reject_incoming_connections 1 " +
		"stop_accepting_requests 0 disable_http_keepalive 0 reject_incoming_connections 0 shrink_heap 0]"
	if got := fmt.Sprint(changes); got != want {
		t.Errorf("changes %s", got)
	}
}

func near(a, b float64) bool { return math.Abs(a-b) < 0.001 }

func TestConnections(t *testing.T) {
	m := New(Spec{Connections: 2, Actions: map[Action][]Trigger{DisableKeepAlive: {{Connections, 1, 1}}}}, Deps{})
	if !m.Enter(false) || m.EndKeepAlive() || !m.Enter(false) || m.Enter(false) || !m.Enter(true) {
		t.Error("of three, two and the one that is exempt")
	}
	m.Refresh()
	if !m.EndKeepAlive() || m.Status().Connections != 3 {
		t.Errorf("%+v", m.Status())
	}
	for range 3 {
		m.Leave()
	}
	m.Refresh()
	if m.EndKeepAlive() || !m.Enter(false) {
		t.Error("still full")
	}
}

// Nobody is the manager of a proxy that has none.
func TestNil(t *testing.T) {
	var m *Manager
	m.Run(context.Background())
	m.Accept(nil)
	m.Leave()
	if m.ShedRequests() || m.EndKeepAlive() || m.RejectConnection() || !m.Enter(false) || m.Status().Connections != 0 {
		t.Error("nobody acts")
	}
}

// Run measures at each interval, stops accepting and lets it go on.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gauge{}
		g.set(1)
		limits := []int64{}
		limit := int64(math.MaxInt64)
		ctx, cancel := context.WithCancel(context.Background())
		m := New(Spec{Monitors: []Monitor{g.monitor()}, MemoryLimit: 100, Actions: map[Action][]Trigger{
			StopAcceptingConnections: {{"gauge", 1, 1}}}}, Deps{SetMemoryLimit: func(n int64) int64 {
			before := limit
			if n >= 0 {
				limit = n
				limits = append(limits, n)
			}
			return before
		}})
		done := make(chan struct{})
		go func() { defer close(done); m.Run(ctx) }()
		synctest.Wait()
		began := time.Now()
		go func() { time.Sleep(2500 * time.Millisecond); g.set(0.9) }()
		m.Accept(ctx.Done())
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("accepts again after %s", took)
		}
		m.Accept(ctx.Done())
		g.set(1)
		time.Sleep(time.Second)
		synctest.Wait()
		go func() { time.Sleep(time.Second); cancel() }()
		m.Accept(ctx.Done())
		<-done
		if fmt.Sprint(limits) != fmt.Sprint([]int64{100, math.MaxInt64}) {
			t.Errorf("memory limits %v", limits)
		}
	})
}

func group(current, max, stat string) fstest.MapFS {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s + "\n")} }
	return fstest.MapFS{
		"proc/self/cgroup":                        file("0::/pod/app"),
		"sys/fs/cgroup/memory.stat":               file(""),
		"sys/fs/cgroup/pod/memory.max":            file(max),
		"sys/fs/cgroup/pod/memory.current":        file(current),
		"sys/fs/cgroup/pod/memory.stat":           file(stat),
		"sys/fs/cgroup/pod/app/memory.max":        file("max"),
		"sys/fs/cgroup/pod/app/memory.current":    file("1"),
		"sys/fs/cgroup/pod/app/memory.swap.max":   file("0"),
		"sys/fs/cgroup/pod/app/memory.swap.peak":  file("0"),
		"sys/fs/cgroup/pod/app/memory.swap.stuff": file(""),
	}
}

func TestGroup(t *testing.T) {
	for _, tc := range []struct {
		current, stat string
		limit         uint64
		want          float64
	}{
		{"500", "active_file 100\ninactive_file 100", 0, 0.5},
		{"900", "anon 500\nactive_file 100\ninactive_file 200\nactive_anon 7", 0, 0.6},
		{"900", "anon 900", 0, 0.9},
		{"300", "", 400, 0.75},
		{"300", "", 4000, 0.3},
	} {
		g, ok := FindGroup(group(tc.current, "1000", tc.stat))
		if !ok || g.Limit != 1000 {
			t.Fatal(g, ok)
		}
		if got := g.Monitor(tc.limit).Pressure(); !near(got, tc.want) {
			t.Errorf("%+v: %v", tc, got)
		}
	}
	if _, ok := FindGroup(group("1", "max", "")); ok {
		t.Error("a limit where there is none")
	}
	if _, ok := FindGroup(fstest.MapFS{}); ok {
		t.Error("a limit where there are no groups")
	}
}

func TestDefault(t *testing.T) {
	if _, ok := Default(group("1", "max", ""), math.MaxInt64); ok {
		t.Error("nothing is known, and something watched")
	}
	files := group("10", "1000", "")
	spec, ok := Default(files, math.MaxInt64)
	if !ok || spec.MemoryLimit != 800 {
		t.Fatalf("%+v", spec)
	}
	m := New(spec, Deps{})
	for _, step := range []struct {
		current    string
		shed, keep bool
	}{{"890", false, false}, {"900", false, true}, {"950", true, true}, {"899", false, false}} {
		files["sys/fs/cgroup/pod/memory.current"] = &fstest.MapFile{Data: []byte(step.current)}
		m.Refresh()
		if m.ShedRequests() != step.shed || m.EndKeepAlive() != step.keep {
			t.Errorf("%+v: %+v", step, m.Status())
		}
	}
	spec, ok = Default(fstest.MapFS{}, 1<<50)
	if !ok || spec.MemoryLimit != 0 || spec.Monitors[0].Name != "envoy.resource_monitors.fixed_heap" {
		t.Errorf("GOMEMLIMIT: %+v", spec)
	}
}

// What is measured follows what is held, and not the garbage.
func TestFixedHeap(t *testing.T) {
	g := &goMemory{}
	runtime.GC()
	before, _ := g.read()
	held := make([]byte, 64<<20)
	for i := 0; i < len(held); i += 4096 {
		held[i] = 1
	}
	runtime.GC()
	during, mapped := g.read()
	if grown := int64(during - before); grown < 60<<20 || grown > 80<<20 || mapped < during {
		t.Errorf("64 MiB are %d, of %d mapped", grown, mapped)
	}
	runtime.KeepAlive(held)
	held = nil
	debug.FreeOSMemory()
	if after, _ := g.read(); int64(after-before) > 10<<20 {
		t.Errorf("%d MiB are left", (after-before)>>20)
	}
	if p := FixedHeap(1).Pressure(); p < 1e6 {
		t.Errorf("one byte: %v", p)
	}
	if p := FixedHeap(1 << 40).Pressure(); p > 0.01 {
		t.Errorf("a terabyte: %v", p)
	}
	for _, s := range g.samples {
		if s.Value.Kind() == 0 {
			t.Errorf("%s is not known to this Go", s.Name)
		}
	}
}

// The kernel's own files, where this process may make a group: as root, on a machine with version 2.
func TestRealGroup(t *testing.T) {
	dir := filepath.Join("/sys/fs/cgroup", "hauberk-test-"+strconv.Itoa(os.Getpid()))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Skip("no cgroup can be made here: ", err)
	}
	defer os.Remove(dir)
	if err := os.WriteFile(filepath.Join(dir, "memory.max"), []byte("268435456"), 0o644); err != nil {
		t.Skip("the memory of a cgroup can not be limited here: ", err)
	}
	files := os.DirFS("/")
	g := &Group{files: files, dir: dir[1:], Limit: 0}
	var err error
	if g.Limit, err = number(files, g.dir+"/memory.max"); err != nil || g.Limit != 256<<20 {
		t.Fatal(g.Limit, err)
	}
	if p := g.Monitor(0).Pressure(); p < 0 || p > 0.1 {
		t.Errorf("an empty group: %v", p)
	}
}

func BenchmarkShedRequests(b *testing.B) {
	m := New(Spec{}, Deps{})
	for b.Loop() {
		m.ShedRequests()
	}
}
