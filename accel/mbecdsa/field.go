package mbecdsa

import "math/bits"

// Numbers are five limbs of 52 bits, the width of the IFMA multiplier. An element holds eight of them, one a lane, limb by
// limb: limb j of all lanes is one vector register. Products are Montgomery's with R = 2^260, which is more than 15 times
// either modulus: x*y/R comes out below m*(1 + a*b/16) for x < a*m and y < b*m (a, b >= 1), so that sums and differences
// need no reduction before the next product, only their carries. Comments give bounds as multiples of the modulus.
const (
	limbs  = 5
	mask52 = 1<<52 - 1
)

// lanes is one limb of each lane: a vector register.
type lanes [Ops]uint64

// element is one number a lane.
type element [limbs]lanes

// number is one number alone.
type number [limbs]uint64

// modulus is an odd number of 256 bits with what Montgomery's multiplication needs.
type modulus struct {
	m   number
	inv uint64 // -1/m mod 2^52
	one number // R mod m
	rr  number // R^2 mod m
}

// The field of P-256 and the order of its base point (SP 800-186, section 3.2.1.3); the tests derive the rest from them.
var (
	p = modulus{
		m:   number{0xfffffffffffff, 0xfffffffffff, 0x0, 0x1000000000, 0xffffffff0000},
		inv: 1,
		one: number{0x10, 0xf000000000000, 0xfffffffffffff, 0xffeffffffffff, 0xfffff},
		rr:  number{0x300, 0xffffffff00000, 0xffffefffffffb, 0xfdfffffffffff, 0x4ffffff},
	}
	n = modulus{
		m:   number{0x9cac2fc632551, 0xada7179e84f3b, 0xfffffffbce6fa, 0xfffffffff, 0xffffffff0000},
		inv: 0x1c8aaee00bc4f,
		one: number{0x353d039cdaaf0, 0x258e8617b0c46, 0x4319055, 0xfff0000000000, 0xfffff},
		rr:  number{0x5cc0dea6dc3ba, 0x192a067d8a084, 0xbec59615571bb, 0x1fc245b2392b6, 0xe12d9559d956},
	}
	unit = number{1}

	// b of the curve, and 3, in Montgomery form.
	curveB     = number{0xdf6229c4bddfd, 0xca8843090d89c, 0x212ed6acf005c, 0x83415a220abf7, 0xc30061dd4874}
	curveThree = number{0x30, 0xd000000000000, 0xfffffffffffff, 0xffcffffffffff, 0x2fffff}
)

// mul sets z = x*y/R modulo m, limbs below 2^52.
func (m *modulus) mul(z, x, y *element) {
	for l := range Ops {
		var t [limbs + 1]uint64
		for i := range limbs {
			for j := range limbs {
				hi, lo := bits.Mul64(x[j][l], y[i][l])
				t[j] += lo & mask52
				t[j+1] += hi<<12 | lo>>52
			}
			q := t[0] * m.inv & mask52
			for j := range limbs {
				hi, lo := bits.Mul64(q, m.m[j])
				t[j] += lo & mask52
				t[j+1] += hi<<12 | lo>>52
			}
			t[1] += t[0] >> 52
			copy(t[:], t[1:])
			t[limbs] = 0
		}
		for j := range limbs - 1 {
			t[j+1] += t[j] >> 52
			z[j][l] = t[j] & mask52
		}
		z[limbs-1][l] = t[limbs-1]
	}
}

// square sets z = x^(2^times) in Montgomery's sense, times >= 1.
func (m *modulus) square(z, x *element, times int) {
	m.mul(z, x, x)
	for range times - 1 {
		m.mul(z, z, z)
	}
}

func squareBoth(zp, xp, zn, xn *element, times int) {
	p.square(zp, xp, times)
	n.square(zn, xn, times)
}

// carry brings the limbs of z into 0..2^52-1; they are signed before, the number as a whole is not negative.
func (z *element) carry() {
	for l := range Ops {
		for j := range limbs - 1 {
			z[j+1][l] += uint64(int64(z[j][l]) >> 52)
			z[j][l] &= mask52
		}
	}
}

// addMultiple adds c times the modulus without carrying: room to subtract from.
func (m *modulus) addMultiple(z *element, c uint64) {
	for j := range limbs {
		for l := range Ops {
			z[j][l] += c * m.m[j]
		}
	}
}

// add sets z = x+y without carrying, sub z = x-y.
func (z *element) add(x, y *element) {
	for j := range limbs {
		for l := range Ops {
			z[j][l] = x[j][l] + y[j][l]
		}
	}
}

func (z *element) sub(x, y *element) {
	for j := range limbs {
		for l := range Ops {
			z[j][l] = x[j][l] - y[j][l]
		}
	}
}

// reduce subtracts m once where z >= m: z < 2 becomes canonical. The limbs are carried before and after.
func (m *modulus) reduce(z *element) {
	for l := range Ops {
		var t number
		var borrow uint64
		for j := range limbs {
			d := z[j][l] - m.m[j] - borrow
			t[j], borrow = d&mask52, d>>63
		}
		keep := -borrow // all ones where z < m
		for j := range limbs {
			z[j][l] = z[j][l]&keep | t[j]&^keep
		}
	}
}

// setAll gives every lane the same number.
func (z *element) setAll(x *number) {
	for j := range limbs {
		for l := range Ops {
			z[j][l] = x[j]
		}
	}
}

// setWords gives each lane the number that its eight words make, the highest first. No copy of it stays on the stack.
func (z *element) setWords(w *[8]words) {
	for l := range Ops {
		x0 := uint64(w[6][l])<<32 | uint64(w[7][l])
		x1 := uint64(w[4][l])<<32 | uint64(w[5][l])
		x2 := uint64(w[2][l])<<32 | uint64(w[3][l])
		x3 := uint64(w[0][l])<<32 | uint64(w[1][l])
		z[0][l] = x0 & mask52
		z[1][l] = (x0>>52 | x1<<12) & mask52
		z[2][l] = (x1>>40 | x2<<24) & mask52
		z[3][l] = (x2>>28 | x3<<36) & mask52
		z[4][l] = x3 >> 16
	}
}

// words is the way back, for numbers below 2^256.
func (z *element) words(w *[8]words) {
	for l := range Ops {
		for i, x := range z.lane(l) {
			w[6-2*i][l], w[7-2*i][l] = uint32(x>>32), uint32(x)
		}
	}
}

// lane returns the number in lane l, which is below 2^256, in four 64-bit digits.
func (z *element) lane(l int) (x [4]uint64) {
	x[0] = z[0][l] | z[1][l]<<52
	x[1] = z[1][l]>>12 | z[2][l]<<40
	x[2] = z[2][l]>>24 | z[3][l]<<28
	x[3] = z[3][l]>>36 | z[4][l]<<16
	return x
}

// equal returns a bit for each lane in which x and y are the same limb by limb.
func equal(x, y *element) (same uint8) {
	for l := range Ops {
		var d uint64
		for j := range limbs {
			d |= x[j][l] ^ y[j][l]
		}
		same |= uint8(isZero(d)) << l
	}
	return same
}

// isZero is 1 for 0 and 0 for all else, without a branch.
func isZero(d uint64) uint64 { return 1 ^ (d|-d)>>63 }
