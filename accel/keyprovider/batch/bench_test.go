package batch

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hauberk-mesh/hauberk/accel/keyprovider"
	"github.com/hauberk-mesh/hauberk/accel/keyprovider/memory"
	"github.com/hauberk-mesh/hauberk/accel/mbrsa"
)

// nothing is a kernel that costs nothing: what is left is the queue.
type nothing struct{}

func (nothing) Run([]*number) {}

func BenchmarkQueue(b *testing.B) {
	for _, callers := range []int{1, 32} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			q := newQueue("test", passes{4, 8}, 1024, func() kernel[number] { return nothing{} })
			defer q.close()
			b.ReportAllocs()
			share(b, callers, func(int) {
				if err := q.do(context.Background(), &job[number]{}); err != nil {
					b.Error(err)
				}
			})
			b.ReportMetric(q.stats().Fill(), "fill")
		})
	}
}

// BenchmarkSignECDSA has P-256 keys sign.
func BenchmarkSignECDSA(b *testing.B) {
	kernels := New(Options{})
	defer kernels.Close()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	digest := sha256.Sum256(nil)
	for _, p := range []keyprovider.Provider{kernels, memory.New()} {
		key := importKey(b, p, private)
		for _, callers := range []int{1, 2, 4, 8, 32} {
			b.Run(fmt.Sprintf("%s/callers=%d", p.Name(), callers), func(b *testing.B) {
				for p == kernels && !kernels.ecdsa.ready.Load() && kernels.Status().Backend == BackendIFMA && kernels.noECDSA == nil {
					_, _ = key.Sign(rand.Reader, digest[:], crypto.SHA256)
				}
				before := queueOf(kernels, keyprovider.ECDSAP256)
				share(b, callers, func(int) {
					if _, err := key.Sign(rand.Reader, digest[:], crypto.SHA256); err != nil {
						b.Error(err)
					}
				})
				b.ReportMetric(fillSince(before, queueOf(kernels, keyprovider.ECDSAP256)), "fill")
			})
		}
	}
}

// BenchmarkSign has RSA-2048 keys sign with PSS, as in TLS 1.3. With one caller it is the time of a lone signature; compare the
// kernel alone, which is the same without the queue.
func BenchmarkSign(b *testing.B) {
	kernels := New(Options{})
	defer kernels.Close()
	private := keyOf(b, 2048)
	digest := sha256.Sum256(nil)
	for _, p := range []keyprovider.Provider{kernels, memory.New()} {
		for _, c := range []struct{ callers, keys int }{{1, 1}, {4, 1}, {8, 8}, {32, 1}, {32, 8}} {
			b.Run(fmt.Sprintf("%s/callers=%d/keys=%d", p.Name(), c.callers, c.keys), func(b *testing.B) {
				keys := make([]keyprovider.Key, c.keys)
				for i := range keys {
					keys[i] = importKey(b, p, private) // the same numbers in other memory: to the kernels it is another key
				}
				before := queueOf(kernels, keyprovider.RSA2048)
				share(b, c.callers, func(caller int) {
					_, err := keys[caller%len(keys)].Sign(rand.Reader, digest[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256})
					if err != nil {
						b.Error(err)
					}
				})
				b.ReportMetric(fillSince(before, queueOf(kernels, keyprovider.RSA2048)), "fill")
			})
		}
	}
	for _, n := range []int{1, 4, 8} {
		b.Run(fmt.Sprintf("kernel/ops=%d", n), func(b *testing.B) { benchmarkKernel(b, importKey(b, kernels, private), n) })
	}
}

func benchmarkKernel(b *testing.B, key keyprovider.Key, n int) {
	k, ok := key.(*rsaKey)
	if !ok {
		b.Skip("the kernels do not run here")
	}
	w := mbrsa.NewWorker(2048)
	defer w.Close()
	ops := make([]*mbrsa.Op, n)
	for i := range ops {
		in := make([]byte, k.key.Size())
		in[i+1] = 1
		ops[i] = &mbrsa.Op{Key: k.key, In: in, Out: in}
	}
	before := cpuTime(b)
	for b.Loop() {
		w.Run(ops)
	}
	b.ReportMetric(float64((cpuTime(b)-before).Nanoseconds())/float64(b.N*n), "cpu-ns/signature")
	runtime.KeepAlive(k)
}

func fillSince(before, after QueueStats) float64 {
	for i := range after.Batches {
		after.Batches[i] -= before.Batches[i]
	}
	return after.Fill()
}

// share has callers do b.N operations together. On a busy machine the CPU time of one is the better figure.
func share(b *testing.B, callers int, operation func(caller int)) {
	var left atomic.Int64
	left.Store(int64(b.N))
	var group sync.WaitGroup
	b.ResetTimer()
	before := cpuTime(b)
	for caller := range callers {
		group.Go(func() {
			for left.Add(-1) >= 0 {
				operation(caller)
			}
		})
	}
	group.Wait()
	b.StopTimer()
	b.ReportMetric(float64((cpuTime(b)-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
}

func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
