package main

import (
	"bytes"
	"fmt"
)

// asm collects a file of Go assembly.
type asm struct{ text bytes.Buffer }

func (a *asm) line(format string, args ...any) {
	fmt.Fprintf(&a.text, format+"\n", args...)
}

// op writes an instruction.
func (a *asm) op(format string, args ...any) { a.line("\t"+format, args...) }

// function begins a function that Go calls; params is the length of its arguments.
func (a *asm) function(doc, name string, params int) {
	a.line("\n// %s", doc)
	a.line("TEXT ·%s(SB), NOSPLIT, $0-%d", name, params)
}

// routine begins one that only assembly calls, with arguments in registers.
func (a *asm) routine(doc, name string) {
	a.line("\n// %s", doc)
	a.line("TEXT %s<>(SB), NOSPLIT|NOFRAME, $0-0", name)
}

// done wipes all vector registers and returns: nothing secret is left to whoever gets the thread next. VEX
// instructions on X registers clear the whole register; VZEROUPPER alone would leave the low quarters and Z16 to Z31.
func (a *asm) done() {
	for i := range 16 {
		a.op("VPXOR X%d, X%d, X%d", i, i, i)
	}
	for i := 16; i < 32; i++ {
		a.op("VPXORQ Z%d, Z%d, Z%d", i, i, i)
	}
	a.op("VZEROUPPER")
	a.op("RET")
}

// reg is a vector register.
type reg int

func (r reg) String() string { return fmt.Sprintf("Z%d", int(r)) }

// mem is limb at of the number that a pointer register points to.
type mem struct {
	base string
	at   int
}

func (m mem) String() string { return fmt.Sprintf("%d(%s)", 64*m.at, m.base) }

func (a *asm) load(r reg, from mem) { a.op("VMOVDQU64 %v, %v", from, r) }
func (a *asm) store(to mem, r reg)  { a.op("VMOVDQU64 %v, %v", r, to) }

// zero is free for the lower half, in VEX encoding: EVEX takes a port of the multipliers.
func (a *asm) zero(r reg) {
	if r < 16 {
		a.op("VPXOR X%d, X%d, X%d", r, r, r)
		return
	}
	a.op("VPXORQ %v, %v, %v", r, r, r)
}

func (a *asm) add(to, x reg)        { a.op("VPADDQ %v, %v, %v", x, to, to) }
func (a *asm) low(to, x, y reg)     { a.op("VPMADD52LUQ %v, %v, %v", x, y, to) }
func (a *asm) high(to, x, y reg)    { a.op("VPMADD52HUQ %v, %v, %v", x, y, to) }
func (a *asm) carry(to, x, tmp reg) { a.op("VPSRLQ $52, %v, %v", x, tmp); a.add(to, tmp) }
func (a *asm) limbMask(r reg) {
	a.op("VPTERNLOGQ $255, %v, %v, %v", r, r, r)
	a.op("VPSRLQ $12, %v, %v", r, r)
}
func (a *asm) arg(name, into string) { a.op("MOVQ %s, %s", name, into) }
