package mbecdsa

// block is all that a pass computes with, on whole cache lines: nothing secret is kept elsewhere. It is cleared at the end
// of every pass.
type block struct {
	// The operation: nonce k, digest z modulo n, private key d in Montgomery form, 1-d. Canonical.
	k, z, d, rest element
	random        [Ops][32]byte

	// The result: x of k*G, r and s. Canonical.
	x, r, s element

	odd    element          // the odd one of k and n-k, or what takes its place in the check
	digits [limbs + 1]lanes // see recode
	picked affine
	a, b   point // k*G, and again
	powP   powers
	powN   powers
	other  element // 1 or 0, to multiply by or to compare with
	tmp    scratch
	drbg   drbg
}

// point computes x and r from k: the commitment. 1/k is computed beside the inverse that x takes.
func (w *Worker) point() {
	b := w.block
	b.makeOdd()
	w.multiply(&b.a, &b.odd)
	b.powP.slots[0] = b.a.zz
	b.powN.slots[0].setAll(&n.rr)
	w.mulN(&b.powN.slots[0], &b.k, &b.powN.slots[0])
	w.invert()
	w.mulP(&b.x, &b.a.x, &b.powP.slots[inverseP])
	w.plainP(&b.x, &b.x)

	b.r = b.x
	n.reduce(&b.r) // p < 2n
}

// solve computes s = (z+r*d)/k.
func (w *Worker) solve() {
	b := w.block
	t := &b.tmp[1]
	w.mulN(t, &b.r, &b.d) // plain, as d is in Montgomery form
	t.add(t, &b.z)
	t.carry()
	w.mulN(&b.s, t, &b.powN.slots[inverseN]) // 1/k is in Montgomery form: s is plain
	n.reduce(&b.s)
}

// makeOdd sets odd to k or n-k. Both times G have the same x.
func (b *block) makeOdd() {
	for l := range Ops {
		even := b.k[0][l]&1 - 1 // all ones where k is even
		for j := range limbs {
			b.odd[j][l] = b.k[j][l]&^even | (n.m[j]-b.k[j][l])&even
		}
	}
	b.odd.carry()
}

// check returns a bit for each lane whose signature is sound. It computes k*G anew from k with other digits, tests the point
// against the curve, x and r against the point, and s against k, the digest as the caller gave it and the other form of the
// private key. README.md says why this and not a verification with the public key.
func (w *Worker) check(ops []*Op) (sound uint8) {
	b := w.block
	b.makeOdd()
	for l := range Ops {
		for j := range limbs {
			b.odd[j][l] = 4*n.m[j] - b.odd[j][l]
		}
	}
	b.odd.carry()
	w.multiply(&b.b, &b.odd)
	sound = w.checkCurve() & w.checkX() & w.checkR() & w.checkS(ops)
	return sound &^ b.isZero(&b.r) &^ b.isZero(&b.s)
}

// checkX: x = X/ZZ of the second point, and that is not infinity.
func (w *Worker) checkX() uint8 {
	b := w.block
	left, right := &b.tmp[1], &b.tmp[2]
	w.mulP(left, &b.x, &b.b.zz) // x is plain, zz in Montgomery form: the product is plain
	p.reduce(left)
	w.plainP(right, &b.b.x)
	same := equal(left, right)
	w.plainP(right, &b.b.zz)
	return same &^ b.isZero(right)
}

// checkCurve: the second point lies on the curve: Y^2 = (x^3-3x+b)*ZZ^3 with x that of the first, and ZZ^3 = ZZZ^2. A damaged
// entry in the table of the base point leads off the curve.
func (w *Worker) checkCurve() uint8 {
	b := w.block
	x, t, u := &b.tmp[1], &b.tmp[2], &b.tmp[3]
	x.setAll(&p.rr)
	w.mulP(x, &b.x, x)
	u.setAll(&curveThree)
	w.mulP(t, x, x)
	t.sub(t, u)
	p.addMultiple(t, 1)
	t.carry()
	w.mulP(t, t, x)
	u.setAll(&curveB)
	t.add(t, u)
	t.carry() // x^3-3x+b

	w.mulP(u, &b.b.zz, &b.b.zz)
	w.mulP(u, u, &b.b.zz)
	w.mulP(t, t, u)
	w.mulP(x, &b.b.y, &b.b.y)
	w.plainP(t, t)
	w.plainP(x, x)
	same := equal(t, x)

	w.mulP(x, &b.b.zzz, &b.b.zzz)
	w.plainP(x, x)
	w.plainP(u, u)
	return same & equal(u, x)
}

// checkR: r is x or x-n.
func (w *Worker) checkR() uint8 {
	b := w.block
	t := &b.tmp[1]
	*t = b.r
	n.addMultiple(t, 1)
	t.carry()
	return equal(&b.x, &b.r) | equal(&b.x, t)
}

// checkS: s*k + r*(1-d) = z+r modulo n.
func (w *Worker) checkS(ops []*Op) uint8 {
	b := w.block
	sum, t := &b.tmp[1], &b.tmp[2]
	w.mulN(sum, &b.s, &b.k)
	w.mulN(t, &b.r, &b.rest)
	sum.add(sum, t)
	sum.carry()
	t.setAll(&n.rr)
	w.mulN(sum, sum, t) // both products were divided by R
	n.reduce(sum)
	b.setDigests(t, ops) // not z: memory may have changed since
	t.add(t, &b.r)
	t.carry()
	n.reduce(t)
	return equal(sum, t)
}

// plainP takes x < 16 out of Montgomery form, canonical.
func (w *Worker) plainP(z, x *element) {
	w.block.other.setAll(&unit)
	w.mulP(z, x, &w.block.other)
	p.reduce(z)
}

// isZero returns a bit for each lane in which x is 0.
func (b *block) isZero(x *element) uint8 {
	b.other = element{}
	return equal(x, &b.other)
}
