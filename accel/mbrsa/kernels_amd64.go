package mbrsa

import (
	"errors"

	"golang.org/x/sys/cpu"
)

//go:generate go run ./gen

// Supported says whether the kernels in assembly run on this processor: nil, or what is missing.
func Supported() error {
	switch x := &cpu.X86; {
	case !x.HasAVX512F || !x.HasAVX512DQ || !x.HasAVX512BW || !x.HasAVX512VL:
		return errors.New("mbrsa: the processor or the operating system has no AVX-512 (F, DQ, BW, VL)")
	case !x.HasAVX512IFMA:
		return errors.New("mbrsa: the processor has no AVX-512 IFMA")
	}
	return nil
}

//go:noescape
func mul20(out, a, b, n, k0 *uint64)

//go:noescape
func sqr20(out, a, n, k0, scratch *uint64, times int)

//go:noescape
func step20(x, y, table, digits, n, k0, scratch *uint64, times int)

//go:noescape
func step30(x, y, table, digits, n, k0, scratch *uint64, times int)

//go:noescape
func mulBy15(out, a, b, n, k0, scratch *uint64, blocks int)

//go:noescape
func mulBy20(out, a, b, n, k0, scratch *uint64, blocks int)

//go:noescape
func sqrBy20(out, a, n, k0, scratch *uint64, blocks, times int)

//go:noescape
func sqrPair15(out, a, n, k0, scratch *uint64, times int)

//go:noescape
func sqrPair20(out, a, n, k0, scratch *uint64, times int)

//go:noescape
func pick20(out, table, digits *uint64)

//go:noescape
func pick30(out, table, digits *uint64)

//go:noescape
func pick40(out, table, digits *uint64)

//go:noescape
func addLimbs(out, a, b *uint64, limbs int)

//go:noescape
func apartLimbs(out, a, n *uint64, limbs int)

//go:noescape
func reduceLimbs(x, n, scratch *uint64, limbs int)

// The same on the first four lanes.

//go:noescape
func mul20x4(out, a, b, n, k0 *uint64)

//go:noescape
func sqr20x4(out, a, n, k0, scratch *uint64, times int)

//go:noescape
func step20x4(x, y, table, digits, n, k0, scratch *uint64, times int)

//go:noescape
func step30x4(x, y, table, digits, n, k0, scratch *uint64, times int)

//go:noescape
func mulBy15x4(out, a, b, n, k0, scratch *uint64, blocks int)

//go:noescape
func mulBy20x4(out, a, b, n, k0, scratch *uint64, blocks int)

//go:noescape
func sqrBy20x4(out, a, n, k0, scratch *uint64, blocks, times int)

//go:noescape
func sqrPair15x4(out, a, n, k0, scratch *uint64, times int)

//go:noescape
func sqrPair20x4(out, a, n, k0, scratch *uint64, times int)

//go:noescape
func pick20x4(out, table, digits *uint64)

//go:noescape
func pick30x4(out, table, digits *uint64)

//go:noescape
func pick40x4(out, table, digits *uint64)

//go:noescape
func addLimbsx4(out, a, b *uint64, limbs int)

//go:noescape
func apartLimbsx4(out, a, n *uint64, limbs int)

//go:noescape
func reduceLimbsx4(x, n, scratch *uint64, limbs int)

type (
	mulFunc   = func(out, a, b, n, k0 *uint64)
	sqrFunc   = func(out, a, n, k0, scratch *uint64, times int)
	stepFunc  = func(x, y, table, digits, n, k0, scratch *uint64, times int)
	pickFunc  = func(out, table, digits *uint64)
	mulByFunc = func(out, a, b, n, k0, scratch *uint64, blocks int)
	sqrByFunc = func(out, a, n, k0, scratch *uint64, blocks, times int)
	limbFunc  = func(out, a, b *uint64, limbs int)
)

// routines are the kernels of one width of vector.
type routines struct {
	mul20                  mulFunc
	sqr20, sqr30, sqr40    sqrFunc
	step20, step30         stepFunc
	pick20, pick30, pick40 pickFunc
	mulBy15, mulBy20       mulByFunc
	sqrBy20                sqrByFunc
	add, apart, reduce     limbFunc
}

// assembly is the kernels for numbers of so many limbs: 20, 30, 40, 60 or 80, of which only the first three can pick. Narrow
// ones compute the first four lanes only. Each clears all vector registers before it returns, so that none outlives the time
// the thread is ours.
func assembly(limbs int, narrow bool) kernels {
	r := routines{mul20, sqr20, sqrPair15, sqrPair20, step20, step30, pick20, pick30, pick40, mulBy15, mulBy20, sqrBy20,
		addLimbs, apartLimbs, reduceLimbs}
	if narrow {
		r = routines{mul20x4, sqr20x4, sqrPair15x4, sqrPair20x4, step20x4, step30x4, pick20x4, pick30x4, pick40x4, mulBy15x4,
			mulBy20x4, sqrBy20x4, addLimbsx4, apartLimbsx4, reduceLimbsx4}
	}
	k := kernels{
		add:    func(out, a, b []uint64) { r.add(&out[0], &a[0], &b[0], len(out)/lanes) },
		apart:  func(out, a, n []uint64) { r.apart(&out[0], &a[0], &n[0], len(out)/lanes) },
		reduce: func(x, n, scratch []uint64) { r.reduce(&x[0], &n[0], &scratch[0], len(x)/lanes) },
		mul: func(out, a, b, n, k0, scratch []uint64) {
			r.mulBy20(&out[0], &a[0], &b[0], &n[0], &k0[0], &scratch[0], limbs/20)
		},
	}
	switch limbs {
	case 20:
		k.mul = func(out, a, b, n, k0, _ []uint64) { r.mul20(&out[0], &a[0], &b[0], &n[0], &k0[0]) }
		k.sqr, k.pick, k.step = squares(r.sqr20), picks(r.pick20), steps(r.step20)
	case 30:
		k.mul = func(out, a, b, n, k0, scratch []uint64) {
			r.mulBy15(&out[0], &a[0], &b[0], &n[0], &k0[0], &scratch[0], 2)
		}
		k.sqr, k.pick, k.step = squares(r.sqr30), picks(r.pick30), steps(r.step30)
	case 40:
		k.sqr, k.pick = squares(r.sqr40), picks(r.pick40)
		return k.stepwise()
	default:
		k.sqr = func(out, a, n, k0, scratch []uint64, times int) {
			r.sqrBy20(&out[0], &a[0], &n[0], &k0[0], &scratch[0], limbs/20, times)
		}
	}
	return k
}

func squares(f sqrFunc) func(out, a, n, k0, scratch []uint64, times int) {
	return func(out, a, n, k0, scratch []uint64, times int) {
		f(&out[0], &a[0], &n[0], &k0[0], &scratch[0], times)
	}
}

func picks(f pickFunc) func(out, table, digits []uint64) {
	return func(out, table, digits []uint64) { f(&out[0], &table[0], &digits[0]) }
}

func steps(f stepFunc) func(x, y, table, digits, n, k0, scratch []uint64, times int) {
	return func(x, y, table, digits, n, k0, scratch []uint64, times int) {
		f(&x[0], &y[0], &table[0], &digits[0], &n[0], &k0[0], &scratch[0], times)
	}
}
