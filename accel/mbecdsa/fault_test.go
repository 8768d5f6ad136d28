package mbecdsa

import (
	"crypto/ecdsa"
	"errors"
	"fmt"
	"testing"
)

// TestFaultsInMemory flips one bit of one lane between two steps. What may change a signature is noticed in that lane, and no
// other lane suffers.
func TestFaultsInMemory(t *testing.T) {
	type place struct {
		name  string
		words func(*block) *element
	}
	k := place{"k", func(b *block) *element { return &b.k }}
	z := place{"z", func(b *block) *element { return &b.z }}
	d := place{"d", func(b *block) *element { return &b.d }}
	rest := place{"rest", func(b *block) *element { return &b.rest }}
	x := place{"x", func(b *block) *element { return &b.x }}
	r := place{"r", func(b *block) *element { return &b.r }}
	s := place{"s", func(b *block) *element { return &b.s }}
	steps := []struct {
		after string
		run   func(*Worker)
		harm  []place
	}{
		{"draw", func(w *Worker) { w.draw(&w.block.k) }, []place{z, d, rest}},
		{"point", (*Worker).point, []place{k, z, d, rest, x, r}},
		{"solve", (*Worker).solve, []place{k, rest, x, r, s}},
	}
	each(t, func(t *testing.T, w *Worker) {
		rnd := seeded(20)
		ops := batch(t, rnd, Ops)
		for at, step := range steps {
			for _, place := range step.harm {
				for l := range Ops {
					t.Run(fmt.Sprintf("%s/%s/%d", step.after, place.name, l), func(t *testing.T) {
						w.load(ops)
						for i, s := range steps {
							s.run(w)
							if i == at {
								place.words(w.block)[rnd.IntN(limbs)][l] ^= 1 << rnd.IntN(48)
							}
						}
						w.release(ops, w.check(ops))
						mustWithhold(t, ops, l)
					})
				}
			}
		}
	})
}

// mustWithhold: lane l failed, all others verify.
func mustWithhold(t *testing.T, ops []*Op, l int) {
	t.Helper()
	if op := ops[l]; !errors.Is(op.Err, ErrFault) || op.Sig != nil {
		t.Errorf("lane %d: signature %x, error %v: want none and ErrFault", l, op.Sig, op.Err)
	}
	mustVerify(t, append(append([]*Op(nil), ops[:l]...), ops[l+1:]...))
}

// TestFaultsInComputation flips one bit of what one call of a primitive returns, call by call through the whole of a pass. The
// lane's signature is withheld, unless it came out right all the same.
func TestFaultsInComputation(t *testing.T) {
	each(t, func(t *testing.T, w *Worker) {
		rnd := seeded(21)
		ops := batch(t, rnd, Ops)
		good := w.backend
		calls, target, lane := 0, -1, 0
		harm := func(e ...*element) {
			if calls++; calls-1 == target {
				e[rnd.IntN(len(e))][rnd.IntN(limbs)][lane] ^= 1 << rnd.IntN(48)
			}
		}
		w.mulP = func(z, x, y *element) { good.mulP(z, x, y); harm(z) }
		w.mulN = func(z, x, y *element) { good.mulN(z, x, y); harm(z) }
		w.squareP = func(z, x *element, times int) { good.squareP(z, x, times); harm(z) }
		w.squareN = func(z, x *element, times int) { good.squareN(z, x, times); harm(z) }
		w.squareBoth = func(zp, xp, zn, xn *element, times int) {
			good.squareBoth(zp, xp, zn, xn, times)
			harm(zp, zn)
		}
		w.pick = func(q *affine, t *window, k *[2]lanes, shift uint64) {
			good.pick(q, t, k, shift)
			harm(&q.x, &q.y)
		}
		w.add = func(a *point, q *affine, tmp *scratch) {
			good.add(a, q, tmp)
			harm(&a.x, &a.y, &a.zz, &a.zzz)
		}
		w.Run(ops)
		mustVerify(t, ops)
		all, withheld := calls, 0
		for target = range all {
			lane = target % Ops
			calls = 0
			w.Run(ops)
			if op := ops[lane]; op.Err != nil {
				withheld++
				mustWithhold(t, ops, lane)
			} else if !ecdsa.VerifyASN1(op.Key.Public(), op.Digest, op.Sig) {
				t.Errorf("call %d of %d: lane %d let a wrong signature out", target, all, lane)
			}
		}
		if withheld < all-2 { // a bit that makes no difference: the test against infinity
			t.Errorf("%d of %d faults noticed", withheld, all)
		}
	})
}

// TestFaultsInTheTable: the second multiplication may use the same entries as the first; the test of the curve tells.
func TestFaultsInTheTable(t *testing.T) {
	each(t, func(t *testing.T, w *Worker) {
		rnd := seeded(22)
		ops := batch(t, rnd, Ops)
		table := *w.table
		w.table = &table
		for j := range table {
			limb := rnd.IntN(2 * limbs)
			for i := range table[j][limb] {
				table[j][limb][i] ^= 1 << 20
			}
			w.Run(ops)
			for l, op := range ops {
				if !errors.Is(op.Err, ErrFault) {
					t.Errorf("window %d is damaged, lane %d: %x, %v", j, l, op.Sig, op.Err)
				}
			}
			table[j] = baseTable()[j]
		}
		w.Run(ops)
		mustVerify(t, ops)
	})
}

// TestFaultsInKeys: whatever bit of a key flips in its memory, its signature is withheld or, where the bit only seeded the
// nonce, sound.
func TestFaultsInKeys(t *testing.T) {
	each(t, func(t *testing.T, w *Worker) {
		ops := batch(t, seeded(23), 2)
		memory := bytesOf(ops[1].Key.secret)
		for i := range memory[:4*8+2*8*limbs] {
			memory[i] ^= 1 << (i % 6) // limbs have 52 bits: the highest byte of each is not read
			w.Run(ops)
			memory[i] ^= 1 << (i % 6)
			mustVerify(t, ops[:1])
			switch seed := i >= 2*8*limbs; {
			case seed:
				mustVerify(t, ops)
			case ops[1].Err == nil && ecdsa.VerifyASN1(ops[1].Key.Public(), ops[1].Digest, ops[1].Sig):
				if i%8 < 6 {
					t.Errorf("byte %d of the key makes no difference", i)
				}
			case !errors.Is(ops[1].Err, ErrFault) || ops[1].Sig != nil:
				t.Errorf("byte %d of the key is wrong: %x, %v", i, ops[1].Sig, ops[1].Err)
			}
		}
		clear(memory) // as a Destroy while a pass reads
		w.Run(ops)
		mustWithhold(t, ops, 1)
	})
}

// TestDigestThatChanges: the digest is read again for the check.
func TestDigestThatChanges(t *testing.T) {
	each(t, func(t *testing.T, w *Worker) {
		ops := batch(t, seeded(24), Ops)
		w.load(ops)
		w.draw(&w.block.k)
		w.point()
		w.solve()
		ops[3].Digest[31] ^= 1
		w.release(ops, w.check(ops))
		mustWithhold(t, ops, 3)
	})
}
