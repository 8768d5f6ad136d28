package mbrsa

import "unsafe"

// block is a worker's memory: one piece that starts at a cache line, so that its parts meet the first-level cache in the same
// way every time. Everything secret of a pass is in it, nothing on the goroutine's stack; it is wiped as a whole.
type block struct {
	all  []uint64
	half halves
	full wholes
	tmp  []uint64 // the kernels' own
}

// halves are mod p in the even lanes and mod q in the odd ones.
type halves struct {
	n, rr, rrr []uint64
	k0         []uint64
	exp        []uint64
	qInv       []uint64 // even lanes
	low, high  []uint64 // the input below R and above
	unit       []uint64 // 1
	x, y       []uint64
	digits     []uint64
	table      []uint64
}

// wholes are mod N. The lanes are the operations of two passes.
type wholes struct {
	n, r, rr []uint64
	k0       []uint64
	q        []uint64
	in       []uint64
	h, sq    []uint64 // the result is h*q + sq, and is then in h
	x, y, z  []uint64
}

func newBlock(s size) *block {
	half, full := lanes*s.limbs, 2*lanes*s.limbs
	words := 10*half + 2*lanes + half<<s.window + 2*full + 20*lanes + lanes + 10*full
	raw := make([]uint64, words+lanes)
	// The heap does not move what it holds, and a large piece starts at a page: this is for small ones and to be sure.
	skip := -int(uintptr(unsafe.Pointer(&raw[0]))/8) & (lanes - 1)
	b := &block{all: raw[skip : skip+words : skip+words]}
	rest := b.all
	take := func(words int) (x []uint64) {
		x, rest = rest[:words:words], rest[words:]
		return x
	}
	h := &b.half
	for _, x := range []*[]uint64{&h.n, &h.x, &h.y, &h.exp, &h.low, &h.high, &h.rr, &h.rrr, &h.qInv, &h.unit} {
		*x = take(half)
	}
	h.k0, h.digits = take(lanes), take(lanes)
	h.table = take(half << s.window)
	b.tmp = take(2*full + 20*lanes) // all columns of a product, and a block of quotients
	f := &b.full
	f.k0 = take(lanes)
	for _, x := range []*[]uint64{&f.n, &f.x, &f.y, &f.r, &f.rr, &f.q, &f.in, &f.h, &f.sq, &f.z} {
		*x = take(full)
	}
	return b
}

// put fills lane l with a half; nil for qInv is 0.
func (h *halves) put(l int, prime *half, qInv []uint64) {
	put(h.n, l, prime.n)
	put(h.rr, l, prime.rr)
	put(h.rrr, l, prime.rrr)
	put(h.exp, l, prime.exp)
	put(h.qInv, l, qInv)
	h.k0[l] = prime.k0[0]
	h.unit[l] = 1
}

// put fills lane l with a modulus; nil for q is 0.
func (f *wholes) put(l int, m *modulus, q []uint64) {
	put(f.n, l, m.n)
	put(f.r, l, m.r)
	put(f.rr, l, m.rr)
	put(f.q, l, q)
	f.k0[l] = m.k0
}

// put sets the low limbs of lane l of x; those above become 0.
func put(x []uint64, l int, limbs []uint64) {
	for i := range len(x) / lanes {
		var v uint64
		if i < len(limbs) {
			v = limbs[i]
		}
		x[lanes*i+l] = v
	}
}
