package main

import "fmt"

// comb are the kernels of the multiplication of the base point.
func comb(a *asm) {
	a.constants("prime", append([]uint64{1 << 44}, 1<<36, 0xffffffff0000, 1<<52-1)...)
	for c := range multiples {
		a.constants(fmt.Sprintf("prime%d", multiples[c]), times(primeLimbs, multiples[c])...)
	}
	a.constants("digit", 127, 64, 63, 16, 32)
	a.pickKernel()
	a.addKernel()
}

// multiples of p are what differences add so as not to be negative.
var multiples = []uint64{1, 2, 4, 5}

func times(x []uint64, by uint64) (y []uint64) {
	for _, l := range x {
		y = append(y, by*l)
	}
	return y
}

// pickKernel looks points up. As the table is the same for all lanes, the entries of one limb fill registers, and a
// permutation of registers by the lanes' indices does what would else be a load from a secret address.
func (a *asm) pickKernel() {
	const (
		index, scratch = zmm(0), zmm(1)
		first          = 2  // four registers of entries
		y              = 10 // five registers
		ones           = zmm(16)
		bit4, bit5     = mask(1), mask(2) // of the index
		negative       = mask(3)
	)
	a.function("func pickKernel(q *affine, t *window, k *[2]lanes, shift uint64)", "pickKernel", 32)
	a.op("MOVQ", "q+0(FP)", "DI")
	a.op("MOVQ", "t+8(FP)", "SI")
	a.op("MOVQ", "k+16(FP)", "DX")
	a.op("MOVQ", "shift+24(FP)", "CX")

	a.op("VMOVQ", "CX", "X6")
	a.op("NEGQ", "CX")
	a.op("ADDQ", 52, "CX")
	a.op("VMOVQ", "CX", "X7")
	a.op("VMOVDQU64", memory{"DX", 0}, index)
	a.op("VMOVDQU64", memory{"DX", 64}, scratch)
	a.op("VPSRLQ", "X6", index, index)
	a.op("VPSLLQ", "X7", scratch, scratch)
	a.op("VPORQ", scratch, index, index)
	digit := func(i int, to zmm) { a.op("VPBROADCASTQ", fmt.Sprintf("digit<>+%d(SB)", 8*i), to) }
	digit(0, ones)
	a.op("VPANDQ", ones, index, index) // w
	digit(1, scratch)
	a.op("VPTESTNMQ", scratch, index, negative) // bit 6 is 0
	a.op("VPXORQ", ones, index, negative, index)
	digit(2, scratch)
	a.op("VPANDQ", scratch, index, index)
	digit(3, scratch)
	a.op("VPTESTMQ", scratch, index, bit4)
	digit(4, scratch)
	a.op("VPTESTMQ", scratch, index, bit5)
	a.op("VPBROADCASTQ", "prime<>+24(SB)", low52)

	for l := range 2 * limbs {
		row := memory{"SI", 512 * l}
		for i := range 4 { // 16 entries each
			a.op("VMOVDQU64", row.plus(128*i), zmm(first+i))
			a.op("VPERMT2Q", row.plus(128*i+64), index, zmm(first+i))
		}
		a.op("VMOVDQA64", zmm(first+1), bit4, zmm(first))
		a.op("VMOVDQA64", zmm(first+3), bit4, zmm(first+2))
		if l < limbs {
			a.op("VMOVDQA64", zmm(first+2), bit5, zmm(first))
			a.op("VMOVDQU64", zmm(first), memory{"DI", 64 * l})
			continue
		}
		a.op("VPBLENDMQ", zmm(first+2), zmm(first), bit5, zmm(y+l-limbs))
	}
	for j := range limbs { // y = p-y where the digit is negative
		a.op("VPBROADCASTQ", fmt.Sprintf("prime1<>+%d(SB)", 8*j), scratch)
		a.op("VPSUBQ", zmm(y+j), scratch, negative, zmm(y+j))
	}
	q := number{y, y + 1, y + 2, y + 3, y + 4}
	a.carry(q)
	a.store(q, memory{"DI", element})
	a.end()
}

// carry brings signed limbs into 0..2^52-1.
func (a *asm) carry(x number) {
	for j := range limbs - 1 {
		a.op("VPSRAQ", 52, x[j], carried)
		a.op("VPANDQ", low52, x[j], x[j])
		a.op("VPADDQ", carried, x[j+1], x[j+1])
	}
}

// sub takes y away from x.
func (a *asm) sub(x number, y memory) {
	for j, r := range x {
		a.op("VPSUBQ", y.limb(j), r, r)
	}
}

// addMultiple adds c*p. Limb 2 of p is 0.
func (a *asm) addMultiple(x number, c int) {
	for _, j := range []int{0, 1, 3, 4} {
		a.op("VPADDQ.BCST", fmt.Sprintf("prime%d<>+%d(SB)", c, 8*j), x[j], x[j])
	}
}

// fold subtracts p as often as 2^256 fits: 2^256 - p = 2^224 - 2^192 - 2^96 + 1.
func (a *asm) fold(x number) {
	const top, shifted = zmm(20 + 3), zmm(20 + 4)
	a.op("VPSRLQ", 48, x[4], top)
	a.op("VPSLLQ", 48, top, shifted)
	a.op("VPSUBQ", shifted, x[4], x[4])
	a.op("VPADDQ", top, x[0], x[0])
	for _, s := range []struct {
		limb, by int
		op       string
	}{{1, 44, "VPSUBQ"}, {3, 36, "VPSUBQ"}, {4, 16, "VPADDQ"}} {
		a.op("VPSLLQ", s.by, top, shifted)
		a.op(s.op, shifted, x[s.limb], x[s.limb])
	}
	a.carry(x)
}

// addKernel is comb.go's add, step by step; products that do not need each other stand side by side, so that the processor
// computes one while the carries of the other run.
func (a *asm) addKernel() {
	a.function("func addKernel(a *point, q *affine, tmp *scratch)", "addKernel", 24)
	a.op("MOVQ", "a+0(FP)", "DI")
	a.op("MOVQ", "q+8(FP)", "SI")
	a.op("MOVQ", "tmp+16(FP)", "DX")
	at := func(base string, i int) memory { return memory{base, element * i} }
	x1, y1, zz, zzz := at("DI", 0), at("DI", 1), at("DI", 2), at("DI", 3)
	x2, y2 := at("SI", 0), at("SI", 1)
	h, r, hh, hhh, v, t := at("DX", 0), at("DX", 1), at("DX", 2), at("DX", 3), at("DX", 4), at("DX", 5)
	m := prime{}
	m.constants(a)
	mul := func(x, y memory) {
		a.load(operand, x)
		a.columns(operand, y)
		a.montgomery(m, operand)
	}
	square := func() {
		a.squareColumns(operand)
		a.montgomery(m, operand)
	}
	difference := func(y memory, c int) {
		a.sub(operand, y)
		a.addMultiple(operand, c)
		a.carry(operand)
	}

	mul(x2, zz)
	difference(x1, 2)
	a.store(operand, h)
	mul(y2, zzz)
	difference(y1, 5)
	a.store(operand, r)

	a.load(operand, h)
	square()
	a.store(operand, hh)
	a.load(operand, r)
	square()
	a.store(operand, t) // r^2

	mul(h, hh)
	a.store(operand, hhh)
	mul(x1, hh)
	a.store(operand, v)
	mul(zz, hh)
	a.store(operand, zz)

	a.load(operand, t)
	a.sub(operand, hhh)
	a.sub(operand, v)
	difference(v, 4)
	a.fold(operand)
	a.store(operand, x1)
	a.load(product2, v)
	a.sub(product2, x1)
	a.addMultiple(product2, 2)
	a.carry(product2)
	a.store(product2, t) // v-x3

	mul(zzz, hhh)
	a.store(operand, zzz)
	mul(y1, hhh)
	a.store(operand, v)
	mul(r, t)
	difference(v, 2)
	a.store(operand, y1)
	a.end()
}

// product2 are registers that are free between products.
var product2 = number{5, 6, 7, 8, 9}
