package mbrsa

import (
	"crypto/rsa"
	"math/big"
	"math/rand/v2"
	"sync"
	"testing"
	"unsafe"

	cryptorand "crypto/rand"
)

var testSizes = []int{2048, 3072, 4096}

// aligned is n bytes that start at a cache line.
func aligned(n int) []byte {
	b := make([]byte, n+64)
	skip := -uintptr(unsafe.Pointer(&b[0])) & 63
	return b[skip:][:n:n]
}

type keyPair struct {
	priv *rsa.PrivateKey
	key  *Key
}

var (
	testKeysMu sync.Mutex
	testKeys   = map[[2]int]keyPair{}
)

// testKey is the i-th key of a size; made once for all tests.
func testKey(t testing.TB, bits, i int) (*rsa.PrivateKey, *Key) {
	t.Helper()
	testKeysMu.Lock()
	defer testKeysMu.Unlock()
	p, ok := testKeys[[2]int{bits, i}]
	if !ok {
		priv, err := rsa.GenerateKey(cryptorand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		p = keyPair{priv, mustKey(t, priv)}
		testKeys[[2]int{bits, i}] = p
	}
	return p.priv, p.key
}

func mustKey(t testing.TB, priv *rsa.PrivateKey) *Key {
	t.Helper()
	key, err := NewKey(priv, aligned(SecretLen(priv.N.BitLen())))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// opsFor is n operations with some inputs.
func opsFor(n int, key *Key) []*Op {
	random := rand.New(rand.NewPCG(1, uint64(n)))
	ops := make([]*Op, n)
	for i := range ops {
		in := make([]byte, key.Size())
		for j := range in[1:] {
			in[j+1] = byte(random.Uint32())
		}
		ops[i] = &Op{Key: key, In: in, Out: make([]byte, key.Size())}
	}
	return ops
}

// operands are numbers for the kernels, eight lanes of them.
type operands struct {
	out, a, b, n, k0, scratch, table, digits []uint64
}

func words(n int) []uint64 {
	b := aligned(8 * n)
	return unsafe.Slice((*uint64)(unsafe.Pointer(&b[0])), n)
}

// newOperands draws odd moduli that leave the two top bytes free, and factors below twice that.
func newOperands(limbs int, seed uint64) *operands {
	random := rand.New(rand.NewPCG(seed, uint64(limbs)))
	number := func(top uint64) []uint64 {
		x := words(lanes * limbs)
		for i := range x {
			x[i] = random.Uint64() & limbMask
		}
		for l := range lanes {
			x[lanes*(limbs-1)+l] &= top
		}
		return x
	}
	o := &operands{out: words(lanes * limbs), a: number(1<<36 - 1), b: number(1<<36 - 1), n: number(1<<36 - 1),
		k0: words(lanes), scratch: words(lanes * (2*limbs + 20)), digits: words(lanes), table: words(16 * lanes * limbs)}
	for l := range lanes {
		o.n[l] |= 1
		o.n[lanes*(limbs-1)+l] |= 1 << 35
		o.k0[l] = negInverse(o.n[l])
		o.digits[l] = random.Uint64N(16)
	}
	for i := range o.table {
		o.table[i] = random.Uint64() & limbMask
		if i%len(o.out) >= len(o.out)-lanes {
			o.table[i] &= 1<<36 - 1
		}
	}
	return o
}

func bigOf(x []uint64, l int) *big.Int {
	sum := new(big.Int)
	for i := len(x) - lanes + l; i >= 0; i -= lanes {
		sum.Lsh(sum, limbBits).Add(sum, new(big.Int).SetUint64(x[i]&limbMask))
	}
	return sum
}
