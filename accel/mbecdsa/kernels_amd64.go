package mbecdsa

import (
	"errors"

	"golang.org/x/sys/cpu"
)

// assembly are the kernels that gen writes. Every pointer is to the work block, but for the table of the base point. A call
// takes some microseconds at most, as assembly can't be preempted, and clears all vector registers before it returns: between
// two calls the thread may be given to somebody else.
var assembly = backend{
	mulP: mulPKernel, squareP: squarePKernel,
	mulN: mulNKernel, squareN: squareNKernel,
	squareBoth: squareBothKernel,
	pick:       pickKernel, add: addKernel, compress: compressKernel,
}

// missing asks for what the kernels use. x/sys/cpu answers no where the operating system does not save the registers.
func missing() error {
	switch x := &cpu.X86; {
	case !x.HasAVX512F:
		return errors.New("mbecdsa: this CPU or operating system has no AVX-512")
	case !x.HasAVX512VL:
		return errors.New("mbecdsa: this CPU has no AVX-512 VL")
	case !x.HasAVX512IFMA:
		return errors.New("mbecdsa: this CPU has no AVX-512 IFMA")
	}
	return nil
}

//go:noescape
func mulPKernel(z, x, y *element)

//go:noescape
func mulNKernel(z, x, y *element)

//go:noescape
func squarePKernel(z, x *element, times int)

//go:noescape
func squareNKernel(z, x *element, times int)

//go:noescape
func squareBothKernel(zp, xp, zn, xn *element, times int)

//go:noescape
func pickKernel(q *affine, t *window, k *[2]lanes, shift uint64)

//go:noescape
func addKernel(a *point, q *affine, tmp *scratch)

//go:noescape
func compressKernel(h *[8]words, m *[16]words, k *[64]uint32)
