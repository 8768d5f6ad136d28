package mbrsa

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// implementations are all kernels that run here, by name.
func implementations(limbs int) map[string]kernels {
	all := map[string]kernels{"portable": portable()}
	if Supported() == nil {
		all["wide"] = assembly(limbs, false)
		all["narrow"] = assembly(limbs, true)
	}
	return all
}

// lanesOf is how many lanes the kernels of that name compute.
func lanesOf(name string) int {
	if name == "narrow" {
		return lanes / 2
	}
	return lanes
}

// extremes are operands with limbs of all ones, zeroes, the largest and the smallest modulus.
func extremes(limbs int) []*operands {
	fill := func(x []uint64, v, top uint64) {
		for i := range x {
			x[i] = v
		}
		for l := range lanes {
			x[len(x)-lanes+l] = top
		}
	}
	random := func() *operands { return newOperands(limbs, 7) }
	ones, zero, unit, small, garbage := random(), random(), random(), random(), random()
	fill(ones.n, limbMask, 1<<36-1)
	fill(ones.a, limbMask, 1<<37-1)
	fill(ones.b, limbMask, 1<<37-1)
	fill(zero.a, 0, 0)
	fill(unit.b, 0, 0)
	fill(small.n, 0, 1<<35)
	fill(small.a, limbMask, 1<<35)
	for l := range lanes {
		unit.b[l], small.n[l] = 1, 1
		ones.digits[l], zero.digits[l] = 15, 0
	}
	for i := range garbage.a { // above a limb's 52 bits there may be anything
		if i < len(garbage.a)-lanes {
			garbage.a[i] |= uint64(i%4096) << limbBits
			garbage.b[i] |= 0xfff << limbBits
		}
	}
	all := []*operands{ones, zero, unit, small, garbage}
	for _, o := range all {
		for l := range lanes {
			o.k0[l] = negInverse(o.n[l])
		}
	}
	return all
}

// TestKernels holds each kernel of each implementation to math/big, for numbers of all lengths that are used.
func TestKernels(t *testing.T) {
	for _, limbs := range []int{20, 30, 40, 60, 80} {
		cases := extremes(limbs)
		for seed := range uint64(4) {
			cases = append(cases, newOperands(limbs, seed))
		}
		for name, k := range implementations(limbs) {
			t.Run(fmt.Sprintf("%s/%d", name, limbs), func(t *testing.T) {
				for i, o := range cases {
					checkKernels(t, fmt.Sprint("case ", i), k, o, lanesOf(name))
				}
			})
		}
	}
}

func checkKernels(t *testing.T, what string, k kernels, o *operands, used int) {
	t.Helper()
	limbs := len(o.n) / lanes
	r := new(big.Int).Lsh(big.NewInt(1), uint(limbBits*limbs))
	for l := range used {
		n := bigOf(o.n, l)
		inverse := new(big.Int).ModInverse(r, n)
		mont := func(x, y *big.Int) *big.Int {
			z := new(big.Int).Mul(x, y)
			return z.Mul(z, inverse).Mod(z, n)
		}
		a, b := bigOf(o.a, l), bigOf(o.b, l)
		almost := func(name string, want *big.Int) {
			t.Helper()
			got := bigOf(o.out, l)
			if got.Cmp(new(big.Int).Lsh(n, 1)) >= 0 {
				t.Fatalf("%s, lane %d: %s gives %x, not below 2n", what, l, name, got)
			}
			if got.Mod(got, n).Cmp(want) != 0 {
				t.Fatalf("%s, lane %d: %s gives %x, want %x", what, l, name, got, want)
			}
		}
		k.mul(o.out, o.a, o.b, o.n, o.k0, o.scratch)
		almost("mul", mont(a, b))
		k.mul(o.out, o.a, o.a, o.n, o.k0, o.scratch)
		almost("mul by itself", mont(a, a))
		k.sqr(o.out, o.a, o.n, o.k0, o.scratch, 1)
		almost("sqr", mont(a, a))
		k.sqr(o.out, o.a, o.n, o.k0, o.scratch, 3)
		s := mont(mont(a, a), mont(a, a))
		almost("sqr three times", mont(s, s))
		copy(o.out, o.a)
		k.mul(o.out, o.out, o.b, o.n, o.k0, o.scratch)
		almost("mul in place", mont(a, b))

		exact := func(name string, want *big.Int) {
			t.Helper()
			if got := bigOf(o.out, l); got.Cmp(want) != 0 {
				t.Fatalf("%s, lane %d: %s gives %x, want %x", what, l, name, got, want)
			}
		}
		if k.pick != nil {
			k.pick(o.out, o.table, o.digits)
			entry := bigOf(o.table[int(o.digits[l])*len(o.out):][:len(o.out)], l)
			exact("pick", entry)
			copy(o.out, o.a)
			k.step(o.out, words(len(o.out)), o.table, o.digits, o.n, o.k0, o.scratch, 2)
			if entry.BitLen() < n.BitLen()+4 {
				almost("step", mont(s, entry))
			}
		}
		k.add(o.out, o.a, o.b)
		exact("add", new(big.Int).Add(a, b))
		sub := new(big.Int).Sub(a, bigOf(o.a, l^1))
		if sub.Add(sub, n).Add(sub, n); sub.Sign() >= 0 { // what it is used for
			k.apart(o.out, o.a, o.n)
			exact("apart", sub)
		}
		copy(o.out, o.a)
		k.reduce(o.out, o.n, o.scratch)
		if a.Cmp(n) >= 0 {
			a.Sub(a, n)
		}
		exact("reduce", a)
		copy(o.out, o.n)
		k.reduce(o.out, o.n, o.scratch)
		exact("reduce n", new(big.Int))
	}
}

// TestPickReadsNothingElse: a digit beyond the table picks nothing: the masks of all entries are empty.
func TestPickReadsNothingElse(t *testing.T) {
	for name, k := range implementations(20) {
		o := newOperands(20, 1)
		for l := range lanes {
			o.digits[l] = 16
		}
		k.pick(o.out, o.table, o.digits)
		for l := range lanesOf(name) {
			if bigOf(o.out, l).Sign() != 0 {
				t.Errorf("%s, lane %d: digit 16 picks something", name, l)
			}
		}
	}
}

// TestKernelsWipeRegisters reads what go generate wrote: before every return to Go, each vector register is cleared, and each
// mask register. There is no asking the processor: between the return and a probe, the runtime may use them.
func TestKernelsWipeRegisters(t *testing.T) {
	files, err := filepath.Glob("*_amd64.s")
	if err != nil || len(files) != 6 {
		t.Fatalf("%d files of assembly, %v, want 6", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, body := range strings.Split(string(text), "\nTEXT ")[1:] {
			name, code, _ := strings.Cut(body, "(SB)")
			if strings.HasSuffix(name, "<>") {
				continue // returns to assembly
			}
			if strings.Count(code, "\tRET\n") != 1 {
				t.Errorf("%s: %s returns in more than one place", file, name)
			}
			last := strings.TrimRight(code, "\n")
			if i := strings.LastIndex(last, "\tJ"); i >= 0 {
				last = last[i:] // what runs after the last jump
			}
			for i := range 32 {
				wipes := []string{fmt.Sprintf("VPXOR X%d, X%d, X%d\n", i, i, i),
					fmt.Sprintf("VPXORQ Z%d, Z%d, Z%d\n", i, i, i), fmt.Sprintf("VPXORQ Y%d, Y%d, Y%d\n", i, i, i)}
				if !strings.Contains(last, wipes[0]) && !strings.Contains(last, wipes[1]) && !strings.Contains(last, wipes[2]) {
					t.Errorf("%s: %s leaves Z%d", file, name, i)
				}
			}
			for i := 1; i < 8; i++ { // the last that happens to a mask register is that it is cleared
				uses := strings.Split(code, fmt.Sprintf("K%d", i))
				if wipe := fmt.Sprintf("KXORQ K%d, K%d, K%d\n", i, i, i); len(uses) > 1 && !strings.HasSuffix(uses[len(uses)-4], "KXORQ ") {
					t.Errorf("%s: %s leaves K%d: its last use is not %s", file, name, i, wipe)
				}
			}
		}
	}
}

// TestLimbs: bytes to limbs and back, whatever the length.
func TestLimbs(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for n := 1; n < 200; n++ {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		const stride = 3
		x := make([]uint64, stride*((8*n+limbBits-1)/limbBits))
		setBytes(x, stride, b)
		sum := new(big.Int)
		for i := len(x) - stride; i >= 0; i -= stride {
			sum.Lsh(sum, limbBits).Add(sum, new(big.Int).SetUint64(x[i]))
		}
		if sum.Cmp(new(big.Int).SetBytes(b)) != 0 {
			t.Fatalf("%d bytes: limbs give %x, want %x", n, sum, b)
		}
		back := make([]byte, n)
		fillBytes(back, x, stride)
		if string(back) != string(b) {
			t.Fatalf("%d bytes: back are %x, want %x", n, back, b)
		}
	}
}
