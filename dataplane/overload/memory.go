package overload

import (
	"runtime/metrics"
	"sync"
)

// FixedHeap is the pressure of this process's memory on a limit of its own: Envoy's fixed_heap.
func FixedHeap(limit uint64) Monitor {
	m := &goMemory{}
	return Monitor{Name: "envoy.resource_monitors.fixed_heap", Pressure: func() float64 { return m.pressure(limit) }}
}

// goMemory reads what Go's runtime knows. It is made for one limit of which the garbage collector has been told
// (Spec.MemoryLimit).
type goMemory struct {
	mu      sync.Mutex // guards samples
	samples []metrics.Sample
}

// names of what is in use for certain: objects that the last collection found alive, stacks, and the runtime's own. What was
// allocated since may be garbage; it counts only if the collector could not keep the whole below the limit.
const (
	metricTotal    = "/memory/classes/total:bytes"
	metricReleased = "/memory/classes/heap/released:bytes"
	metricLive     = "/gc/heap/live:bytes"
)

func inUse() []string {
	return []string{metricLive, "/memory/classes/heap/stacks:bytes", "/memory/classes/metadata/mcache/inuse:bytes",
		"/memory/classes/metadata/mspan/inuse:bytes", "/memory/classes/metadata/other:bytes", "/memory/classes/os-stacks:bytes",
		"/memory/classes/other:bytes"}
}

func (g *goMemory) pressure(limit uint64) float64 {
	used, mapped := g.read()
	if limit == 0 {
		return 0
	}
	if mapped > limit { // for all that the collector has done: the memory is gone, whatever it holds
		used = max(used, mapped)
	}
	return float64(used) / float64(limit)
}

func (g *goMemory) read() (used, mapped uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.samples == nil {
		for _, name := range append(inUse(), metricTotal, metricReleased) {
			g.samples = append(g.samples, metrics.Sample{Name: name})
		}
	}
	metrics.Read(g.samples)
	last := len(g.samples) - 2
	for _, s := range g.samples[:last] {
		if s.Value.Kind() == metrics.KindUint64 {
			used += s.Value.Uint64()
		}
	}
	return used, g.samples[last].Value.Uint64() - g.samples[last+1].Value.Uint64()
}
