package mbrsa

import "math/bits"

// run computes at most two passes of operations that are in order, and their check together.
func (w *Worker) run(ops []*Op) {
	defer clear(w.block.all)
	w.loadWholes(ops)
	for from := 0; from < len(ops); from += Ops {
		pass := ops[from:min(from+Ops, len(ops))]
		k := w.half.lanes(2 * len(pass))
		w.loadHalves(pass, from)
		w.intoHalves(k)
		w.exponentiate(k)
		w.disturb.at(afterPower, w.block)
		w.subtractHalves(k)
		w.collect(len(pass), from)
	}
	k := w.full.lanes(len(ops))
	w.recombine(k)
	w.disturb.at(afterRecombination, w.block)
	good := w.verify(k, ops)
	for l, op := range ops {
		if good>>l&1 == 0 {
			op.fail(ErrFault)
			continue
		}
		fillBytes(op.Out, w.block.full.h[l:], lanes)
	}
}

// loadWholes fills the lanes with what is mod N and with the inputs; lanes of nobody get the dummy's.
func (w *Worker) loadWholes(ops []*Op) {
	f := &w.block.full
	for l := range lanes {
		m, q := &w.dummy.modulus, []uint64(nil)
		if l < len(ops) {
			m, q = &ops[l].Key.modulus, ops[l].Key.q
			setBytes(f.in[l:], lanes, ops[l].In)
		}
		f.put(l, m, q)
	}
}

// loadHalves fills the lanes with the primes of ops, whose first has lane from of the wholes.
func (w *Worker) loadHalves(ops []*Op, from int) {
	b, f := &w.block.half, &w.block.full
	for l := range lanes {
		h, qInv, in := &w.dummy.half, []uint64(nil), f.in[lanes-1:]
		if i := l / 2; i < len(ops) {
			h, qInv, in = &ops[i].Key.half[l%2], ops[i].Key.qInv, f.in[from+i:]
		}
		b.put(l, h, qInv)
		for i := 0; i < len(b.low)/lanes; i++ {
			b.low[lanes*i+l] = in[lanes*i]
			b.high[lanes*i+l] = in[len(b.low)+lanes*i]
		}
	}
}

// intoHalves sets y to the input mod each prime, times R: low*R + high*R*R.
func (w *Worker) intoHalves(k *kernels) {
	b, tmp := &w.block.half, w.block.tmp
	k.mul(b.x, b.low, b.rr, b.n, b.k0, tmp)
	k.mul(b.y, b.high, b.rrr, b.n, b.k0, tmp)
	k.add(b.y, b.x, b.y)
}

// exponentiate sets x to y^exp, by windows of a fixed width from the top, as many as the prime has room for.
func (w *Worker) exponentiate(k *kernels) {
	b, tmp := &w.block.half, w.block.tmp
	entry := func(i int) []uint64 { return b.table[i*len(b.x):][:len(b.x)] }
	k.mul(entry(0), b.rr, b.unit, b.n, b.k0, tmp)
	copy(entry(1), b.y)
	for i := 2; i < 1<<w.size.window; i += 2 {
		k.sqr(entry(i), entry(i/2), b.n, b.k0, tmp, 1)
		k.mul(entry(i+1), entry(i), b.y, b.n, b.k0, tmp)
	}
	width := w.size.window
	at := (w.size.bits/2 - 1) / width * width
	b.window(at, width)
	k.pick(b.x, b.table, b.digits)
	for at > 0 {
		at -= width
		b.window(at, width)
		k.step(b.x, b.y, b.table, b.digits, b.n, b.k0, tmp, width)
	}
}

// window sets digits to width bits of each lane's exponent, from bit at up. The width divides a limb.
func (b *halves) window(at, width int) {
	exp, by := b.exp[at/limbBits*lanes:][:lanes], uint(at%limbBits)
	for l, e := range exp {
		b.digits[l] = e >> by & (1<<width - 1)
	}
}

// subtractHalves sets y to the powers and the even lanes of x to (power mod p - power mod q)/q mod p.
func (w *Worker) subtractHalves(k *kernels) {
	b, tmp := &w.block.half, w.block.tmp
	k.mul(b.y, b.x, b.unit, b.n, b.k0, tmp)
	k.reduce(b.y, b.n, tmp)
	k.apart(b.x, b.y, b.n) // q < 2p: both have as many bits
	k.mul(b.x, b.x, b.qInv, b.n, b.k0, tmp)
	k.reduce(b.x, b.n, tmp)
}

// collect takes the halves of n operations over into the wholes, from lane from.
func (w *Worker) collect(n, from int) {
	b, f := &w.block.half, &w.block.full
	for j := range n {
		for i := 0; i < len(b.x); i += lanes {
			f.h[i+from+j] = b.x[i+2*j]
			f.sq[i+from+j] = b.y[i+2*j+1]
		}
	}
}

// recombine sets h to h*q + sq (Garner): the results.
func (w *Worker) recombine(k *kernels) {
	f, tmp := &w.block.full, w.block.tmp
	k.mul(f.h, f.h, f.q, f.n, f.k0, tmp)
	k.add(f.h, f.h, f.sq)
	k.reduce(f.h, f.n, tmp)
}

// verify raises the results to their public exponents and tells which lanes give the input. It uses nothing of the key but N
// and e, so that a key that is damaged is found out too.
func (w *Worker) verify(k *kernels, ops []*Op) (good uint) {
	f, tmp := &w.block.full, w.block.tmp
	var exps [lanes]int
	most := 0
	for l, op := range ops {
		exps[l] = op.Key.public.E
		most = max(most, exps[l])
	}
	k.mul(f.x, f.h, f.rr, f.n, f.k0, tmp)
	at := bits.Len(uint(most)) - 1
	f.factors(f.y, exps, at)
	for at > 1 {
		times := 1
		for at--; at > 1 && !hasBit(exps, at) && times*len(f.n)/lanes < longest; at-- {
			times++
		}
		k.sqr(f.y, f.y, f.n, f.k0, tmp, times)
		if hasBit(exps, at) {
			f.factors(f.z, exps, at)
			k.mul(f.y, f.y, f.z, f.n, f.k0, tmp)
		}
	}
	k.sqr(f.y, f.y, f.n, f.k0, tmp, 1)
	k.mul(f.y, f.y, f.h, f.n, f.k0, tmp) // all are odd; without the factor R this ends in plain numbers
	k.reduce(f.y, f.n, tmp)
	for l := range ops {
		var diff uint64
		for i := l; i < len(f.y); i += lanes {
			diff |= f.y[i] ^ f.in[i]
		}
		good |= uint(equal(diff, 0)&1) << l
	}
	return good
}

// longest is how many limbs one call of assembly may square, over all its squarings: some 5 us of them. Nothing can preempt it.
const longest = 80

// factors sets x to the result in the lanes that have the bit in their public exponent, and to 1 in the others; times R.
func (f *wholes) factors(x []uint64, exps [lanes]int, bit int) {
	for i := range x {
		x[i] = f.r[i]
		if exps[i%lanes]>>bit&1 == 1 {
			x[i] = f.x[i]
		}
	}
}

// hasBit says whether an exponent has the bit.
func hasBit(exps [lanes]int, bit int) bool {
	for _, e := range exps {
		if e>>bit&1 == 1 {
			return true
		}
	}
	return false
}
