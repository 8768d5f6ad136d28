package lb

// Schedule is the order of turns where positions have unequal weights: each has its share of them, spread evenly. Immutable.
type Schedule struct {
	weights []uint32
	order   []uint16
}

// MaxWeighted bounds the length of a schedule, and so how many positions may have unequal weights. Weights whose sum is longer are rounded to fit, to at least one turn each.
const MaxWeighted = 4096

// NewSchedule makes the order for weights, where 0 is 1. Nil if all are equal: then RoundRobin.Pick does the same for less.
func NewSchedule(weights []uint32) *Schedule {
	if len(weights) == 0 || len(weights) > MaxWeighted {
		return nil
	}
	s := &Schedule{weights: make([]uint32, len(weights))}
	equal, divisor, sum := true, uint32(0), uint64(0)
	for i, w := range weights {
		s.weights[i] = max(w, 1)
		equal = equal && s.weights[i] == s.weights[0]
		divisor = gcd(divisor, s.weights[i])
		sum += uint64(s.weights[i])
	}
	if equal {
		return nil
	}
	total := 0
	for i, w := range s.weights {
		w /= divisor
		if sum/uint64(divisor) > MaxWeighted {
			// Rounding up by less than one turn for each of at most MaxWeighted positions keeps the order in bounds.
			w = uint32(max(uint64(s.weights[i])*MaxWeighted/sum, 1))
		}
		s.weights[i] = w
		total += int(w)
	}
	s.order = interleave(s.weights, total)
	return s
}

// interleave gives each turn to the position that is furthest behind its share.
func interleave(weights []uint32, total int) []uint16 {
	order, credit := make([]uint16, 0, total), make([]int64, len(weights))
	for range total {
		best := 0
		for i, w := range weights {
			credit[i] += int64(w)
			if credit[i] > credit[best] {
				best = i
			}
		}
		credit[best] -= int64(total)
		order = append(order, uint16(best))
	}
	return order
}

func gcd(a, b uint32) uint32 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// PickBy is Pick with weights. A nil schedule is for equal ones.
func (r *RoundRobin) PickBy(s *Schedule, n int, tier func(i int) Tier) int {
	if s == nil {
		return r.Pick(n, tier)
	}
	turn := r.turn.Add(1)
	at := int(s.order[turn%uint64(len(s.order))])
	if tier(at) == Ready {
		return at
	}
	return s.best(turn/uint64(len(s.order)), turn, tier)
}

// best spreads over the best tier alone, by weight: see pickBest. round and turn together are a number that grows by each turn
// and differs at the same place of the next round, or the one that is Down would always hand over to the same other.
func (s *Schedule) best(round, turn uint64, tier func(i int) Tier) int {
	best, sum := Excluded, uint64(0)
	for i, w := range s.weights {
		switch t := tier(i); {
		case t < best:
			best, sum = t, uint64(w)
		case t == best:
			sum += uint64(w)
		}
	}
	if best == Excluded {
		return -1
	}
	k, last, other := (round+turn)%sum, -1, -1
	for i, w := range s.weights {
		switch tier(i) {
		case best:
			if last = i; k < uint64(w) {
				return i
			}
			k -= uint64(w)
		case Excluded:
		default:
			other = i
		}
	}
	if last < 0 { // tiers have changed between the passes
		return other
	}
	return last
}
