package lb

import (
	"fmt"
	"testing"
)

func TestSchedule(t *testing.T) {
	for _, tc := range []struct {
		weights []uint32
		tiers   []Tier
		want    []int // of 12 000 picks
	}{
		{[]uint32{1, 2, 3}, []Tier{Ready, Ready, Ready}, []int{2000, 4000, 6000}},
		{[]uint32{10, 20, 30}, []Tier{Ready, Ready, Ready}, []int{2000, 4000, 6000}},
		{[]uint32{0, 2, 3}, []Tier{Ready, Ready, Ready}, []int{2000, 4000, 6000}},
		{[]uint32{1, 2, 3}, []Tier{Ready, Ready, Down}, []int{4000, 8000, 0}},
		{[]uint32{1, 2, 3}, []Tier{Unready, Down, Down}, []int{12000, 0, 0}},
		{[]uint32{1, 2, 3}, []Tier{Excluded, Unready, Unready}, []int{0, 4800, 7200}},
		{[]uint32{1 << 31, 1 << 31, 1<<32 - 1}, []Tier{Ready, Ready, Ready}, []int{3000, 3000, 6000}},
	} {
		s, r, got := NewSchedule(tc.weights), NewRoundRobin(), make([]int, len(tc.weights))
		for range 12000 {
			got[r.PickBy(s, len(tc.weights), func(i int) Tier { return tc.tiers[i] })]++
		}
		for i := range got {
			if d := got[i] - tc.want[i]; d > 300 || d < -300 {
				t.Errorf("%v %v: %v, want %v", tc.weights, tc.tiers, got, tc.want)
				break
			}
		}
	}
	s := NewSchedule([]uint32{1, 2})
	if got := NewRoundRobin().PickBy(s, 2, func(int) Tier { return Excluded }); got != -1 {
		t.Errorf("all excluded: %d", got)
	}
}

// Turns of one position are spread: it does not get all of its requests at once.
func TestScheduleIsSmooth(t *testing.T) {
	if got := fmt.Sprint(NewSchedule([]uint32{5, 1, 1}).order); got != "[0 0 1 0 2 0 0]" {
		t.Error(got)
	}
}

func TestScheduleIsBounded(t *testing.T) {
	for _, w := range [][]uint32{{1, 1<<32 - 1}, {1<<32 - 1, 1<<32 - 2}, {7, 128, 1 << 20}} {
		s := NewSchedule(w)
		if len(s.order) > MaxWeighted+len(w) {
			t.Errorf("%v: %d turns", w, len(s.order))
		}
		seen := map[uint16]bool{}
		for _, at := range s.order {
			seen[at] = true
		}
		if len(seen) != len(w) {
			t.Errorf("%v: only %v have a turn", w, seen)
		}
	}
	if NewSchedule([]uint32{3, 3}) != nil || NewSchedule(nil) != nil {
		t.Error("equal weights need no schedule")
	}
}

func TestPickByAllocates(t *testing.T) {
	r, s := NewRoundRobin(), NewSchedule([]uint32{1, 2, 3})
	if n := testing.AllocsPerRun(100, func() {
		r.PickBy(s, 3, func(i int) Tier { return Tier(i & 1) })
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
