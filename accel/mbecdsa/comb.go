package mbecdsa

import (
	"crypto/ecdh"
	"math/big"
	"sync"
	"unsafe"
)

// The base point is multiplied by a comb without doublings. An odd k is written with digits that are all odd,
//
//	k = sum of d[j] * 2^(7*j), j = 0..36, d[j] = 2*w[j]-127,
//
// and w[j] is simply bits 7*j..7*j+6 of (k>>1 | 2^258) (Joye and Tunstall's signed recoding in closed form). No digit is 0, so
// that no sum starts or passes at infinity; the table has the 64 odd multiples of 2^(7*j)*G for each j.
//
// Sums run from the highest digit down and never meet the exceptional cases of the addition: before digit j the sum is
// c*2^(7*j+7) with an odd c. It differs from +-d[j]*2^(7*j) as an integer; to equal it modulo n, for j > 0, the difference,
// 2^(7*j) times an odd number, would have to be a multiple of n below 2^7*n, n being odd. For j = 0 the sum of both would be
// k, no multiple of n, and their difference k-2*d[0] = m*n gives, as k mod 256 = d[0]+128, d[0] = 128-m*n mod 256. For k < n
// that is m = 1, d[0] = 47, k = n+94 (m = 0: an even k); for 3n < k < 4n it is m = 3, d[0] = -115, k = 3n-230 (m = 4: an even
// k). Neither lies in its range, and these two are the ranges that pass.go uses.
const (
	combWidth   = 7
	combWindows = 37
)

// window is the table of one digit: 64 points by the limbs of x and y in Montgomery form, canonical.
type window [2 * limbs][1 << (combWidth - 1)]uint64

// affine is one point a lane. Never infinity.
type affine struct{ x, y element }

// point is one point a lane with x = x/zz, y = y/zzz, zz^3 = zzz^2.
type point struct{ x, y, zz, zzz element }

// scratch is what a primitive needs besides its operands: secrets as well, so that it lies in the work block.
type scratch [8]element

// baseTable holds the multiples of the base point. It takes some 30 ms to compute and is shared by all Workers.
var baseTable = sync.OnceValue(func() *[combWindows]window {
	t := alignedNew[[combWindows]window]()
	for j := range t {
		for i := range t[j][0] {
			x, y := baseMultiple(2*i+1, combWidth*j)
			for l := range limbs {
				t[j][l][i], t[j][limbs+l][i] = x[l], y[l]
			}
		}
	}
	return t
})

// baseMultiple returns odd*2^shift*G in Montgomery form. Nothing here is secret.
func baseMultiple(odd, shift int) (x, y number) {
	k := new(big.Int).Lsh(big.NewInt(int64(odd)), uint(shift))
	scalar := k.Mod(k, n.big()).FillBytes(make([]byte, 32))
	key, err := ecdh.P256().NewPrivateKey(scalar)
	if err != nil {
		panic("mbecdsa: table of the base point: " + err.Error()) // 1 <= scalar < n: n is prime and odd < n
	}
	xy := key.PublicKey().Bytes() // 4, x, y
	montgomery := func(b []byte) (z number) {
		v := new(big.Int).SetBytes(b)
		v.Lsh(v, 52*limbs).Mod(v, p.big())
		for j := range z {
			z[j] = new(big.Int).Rsh(v, uint(52*j)).Uint64() & mask52
		}
		return z
	}
	return montgomery(xy[1:33]), montgomery(xy[33:])
}

func (m *modulus) big() *big.Int {
	v := new(big.Int)
	for j := limbs - 1; j >= 0; j-- {
		v.Lsh(v, 52).Or(v, new(big.Int).SetUint64(m.m[j]))
	}
	return v
}

// multiply sets a = k*G for an odd k below 2^259.
func (w *Worker) multiply(a *point, k *element) {
	b := w.block
	b.recode(k)
	top := combWindows - 1
	w.pick(&b.picked, &w.table[top], b.digitLimbs(top), digitShift(top))
	a.x, a.y = b.picked.x, b.picked.y
	a.zz.setAll(&p.one)
	a.zzz.setAll(&p.one)
	for j := top - 1; j >= 0; j-- {
		w.pick(&b.picked, &w.table[j], b.digitLimbs(j), digitShift(j))
		w.add(a, &b.picked, &b.tmp)
	}
}

// recode sets digits = k>>1 | 2^258, with a limb of zeros above.
func (b *block) recode(k *element) {
	for l := range Ops {
		for j := range limbs - 1 {
			b.digits[j][l] = k[j][l]>>1 | k[j+1][l]<<51&mask52
		}
		b.digits[limbs-1][l] = k[limbs-1][l]>>1 | 1<<50
		b.digits[limbs][l] = 0
	}
}

// digitLimbs returns the two limbs in which digit j lies, digitShift where in the lower one.
func (b *block) digitLimbs(j int) *[2]lanes {
	return (*[2]lanes)(b.digits[combWidth*j/52:])
}

func digitShift(j int) uint64 { return uint64(combWidth * j % 52) }

// pick sets q = d*G' where d = 2*w-127, w the seven bits of k from shift up, and t has the odd multiples of G'. All of the
// table is read, whatever w is.
func pick(q *affine, t *window, k *[2]lanes, shift uint64) {
	for l := range Ops {
		w := (k[0][l]>>shift | k[1][l]<<(52-shift)) & (1<<combWidth - 1)
		negative := w>>(combWidth-1) - 1 // all ones where d < 0
		index := (w ^ negative) & (1<<(combWidth-1) - 1)
		var xy [2 * limbs]uint64
		for i := range t[0] {
			mask := -isZero(uint64(i) ^ index)
			for j := range xy {
				xy[j] |= t[j][i] & mask
			}
		}
		for j := range limbs {
			y := xy[limbs+j]
			q.x[j][l] = xy[j]
			q.y[j][l] = y&^negative | (p.m[j]-y)&negative
		}
	}
	q.y.carry()
}

// add sets a += q, where a is neither q, -q nor infinity: madd-2008-s of the Explicit-Formulas Database, with bounds for
// what add itself leaves: x < 1.01, y < 4.3, zz and zzz < 1.2.
func add(a *point, q *affine, tmp *scratch) {
	h, r, hh, hhh, v, t := &tmp[0], &tmp[1], &tmp[2], &tmp[3], &tmp[4], &tmp[5]
	p.mul(h, &q.x, &a.zz)
	h.sub(h, &a.x)
	p.addMultiple(h, 2)
	h.carry() // h = x2*zz1-x1 < 3.2

	p.mul(r, &q.y, &a.zzz)
	r.sub(r, &a.y)
	p.addMultiple(r, 5)
	r.carry() // r = y2*zzz1-y1 < 6.2

	p.mul(hh, h, h)            // < 1.7
	p.mul(hhh, h, hh)          // < 1.4
	p.mul(v, &a.x, hh)         // < 1.2
	p.mul(&a.zz, &a.zz, hh)    // < 1.2
	p.mul(&a.zzz, &a.zzz, hhh) // < 1.2

	p.mul(&a.x, r, r)
	a.x.sub(&a.x, hhh)
	a.x.sub(&a.x, v)
	a.x.sub(&a.x, v)
	p.addMultiple(&a.x, 4)
	a.x.carry()
	a.x.fold() // x3 = r^2-hhh-2v < 7.5, folded < 1.01

	t.sub(v, &a.x)
	p.addMultiple(t, 2)
	t.carry()
	p.mul(t, r, t) // r*(v-x3) < 2.3
	p.mul(hhh, &a.y, hhh)
	a.y.sub(t, hhh)
	p.addMultiple(&a.y, 2)
	a.y.carry() // y3 = r*(v-x3)-y1*hhh < 4.3
}

// fold subtracts p as often as 2^256 fits in z < 16: what is left is below p+2^228.
func (z *element) fold() {
	for l := range Ops {
		t := z[4][l] >> 48
		z[4][l] &= 1<<48 - 1
		z[0][l] += t
		z[1][l] -= t << 44
		z[3][l] -= t << 36
		z[4][l] += t << 16
	}
	z.carry()
}

// alignedNew returns a zeroed T, a type without pointers, at the beginning of a cache line.
func alignedNew[T any]() *T {
	const line = 64
	var size = unsafe.Sizeof(*new(T))
	memory := make([]byte, size+line-1)
	skip := -uintptr(unsafe.Pointer(&memory[0])) % line
	return (*T)(unsafe.Pointer(&memory[skip]))
}

// bytesOf returns the memory of x, a type without pointers.
func bytesOf[T any](x *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(x)), unsafe.Sizeof(*x))
}
