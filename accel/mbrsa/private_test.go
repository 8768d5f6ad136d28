package mbrsa

import (
	"bytes"
	"crypto/rsa"
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	cryptorand "crypto/rand"
)

// backends runs a test with the kernels and without them.
func backends(t *testing.T, test func(t *testing.T, fast bool)) {
	t.Run("portable", func(t *testing.T) { test(t, false) })
	t.Run("kernels", func(t *testing.T) {
		if err := Supported(); err != nil {
			t.Skip(err)
		}
		test(t, true)
	})
}

// expect runs ops and holds them to math/big.
func expect(t *testing.T, w *Worker, privs []*rsa.PrivateKey, ops []*Op) {
	t.Helper()
	w.Run(ops)
	for i, op := range ops {
		want := new(big.Int).Exp(new(big.Int).SetBytes(op.In), privs[i].D, privs[i].N)
		if op.Err != nil {
			t.Errorf("operation %d: %v", i, op.Err)
		} else if !bytes.Equal(op.Out, want.FillBytes(make([]byte, op.Key.Size()))) {
			t.Errorf("operation %d: got %x, want %x", i, op.Out, want)
		}
	}
	wiped(t, w)
}

// wiped fails unless nothing is left in the work block.
func wiped(t *testing.T, w *Worker) {
	t.Helper()
	if i := slices.IndexFunc(w.block.all, func(x uint64) bool { return x != 0 }); i >= 0 {
		t.Errorf("word %d of the work block is left after Run", i)
	}
}

func opOf(key *Key, m *big.Int) *Op {
	return &Op{Key: key, In: m.FillBytes(make([]byte, key.Size())), Out: make([]byte, key.Size())}
}

// TestPrivate: all numbers of operations up to two passes and one more, different keys in one pass, random inputs.
func TestPrivate(t *testing.T) {
	backends(t, func(t *testing.T, fast bool) {
		for _, bits := range testSizes {
			w := newWorker(bits, fast)
			counts := []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 17}
			if !fast && (bits > 2048 || testing.Short()) {
				counts = []int{3}
			}
			for _, n := range counts {
				var privs []*rsa.PrivateKey
				var ops []*Op
				for i := range n {
					priv, key := testKey(t, bits, i%2)
					m, err := cryptorand.Int(cryptorand.Reader, priv.N)
					if err != nil {
						t.Fatal(err)
					}
					privs, ops = append(privs, priv), append(ops, opOf(key, m))
				}
				expect(t, w, privs, ops)
			}
			w.Close()
		}
	})
}

// TestInPlace: Out may be In.
func TestInPlace(t *testing.T) {
	priv, key := testKey(t, 2048, 0)
	w := NewWorker(2048)
	defer w.Close()
	op := opsFor(1, key)[0]
	want := new(big.Int).Exp(new(big.Int).SetBytes(op.In), priv.D, priv.N).FillBytes(make([]byte, key.Size()))
	op.Out = op.In
	w.Run([]*Op{op})
	if op.Err != nil || !bytes.Equal(op.Out, want) {
		t.Errorf("got %x, %v, want %x", op.Out, op.Err, want)
	}
}

// makeKey is a key of two primes from the given draws, with the public exponent e.
func makeKey(t testing.TB, p, q *big.Int, e int) *rsa.PrivateKey {
	t.Helper()
	one := big.NewInt(1)
	phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
	d := new(big.Int).ModInverse(big.NewInt(int64(e)), phi)
	if d == nil {
		t.Fatalf("e = %d has no inverse", e)
	}
	priv := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: new(big.Int).Mul(p, q), E: e}, D: d, Primes: []*big.Int{p, q}}
	priv.Precompute()
	return priv
}

// draw finds a prime of so many bits that suits e. As crypto/rand's, it has its two top bits set.
func draw(t testing.TB, bits, e int) *big.Int {
	t.Helper()
	for {
		p, err := cryptorand.Prime(cryptorand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		less := new(big.Int).Sub(p, big.NewInt(1))
		if new(big.Int).GCD(nil, nil, less, big.NewInt(int64(e))).Cmp(big.NewInt(1)) == 0 {
			return p
		}
	}
}

// drawShort finds a prime p = (e*d + 1)/2 of so many bits: d = 1/e mod p-1 is as much shorter than p as e is long.
func drawShort(t testing.TB, bits, e int) *big.Int {
	t.Helper()
	for {
		d, err := cryptorand.Int(cryptorand.Reader, new(big.Int).Lsh(big.NewInt(1), uint(bits+1)))
		if err != nil {
			t.Fatal(err)
		}
		d.SetBit(d, bits, 1).SetBit(d, bits-1, 1).Div(d, big.NewInt(int64(e))).SetBit(d, 0, 1)
		p := d.Mul(d, big.NewInt(int64(e)))
		if p.Add(p, big.NewInt(1)).Rsh(p, 1); p.Bit(0) == 1 && p.BitLen() == bits && p.ProbablyPrime(20) {
			return p
		}
	}
}

// edges are inputs at which arithmetic goes wrong first.
func edges(priv *rsa.PrivateKey) []*big.Int {
	n, p, q := priv.N, priv.Primes[0], priv.Primes[1]
	minus := func(x *big.Int, y int64) *big.Int { return new(big.Int).Sub(x, big.NewInt(y)) }
	half := minus(new(big.Int).Lsh(big.NewInt(1), uint(n.BitLen()/2)), 1)
	return []*big.Int{new(big.Int), big.NewInt(1), big.NewInt(2), p, q, minus(p, 1), minus(q, 1), new(big.Int).Add(p, q),
		half, minus(n, 1), minus(n, 2), new(big.Int).Sub(n, p), new(big.Int).Sub(n, q)}
}

// TestExtremes: extreme inputs with p < q and p > q, e = 3, the largest e, exponents that are short, and keys with different e
// in one pass.
func TestExtremes(t *testing.T) {
	const largest = 1<<31 - 1
	p, q := draw(t, 1024, 3), draw(t, 1024, 3)
	if p.Cmp(q) < 0 {
		p, q = q, p
	}
	keys := map[string]*rsa.PrivateKey{
		"p > q, e = 3":    makeKey(t, p, q, 3),
		"p < q, e = 3":    makeKey(t, q, p, 3),
		"largest e":       makeKey(t, draw(t, 1024, largest), draw(t, 1024, largest), largest),
		"short dp":        makeKey(t, drawShort(t, 1024, largest), draw(t, 1024, largest), largest),
		"e with few ones": makeKey(t, draw(t, 1024, 1<<30+1), draw(t, 1024, 1<<30+1), 1<<30+1),
	}
	backends(t, func(t *testing.T, fast bool) {
		w := newWorker(2048, fast)
		defer w.Close()
		var privs []*rsa.PrivateKey
		var ops []*Op
		for name, priv := range keys {
			key := mustKey(t, priv)
			for i, m := range edges(priv) {
				if fast || i < 4 || name == "short dp" {
					privs, ops = append(privs, priv), append(ops, opOf(key, m))
				}
			}
		}
		expect(t, w, privs, ops)
	})
	if d := keys["short dp"].Precomputed.Dp; d.BitLen() > 1024-29 {
		t.Errorf("the short dp has %d bits: the test does not test it", d.BitLen())
	}
}

// TestExponents: what no key has, in all lanes: exponents of zeroes and of ones only.
func TestExponents(t *testing.T) {
	backends(t, func(t *testing.T, fast bool) {
		_, key := testKey(t, 2048, 0)
		w := newWorker(2048, fast)
		defer w.Close()
		ones := make([]uint64, w.size.limbs)
		for i := range 1024 {
			ones[i/limbBits] |= 1 << (i % limbBits)
		}
		for _, exp := range [][]uint64{{0}, {1}, {2}, {15}, {16}, {1 << 51}, {0, 1}, ones} {
			w.loadWholes(opsFor(4, key))
			w.loadHalves(opsFor(4, key), 0)
			b, k := &w.block.half, w.half.lanes(8)
			for l := range lanes {
				put(b.exp, l, exp)
			}
			w.intoHalves(k)
			y := slices.Clone(b.y)
			w.exponentiate(k)
			k.mul(b.x, b.x, b.unit, b.n, b.k0, w.block.tmp)
			k.reduce(b.x, b.n, w.block.tmp)
			r := new(big.Int).Lsh(big.NewInt(1), uint(limbBits*w.size.limbs))
			for l := range lanes {
				n := bigOf(b.n, l)
				base := new(big.Int).Mul(bigOf(y, l), new(big.Int).ModInverse(r, n))
				e := make([]uint64, lanes*len(exp))
				put(e, l, exp)
				if want := base.Exp(base, bigOf(e, l), n); bigOf(b.x, l).Cmp(want) != 0 {
					t.Errorf("exponent %x, lane %d: got %x, want %x", exp, l, bigOf(b.x, l), want)
				}
			}
		}
	})
}

// TestFaults damages one lane after the other, at both places: that operation has ErrFault and an empty Out, the others are
// right.
func TestFaults(t *testing.T) {
	backends(t, func(t *testing.T, fast bool) {
		w := newWorker(2048, fast)
		defer w.Close()
		priv, key := testKey(t, 2048, 0)
		want := make([][]byte, 4)
		for i, op := range opsFor(4, key) {
			want[i] = new(big.Int).Exp(new(big.Int).SetBytes(op.In), priv.D, priv.N).FillBytes(make([]byte, key.Size()))
		}
		for lane := range lanes + Ops {
			victim := lane / 2
			random := rand.New(rand.NewPCG(5, uint64(lane)))
			limb, bit := random.IntN(w.size.limbs), random.IntN(16)
			w.disturb = func(s stage, b *block) {
				switch {
				case s == afterPower && lane < lanes:
					b.half.x[lanes*limb+lane] ^= 1 << bit
				case s == afterRecombination && lane >= lanes:
					victim = lane - lanes
					b.full.h[lanes*limb+victim] ^= 1 << bit
				}
			}
			ops := opsFor(4, key)
			for _, op := range ops {
				copy(op.Out, "what was there before")
			}
			w.Run(ops)
			for i, op := range ops {
				switch {
				case i == victim && (!errors.Is(op.Err, ErrFault) || bytes.ContainsFunc(op.Out, func(r rune) bool { return r != 0 })):
					t.Errorf("lane %d: the fault got out: %v, %x", lane, op.Err, op.Out)
				case i != victim && (op.Err != nil || !bytes.Equal(op.Out, want[i])):
					t.Errorf("lane %d: operation %d suffers with it: %v", lane, i, op.Err)
				}
			}
			wiped(t, w)
		}
	})
}

// TestDamagedKey flips a bit in each part of a key's memory.
func TestDamagedKey(t *testing.T) {
	priv, _ := testKey(t, 2048, 0)
	key := mustKey(t, priv)
	_, other := testKey(t, 2048, 1)
	w := NewWorker(2048)
	defer w.Close()
	parts := map[string][]uint64{"qInv": key.qInv, "q": key.q}
	for i, h := range key.half {
		for name, x := range map[string][]uint64{"prime": h.n, "rr": h.rr, "rrr": h.rrr, "exponent": h.exp, "k0": h.k0} {
			parts[fmt.Sprint(name, " ", i)] = x
		}
	}
	for name, x := range parts {
		x[0] ^= 4
		op, well := opsFor(1, key)[0], opsFor(1, other)[0]
		w.Run([]*Op{op, well})
		if !errors.Is(op.Err, ErrFault) || well.Err != nil {
			t.Errorf("damaged %s: %v, and beside it %v, want ErrFault and nothing", name, op.Err, well.Err)
		}
		x[0] ^= 4
	}
}

// TestRefusals: operations that can't be computed say why, have an empty Out, and don't touch the others.
func TestRefusals(t *testing.T) {
	priv, key := testKey(t, 2048, 0)
	_, large := testKey(t, 3072, 0)
	destroyed := mustKey(t, priv)
	secret := destroyed.secret
	destroyed.Destroy()
	if slices.ContainsFunc(secret, func(x uint64) bool { return x != 0 }) {
		t.Error("Destroy left something")
	}
	good := opsFor(2, key)
	bad := map[string]*Op{
		"less than the modulus": opOf(key, priv.N),
		"the input has 255":     {Key: key, In: make([]byte, 255), Out: make([]byte, 256)},
		"room for 257":          {Key: key, In: make([]byte, 256), Out: make([]byte, 257)},
		"without a key":         {In: make([]byte, 256), Out: make([]byte, 256)},
		"destroyed":             {Key: destroyed, In: make([]byte, 256), Out: make([]byte, 256)},
		"for a worker of 2048":  {Key: large, In: make([]byte, 384), Out: make([]byte, 384)},
	}
	ops := []*Op{good[0]}
	for _, op := range bad {
		if len(op.Out) > 0 {
			op.Out[0] = 1
		}
		ops = append(ops, op)
	}
	ops = append(ops, good[1])
	w := NewWorker(2048)
	for _, op := range bad {
		w.Run([]*Op{op})
		wiped(t, w)
	}
	w.Run(ops)
	for want, op := range bad {
		if op.Err == nil || !bytes.Contains([]byte(op.Err.Error()), []byte(want)) || op.Out[0] != 0 {
			t.Errorf("got %v, want one that says %q, and an empty Out", op.Err, want)
		}
	}
	for _, op := range good {
		if op.Err != nil {
			t.Errorf("a good operation beside bad ones: %v", op.Err)
		}
	}
	w.Close()
	w.Run(good)
	if good[0].Err == nil {
		t.Error("a closed worker has no error")
	}
	w.Run(nil)
}

// TestNewKeyRefuses: keys that are not for these kernels, and memory that is not for keys.
func TestNewKeyRefuses(t *testing.T) {
	priv, _ := testKey(t, 2048, 0)
	change := func(f func(k *rsa.PrivateKey)) *rsa.PrivateKey {
		k := *priv
		k.Primes = slices.Clone(k.Primes)
		k.Precomputed = rsa.PrecomputedValues{}
		f(&k)
		return &k
	}
	unequal := makeKey(t, draw(t, 1020, 3), draw(t, 1028, 3), 3)
	for name, c := range map[string]struct {
		priv   *rsa.PrivateKey
		secret []byte
	}{
		"no key":     {nil, aligned(4096)},
		"unequal":    {unequal, aligned(4096)},
		"three":      {change(func(k *rsa.PrivateKey) { k.Primes = append(k.Primes, big.NewInt(3)) }), aligned(4096)},
		"even e":     {change(func(k *rsa.PrivateKey) { k.E = 65536 }), aligned(4096)},
		"wrong d":    {change(func(k *rsa.PrivateKey) { k.D = new(big.Int).Add(k.D, big.NewInt(2)) }), aligned(4096)},
		"wrong p":    {change(func(k *rsa.PrivateKey) { k.Primes[0] = new(big.Int).Add(k.Primes[0], big.NewInt(2)) }), aligned(4096)},
		"short":      {priv, aligned(SecretLen(2048) - 1)},
		"misaligned": {priv, aligned(4096)[8:]},
	} {
		if _, err := NewKey(c.priv, c.secret); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	key, err := NewKey(change(func(*rsa.PrivateKey) {}), aligned(SecretLen(2048)))
	if err != nil {
		t.Fatalf("a key that was not precomputed: %v", err)
	}
	if !key.Public().Equal(&priv.PublicKey) || key.Size() != 256 {
		t.Errorf("its public half is %v", key.Public())
	}
	if got := []int{SecretLen(1024), SecretLen(2047), SecretLen(8192)}; !slices.Equal(got, []int{0, 0, 0}) {
		t.Errorf("secret lengths of other sizes: %d", got)
	}
}

// TestRunAllocates nothing: what the runtime copied, no one could wipe.
func TestRunAllocates(t *testing.T) {
	if err := Supported(); err != nil {
		t.Skip(err)
	}
	_, key := testKey(t, 2048, 0)
	w := NewWorker(2048)
	defer w.Close()
	ops := opsFor(8, key)
	if n := testing.AllocsPerRun(5, func() { w.Run(ops) }); n != 0 {
		t.Errorf("Run allocates %v times", n)
	}
}

// FuzzPrivate compares with math/big: any input, with and without kernels.
func FuzzPrivate(f *testing.F) {
	priv, key := testKey(f, 2048, 0)
	for _, m := range edges(priv) {
		f.Add(m.Bytes())
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		m := new(big.Int).SetBytes(in)
		m.Mod(m, priv.N)
		for _, fast := range []bool{Supported() == nil, false} {
			w := newWorker(2048, fast)
			expect(t, w, []*rsa.PrivateKey{priv, priv}, []*Op{opOf(key, m), opOf(key, new(big.Int).Sub(priv.N, big.NewInt(1)))})
		}
	})
}

// FuzzKernels draws operands from a seed, with limbs set to all ones or zero where the mask says.
func FuzzKernels(f *testing.F) {
	f.Add(uint64(1), uint64(0), uint64(0))
	f.Add(uint64(2), ^uint64(0), uint64(0))
	f.Add(uint64(3), uint64(0xff), uint64(0xff00))
	f.Fuzz(func(t *testing.T, seed, ones, zeroes uint64) {
		limbs := []int{20, 30, 40, 60, 80}[seed%5]
		o := newOperands(limbs, seed)
		for i := range limbs - 1 {
			for l := range lanes {
				for _, x := range [][]uint64{o.a, o.b, o.n} {
					if ones>>(i%64)&1 == 1 {
						x[lanes*i+l] = limbMask
					} else if zeroes>>(i%64)&1 == 1 {
						x[lanes*i+l] = 0
					}
				}
				o.n[l] |= 1
				o.k0[l] = negInverse(o.n[l])
			}
		}
		for name, k := range implementations(limbs) {
			checkKernels(t, name, k, o, lanesOf(name))
		}
	})
}
