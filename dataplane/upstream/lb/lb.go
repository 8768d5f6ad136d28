// Package lb picks one of a set. A picker sees positions and what each is worth at this moment, nothing else: neither
// connections nor requests.
package lb

import (
	"math/rand/v2"
	"sync/atomic"
)

// Tier is what a position is worth: of the best tier that is there, one is picked.
type Tier uint8

// Ready endpoints come first. Unready ones have said that their application does not answer, Down ones did not answer
// themselves: they are better than none. Excluded ones have been tried by this request.
const (
	Ready Tier = iota
	Unready
	Down
	Excluded
)

// RoundRobin takes turns. It is safe for concurrent use and takes no lock.
type RoundRobin struct{ turn atomic.Uint64 }

// NewRoundRobin starts at a random turn: many proxies that start together shall not all begin with the same endpoint.
func NewRoundRobin() *RoundRobin {
	r := &RoundRobin{}
	r.turn.Store(uint64(rand.Uint32()))
	return r
}

// Pick returns a position in [0, n), or -1 if all are excluded.
func (r *RoundRobin) Pick(n int, tier func(i int) Tier) int {
	if n == 0 {
		return -1
	}
	turn := r.turn.Add(1)
	at := int(turn % uint64(n))
	if tier(at) == Ready {
		return at
	}
	return pickBest(turn/uint64(n), n, tier)
}

// pickBest spreads over the best tier alone. Taking the next good position instead would give the neighbour of a dead
// endpoint twice its share.
func pickBest(turn uint64, n int, tier func(i int) Tier) int {
	best, count := Excluded, 0
	for i := range n {
		switch t := tier(i); {
		case t < best:
			best, count = t, 1
		case t == best:
			count++
		}
	}
	if best == Excluded {
		return -1
	}
	k := int(turn % uint64(count))
	last, other := -1, -1
	for i := range n {
		switch tier(i) {
		case best:
			if last = i; k == 0 {
				return i
			}
			k--
		case Excluded:
		default:
			other = i
		}
	}
	// Tiers have changed between the passes: the last one that still has the best is taken, or whoever there is.
	if last < 0 {
		return other
	}
	return last
}
