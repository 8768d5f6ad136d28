package main

import "fmt"

// laneKernels writes the kernels that work limb by limb: they are short, and loop.
func laneKernels(a *asm) {
	for _, limbs := range []int{20, 30, 40} {
		pick(a, limbs)
	}
	add(a)
	apart(a)
	reduce(a)
}

// pick compares the digits with all of 0 to 15 first: sixteen masks in registers, and then each limb is one pass over the
// table with unmasked loads.
func pick(a *asm, limbs int) {
	name := fmt.Sprintf("pick%d", limbs)
	a.function(fmt.Sprintf("func %s(out, table, digits *uint64)", name), name, 24)
	pickEntry(a, limbs)
	a.done()
}

// pickEntry is all of pick between its entry and its return.
func pickEntry(a *asm, limbs int) {
	a.arg("out+0(FP)", "DI")
	a.arg("table+8(FP)", "SI")
	a.arg("digits+16(FP)", "AX")
	a.load(0, mem{"AX", 0})
	a.zero(1) // the candidate
	a.op("VPTERNLOGQ $255, Z2, Z2, Z2")
	for e := range 16 {
		a.op("VPCMPEQQ Z1, Z0, K1")
		a.op("VMOVDQA64.Z Z2, K1, Z%d", 16+e)
		a.op("VPSUBQ Z2, Z1, Z1")
	}
	a.op("KXORQ K1, K1, K1")
	a.op("MOVQ $%d, CX", limbs)
	a.line("limb:")
	for e := range 16 {
		if entry := (mem{"SI", limbs * e}); e < 2 {
			a.op("VPANDQ %v, Z%d, Z%d", entry, 16+e, e)
		} else {
			a.op("VPTERNLOGQ $0xF8, %v, Z%d, Z%d", entry, 16+e, e%2)
		}
	}
	a.op("VPORQ Z0, Z1, Z0")
	a.store(mem{"DI", 0}, 0)
	a.op("ADDQ $64, SI")
	a.op("ADDQ $64, DI")
	a.op("DECQ CX")
	a.op("JNZ limb")
}

func add(a *asm) {
	a.function("func addLimbs(out, a, b *uint64, limbs int)", "addLimbs", 32)
	a.arg("out+0(FP)", "DI")
	a.arg("a+8(FP)", "SI")
	a.arg("b+16(FP)", "BX")
	a.arg("limbs+24(FP)", "CX")
	a.limbMask(31)
	a.zero(30)
	a.line("limb:")
	a.op("VPANDQ (SI), Z31, Z0")
	a.op("VPANDQ (BX), Z31, Z1")
	a.add(0, 30)
	a.add(0, 1)
	a.op("VPSRLQ $52, Z0, Z30")
	a.op("VPANDQ Z31, Z0, Z0")
	a.store(mem{"DI", 0}, 0)
	for _, p := range []string{"SI", "BX", "DI"} {
		a.op("ADDQ $64, %s", p)
	}
	a.op("DECQ CX")
	a.op("JNZ limb")
	a.done()
}

// apart has a carry with a sign, from an arithmetic shift.
func apart(a *asm) {
	a.function("func apartLimbs(out, a, n *uint64, limbs int)", "apartLimbs", 32)
	a.arg("out+0(FP)", "DI")
	a.arg("a+8(FP)", "SI")
	a.arg("n+16(FP)", "BX")
	a.arg("limbs+24(FP)", "CX")
	a.limbMask(31)
	a.zero(30)
	a.line("limb:")
	a.op("VPANDQ (SI), Z31, Z0")
	a.op("VPERMILPD $0x55, Z0, Z1") // the neighbours
	a.load(2, mem{"BX", 0})
	a.add(30, 0)
	a.op("VPSUBQ Z1, Z30, Z30")
	a.add(30, 2)
	a.add(30, 2)
	a.op("VPANDQ Z31, Z30, Z0")
	a.op("VPSRAQ $52, Z30, Z30")
	a.store(mem{"DI", 0}, 0)
	for _, p := range []string{"SI", "BX", "DI"} {
		a.op("ADDQ $64, %s", p)
	}
	a.op("DECQ CX")
	a.op("JNZ limb")
	a.done()
}

// reduce subtracts first, into scratch, and then keeps the difference where nothing was borrowed.
func reduce(a *asm) {
	a.function("func reduceLimbs(x, n, scratch *uint64, limbs int)", "reduceLimbs", 32)
	a.arg("x+0(FP)", "DI")
	a.arg("n+8(FP)", "SI")
	a.arg("scratch+16(FP)", "BX")
	a.arg("limbs+24(FP)", "CX")
	a.limbMask(31)
	a.zero(30) // 0 or -1
	a.op("MOVQ CX, DX")
	a.op("MOVQ DI, R8")
	a.op("MOVQ BX, R9")
	a.line("subtract:")
	a.op("VPANDQ (R8), Z31, Z0")
	a.add(0, 30)
	a.op("VPSUBQ (SI), Z0, Z0")
	a.op("VPSRAQ $63, Z0, Z30")
	a.op("VPANDQ Z31, Z0, Z0")
	a.store(mem{"R9", 0}, 0)
	for _, p := range []string{"SI", "R8", "R9"} {
		a.op("ADDQ $64, %s", p)
	}
	a.op("DECQ DX")
	a.op("JNZ subtract")
	a.line("choose:")
	a.op("VPANDQ (DI), Z31, Z0")
	a.op("VMOVDQA64 Z30, Z1")
	a.op("VPTERNLOGQ $0xCA, (BX), Z0, Z1") // Z1 ? Z0 : difference
	a.store(mem{"DI", 0}, 1)
	a.op("ADDQ $64, DI")
	a.op("ADDQ $64, BX")
	a.op("DECQ CX")
	a.op("JNZ choose")
	a.done()
}
