package mbecdsa

import (
	"bytes"
	"crypto/hmac"
	stdsha "crypto/sha256"
	"math/big"
	"testing"
)

// reference is one lane's generator as RFC 6979, section 3.2 tells it.
type reference struct{ k, v []byte }

func newReference(random, key, digest []byte) *reference {
	g := &reference{k: make([]byte, 32), v: bytes.Repeat([]byte{1}, 32)}
	for tag := range byte(2) {
		seed := append(bytes.Clone(g.v), tag)
		seed = append(seed, random...)
		seed = append(seed, make([]byte, 128-len(seed))...)
		seed = append(seed, key...)
		seed = append(seed, make([]byte, 32)...)
		g.k = g.mac(append(seed, digest...))
		g.v = g.mac(g.v)
	}
	return g
}

func (g *reference) mac(message []byte) []byte {
	h := hmac.New(stdsha.New, g.k)
	h.Write(message)
	return h.Sum(nil)
}

func (g *reference) next() []byte {
	g.v = g.mac(g.v)
	return g.v
}

func (g *reference) reject() {
	g.k = g.mac(append(bytes.Clone(g.v), 0))
	g.v = g.mac(g.v)
}

// references are the generators for what is loaded.
func references(w *Worker, ops []*Op) []*reference {
	var all []*reference
	for l, op := range ops {
		d, err := op.Key.restore()
		if err != nil {
			panic(err)
		}
		key, digest := d.FillBytes(make([]byte, 32)), w.block.z.get(l).FillBytes(make([]byte, 32))
		all = append(all, newReference(w.block.random[l][:], key, digest))
	}
	return all
}

func TestDraw(t *testing.T) {
	each(t, func(t *testing.T, w *Worker) {
		rnd := seeded(30)
		for range 20 {
			ops := batch(t, rnd, Ops)
			w.load(ops)
			w.draw(&w.block.k)
			for l, g := range references(w, ops) {
				if got, want := w.block.k.get(l).FillBytes(make([]byte, 32)), g.next(); !bytes.Equal(got, want) {
					t.Errorf("lane %d: %x, want %x", l, got, want)
				}
			}
		}
	})
}

// TestDrawAgain has candidates out of range: 0, n and 2^256-1. The lane takes the next; lanes that are content keep theirs.
func TestDrawAgain(t *testing.T) {
	each(t, func(t *testing.T, w *Worker) {
		ops := batch(t, seeded(31), Ops)
		good := w.backend
		calls := 0
		w.compress = func(h *[8]words, m *[16]words, k *[64]uint32) { good.compress(h, m, k); calls++ }
		w.load(ops)
		w.draw(&w.block.k)
		first := calls

		ones := new(big.Int).Lsh(big.NewInt(1), 256)
		bad := map[int]*big.Int{1: new(big.Int), 4: order(), 6: ones.Sub(ones, big.NewInt(1))}
		force := func(h *[8]words) {
			for l, v := range bad {
				for i := range h {
					h[i][l] = uint32(new(big.Int).Rsh(v, uint(32*(7-i))).Uint64())
				}
			}
		}
		calls = 0
		w.compress = func(h *[8]words, m *[16]words, k *[64]uint32) {
			good.compress(h, m, k)
			if calls++; calls == first {
				force(h)
			}
		}
		w.load(ops)
		w.draw(&w.block.k)
		for l, g := range references(w, ops) {
			want := g.next()
			if v, ok := bad[l]; ok {
				g.v = v.FillBytes(make([]byte, 32))
				g.reject()
				want = g.next()
			}
			if got := w.block.k.get(l).FillBytes(make([]byte, 32)); !bytes.Equal(got, want) {
				t.Errorf("lane %d: %x, want %x", l, got, want)
			}
		}
	})
}

// TestTake: 1..n-1 and nothing else.
func TestTake(t *testing.T) {
	w := newWorker(false)
	one := big.NewInt(1)
	limit := new(big.Int).Lsh(one, 256)
	values := []*big.Int{new(big.Int), one, new(big.Int).Sub(order(), one), order(), new(big.Int).Add(order(), one),
		new(big.Int).Sub(limit, one), new(big.Int).Lsh(one, 255), new(big.Int).Sub(prime(), one)}
	for l, v := range values {
		for i := range w.block.drbg.v {
			w.block.drbg.v[i][l] = uint32(new(big.Int).Rsh(v, uint(32*(7-i))).Uint64())
		}
	}
	if got, want := w.take(&w.block.k, 0), uint8(0b01000110); got != want {
		t.Errorf("taken %08b, want %08b", got, want)
	}
	for l, v := range values {
		want := new(big.Int)
		if v.Sign() > 0 && v.Cmp(order()) < 0 {
			want = v
		}
		if got := w.block.k.get(l); got.Cmp(want) != 0 {
			t.Errorf("lane %d: %x, want %x", l, got, want)
		}
	}
	before := w.block.k
	if w.take(&w.block.k, 0xff); w.block.k != before {
		t.Error("a lane that has its nonce took another")
	}
}

// TestNoncesAreUnique: the same keys and digests, again and again, and never the same r. r tells nonces apart but for the sign.
func TestNoncesAreUnique(t *testing.T) {
	each(t, func(t *testing.T, w *Worker) {
		key := newKey(t, scalar(seeded(32)))
		digest := make([]byte, 32)
		seen := map[string]bool{}
		for range 100 {
			ops := make([]*Op, Ops-1) // the last lane runs the dummy key
			for i := range ops {
				ops[i] = &Op{Key: key, Digest: digest}
			}
			w.load(ops)
			w.draw(&w.block.k)
			for l := range Ops {
				k := w.block.k.get(l).String()
				if seen[k] {
					t.Fatalf("nonce %s was used before", k)
				}
				seen[k] = true
			}
		}
	})
}

// TestNoncesWithoutRandomness: a dead random source leaves RFC 6979: other digests and other keys get other nonces, the same get
// the same.
func TestNoncesWithoutRandomness(t *testing.T) {
	each(t, func(t *testing.T, w *Worker) {
		ops := batch(t, seeded(33), Ops)
		ops[1] = &Op{Key: ops[0].Key, Digest: ops[0].Digest}
		ops[2].Key, ops[3].Digest = ops[0].Key, ops[0].Digest
		w.load(ops)
		for l := range Ops {
			w.block.drbg.setNoise(l, new([32]byte))
		}
		w.draw(&w.block.k)
		seen := map[string]int{}
		for l := range Ops {
			k := w.block.k.get(l).String()
			if other, ok := seen[k]; ok != (l == 1) {
				t.Errorf("lanes %d and %d: the same nonce: %t", other, l, ok)
			}
			seen[k] = l
		}
	})
}
