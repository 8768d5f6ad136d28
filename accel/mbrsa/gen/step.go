package main

import (
	"fmt"
	"regexp"
	"strings"
)

// steps writes the kernels for a whole window of an exponent: squarings, a pick from the table and a multiplication. With three
// calls, and three times all registers wiped, a window of RSA-2048 takes two per cent longer. With 40 limbs one call would be
// 6 us, and nothing is gained.
func steps(a *asm) {
	step(a, 20, func(a *asm) { sqrLimbs(a, 20) }, func(a *asm) { mulLimbs(a, 20) })
	step(a, 30, func(a *asm) { pairLimbs(a, 15, 15) }, func(a *asm) { mulBlockLimbs(a, 15, 15) })
}

func step(a *asm, limbs int, sqr, mul func(*asm)) {
	name := fmt.Sprintf("step%d", limbs)
	a.function(fmt.Sprintf("func %s(x, y, table, digits, n, k0, scratch *uint64, times int)", name), name, 64)
	a.part("square", sqr, map[string]string{"out": "x", "a": "x"})
	a.part("pick", func(a *asm) { pickEntry(a, limbs) }, map[string]string{"out": "y"})
	a.part("multiply", mul, map[string]string{"out": "x", "a": "x", "b": "y"})
	a.done()
}

var (
	parameter = regexp.MustCompile(`\b(\w+)\+\d+\(FP\)`)
	label     = regexp.MustCompile(`(?m)(^|\tJNZ )(\w+)(:?)$`)
)

// part writes the body of another kernel into a step: its parameters get the step's names, its labels the part's.
func (a *asm) part(name string, body func(*asm), rename map[string]string) {
	inner := &asm{}
	body(inner)
	text := strings.ReplaceAll(inner.text.String(), "blocks+48(FP)", "$2")
	text = parameter.ReplaceAllStringFunc(text, func(p string) string {
		old, _, _ := strings.Cut(p, "+")
		if to, ok := rename[old]; ok {
			old = to
		}
		for i, known := range []string{"x", "y", "table", "digits", "n", "k0", "scratch", "times"} {
			if known == old {
				return fmt.Sprintf("%s+%d(FP)", old, 8*i)
			}
		}
		panic("a step has no parameter " + old)
	})
	a.text.WriteString(label.ReplaceAllString(text, "${1}"+name+"_${2}${3}"))
}
