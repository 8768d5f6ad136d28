package mbrsa

// kernels are the primitives, on numbers of eight lanes: word 8*i+l is limb i of lane l. Of a word that mul or sqr wrote only
// the low 52 bits count; the others write clean ones. Results may be where operands are, but for those of pick.
//
// They exist in portable Go and in assembly, for eight lanes and for four.
type kernels struct {
	// mul sets out to a*b/R mod n, almost: below 2n if a and b are below 16n.
	mul func(out, a, b, n, k0, scratch []uint64)
	// sqr squares a so and the result again, times in all.
	sqr func(out, a, n, k0, scratch []uint64, times int)
	// pick sets out to the entry that each lane's digit says. It reads the whole table, whatever they say. nil: numbers of
	// this length have no table.
	pick func(out, table, digits []uint64)
	// step squares x so often, and multiplies it by the entry that the digits say; y is where that entry is put.
	step func(x, y, table, digits, n, k0, scratch []uint64, times int)
	// add sets out to a+b. There is room: both are far below R.
	add func(out, a, b []uint64)
	// apart sets each lane to itself minus its neighbour (0 and 1, 2 and 3...) plus 2n.
	apart func(out, a, n []uint64)
	// reduce subtracts n from the lanes that are not below it.
	reduce func(x, n, scratch []uint64)
}

const lanes = 8

func portable() kernels {
	return kernels{mul: mulGo, sqr: sqrGo, pick: pickGo, add: addGo, apart: apartGo, reduce: reduceGo}.stepwise()
}

// stepwise makes step of the other kernels.
func (k kernels) stepwise() kernels {
	k.step = func(x, y, table, digits, n, k0, scratch []uint64, times int) {
		k.sqr(x, x, n, k0, scratch, times)
		k.pick(y, table, digits)
		k.mul(x, x, y, n, k0, scratch)
	}
	return k
}

func mulGo(out, a, b, n, k0, scratch []uint64) {
	limbs := len(n) / lanes
	t := scratch[:limbs+1]
	for l := range lanes {
		clear(t)
		for i := range limbs {
			rowGo(t, a[l:], b[lanes*i+l])
			m, _ := product(t[0], k0[l])
			rowGo(t, n[l:], m)
			carry := t[0] >> limbBits
			copy(t, t[1:])
			t[limbs] = 0
			t[0] += carry
		}
		var carry uint64
		for i := range limbs {
			t[i] += carry
			carry = t[i] >> limbBits
		}
		for i := range limbs {
			out[lanes*i+l] = t[i] & limbMask
		}
	}
	clear(t)
}

// rowGo adds x*y to t. Sums stay far below 2^64: at most 4*80 words of 52 bits meet in one, and a carry.
func rowGo(t, x []uint64, y uint64) {
	for i := range len(t) - 1 {
		low, high := product(x[lanes*i], y)
		t[i] += low
		t[i+1] += high
	}
}

func sqrGo(out, a, n, k0, scratch []uint64, times int) {
	for range times {
		mulGo(out, a, a, n, k0, scratch)
		a = out
	}
}

func pickGo(out, table, digits []uint64) {
	clear(out)
	for e := range uint64(len(table) / len(out)) {
		entry := table[int(e)*len(out):][:len(out)]
		for l := range lanes {
			mask := equal(digits[l], e)
			for i := l; i < len(out); i += lanes {
				out[i] |= entry[i] & mask
			}
		}
	}
}

// equal is all ones if x == y and otherwise 0.
func equal(x, y uint64) uint64 {
	d := x ^ y
	return (d|-d)>>63 - 1
}

func addGo(out, a, b []uint64) {
	for l := range lanes {
		var carry uint64
		for i := l; i < len(out); i += lanes {
			t := a[i]&limbMask + b[i]&limbMask + carry
			out[i], carry = t&limbMask, t>>limbBits
		}
	}
}

func apartGo(out, a, n []uint64) {
	for l := 0; l < lanes; l += 2 {
		var even, odd int64
		for i := l; i < len(out); i += lanes {
			x, y := int64(a[i]&limbMask), int64(a[i+1]&limbMask)
			even += x - y + int64(2*n[i])
			odd += y - x + int64(2*n[i+1])
			out[i], out[i+1] = uint64(even)&limbMask, uint64(odd)&limbMask
			even, odd = even>>limbBits, odd>>limbBits // the carry may be negative
		}
	}
}

func reduceGo(x, n, _ []uint64) {
	for l := range lanes {
		var borrow uint64
		for i := l; i < len(x); i += lanes {
			borrow = (x[i]&limbMask - n[i] - borrow) >> 63
		}
		keep := -borrow // all ones: x < n
		borrow = 0
		for i := l; i < len(x); i += lanes {
			t := x[i]&limbMask - n[i]&^keep - borrow
			x[i], borrow = t&limbMask, t>>63
		}
	}
}
