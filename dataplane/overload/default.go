package overload

import (
	"io/fs"
	"math"
	"time"
)

// Where no configuration says otherwise: memory that is nearly used up costs keep-alive first, then requests.
const (
	defaultKeepAlive = 0.90
	defaultShed      = 0.95
	// defaultRefresh is short enough that a burst is seen before it has taken the last twentieth of a small sidecar's memory.
	defaultRefresh = 250 * time.Millisecond
	// The collector begins to work harder well below: garbage is to cost no request.
	collectShare = 0.80
)

// Default is what a proxy watches by itself: the memory of its cgroup, where that has a limit, and otherwise the limit that
// Go's runtime was given (GOMEMLIMIT; debug.SetMemoryLimit(-1) tells it). ok is false where there is neither: then nothing is known of what may be used.
func Default(root fs.FS, goLimit int64) (spec Spec, ok bool) {
	var monitor Monitor
	if g, found := FindGroup(root); found {
		monitor = g.Monitor(0)
		spec.MemoryLimit = uint64(float64(g.Limit) * collectShare)
	} else if goLimit > 0 && goLimit < math.MaxInt64 {
		monitor = FixedHeap(uint64(goLimit))
	} else {
		return Spec{}, false
	}
	spec.Refresh = defaultRefresh
	spec.Monitors = []Monitor{monitor}
	spec.Actions = map[Action][]Trigger{
		DisableKeepAlive:      {{Monitor: monitor.Name, From: defaultKeepAlive, To: defaultKeepAlive}},
		StopAcceptingRequests: {{Monitor: monitor.Name, From: defaultShed, To: defaultShed}},
	}
	return spec, true
}
