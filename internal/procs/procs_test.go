package procs

import (
	"runtime"
	"slices"
	"testing"
	"time"
)

// world is a clock, a load and a timer, all of them turned by hand.
type world struct {
	g       *governor
	time    time.Time
	used    time.Duration
	after   time.Duration // until the next sample
	changes []int
	samples int
	pauses  int
}

func newWorld(most int) (*world, func()) {
	w := &world{time: time.Unix(1000, 0)}
	w.g = &governor{most: most, now: func() time.Time { return w.time }, used: func() time.Duration { return w.used }}
	w.g.onPause = func() { w.pauses++ }
	w.g.set = func(n int) { w.changes = append(w.changes, n) }
	stop := w.g.run(func(d time.Duration, _ func()) timer { w.after = d; return w })
	return w, stop
}

func (w *world) Reset(d time.Duration) bool { w.after = d; return true }
func (w *world) Stop() bool                 { w.after = 0; return true }

// pass lets d pass under a load of so many cores; no load can use more than the Ps that there are.
func (w *world) pass(d time.Duration, load float64) {
	for ; d > 0 && w.after > 0; d -= w.after {
		w.time = w.time.Add(w.after)
		w.used += time.Duration(min(load, float64(w.g.present)) * float64(w.after))
		w.samples++
		w.g.sample()
	}
}

func TestLoadDecides(t *testing.T) {
	for _, c := range []struct {
		name string
		most int
		do   func(w *world)
		want []int
	}{
		{"nothing", 8, func(w *world) { w.pass(time.Minute, 0) }, []int{1}},
		{"what one can do", 8, func(w *world) { w.pass(time.Minute, 0.5) }, []int{1}},
		{"one is not enough", 8, func(w *world) { w.pass(time.Second, 1.0) }, []int{1, 2}},
		{"all is not enough", 6, func(w *world) { w.pass(time.Second, 99) }, []int{1, 2, 4, 6}},
		{"up and down again", 8, func(w *world) {
			w.pass(3*busyInterval, 8)
			w.pass(calm*busyInterval-busyInterval, 0.1)
			if len(w.changes) != 4 {
				t.Errorf("changed its mind too early: %v", w.changes)
			}
			w.pass(busyInterval, 0.1)
		}, []int{1, 2, 4, 8, 1}},
		{"down to what is needed", 8, func(w *world) {
			w.pass(time.Second, 8)
			w.pass(time.Minute, 2)
		}, []int{1, 2, 4, 8, 5}},
		{"a pause is no calm", 8, func(w *world) {
			w.pass(time.Second, 2)
			for range 100 {
				w.pass(calm*busyInterval/2, 0)
				w.pass(2*busyInterval, 2)
			}
		}, []int{1, 2, 4}},
		{"a load on the edge", 4, func(w *world) {
			for i := range 1000 {
				w.pass(busyInterval, 0.80+0.1*float64(i%2))
			}
		}, []int{1, 2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, _ := newWorld(c.most)
			c.do(w)
			if !slices.Equal(w.changes, c.want) {
				t.Errorf("set %v, want %v", w.changes, c.want)
			}
		})
	}
}

// TestIdleIsLeftAlone: a process without work is woken once a second, and one that gets some is looked at closely again.
func TestIdleIsLeftAlone(t *testing.T) {
	w, stop := newWorld(4)
	w.pass(busyInterval, 0.001)
	w.samples = 0
	w.pass(time.Minute, 0.001)
	if w.samples > 60 {
		t.Errorf("%d samples in an idle minute", w.samples)
	}
	w.pass(idleInterval, 0.3)
	if w.after != busyInterval {
		t.Errorf("the next sample under load comes after %s", w.after)
	}
	w.pass(time.Second, 4)
	stop()
	stop()
	if want := []int{1, 2, 4, 4}; !slices.Equal(w.changes, want) || w.after != 0 {
		t.Errorf("set %v, want %v; the next sample comes after %s", w.changes, want, w.after)
	}
	w.g.sample() // one that was under way
	if len(w.changes) != 4 {
		t.Error("it decides after its end")
	}
}

// TestPauses: the first moment without work is told, and after that each longer one, once.
func TestPauses(t *testing.T) {
	w, _ := newWorld(4)
	for _, step := range []struct {
		d    time.Duration
		load float64
		want int
	}{
		{2 * busyInterval, 0.9, 0}, {busyInterval, 0, 1}, {time.Minute, 0.001, 1},
		{time.Second, 0.1, 1}, {(pause - 1) * busyInterval, 0, 1}, {busyInterval, 0.1, 1}, {(pause - 1) * busyInterval, 0, 1},
		{busyInterval, 0, 2}, {time.Hour, 0, 2},
		{time.Second, 4, 2}, {time.Minute, 0, 3},
	} {
		w.pass(step.d, step.load)
		if w.pauses != step.want {
			t.Fatalf("after %s of load %v: %d pauses were told, want %d", step.d, step.load, w.pauses, step.want)
		}
	}
	if w.after != idleInterval {
		t.Errorf("at rest the next sample comes after %s", w.after)
	}
}

func TestAdapt(t *testing.T) {
	before := runtime.GOMAXPROCS(4)
	defer runtime.GOMAXPROCS(before)
	stop := Adapt(func() {})
	if n := runtime.GOMAXPROCS(0); n != 1 {
		t.Errorf("begins with %d", n)
	}
	stop()
	if n := runtime.GOMAXPROCS(0); n != 4 {
		t.Errorf("leaves %d, there were 4", n)
	}
	if processorTime() <= 0 {
		t.Error("no processor time was used so far")
	}
}
