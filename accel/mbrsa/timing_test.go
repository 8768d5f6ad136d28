package mbrsa

import (
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	cryptorand "crypto/rand"
)

// TestConstantTime is dudect's method (Reparaz, Balasch, Verbauwhede: "Dude, is my code constant time?"): two classes of
// secrets in random order, Welch's t of their times, of all and of those below some percentiles. It asks for a quiet machine:
//
//	HAUBERK_TIMING=1 taskset -c 0 go test -run ConstantTime -v ./accel/mbrsa
//
// It asks of whole passes, of the exponentiation and of the pick from the table. A t above 4.5 is suspicious, above 10 a leak.
func TestConstantTime(t *testing.T) {
	if os.Getenv("HAUBERK_TIMING") == "" {
		t.Skip("a measurement of minutes for a quiet machine: HAUBERK_TIMING=1 runs it")
	}
	if err := Supported(); err != nil {
		t.Skip(err)
	}
	_, key := testKey(t, 2048, 0)
	_, other := testKey(t, 2048, 1)
	random := rand.New(rand.NewPCG(1, 2))
	w := NewWorker(2048)
	defer w.Close()
	fixed := opsFor(1, key)

	classify(t, "inputs: one, or random ones", 20000, func(class int) func() {
		op := opsFor(1, key)[0]
		if class == 1 {
			_, _ = cryptorand.Read(op.In[1:])
		} else {
			copy(op.In, fixed[0].In)
		}
		return func() { w.Run([]*Op{op}) }
	})
	classify(t, "keys", 20000, func(class int) func() {
		op := opsFor(1, []*Key{key, other}[class])[0]
		return func() { w.Run([]*Op{op}) }
	})
	classify(t, "exponents: as they are, or with few ones", 20000, func(class int) func() {
		ops := opsFor(4, key)
		w.loadWholes(ops)
		w.loadHalves(ops, 0)
		b, k := &w.block.half, w.half.lanes(8)
		for i := range b.exp {
			if class == 1 && i%3 != 0 {
				b.exp[i] = 0
			}
		}
		w.intoHalves(k)
		return func() { w.exponentiate(k) }
	})
	o, k := newOperands(20, 1), assembly(20, false)
	classify(t, "digits: the first, or random ones", 1000000, func(class int) func() {
		for l := range lanes {
			o.digits[l] = random.Uint64N(16) & -uint64(class) // no branch here either: its misses would be timed
		}
		return func() { k.pick(o.out, o.table, o.digits) }
	})
}

// classify prepares and times n runs of two classes.
func classify(t *testing.T, what string, n int, prepare func(class int) func()) {
	random := rand.New(rand.NewPCG(3, 4))
	var times [2][]float64
	var all []float64
	for range n {
		class := random.IntN(2)
		run := prepare(class)
		start := time.Now()
		run()
		d := float64(time.Since(start))
		times[class], all = append(times[class], d), append(all, d)
	}
	slices.Sort(all)
	worst := 0.0
	for _, percentile := range []float64{0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 1} {
		limit := all[int(percentile*float64(len(all)-1))]
		worst = max(worst, math.Abs(welch(below(times[0], limit), below(times[1], limit))))
	}
	t.Logf("%-45s t = %5.2f (median %.0f ns)", what, worst, all[len(all)/2])
	if worst > 10 {
		t.Errorf("%s: the time tells them apart, t = %.1f", what, worst)
	}
}

func below(x []float64, limit float64) (kept []float64) {
	for _, v := range x {
		if v <= limit {
			kept = append(kept, v)
		}
	}
	return kept
}

// welch is Welch's t of two samples.
func welch(x, y []float64) float64 {
	moments := func(x []float64) (mean, variance float64) {
		for _, v := range x {
			mean += v / float64(len(x))
		}
		for _, v := range x {
			variance += (v - mean) * (v - mean) / float64(len(x)-1)
		}
		return mean, variance
	}
	mx, vx := moments(x)
	my, vy := moments(y)
	spread := math.Sqrt(vx/float64(len(x)) + vy/float64(len(y)))
	if spread == 0 {
		return 0
	}
	return (mx - my) / spread
}
