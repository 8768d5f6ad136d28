package footprint

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
)

// room is how much garbage may gather before a collection, however little is alive. The live heap of a proxy is a few MB, and a
// TLS handshake leaves 30 to 80 KB behind: with Go's default of as much garbage as is alive, the collector would run every
// fifty handshakes and take a tenth of the CPU.
const room = 12 << 20

// Room lets the collector wait until there is some garbage to collect, until stop is called. A heap of more than room is
// collected as always, and at a Pause what has gathered is given back. It is for the whole process, and does nothing where the
// operator has set GOGC.
func Room() (stop func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	c := &collector{live: []metrics.Sample{{Name: "/gc/heap/live:bytes"}}, percent: leastPercent}
	c.adjust()
	return c.stop
}

// The collector's percentages: Go's default, and the most that room asks of a heap that is smaller still.
const (
	leastPercent = 100
	mostPercent  = 400
)

// collector follows the live heap from collection to collection.
type collector struct {
	mu      sync.Mutex // guards below
	live    []metrics.Sample
	percent int
	stopped bool
}

// adjust sets the percentage for the live heap that the last collection has found, and comes again after the next one.
func (c *collector) adjust() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return
	}
	metrics.Read(c.live)
	if p := percentFor(c.live[0].Value.Uint64()); p < c.percent*9/10 || p > c.percent*11/10 { // each change stops the world
		debug.SetGCPercent(p)
		c.percent = p
	}
	// What nobody can reach is cleaned up after the next collection.
	runtime.AddCleanup(new([16]byte), func(c *collector) { c.adjust() }, c)
}

// percentFor is how much garbage may gather beside a live heap, as a share of that.
func percentFor(live uint64) int {
	if live == 0 {
		return mostPercent
	}
	return int(min(max(room*100/live, leastPercent), mostPercent))
}

func (c *collector) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.stopped {
		c.stopped = true
		debug.SetGCPercent(leastPercent)
	}
}
