package main

import "fmt"

const (
	limbs   = 5
	element = 64 * limbs // bytes
)

// The moduli, as in the package's field.go.
var (
	primeLimbs = []uint64{0xfffffffffffff, 0xfffffffffff, 0x0, 0x1000000000, 0xffffffff0000}
	orderLimbs = []uint64{0x9cac2fc632551, 0xada7179e84f3b, 0xfffffffbce6fa, 0xfffffffff, 0xffffffff0000}
)

const orderInverse = 0x1c8aaee00bc4f // -1/n mod 2^52

// number is five registers, one a limb.
type number [limbs]zmm

// Registers while a product is made. The modulus keeps its constants in the highest ones.
var (
	operand = number{0, 1, 2, 3, 4}                             // x, and where the result goes
	product = [2 * limbs]zmm{5, 6, 7, 8, 9, 10, 11, 12, 13, 14} // x*y, column by column
	second  = [2]zmm{15, 16}                                    // limbs of y by turns
	carried = zmm(17)
	factor  = zmm(18) // of the modulus
	low52   = zmm(19) // 2^52-1
)

// modulus knows how to load its constants and how to clear the lowest of a run of columns by adding a multiple of itself.
type modulus interface {
	constants(a *asm)
	clear(a *asm, t []zmm)
}

// field are the kernels modulo p and n.
func field(a *asm) {
	a.constants("prime", append([]uint64{1 << 44}, 1<<36, 0xffffffff0000, 1<<52-1)...)
	a.constants("order", append(orderLimbs, orderInverse, 1<<52-1)...)
	for _, m := range []struct {
		suffix string
		modulus
	}{{"P", prime{}}, {"N", order{}}} {
		a.mulKernel("mul"+m.suffix, m)
		a.squareKernel("square"+m.suffix, m)
	}
	a.squareBothKernel()
}

func (a *asm) mulKernel(name string, m modulus) {
	a.function("func "+name+"Kernel(z, x, y *element)", name+"Kernel", 24)
	a.op("MOVQ", "z+0(FP)", "DI")
	a.op("MOVQ", "x+8(FP)", "SI")
	a.op("MOVQ", "y+16(FP)", "DX")
	m.constants(a)
	a.load(operand, memory{"SI", 0})
	a.columns(operand, memory{"DX", 0})
	a.montgomery(m, operand)
	a.store(operand, memory{"DI", 0})
	a.end()
}

func (a *asm) squareKernel(name string, m modulus) {
	a.function("func "+name+"Kernel(z, x *element, times int)", name+"Kernel", 24)
	a.op("MOVQ", "z+0(FP)", "DI")
	a.op("MOVQ", "x+8(FP)", "SI")
	a.op("MOVQ", "times+16(FP)", "CX")
	m.constants(a)
	a.load(operand, memory{"SI", 0})
	a.line("loop:")
	a.squareColumns(operand)
	a.montgomery(m, operand)
	a.op("DECQ", "CX")
	a.op("JNZ", "loop")
	a.store(operand, memory{"DI", 0})
	a.end()
}

// squareBothKernel squares modulo p and modulo n by turns. Squarings of one number wait for each other: what the processor
// has no use for meanwhile computes the other's.
func (a *asm) squareBothKernel() {
	other := number{15, 16, 29, 30, 31}
	a.function("func squareBothKernel(zp, xp, zn, xn *element, times int)", "squareBothKernel", 40)
	a.op("MOVQ", "zp+0(FP)", "DI")
	a.op("MOVQ", "xp+8(FP)", "SI")
	a.op("MOVQ", "zn+16(FP)", "R8")
	a.op("MOVQ", "xn+24(FP)", "R9")
	a.op("MOVQ", "times+32(FP)", "CX")
	prime{}.constants(a)
	order{}.constants(a)
	a.load(operand, memory{"SI", 0})
	a.load(other, memory{"R9", 0})
	a.line("loop:")
	a.squareColumns(operand)
	a.montgomery(prime{}, operand)
	a.squareColumns(other)
	a.montgomery(order{}, other)
	a.op("DECQ", "CX")
	a.op("JNZ", "loop")
	a.store(operand, memory{"DI", 0})
	a.store(other, memory{"R8", 0})
	a.end()
}

func (a *asm) load(x number, from memory) {
	for j, r := range x {
		a.op("VMOVDQU64", from.limb(j), r)
	}
}

func (a *asm) store(x number, to memory) {
	for j, r := range x {
		a.op("VMOVDQU64", r, to.limb(j))
	}
}

// zero clears the columns of the product.
func (a *asm) zero() {
	for _, t := range product {
		a.op("VPXORQ", t, t, t)
	}
}

// madd adds both halves of x*y to column i and the next. The multiplier takes the low 52 bits of both.
func (a *asm) madd(i int, x, y zmm) {
	a.op("VPMADD52LUQ", x, y, product[i])
	a.op("VPMADD52HUQ", x, y, product[i+1])
}

// columns sets product = x*y. Each limb of y is loaded once for all its products.
func (a *asm) columns(x number, y memory) {
	a.zero()
	for i := range limbs {
		a.op("VMOVDQU64", y.limb(i), second[i%2])
		for j := range limbs {
			a.madd(i+j, second[i%2], x[j])
		}
	}
}

// squareColumns sets product = x^2: products of unlike limbs once, then doubled in the columns, as a doubled limb would have
// 53 bits.
func (a *asm) squareColumns(x number) {
	a.zero()
	for i := range limbs {
		for j := i + 1; j < limbs; j++ {
			a.madd(i+j, x[i], x[j])
		}
	}
	for i := 1; i < 2*limbs-1; i++ {
		a.op("VPADDQ", product[i], product[i], product[i])
	}
	for i := range limbs {
		a.madd(2*i, x[i], x[i])
	}
}

// montgomery divides product by R modulo m.
func (a *asm) montgomery(m modulus, to number) {
	for i := range limbs {
		m.clear(a, product[i:i+limbs+1])
	}
	high := product[limbs:]
	for j := range limbs - 1 {
		a.op("VPSRLQ", 52, high[j], carried)
		a.op("VPANDQ", low52, high[j], to[j])
		a.op("VPADDQ", carried, high[j+1], high[j+1])
	}
	a.op("VMOVDQA64", high[limbs-1], to[limbs-1])
}

// prime is p = 2^256 - 2^224 + 2^192 + 2^96 - 1. Its lowest limb is 2^52-1, which is -1 modulo 2^52: the multiple of p that clears
// column 0 is column 0 itself, and adding q*p is taking q away there and adding q*(p+1), which has three limbs.
type prime struct{}

var primeConstants = [3]zmm{26, 27, 28} // 2^44, 2^36, 2^48-2^16: limbs 1, 3 and 4 of p+1

func (prime) constants(a *asm) {
	for i, r := range append(primeConstants[:], low52) {
		a.op("VPBROADCASTQ", fmt.Sprintf("prime<>+%d(SB)", 8*i), r)
	}
}

func (prime) clear(a *asm, t []zmm) {
	for i, j := range []int{1, 3, 4} {
		a.op("VPMADD52LUQ", t[0], primeConstants[i], t[j])
		a.op("VPMADD52HUQ", t[0], primeConstants[i], t[j+1])
	}
	a.op("VPSRLQ", 52, t[0], carried)
	a.op("VPADDQ", carried, t[1], t[1])
}

// order is n, whose limbs have no such shape.
type order struct{}

var (
	orderConstants = number{20, 21, 22, 23, 24}
	orderInv       = zmm(25)
)

func (order) constants(a *asm) {
	for i, r := range append(orderConstants[:], orderInv, low52) {
		a.op("VPBROADCASTQ", fmt.Sprintf("order<>+%d(SB)", 8*i), r)
	}
}

func (order) clear(a *asm, t []zmm) {
	a.op("VPXORQ", factor, factor, factor)
	a.op("VPMADD52LUQ", t[0], orderInv, factor)
	a.op("VPMADD52LUQ", factor, orderConstants[0], t[0])
	for j := 1; j < limbs; j++ {
		a.op("VPMADD52HUQ", factor, orderConstants[j-1], t[j])
		a.op("VPMADD52LUQ", factor, orderConstants[j], t[j])
	}
	a.op("VPMADD52HUQ", factor, orderConstants[limbs-1], t[limbs])
	a.op("VPSRLQ", 52, t[0], carried)
	a.op("VPADDQ", carried, t[1], t[1])
}
