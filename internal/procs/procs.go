// Package procs gives a process as many of Go's Ps (threads that run Go code at once) as its load asks for, beginning with
// one. With more than it needs, each message wakes a thread that looks for work and finds none: at 2,000 requests a second
// that is half of what a proxy spends, and most of what it adds to the median latency.
//
// It is not a limit: under load it goes up to what the runtime itself would have chosen. Start at Adapt.
package procs

import (
	"math"
	"runtime"
	"sync"
	"syscall"
	"time"
)

const (
	// While there is work a sample is taken so often; without, so rarely that nobody sees it.
	busyInterval = 100 * time.Millisecond
	idleInterval = time.Second
	// idle is the load, in cores, below which there is no work.
	idle = 0.02
	// Above saturated, a share of all Ps, there is a queue for them: the number doubles at once. It is far below one because
	// on a machine that others use as well a P gets no more than a part of a core, and is full then.
	saturated = 0.55
	// So many samples without work in a row are a pause, for the first time already one: the start is over.
	pause = 5
	// When the load would have filled fewer Ps only to comfortable for calm samples in a row, the rest go. Each change stops
	// the world for some ten microseconds, so it must not swing.
	comfortable = 0.4
	calm        = 20
)

// Adapt begins with one P, and from now on sets their number by the load. It never goes beyond the number at the time of the
// call, which is the environment's GOMAXPROCS or what the machine and its cgroup allow. It calls onPause, once each time, when
// there is no work any more. stop gives all Ps back.
func Adapt(onPause func()) (stop func()) {
	g := &governor{most: runtime.GOMAXPROCS(0), now: time.Now, used: processorTime, onPause: onPause}
	g.set = func(n int) { runtime.GOMAXPROCS(n) }
	return g.run(func(d time.Duration, f func()) timer { return time.AfterFunc(d, f) })
}

type timer interface {
	Reset(time.Duration) bool
	Stop() bool
}

// governor decides. Between samples it is nothing but a timer: no goroutine waits.
type governor struct {
	most int
	now  func() time.Time
	used func() time.Duration // by the whole process, so far
	set  func(int)

	onPause func()

	mu       sync.Mutex // guards below
	present  int
	calm     int  // samples in a row that asked for fewer
	workless int  // samples in a row without work
	pause    int  // so many of them are one
	resting  bool // it was told
	at       time.Time
	spent    time.Duration
	timer    timer
	stopped  bool
}

func (g *governor) run(after func(time.Duration, func()) timer) (stop func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.present, g.pause, g.at, g.spent = 1, 1, g.now(), g.used()
	g.set(1)
	g.timer = after(busyInterval, g.sample)
	return g.stop
}

func (g *governor) stop() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stopped {
		return
	}
	g.stopped = true
	g.timer.Stop()
	g.set(g.most)
}

func (g *governor) sample() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stopped {
		return
	}
	now, used := g.now(), g.used()
	load := 0.0
	if elapsed := now.Sub(g.at); elapsed > 0 {
		load = float64(used-g.spent) / float64(elapsed)
	}
	g.at, g.spent = now, used
	if n := g.want(load); n != g.present {
		g.present = n
		g.set(n)
	}
	if load >= idle {
		g.workless, g.resting = 0, false
	} else if !g.resting {
		if g.workless++; g.workless >= g.pause {
			g.resting, g.pause = true, pause
			g.onPause()
			g.at, g.spent = g.now(), g.used() // what that used was no work
		}
	}
	if g.resting && g.present == 1 {
		g.timer.Reset(idleInterval)
		return
	}
	g.timer.Reset(busyInterval)
}

// want is how many Ps a load of so many cores should have.
func (g *governor) want(load float64) int {
	if load >= saturated*float64(g.present) {
		g.calm = 0
		return min(g.most, 2*g.present)
	}
	enough := max(1, int(math.Ceil(load/comfortable)))
	if enough >= g.present {
		g.calm = 0
		return g.present
	}
	if g.calm++; g.calm < calm {
		return g.present
	}
	g.calm = 0
	return enough
}

// processorTime is what all threads have used, in user mode and in the kernel.
func processorTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0 // it can't fail with these arguments; without an answer one P it stays
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
