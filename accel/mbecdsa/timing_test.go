package mbecdsa

import (
	"math"
	"math/big"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"
)

// TestTiming is dudect's method (Reparaz, Balasch, Verbauwhede: "Dude, is my code constant time?"): the time of a step with
// fixed secrets against that with random ones, in random order, the slowest measurements cut off at several levels, and
// Welch's t. It takes a minute, wants an idle core and runs on demand: HAUBERK_TIMING=1.
func TestTiming(t *testing.T) {
	if os.Getenv("HAUBERK_TIMING") == "" {
		t.Skip("set HAUBERK_TIMING=1")
	}
	if err := Supported(); err != nil {
		t.Skip(err)
	}
	one, last := big.NewInt(1), new(big.Int).Sub(order(), big.NewInt(1))
	for _, c := range []struct {
		name string
		d, k *big.Int
	}{
		{"random", nil, nil}, // both classes alike: what noise does
		{"one", one, one},
		{"last", last, last},
		{"even", big.NewInt(1 << 40), big.NewInt(2)},
	} {
		t.Run(c.name, func(t *testing.T) {
			// dudect's own line: above 10 there is a leak for sure, 5 is suspect.
			if worst := timing(t, newWorker(true), c.d, c.k); worst > 10 {
				t.Errorf("the time tells the secret: |t| = %.1f", worst)
			}
		})
	}
	t.Run("leak", func(t *testing.T) { // one more look-up where a bit of the nonce is set: this has to be found
		w := newWorker(true)
		w.pick = func(q *affine, t *window, k *[2]lanes, shift uint64) {
			for range 1 + k[0][0]&1 {
				assembly.pick(q, t, k, shift)
			}
		}
		if worst := timing(t, w, one, one); worst < 10 {
			t.Errorf("a leak goes unnoticed: |t| = %.1f: repeat on an idle core", worst)
		}
	})
}

func timing(t *testing.T, w *Worker, d, k *big.Int) float64 {
	const rounds = 60_000
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	rnd := seeded(50)
	const variety = 256
	var inputs [2][variety]*secrets // of the same size: what the cache makes of one it makes of the other
	for i := range variety {
		inputs[0][i], inputs[1][i] = newSecrets(rnd, d, k), newSecrets(rnd, nil, nil)
	}
	var times [2][]float64
	for range rounds {
		class := rnd.IntN(2)
		from := inputs[class][rnd.IntN(variety)]
		b := w.block
		b.k, b.d, b.rest, b.drbg.key = from.k, from.d, from.rest, from.seed
		begin := time.Now()
		w.draw(&w.block.odd) // its time alone: the nonce is the one that was loaded
		w.point()
		w.solve()
		w.check(nil)
		times[class] = append(times[class], float64(time.Since(begin)))
	}
	worst := worstT(times)
	t.Logf("|t| = %.1f at worst, of %d measurements", worst, rounds)
	return worst
}

// secrets are a pass's nonces and keys.
type secrets struct {
	k, d, rest element
	seed       [8]words
}

// newSecrets has d and k in all lanes, or random ones.
func newSecrets(rnd *rand.Rand, d, k *big.Int) *secrets {
	b := alignedNew[block]()
	for l := range Ops {
		dl, kl := d, k
		if d == nil {
			dl, kl = scalar(rnd), scalar(rnd)
		}
		var key secret
		key.fill(dl.FillBytes(make([]byte, 32)))
		b.setKey(l, &key)
		b.k.set(l, kl)
	}
	return &secrets{b.k, b.d, b.rest, b.drbg.key}
}

// worstT cuts both classes off at quantiles of both together and returns the largest |t|.
func worstT(times [2][]float64) float64 {
	all := slices.Sorted(slices.Values(slices.Concat(times[0], times[1])))
	worst := 0.0
	for _, quantile := range []float64{0.25, 0.5, 0.75, 0.9, 0.99} {
		limit := all[int(quantile*float64(len(all)))]
		var mean, variance, count [2]float64
		for class, ts := range times {
			for _, x := range ts {
				if x > limit {
					continue
				}
				count[class]++
				delta := x - mean[class]
				mean[class] += delta / count[class]
				variance[class] += delta * (x - mean[class])
			}
			variance[class] /= count[class] - 1
		}
		worst = max(worst, math.Abs(mean[0]-mean[1])/math.Sqrt(variance[0]/count[0]+variance[1]/count[1]))
	}
	return worst
}
