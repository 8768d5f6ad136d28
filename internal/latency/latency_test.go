package latency

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestBucketFollowsTheRule(t *testing.T) {
	for _, c := range []struct {
		d    time.Duration
		want int
	}{
		{0, 0}, {-time.Second, 0}, {999 * time.Nanosecond, 0}, {time.Microsecond, 0}, {2 * time.Microsecond, 8},
		{1024 * time.Microsecond, 80}, {100 * 365 * 24 * time.Hour, Buckets - 1}, {math.MaxInt64, Buckets - 1},
	} {
		if got := Bucket(c.d); got != c.want {
			t.Errorf("Bucket(%v) = %d, want %d", c.d, got, c.want)
		}
	}
}

// The oracle is the definition itself, computed with a logarithm.
func TestBucketAgainstLogarithm(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 100_000 {
		d := time.Duration(math.Exp(r.Float64()*30)) + time.Microsecond
		exact := math.Log2(float64(d)/1000) * 8
		if math.Abs(exact-math.Round(exact)) < 1e-9 {
			continue // on the edge between two buckets rounding may choose either
		}
		if got, want := Bucket(d), min(int(exact), Buckets-1); got != want {
			t.Fatalf("Bucket(%d ns) = %d, want %d", d, got, want)
		}
	}
}

func TestQuantilesAgainstExact(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	shapes := map[string]func() time.Duration{
		"uniform":     func() time.Duration { return time.Duration(r.IntN(int(100*time.Millisecond))) + 2*time.Microsecond },
		"exponential": func() time.Duration { return time.Duration(r.ExpFloat64()*1e6) + 2*time.Microsecond },
		"two modes": func() time.Duration {
			if r.IntN(20) == 0 {
				return time.Second + time.Duration(r.IntN(int(time.Second)))
			}
			return time.Millisecond + time.Duration(r.IntN(int(time.Millisecond)))
		},
	}
	for name, draw := range shapes {
		t.Run(name, func(t *testing.T) {
			var h Histogram
			var all []time.Duration
			for range 20_001 {
				d := draw()
				all = append(all, d)
				h.Add(Bucket(d), 1)
			}
			slices.Sort(all)
			for _, q := range []float64{0, 0.01, 0.25, 0.5, 0.9, 0.99, 0.999, 1} {
				rank := min(max(int(math.Ceil(q*float64(len(all)))), 1), len(all))
				exact, got := float64(all[rank-1]), float64(h.Quantile(q))
				if math.Abs(got-exact)/exact > 0.05 {
					t.Errorf("quantile %v is %v, exactly %v", q, time.Duration(got), time.Duration(exact))
				}
			}
		})
	}
}

func TestMergeIsAddition(t *testing.T) {
	var a, b, both Histogram
	for i := range 1000 {
		d := time.Duration(i*i) * time.Microsecond
		if i%3 == 0 {
			a.Add(Bucket(d), 1)
		} else {
			b.Add(Bucket(d), 1)
		}
		both.Add(Bucket(d), 1)
	}
	a.Merge(&b)
	if a.Count() != both.Count() {
		t.Fatalf("merged %d, want %d", a.Count(), both.Count())
	}
	merged := map[int]uint64{}
	a.Each(func(i int, n uint64) { merged[i] = n })
	both.Each(func(i int, n uint64) {
		if merged[i] != n {
			t.Errorf("bucket %d has %d, want %d", i, merged[i], n)
		}
	})
	a.Reset()
	if a.Count() != 0 || a.Quantile(0.5) != 0 {
		t.Error("Reset left something behind")
	}
}

func BenchmarkBucket(b *testing.B) {
	for i := range b.N {
		_ = Bucket(time.Duration(i) * 977)
	}
}
