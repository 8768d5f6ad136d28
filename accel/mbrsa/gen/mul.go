package main

import "fmt"

// multiplications writes the kernels that multiply.
func multiplications(a *asm) {
	mulWhole(a, 20)
	mulBlocks(a, 15, 15)
	mulBlocks(a, 20, 10)
}

// mulWhole multiplies numbers whose columns all fit into registers: Montgomery's method, a group of b's limbs at a time.
func mulWhole(a *asm, n int) {
	a.function(fmt.Sprintf("func mul%d(out, a, b, n, k0 *uint64)", n), fmt.Sprintf("mul%d", n), 40)
	mulLimbs(a, n)
	a.done()
}

// mulLimbs is all of mulWhole between its entry and its return.
func mulLimbs(a *asm, n int) {
	for i, name := range []string{"out+0(FP)", "a+8(FP)", "b+16(FP)", "n+24(FP)", "k0+32(FP)"} {
		a.arg(name, []string{"DI", "SI", "BX", "DX", "AX"}[i])
	}
	w := newWindow(a, n, 2, 2, 2)
	a.load(w.k0, mem{"AX", 0})
	for c := range w.columns {
		a.zero(w.column(c))
	}
	w.head(n, nil, nil)
	w.normalise("DI", n, n)
}

// head is rows of a*b (SI, BX) together with the rows of quotient*n (DX) that clear their lowest columns. enter is called for
// a column before its first use, save with each quotient; nil: columns start at zero, quotients are not needed again.
//
// The quotients of the next group are begun before the rest of this one, so that their latency is hidden.
func (w *window) head(rows int, enter func(c int), save func(i int, q reg)) {
	if enter == nil {
		enter = func(c int) { w.zero(w.column(c)) }
	}
	n := w.n
	start := func(i, g int, q []reg) {
		for t := range g {
			w.load(w.factors[t], mem{"BX", i + t})
		}
		w.sweep(i, w.factors[:g], "SI", 0, w.group, 0)
		w.quotients(i, q[:g])
	}
	w.pin()
	q, next := w.quotient[0], w.quotient[1]
	start(0, min(w.group, rows), q)
	w.sweep(0, w.factors[:min(w.group, rows)], "SI", w.group, n, 0)
	w.groups(rows, func(i, g int) {
		for t := range g {
			if save != nil {
				save(i+t, q[t])
			}
		}
		w.carryOut(i + g - 1)
		early := min(2*w.group, n)
		w.sweep(i, q[:g], "DX", 0, early, i+g)
		after := min(w.group, rows-i-g)
		for t := range after {
			enter(i + g + w.columns - w.group + t)
		}
		if after > 0 {
			start(i+g, after, next)
		}
		w.sweep(i, q[:g], "DX", early, n, i+g)
		if after > 0 {
			w.sweep(i+g, w.factors[:after], "SI", w.group, n, 0)
		}
		q, next = next, q
	})
}

// mulBlocks multiplies longer numbers in blocks of width columns and so many rows; the other columns wait in memory.
func mulBlocks(a *asm, width, rows int) {
	name := fmt.Sprintf("mulBy%d", width)
	a.function(fmt.Sprintf("func %s(out, a, b, n, k0, scratch *uint64, blocks int)", name), name, 56)
	mulBlockLimbs(a, width, rows)
	a.done()
}

// mulBlockLimbs is all of mulBlocks between its entry and its return.
func mulBlockLimbs(a *asm, width, rows int) {
	a.arg("a+8(FP)", "SI")
	a.arg("b+16(FP)", "BX")
	a.arg("n+24(FP)", "DX")
	a.arg("k0+32(FP)", "AX")
	a.arg("scratch+40(FP)", "DI")
	a.arg("blocks+48(FP)", "CX")
	w := newWindow(a, width, 2, 2, 2)
	a.load(w.k0, mem{"AX", 0})
	clearColumns(a, width)
	a.op("IMUL3Q $%d, CX, R8", width/rows)
	a.line("rows:")
	load := func(c int) { a.load(w.column(c), mem{"DI", c}) }
	for c := range min(w.columns, width+rows) {
		load(c)
	}
	w.head(rows, load, func(i int, q reg) { a.store(mem{"R11", i}, q) })
	for c := rows; c < rows+width; c++ {
		a.store(mem{"DI", c}, w.column(c))
	}
	a.op("LEAQ -1(CX), R9")
	for i, base := range []string{"SI", "DX", "DI"} {
		a.op("LEAQ %d(%s), %s", 64*width, base, []string{"R12", "R13", "R14"}[i])
	}
	a.line("columns:")
	w.tail(rows)
	for _, p := range []string{"R12", "R13", "R14"} {
		a.op("ADDQ $%d, %s", 64*width, p)
	}
	a.op("DECQ R9")
	a.op("JNZ columns")
	a.op("ADDQ $%d, BX", 64*rows)
	a.op("ADDQ $%d, DI", 64*rows)
	a.op("DECQ R8")
	a.op("JNZ rows")
	a.arg("out+0(FP)", "R12")
	normaliseColumns(a, width)
}

// clearColumns clears the accumulators (DI), which are twice CX blocks, and sets R11 to where the quotients of a block are
// kept, after them.
func clearColumns(a *asm, width int) {
	a.zero(0)
	a.op("MOVQ DI, R11")
	a.op("MOVQ CX, R8")
	a.line("clear:")
	for i := range 2 * width {
		a.store(mem{"R11", i}, 0)
	}
	a.op("ADDQ $%d, R11", 64*2*width)
	a.op("DECQ R8")
	a.op("JNZ clear")
}

// tail adds rows of b (BX) times limbs of a (R12) and of the quotients (R11) times limbs of n (R13) to the columns (R14).
func (w *window) tail(rows int) {
	w.through("R14", rows, false, func(i, g int) {
		for t := range g {
			w.load(w.factors[t], mem{"BX", i + t})
			w.load(w.quotient[0][t], mem{"R11", i + t})
		}
		w.sweep(i, w.factors[:g], "R12", 0, w.n, 0)
		w.sweep(i, w.quotient[0][:g], "R13", 0, w.n, 0)
	})
}

// through calls f for each group of rows, with their columns loaded from base, or zero; afterwards all are stored.
func (w *window) through(base string, rows int, fresh bool, f func(i, g int)) {
	loaded := 0
	w.groups(rows, func(i, g int) {
		for ; loaded < i+g+w.n; loaded++ {
			if fresh {
				w.zero(w.column(loaded))
			} else {
				w.load(w.column(loaded), mem{base, loaded})
			}
		}
		f(i, g)
		for t := range g {
			w.store(mem{base, i + t}, w.column(i+t))
		}
	})
	for c := rows; c < rows+w.n; c++ {
		w.store(mem{base, c}, w.column(c))
	}
}

// normaliseColumns stores the columns at DI, CX blocks, as limbs at R12.
func normaliseColumns(a *asm, width int) {
	a.zero(0)
	a.line("carry:")
	for i := range width {
		a.op("VPADDQ %v, Z0, Z1", mem{"DI", i})
		a.op("VPSRLQ $52, Z1, Z0")
		a.store(mem{"R12", i}, 1)
	}
	a.op("ADDQ $%d, DI", 64*width)
	a.op("ADDQ $%d, R12", 64*width)
	a.op("DECQ CX")
	a.op("JNZ carry")
}
