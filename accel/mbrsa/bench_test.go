package mbrsa

import (
	"crypto"
	"crypto/rsa"
	"fmt"
	"testing"
)

// BenchmarkPrivate: operations a second with one, four and eight in a Run, beside crypto/rsa. The results' check is included
// on both sides.
func BenchmarkPrivate(b *testing.B) {
	for _, bits := range testSizes {
		priv, key := testKey(b, bits, 0)
		b.Run(fmt.Sprintf("%d/crypto-rsa", bits), func(b *testing.B) {
			digest := make([]byte, 32)
			for b.Loop() {
				if _, err := rsa.SignPKCS1v15(nil, priv, crypto.SHA256, digest); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
		})
		for _, n := range []int{1, 4, 8} {
			b.Run(fmt.Sprintf("%d/n=%d", bits, n), func(b *testing.B) {
				w := NewWorker(bits)
				defer w.Close()
				ops := opsFor(n, key)
				for b.Loop() {
					w.Run(ops)
				}
				b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "ops/s")
			})
		}
	}
}

// BenchmarkKernel: one call each, with numbers of the length of a half and of N.
func BenchmarkKernel(b *testing.B) {
	if err := Supported(); err != nil {
		b.Skip(err)
	}
	for _, limbs := range []int{20, 30, 40, 60, 80} {
		k := assembly(limbs, false)
		x := newOperands(limbs, 1)
		b.Run(fmt.Sprintf("mul/%d", limbs), func(b *testing.B) {
			for b.Loop() {
				k.mul(x.out, x.a, x.b, x.n, x.k0, x.scratch)
			}
		})
		b.Run(fmt.Sprintf("sqr/%d", limbs), func(b *testing.B) {
			for b.Loop() {
				k.sqr(x.out, x.a, x.n, x.k0, x.scratch, 10)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(10*b.N), "ns/square")
		})
		if k.pick == nil {
			continue
		}
		b.Run(fmt.Sprintf("pick/%d", limbs), func(b *testing.B) {
			for b.Loop() {
				k.pick(x.out, x.table, x.digits)
			}
		})
	}
}
