package mbecdsa

import (
	"crypto/ecdh"
	"crypto/elliptic"
	"encoding/binary"
	"fmt"
	"math/big"
	"os"
	"strings"
	"testing"
)

// TestConstants derives the constants from the curve's parameters.
func TestConstants(t *testing.T) {
	curve := elliptic.P256().Params()
	big52 := new(big.Int).Lsh(big.NewInt(1), 52)
	r := new(big.Int).Exp(big52, big.NewInt(limbs), nil)
	value := func(x number) *big.Int {
		e := new(element)
		e.setAll(&x)
		return e.get(Ops - 1)
	}
	montgomery := func(x, m *big.Int) *big.Int { return new(big.Int).Mod(new(big.Int).Mul(x, r), m) }
	for name, c := range map[string]struct {
		m    *modulus
		want *big.Int
	}{"p": {&p, curve.P}, "n": {&n, curve.N}} {
		inv := new(big.Int).ModInverse(c.want, big52)
		inv.Sub(big52, inv)
		if value(c.m.m).Cmp(c.want) != 0 || value(c.m.one).Cmp(montgomery(big.NewInt(1), c.want)) != 0 ||
			value(c.m.rr).Cmp(montgomery(r, c.want)) != 0 || c.m.inv != inv.Uint64() {
			t.Errorf("constants of %s are wrong", name)
		}
	}
	if value(curveB).Cmp(montgomery(curve.B, curve.P)) != 0 || value(curveThree).Cmp(montgomery(big.NewInt(3), curve.P)) != 0 {
		t.Error("constants of the curve are wrong")
	}
	if len(baseTable()) != combWindows || combWindows*combWidth < 259 {
		t.Error("the comb does not span 259 bits")
	}
}

// TestProducts compares with math/big and holds the bound that field.go gives.
func TestProducts(t *testing.T) {
	each(t, func(t *testing.T, w *Worker) {
		rnd := seeded(40)
		x, y, z := alignedNew[element](), alignedNew[element](), alignedNew[element]()
		r := new(big.Int).Lsh(big.NewInt(1), 52*limbs)
		for range 500 {
			randomElement(rnd, x)
			randomElement(rnd, y)
			for _, m := range []*modulus{&p, &n} {
				mul := w.mulP
				if m == &n {
					mul = w.mulN
				}
				mul(z, x, y)
				for l := range Ops {
					product := new(big.Int).Mul(x.get(l), y.get(l))
					want := new(big.Int).Mod(product, m.big())
					got := z.get(l)
					if back := new(big.Int).Mul(got, r); back.Mod(back, m.big()).Cmp(want) != 0 {
						t.Fatalf("%x*%x = %x modulo %x", x.get(l), y.get(l), got, m.big())
					}
					if bound := product.Rsh(product, 52*limbs); got.Cmp(bound.Add(bound, m.big())) > 0 {
						t.Fatalf("%x*%x = %x, too much", x.get(l), y.get(l), got)
					}
				}
			}
		}
	})
}

// TestInverses: x*(1/x) = 1, and 1/0 = 0.
func TestInverses(t *testing.T) {
	each(t, func(t *testing.T, w *Worker) {
		rnd := seeded(41)
		b := w.block
		for range 10 {
			for l := range Ops {
				b.powP.slots[0].set(l, new(big.Int).Mod(scalar(rnd), prime()))
				b.powN.slots[0].set(l, scalar(rnd))
			}
			b.powP.slots[0].set(3, new(big.Int))
			b.powN.slots[0].set(5, new(big.Int))
			b.powP.slots[0].set(0, new(big.Int).Sub(prime(), big.NewInt(1)))
			b.powN.slots[0].set(0, new(big.Int).Sub(order(), big.NewInt(1)))
			w.invert()
			var x, y element
			w.mulP(&x, &b.powP.slots[0], &b.powP.slots[inverseP])
			w.mulN(&y, &b.powN.slots[0], &b.powN.slots[inverseN])
			p.reduce(&x)
			n.reduce(&y)
			var one, ones element
			one.setAll(&p.one)
			ones.setAll(&n.one)
			if got := equal(&x, &one); got != 0xff&^(1<<3) {
				t.Errorf("inverses modulo p: lanes %08b", got)
			}
			if got := equal(&y, &ones); got != 0xff&^(1<<5) {
				t.Errorf("inverses modulo n: lanes %08b", got)
			}
		}
	})
}

// TestMultiply compares points with crypto/ecdh, for both ranges of scalars that a pass uses, and holds the bounds of add.
func TestMultiply(t *testing.T) {
	each(t, func(t *testing.T, w *Worker) {
		rnd := seeded(42)
		good := w.backend
		w.add = func(a *point, q *affine, tmp *scratch) {
			good.add(a, q, tmp)
			for l := range Ops {
				for _, c := range []struct {
					e     *element
					tenth int64
				}{{&a.x, 11}, {&a.y, 43}, {&a.zz, 12}, {&a.zzz, 12}} {
					if x := c.e.get(l); x.Mul(x, big.NewInt(10)).Cmp(new(big.Int).Mul(prime(), big.NewInt(c.tenth))) > 0 {
						t.Fatalf("a coordinate after an addition is %x/10", x)
					}
				}
			}
		}
		ks := extremes()
		for len(ks)%Ops != 0 {
			ks = append(ks, scalar(rnd))
		}
		b := w.block
		for i := 0; i < len(ks); i += Ops {
			for _, multiple := range []int64{0, 4} {
				for l, k := range ks[i : i+Ops] {
					if k.Bit(0) == 0 {
						k.Sub(order(), k)
					}
					if multiple > 0 {
						k.Sub(new(big.Int).Mul(order(), big.NewInt(multiple)), k)
					}
					b.odd.set(l, k)
				}
				w.multiply(&b.a, &b.odd)
				for l, k := range ks[i : i+Ops] {
					mustBeMultiple(t, &b.a, l, k)
				}
			}
		}
	})
}

// mustBeMultiple: lane l of a is k*G.
func mustBeMultiple(t *testing.T, a *point, l int, k *big.Int) {
	t.Helper()
	key, err := ecdh.P256().NewPrivateKey(new(big.Int).Mod(k, order()).FillBytes(make([]byte, 32)))
	if err != nil {
		t.Fatal(err)
	}
	want := key.PublicKey().Bytes()
	over := func(x, z *element) *big.Int { // Montgomery's R cancels
		q := new(big.Int).ModInverse(z.get(l), prime())
		if q == nil {
			t.Fatalf("%x*G came out as infinity", k)
		}
		return q.Mul(q, x.get(l)).Mod(q, prime())
	}
	got := append([]byte{4}, over(&a.x, &a.zz).FillBytes(make([]byte, 32))...)
	got = append(got, over(&a.y, &a.zzz).FillBytes(make([]byte, 32))...)
	if string(got) != string(want) {
		t.Errorf("%x*G = %x, want %x", k, got, want)
	}
}

func TestWords(t *testing.T) {
	rnd := seeded(43)
	var w, back [8]words
	var z element
	for l := range Ops {
		digits := message(rnd, 32)
		for i := range w {
			w[i][l] = binary.BigEndian.Uint32(digits[4*i:])
		}
	}
	z.setWords(&w)
	if z.words(&back); back != w {
		t.Errorf("%x, want %x", back, w)
	}
}

// TestKernelsClearRegisters reads the assembly: nothing but the clearing of all 32 vector and 7 mask registers stands before
// each return.
func TestKernelsClearRegisters(t *testing.T) {
	var end strings.Builder
	for i := range 32 {
		if i < 16 {
			fmt.Fprintf(&end, "\tVPXOR X%d, X%d, X%d\n", i, i, i)
		} else {
			fmt.Fprintf(&end, "\tVPXORQ Z%d, Z%d, Z%d\n", i, i, i)
		}
	}
	for i := 1; i < 8; i++ {
		fmt.Fprintf(&end, "\tKXORW K%d, K%d, K%d\n", i, i, i)
	}
	end.WriteString("\tVZEROUPPER\n\tRET\n")
	for _, name := range []string{"field_amd64.s", "comb_amd64.s", "sha256_amd64.s"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		returns := strings.Count(string(text), "RET\n")
		if returns == 0 || strings.Count(string(text), end.String()) != returns || strings.Count(string(text), "TEXT ") != returns {
			t.Errorf("%s: a kernel returns without clearing all registers", name)
		}
	}
}
