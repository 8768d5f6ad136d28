package main

// window is the accumulators of the columns that a group of rows touches, and the registers of its factors. Rows are n limbs
// long; a group of rows is multiplied at once, because a load takes the ports from multiplications (see README): one load
// of a limb serves two of them for each row. Column c is always in register c mod columns; from group to group the window
// moves up.
type window struct {
	*asm
	n, group int
	columns  int
	first    reg // of the columns
	k0       reg
	factors  []reg
	quotient [2][]reg // of this group and of the next
	pinned   []reg    // the lowest limbs of n (DX), see pin
	limbs    []reg    // take turns
	turn     int
}

// newWindow shares the registers out: what a kernel needs of factors and of sets of quotients, and the rest for limbs.
func newWindow(a *asm, n, group, factors, quotientSets int) *window {
	w := &window{asm: a, n: n, group: group, columns: n + group}
	next := reg(0)
	take := func(n int) (set []reg) {
		for range n {
			set = append(set, next)
			next++
		}
		return set
	}
	w.factors = take(factors)
	for i := range quotientSets {
		w.quotient[i] = take(group)
	}
	if quotientSets == 1 {
		w.quotient[1] = w.quotient[0]
	}
	w.limbs = take(min(31-w.columns-int(next), 7))
	if len(w.limbs) < 2 {
		panic("too few registers are left for limbs")
	}
	w.k0 = 31
	w.first = reg(31 - w.columns)
	return w
}

func (w *window) column(c int) reg { return w.first + reg(c%w.columns) }

// groups calls f with the first row and the number of rows of each group.
func (w *window) groups(rows int, f func(i, g int)) {
	for i := 0; i < rows; i += w.group {
		f(i, min(w.group, rows-i))
	}
}

// pin keeps the lowest limbs of n (DX), which the quotients need over and over, in the registers that are left but two.
func (w *window) pin() {
	if w.pinned == nil {
		for len(w.limbs) > 2 {
			w.pinned = append(w.pinned, w.limbs[0])
			w.limbs = w.limbs[1:]
		}
	}
	for i, r := range w.pinned {
		w.load(r, mem{"DX", i})
	}
}

// temp is the next register for a limb.
func (w *window) temp() reg {
	w.turn++
	return w.limbs[w.turn%len(w.limbs)]
}

// limb is a register with a limb, until temp has taken its turns.
func (w *window) limb(from mem) reg {
	if from.base == "DX" && from.at < len(w.pinned) {
		return w.pinned[from.at]
	}
	r := w.temp()
	w.load(r, from)
	return r
}

// sweep adds the rows x, the first of which is at column at, times limbs from to to-1 of y. Columns below floor are left
// out: they have had theirs.
func (w *window) sweep(at int, x []reg, y string, from, to, floor int) {
	for j := from; j < to; j++ {
		l := w.limb(mem{y, j})
		for t := len(x) - 1; t >= 0; t-- {
			if at+t+j >= floor {
				w.low(w.column(at+t+j), x[t], l)
			}
		}
		for t := len(x) - 1; t >= 0; t-- {
			if at+t+j+1 >= floor {
				w.high(w.column(at+t+j+1), x[t], l)
			}
		}
	}
}

// quotients finds the multiples of n (DX) that clear columns at to at+len(q)-1, and clears those.
func (w *window) quotients(at int, q []reg) {
	for t := range q {
		c := w.column(at + t)
		for s := range t {
			w.low(c, q[s], w.limb(mem{"DX", t - s}))
			w.high(c, q[s], w.limb(mem{"DX", t - s - 1}))
		}
		if t > 0 {
			w.carry(c, w.column(at+t-1), w.temp())
		}
		w.zero(q[t])
		w.low(q[t], c, w.k0)
		w.low(c, q[t], w.limb(mem{"DX", 0}))
	}
}

// carryOut adds what is left of column c to the next.
func (w *window) carryOut(c int) { w.carry(w.column(c+1), w.column(c), w.temp()) }

// normalise stores n columns from the given one as limbs of base. Bits above 52 stay: whoever multiplies ignores them.
func (w *window) normalise(base string, from, n int) {
	tmp := w.temp()
	for c := from; c < from+n; c++ {
		if c > from {
			w.add(w.column(c), tmp)
		}
		if c < from+n-1 {
			tmp = w.temp()
			w.op("VPSRLQ $52, %v, %v", w.column(c), tmp)
		}
		w.store(mem{base, c - from}, w.column(c))
	}
}
