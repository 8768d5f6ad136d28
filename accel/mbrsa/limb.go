package mbrsa

import (
	"encoding/binary"
	"math/bits"
)

// A number is limbs of 52 bits, the lowest first: what the multipliers take. Everything in this file takes the same time
// whatever the numbers are.

const (
	limbBits = 52
	limbMask = 1<<limbBits - 1
)

// setBytes sets x, every stride-th word of it, to the big-endian b, which fits.
func setBytes(x []uint64, stride int, b []byte) {
	var have uint // bits in low that no limb has yet; high holds those that did not fit
	var low, high uint64
	at := 0
	for end := len(b); at < len(x); at += stride {
		if have < limbBits && end > 0 {
			var next uint64
			if end >= 8 {
				next = binary.BigEndian.Uint64(b[end-8:])
				end -= 8
			} else {
				for _, c := range b[:end] {
					next = next<<8 | uint64(c)
				}
				end = 0
			}
			low, high = low|next<<have, next>>(64-have) // a shift by 64 gives 0
			have += 64
		}
		x[at] = low & limbMask
		low, high = low>>limbBits|high<<(64-limbBits), high>>limbBits
		have -= min(have, limbBits)
	}
}

// fillBytes sets the big-endian b to x, every stride-th word of it. What is above b is lost.
func fillBytes(b []byte, x []uint64, stride int) {
	var have uint
	var low uint64
	at := 0
	for i := len(b) - 1; i >= 0; i-- {
		c := low
		low >>= 8
		if have < 8 && at < len(x) {
			next := x[at] & limbMask
			at += stride
			c |= next << have
			low = next >> (8 - have)
			have += limbBits
		}
		b[i] = byte(c)
		have -= min(have, 8)
	}
}

// less is 1 if x < y, which are as long, and otherwise 0.
func less(x, y []uint64) uint64 {
	var borrow uint64
	for i := range x {
		borrow = (x[i] - y[i] - borrow) >> 63
	}
	return borrow
}

// double sets x to 2x mod n, where x < n and n leaves a bit free in its top limb.
func double(x, n []uint64) {
	var carry, borrow uint64
	for i := range x {
		t := x[i]<<1 | carry
		x[i], carry = t&limbMask, t>>limbBits
		borrow = (x[i] - n[i] - borrow) >> 63
	}
	keep := -borrow // all ones: 2x < n
	borrow = 0
	for i := range x {
		t := x[i] - n[i]&^keep - borrow
		x[i], borrow = t&limbMask, t>>63
	}
}

// shift sets x to x * 2^by mod n, where x < n.
func shift(x, n []uint64, by int) {
	for range by {
		double(x, n)
	}
}

// powerOfTwo sets x to 2^exp mod n, where n has width bits and exp is not below them.
func powerOfTwo(x, n []uint64, width, exp int) {
	clear(x)
	x[(width-1)/limbBits] = 1 << ((width - 1) % limbBits) // less than n: n is odd and has that bit too
	shift(x, n, exp-width+1)
}

// negInverse is -1/n mod 2^52 of an odd n (Newton: each step doubles the bits that are right).
func negInverse(n uint64) uint64 {
	inv := n // three bits are right: n*n = 1 mod 8
	for range 5 {
		inv *= 2 - n*inv
	}
	return -inv & limbMask
}

// product is the low and the high 52 bits of x*y, of whose words only the low 52 bits count. VPMADD52LUQ and VPMADD52HUQ add
// these to their accumulator.
func product(x, y uint64) (low, high uint64) {
	h, l := bits.Mul64(x&limbMask, y&limbMask)
	return l & limbMask, h<<(64-limbBits) | l>>limbBits
}
