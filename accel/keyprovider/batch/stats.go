package batch

import (
	"cmp"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/hauberk-mesh/hauberk/accel/keyprovider"
)

// Stats is what happened since the start.
type Stats struct {
	Queues    []QueueStats      // one an algorithm, in the order of their names
	Fallbacks map[string]uint64 // keys that the standard library computes, by reason
}

// QueueStats is one queue's.
type QueueStats struct {
	Algorithm    keyprovider.Algorithm
	Batches      []uint64 // [i] counts batches of i+1 operations
	Wait         Durations
	Batch        Durations // of computing one batch, whatever its size
	Queued       int       // waiting now
	Workers      int       // computing now
	Cancelled    uint64    // operations whose caller went away
	Rejected     uint64    // operations refused with QueueFullError
	ChecksFailed uint64    // results that failed their check and were computed anew by the standard library
}

// Operations is how many were computed.
func (s QueueStats) Operations() uint64 {
	var n uint64
	for i, batches := range s.Batches {
		n += uint64(i+1) * batches
	}
	return n
}

// Fill is how many operations a batch had on average; 0 before the first.
func (s QueueStats) Fill() float64 {
	var n uint64
	for _, batches := range s.Batches {
		n += batches
	}
	if n == 0 {
		return 0
	}
	return float64(s.Operations()) / float64(n)
}

// Durations is a histogram.
type Durations struct {
	Bounds []time.Duration // ascending, upper and inclusive; the same slice for all: not to be changed
	Counts []uint64        // one a bound, not added up, and one more for what was longer than all
	Sum    time.Duration
}

// Count is how many there were.
func (d Durations) Count() uint64 {
	var n uint64
	for _, c := range d.Counts {
		n += c
	}
	return n
}

// bounds double from 16 us to 0.5 s: a lone RSA-2048 takes some 400 us, a full queue of RSA-4096 a second.
var bounds = func() []time.Duration {
	all := make([]time.Duration, 16)
	for i := range all {
		all[i] = 16 * time.Microsecond << i
	}
	return all
}()

// histogram is Durations while they are counted.
type histogram struct {
	counts [17]atomic.Uint64
	sum    atomic.Int64
}

func (h *histogram) add(d time.Duration) {
	i, _ := slices.BinarySearch(bounds, d)
	h.counts[i].Add(1)
	h.sum.Add(int64(d))
}

func (h *histogram) durations() Durations {
	d := Durations{Bounds: bounds, Counts: make([]uint64, len(h.counts)), Sum: time.Duration(h.sum.Load())}
	for i := range h.counts {
		d.Counts[i] = h.counts[i].Load()
	}
	return d
}

// counters are one queue's.
type counters struct {
	batches                           []atomic.Uint64
	wait, batch                       histogram
	cancelled, rejected, checksFailed atomic.Uint64
}

func (c *counters) stats() QueueStats {
	s := QueueStats{
		Batches: make([]uint64, len(c.batches)), Wait: c.wait.durations(), Batch: c.batch.durations(),
		Cancelled: c.cancelled.Load(), Rejected: c.rejected.Load(), ChecksFailed: c.checksFailed.Load(),
	}
	for i := range c.batches {
		s.Batches[i] = c.batches[i].Load()
	}
	return s
}

// Stats is what happened since the start. It is cheap, and exact once nothing happens any more.
func (p *Provider) Stats() Stats {
	p.mu.Lock()
	s := Stats{Fallbacks: maps.Clone(p.fallbacks)}
	p.mu.Unlock()
	for _, q := range p.rsa {
		s.Queues = append(s.Queues, q.stats())
	}
	s.Queues = append(s.Queues, p.ecdsa.stats())
	slices.SortFunc(s.Queues, func(a, b QueueStats) int { return cmp.Compare(a.Algorithm, b.Algorithm) })
	return s
}
