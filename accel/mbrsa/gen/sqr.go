package main

import "fmt"

// squarings writes the kernels that square. They compute all columns of the square first, each product of two different limbs
// once, and then reduce.
func squarings(a *asm) {
	sqrWhole(a, 20)
	for _, width := range []int{15, 20} {
		sqrPair(a, width, width)
		macRoutine(a, width, width)
	}
	sqrBlocks(a, 20, 20)
	steps(a) // in this file for their calls of mac15 and mac20
}

// How many rows are taken at once. In a reduction each quotient waits for the one before: with three the wait shows.
const (
	reduceGroup = 2
	macGroup    = 3
)

func sqrWhole(a *asm, n int) {
	name := fmt.Sprintf("sqr%d", n)
	a.function(fmt.Sprintf("func %s(out, a, n, k0, scratch *uint64, times int)", name), name, 48)
	sqrLimbs(a, n)
	a.done()
}

// sqrLimbs is all of sqrWhole between its entry and its return.
func sqrLimbs(a *asm, n int) {
	for i, arg := range []string{"out+0(FP)", "a+8(FP)", "n+16(FP)", "k0+24(FP)", "scratch+32(FP)", "times+40(FP)"} {
		a.arg(arg, []string{"R12", "SI", "DX", "AX", "DI", "CX"}[i])
	}
	w := newWindow(a, n, reduceGroup, 0, 2)
	a.line("again:")
	square(a, n, func(int) bool { return false })
	a.load(w.k0, mem{"AX", 0})
	w.reduce(n, nil)
	w.normalise("R12", n, n)
	a.op("MOVQ R12, SI")
	a.op("DECQ CX")
	a.op("JNZ again")
}

// abreast is how many columns of a square are in the making at once: additions to one column wait for each other.
const abreast = 10

// squareLimb and squareColumn are where square keeps them: all limbs, so that none is loaded twice, and 12 columns in turn.
func squareLimb(i int) reg   { return reg(12 + i) }
func squareColumn(c int) reg { return reg(c % 12) }

// square stores the 2n columns of the square of n limbs (SI) at DI. In the columns where others says so it adds what is there
// first, and doubles it with its own: products of these limbs with limbs of other blocks. It begins at the bottom: there are
// the limbs that the carry of the square before reaches first.
func square(a *asm, n int, others func(c int) bool) {
	for i := range n {
		a.load(squareLimb(i), mem{"SI", i})
	}
	for from := 0; from < 2*n; from += abreast {
		to := min(2*n, from+abreast)
		for c := from; c < to; c++ {
			if others(c) {
				a.load(squareColumn(c), mem{"DI", c})
			} else {
				a.zero(squareColumn(c))
			}
		}
		for step, more := 0, true; more; step++ {
			more = false
			for c := from; c < to; c++ {
				more = a.crossProduct(n, c, step) || more
			}
		}
		for c := from; c < to; c++ {
			a.retire(n, c, others(c))
			a.store(mem{"DI", c}, squareColumn(c))
		}
	}
}

// crossProduct adds the step-th product of two different limbs to column c, if it has so many.
func (a *asm) crossProduct(n, c, step int) bool {
	lowFirst, highFirst := max(0, c-n+1), max(0, c-n)
	lows, highs := max(0, (c+1)/2-lowFirst), max(0, c/2-highFirst)
	switch {
	case step < lows:
		i := lowFirst + step
		a.low(squareColumn(c), squareLimb(i), squareLimb(c-i))
	case step < lows+highs:
		i := highFirst + step - lows
		a.high(squareColumn(c), squareLimb(i), squareLimb(c-1-i))
	}
	return step+1 < lows+highs
}

// retire doubles column c and adds its half of the square of a limb.
func (a *asm) retire(n, c int, others bool) {
	r, x := squareColumn(c), squareLimb(c/2)
	if others || c > 0 && c < 2*n-1 {
		a.add(r, r)
	}
	if c%2 == 0 {
		a.low(r, x, x)
	} else {
		a.high(r, x, x)
	}
}

// reduce clears the lowest columns (DI), so many rows, by rows of quotient*n (DX).
func (w *window) reduce(rows int, save func(i int, q reg)) {
	q, next := w.quotient[0], w.quotient[1]
	loaded := 0
	load := func(to int) {
		for ; loaded < to; loaded++ {
			w.load(w.column(loaded), mem{"DI", loaded})
		}
	}
	w.pin()
	load(min(w.group, rows) + w.n)
	w.quotients(0, q[:min(w.group, rows)])
	w.groups(rows, func(i, g int) {
		for t := range g {
			if save != nil {
				save(i+t, q[t])
			}
		}
		w.carryOut(i + g - 1)
		early := min(2*w.group, w.n)
		w.sweep(i, q[:g], "DX", 0, early, i+g)
		if after := min(w.group, rows-i-g); after > 0 {
			load(i + g + after + w.n)
			w.quotients(i+g, next[:after])
		}
		w.sweep(i, q[:g], "DX", early, w.n, i+g)
		q, next = next, q
	})
}

// sqrBlocks squares longer numbers, in blocks of width limbs.
func sqrBlocks(a *asm, width, rows int) {
	name := fmt.Sprintf("sqrBy%d", width)
	a.function(fmt.Sprintf("func %s(out, a, n, k0, scratch *uint64, blocks, times int)", name), name, 56)
	a.arg("a+8(FP)", "SI")
	w := newWindow(a, width, reduceGroup, 0, 2)
	a.arg("times+48(FP)", "R15")
	a.line("again:")
	a.arg("scratch+32(FP)", "DI")
	a.arg("blocks+40(FP)", "CX")
	clearColumns(a, width)
	otherBlocks(a, width, rows)
	a.op("MOVQ SI, R9")
	a.op("MOVQ CX, R8")
	a.line("squares:")
	square(a, width, func(int) bool { return true })
	a.op("ADDQ $%d, SI", 64*width)
	a.op("ADDQ $%d, DI", 64*2*width)
	a.op("DECQ R8")
	a.op("JNZ squares")
	a.arg("scratch+32(FP)", "DI")
	a.arg("k0+24(FP)", "AX")
	a.load(w.k0, mem{"AX", 0})
	w.reduceBlocks(rows)
	a.arg("out+0(FP)", "R12")
	a.op("MOVQ R12, SI")
	normaliseColumns(a, width)
	a.op("DECQ R15")
	a.op("JNZ again")
	a.done()
}

// sqrPair squares numbers of two blocks: the columns need no clearing.
func sqrPair(a *asm, width, rows int) {
	name := fmt.Sprintf("sqrPair%d", width)
	a.function(fmt.Sprintf("func %s(out, a, n, k0, scratch *uint64, times int)", name), name, 48)
	pairLimbs(a, width, rows)
	a.done()
}

// pairLimbs is all of sqrPair between its entry and its return.
func pairLimbs(a *asm, width, rows int) {
	a.arg("a+8(FP)", "SI")
	a.arg("scratch+32(FP)", "DI")
	a.arg("times+40(FP)", "R15")
	a.op("LEAQ %d(DI), R11", 64*4*width)
	a.line("again:")
	a.op("LEAQ %d(SI), BX", 64*width)
	a.op("LEAQ %d(DI), R14", 64*width)
	newWindow(a, width, macGroup, macGroup, 0).mac("SI", width, true)
	square(a, width, func(c int) bool { return c >= width })
	a.op("ADDQ $%d, SI", 64*width)
	a.op("ADDQ $%d, DI", 64*2*width)
	square(a, width, func(c int) bool { return c < width })
	w := newWindow(a, width, reduceGroup, 0, 2)
	a.arg("scratch+32(FP)", "DI")
	a.arg("k0+24(FP)", "AX")
	a.load(w.k0, mem{"AX", 0})
	a.op("MOVQ $2, CX")
	w.reduceBlocks(rows)
	a.arg("out+0(FP)", "R12")
	a.op("MOVQ R12, SI")
	normaliseColumns(a, width)
	a.arg("scratch+32(FP)", "DI")
	a.op("DECQ R15")
	a.op("JNZ again")
}

// otherBlocks adds the products of different blocks of SI to the columns at DI.
func otherBlocks(a *asm, width, rows int) {
	a.op("MOVQ SI, R10") // the lower block
	a.op("MOVQ DI, AX")  // columns of its square
	a.op("LEAQ -1(CX), R8")
	a.line("lower:")
	a.op("MOVQ R8, R9")
	a.op("LEAQ %d(R10), BX", 64*width)
	a.op("LEAQ %d(AX), R14", 64*width)
	a.op("MOVQ R10, R13")
	a.line("upper:")
	for range width / rows {
		a.op("CALL mac%d<>(SB)", width)
		a.op("ADDQ $%d, BX", 64*rows)
		a.op("ADDQ $%d, R14", 64*rows)
	}
	a.op("DECQ R9")
	a.op("JNZ upper")
	a.op("ADDQ $%d, R10", 64*width)
	a.op("ADDQ $%d, AX", 64*2*width)
	a.op("DECQ R8")
	a.op("JNZ lower")
}

// reduceBlocks reduces the columns at DI; they end above CX blocks, where DI then is.
func (w *window) reduceBlocks(rows int) {
	a, width := w.asm, w.n
	a.arg("n+16(FP)", "DX")
	a.op("IMUL3Q $%d, CX, R8", width/rows)
	a.line("rows:")
	w.reduce(rows, func(i int, q reg) { a.store(mem{"R11", i}, q) })
	for c := rows; c < rows+width; c++ {
		a.store(mem{"DI", c}, w.column(c))
	}
	a.op("MOVQ R11, BX")
	a.op("LEAQ -1(CX), R9")
	a.op("LEAQ %d(DX), R13", 64*width)
	a.op("LEAQ %d(DI), R14", 64*width)
	a.line("columns:")
	a.op("CALL mac%d<>(SB)", width)
	a.op("ADDQ $%d, R13", 64*width)
	a.op("ADDQ $%d, R14", 64*width)
	a.op("DECQ R9")
	a.op("JNZ columns")
	a.op("ADDQ $%d, DI", 64*rows)
	a.op("DECQ R8")
	a.op("JNZ rows")
}

// macRoutine adds so many limbs (BX) times width limbs (R13) to the columns (R14).
func macRoutine(a *asm, width, rows int) {
	name := fmt.Sprintf("mac%d", width)
	a.routine(fmt.Sprintf("%s adds %d limbs at BX times %d limbs at R13 to the columns at R14.", name, rows, width), name)
	newWindow(a, width, macGroup, macGroup, 0).mac("R13", rows, false)
	a.op("RET")
}

// mac adds rows of BX times limbs of y to the columns (R14), or stores them if those are fresh.
func (w *window) mac(y string, rows int, fresh bool) {
	w.through("R14", rows, fresh, func(i, g int) {
		for t := range g {
			w.load(w.factors[t], mem{"BX", i + t})
		}
		w.sweep(i, w.factors[:g], y, 0, w.n, 0)
	})
}
