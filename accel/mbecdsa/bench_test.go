package mbecdsa

import (
	"crypto/ecdsa"
	"crypto/rand"
	"fmt"
	"testing"
)

// BenchmarkSign is for comparison with BenchmarkCryptoECDSA; ns/op is for one signature, not for a run.
func BenchmarkSign(b *testing.B) {
	for _, size := range []int{1, Ops} {
		b.Run(fmt.Sprintf("ops=%d", size), func(b *testing.B) {
			if err := Supported(); err != nil {
				b.Skip(err)
			}
			benchmarkWorker(b, NewWorker(), size)
		})
	}
}

// BenchmarkGo is what runs without the kernels.
func BenchmarkGo(b *testing.B) { benchmarkWorker(b, newWorker(false), Ops) }

func benchmarkWorker(b *testing.B, w *Worker, size int) {
	ops := batch(b, seeded(60), size)
	for range Ops { // the buffers of the signatures
		w.Run(ops)
	}
	b.ReportAllocs()
	runs := 0
	for b.Loop() {
		if runs++; runs%size == 0 {
			w.Run(ops)
		}
	}
}

func BenchmarkCryptoECDSA(b *testing.B) {
	rnd := seeded(61)
	priv, digest := privateKey(b, scalar(rnd)), message(rnd, 32)
	for b.Loop() {
		if _, err := ecdsa.SignASN1(rand.Reader, priv, digest); err != nil {
			b.Fatal(err)
		}
	}
}
