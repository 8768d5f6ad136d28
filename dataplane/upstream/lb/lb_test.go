package lb

import "testing"

func count(n, picks int, tier func(int) Tier) []int {
	r := NewRoundRobin()
	got := make([]int, n+1)
	for range picks {
		got[r.Pick(n, tier)+1]++
	}
	return got
}

func TestPick(t *testing.T) {
	of := func(tiers ...Tier) func(int) Tier { return func(i int) Tier { return tiers[i] } }
	for _, tc := range []struct {
		name  string
		n     int
		tier  func(int) Tier
		want  []int // none, 0, 1, 2 ...
		slack int
	}{
		{"empty", 0, nil, []int{600}, 0},
		{"all ready", 3, of(Ready, Ready, Ready), []int{0, 200, 200, 200}, 0},
		{"one down", 3, of(Ready, Down, Ready), []int{0, 300, 0, 300}, 10},
		{"one unready", 3, of(Unready, Ready, Ready), []int{0, 0, 300, 300}, 10},
		{"unready before down", 2, of(Down, Unready), []int{0, 0, 600}, 0},
		{"only down", 2, of(Down, Down), []int{0, 300, 300}, 10},
		{"excluded", 2, of(Excluded, Down), []int{0, 0, 600}, 0},
		{"all excluded", 2, of(Excluded, Excluded), []int{600, 0, 0}, 0},
	} {
		got := count(tc.n, 600, tc.tier)
		for i := range tc.want {
			if d := got[i] - tc.want[i]; d > tc.slack || d < -tc.slack {
				t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
				break
			}
		}
	}
}

func TestPickAllocates(t *testing.T) {
	r := NewRoundRobin()
	down := 1
	if n := testing.AllocsPerRun(100, func() {
		r.Pick(3, func(i int) Tier {
			if i == down {
				return Down
			}
			return Ready
		})
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkPick(b *testing.B) {
	r := NewRoundRobin()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r.Pick(10, func(i int) Tier { return Tier(i & 1) })
		}
	})
}

// Endpoints may come back, or go, between the looks that one pick takes: whoever is there is still found.
func TestPickWhileTiersChange(t *testing.T) {
	looks := 0
	changing := func(i int) Tier {
		if looks++; looks <= 3 { // one look at the turn's own, two to find the best tier
			return Down
		}
		return Ready
	}
	if got := NewRoundRobin().Pick(2, changing); got < 0 {
		t.Errorf("picked %d", got)
	}
}
