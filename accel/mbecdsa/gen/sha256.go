package main

import "fmt"

// sha256 is the compression function on a block a lane, in 256-bit registers: eight states and the 16 words of the message
// schedule at hand stay in registers.
func sha256(a *asm) {
	const x, y, sum = ymm(24), ymm(25), ymm(26)
	a.function("func compressKernel(h *[8]words, m *[16]words, k *[64]uint32)", "compressKernel", 24)
	a.op("MOVQ", "h+0(FP)", "DI")
	a.op("MOVQ", "m+8(FP)", "SI")
	a.op("MOVQ", "k+16(FP)", "DX")
	var s [8]ymm
	var w [16]ymm
	for i := range s {
		s[i] = ymm(i)
		a.op("VMOVDQU32", memory{"DI", 32 * i}, s[i])
	}
	for i := range w {
		w[i] = ymm(8 + i)
		a.op("VMOVDQU32", memory{"SI", 32 * i}, w[i])
	}
	for i := range 64 {
		if i >= 16 {
			a.sigma(w[(i+1)%16], sum, x, y, "VPSRLD", 7, 18, 3)
			a.op("VPADDD", sum, w[i%16], w[i%16])
			a.sigma(w[(i+14)%16], sum, x, y, "VPSRLD", 17, 19, 10)
			a.op("VPADDD", w[(i+9)%16], w[i%16], w[i%16])
			a.op("VPADDD", sum, w[i%16], w[i%16])
		}
		reg := func(j int) ymm { return s[(j+64-i)%8] } // a, b, ... h
		h := reg(7)
		a.op("VPADDD", w[i%16], h, h)
		a.op("VPADDD.BCST", fmt.Sprintf("%d(DX)", 4*i), h, h)
		a.op("VMOVDQA32", reg(4), sum)
		a.op("VPTERNLOGD", 0xca, reg(6), reg(5), sum) // choose f or g by e
		a.op("VPADDD", sum, h, h)
		a.sigma(reg(4), sum, x, y, "VPRORD", 6, 11, 25)
		a.op("VPADDD", sum, h, h)
		a.op("VPADDD", h, reg(3), reg(3))
		a.op("VMOVDQA32", reg(0), sum)
		a.op("VPTERNLOGD", 0xe8, reg(2), reg(1), sum) // majority
		a.op("VPADDD", sum, h, h)
		a.sigma(reg(0), sum, x, y, "VPRORD", 2, 13, 22)
		a.op("VPADDD", sum, h, h)
	}
	for i := range s {
		a.op("VPADDD", memory{"DI", 32 * i}, s[i], s[i])
		a.op("VMOVDQU32", s[i], memory{"DI", 32 * i})
	}
	a.end()
}

// sigma sets to = from rotated, exclusive or from rotated, exclusive or from rotated or shifted.
func (a *asm) sigma(from, to, x, y ymm, last string, r1, r2, r3 int) {
	a.op("VPRORD", r1, from, to)
	a.op("VPRORD", r2, from, x)
	a.op(last, r3, from, y)
	a.op("VPTERNLOGD", 0x96, x, y, to)
}
