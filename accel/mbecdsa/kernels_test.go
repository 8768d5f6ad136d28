package mbecdsa

import (
	"math/rand/v2"
	"testing"
)

// TestKernels gives the kernels and the Go code the same operands: they leave the same limbs.
func TestKernels(t *testing.T) {
	if err := Supported(); err != nil {
		t.Skip(err)
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	x, y := alignedNew[element](), alignedNew[element]()
	want, got := alignedNew[element](), alignedNew[element]()
	wantN, gotN := alignedNew[element](), alignedNew[element]()
	for range 3000 {
		randomElement(rnd, x)
		randomElement(rnd, y)
		portable.mulP(want, x, y)
		assembly.mulP(got, x, y)
		mustEqual(t, "mulP", want, got)
		portable.mulN(want, x, y)
		assembly.mulN(got, x, y)
		mustEqual(t, "mulN", want, got)
		times := 1 + rnd.IntN(5)
		portable.squareP(want, x, times)
		assembly.squareP(got, x, times)
		mustEqual(t, "squareP", want, got)
		portable.squareN(want, x, times)
		assembly.squareN(got, x, times)
		mustEqual(t, "squareN", want, got)
		portable.squareBoth(want, x, wantN, y, times)
		assembly.squareBoth(got, x, gotN, y, times)
		mustEqual(t, "squareBoth, p", want, got)
		mustEqual(t, "squareBoth, n", wantN, gotN)
	}
}

// randomElement mixes random numbers below 4 with limbs of all ones and of zeros.
func randomElement(rnd *rand.Rand, x *element) {
	for l := range Ops {
		for j := range limbs {
			switch x[j][l] = rnd.Uint64() & mask52; rnd.IntN(6) {
			case 0:
				x[j][l] = mask52
			case 1:
				x[j][l] = 0
			}
		}
		x[limbs-1][l] &= 1<<50 - 1
	}
}

func mustEqual[T comparable](t *testing.T, what string, want, got *T) {
	t.Helper()
	if *want != *got {
		t.Fatalf("%s: the kernel's result differs from the Go code's\n go     %v\n kernel %v", what, *want, *got)
	}
}

func TestPointKernels(t *testing.T) {
	if err := Supported(); err != nil {
		t.Skip(err)
	}
	rnd := rand.New(rand.NewPCG(3, 4))
	table := baseTable()
	type operands struct {
		a   point
		q   affine
		k   [2]lanes
		tmp scratch
	}
	want, got := alignedNew[operands](), alignedNew[operands]()
	for range 1000 {
		for l := range Ops {
			want.k[0][l], want.k[1][l] = rnd.Uint64()&mask52, rnd.Uint64()&mask52
		}
		*got = *want
		j, shift := rnd.IntN(combWindows), rnd.Uint64N(52)
		portable.pick(&want.q, &table[j], &want.k, shift)
		assembly.pick(&got.q, &table[j], &got.k, shift)
		mustEqual(t, "pick", &want.q, &got.q)

		for _, e := range []*element{&want.a.x, &want.a.y, &want.a.zz, &want.a.zzz} {
			randomElement(rnd, e)
			n.reduce(e)
			for l := range Ops {
				e[limbs-1][l] &= 1<<48 - 1
			}
		}
		got.a = want.a
		for range 5 {
			portable.add(&want.a, &want.q, &want.tmp)
			assembly.add(&got.a, &got.q, &got.tmp)
			mustEqual(t, "add", &want.a, &got.a)
		}
	}
}

func TestCompressKernel(t *testing.T) {
	if err := Supported(); err != nil {
		t.Skip(err)
	}
	rnd := rand.New(rand.NewPCG(5, 6))
	type operands struct {
		h [8]words
		m [16]words
	}
	want, got := alignedNew[operands](), alignedNew[operands]()
	for range 1000 {
		for l := range Ops {
			for i := range want.h {
				want.h[i][l] = rnd.Uint32()
			}
			for i := range want.m {
				want.m[i][l] = rnd.Uint32()
			}
		}
		*got = *want
		portable.compress(&want.h, &want.m, &sha256K)
		assembly.compress(&got.h, &got.m, &sha256K)
		mustEqual(t, "compress", want, got)
	}
}
