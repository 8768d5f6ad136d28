package mbecdsa

// backend is the set of primitives that exist twice: in Go and as kernels. Both give the same limbs for the same operands,
// so that each is the other's oracle. Operands are carried (limbs below 2^52) and lie in the work block.
type backend struct {
	mulP, mulN       func(z, x, y *element)                   // z = x*y/R
	squareP, squareN func(z, x *element, times int)           // the same with y = x, times over
	squareBoth       func(zp, xp, zn, xn *element, times int) // one of each side by side
	pick             func(q *affine, t *window, k *[2]lanes, shift uint64)
	add              func(a *point, q *affine, tmp *scratch)
	compress         func(h *[8]words, m *[16]words, k *[64]uint32)
}

var portable = backend{
	mulP: p.mul, squareP: p.square,
	mulN: n.mul, squareN: n.square,
	squareBoth: squareBoth,
	pick:       pick, add: add, compress: compress,
}
