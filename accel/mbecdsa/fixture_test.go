package mbecdsa

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"math/big"
	"math/rand/v2"
	"testing"
)

// each runs a test on the kernels and on Go code.
func each(t *testing.T, test func(t *testing.T, w *Worker)) {
	t.Run("go", func(t *testing.T) { test(t, newWorker(false)) })
	t.Run("ifma", func(t *testing.T) {
		if err := Supported(); err != nil {
			t.Skip(err)
		}
		test(t, newWorker(true))
	})
}

// seeded returns the same numbers every time.
func seeded(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

func order() *big.Int { return n.big() }
func prime() *big.Int { return p.big() }

// scalar returns a number of 1..n-1.
func scalar(rnd *rand.Rand) *big.Int {
	k := new(big.Int)
	for range 5 {
		k.Lsh(k, 64).Or(k, new(big.Int).SetUint64(rnd.Uint64()))
	}
	k.Mod(k, new(big.Int).Sub(order(), big.NewInt(1)))
	return k.Add(k, big.NewInt(1))
}

func message(rnd *rand.Rand, size int) []byte {
	m := make([]byte, size)
	for i := range m {
		m[i] = byte(rnd.Uint32())
	}
	return m
}

func privateKey(t testing.TB, d *big.Int) *ecdsa.PrivateKey {
	t.Helper()
	priv, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), d.FillBytes(make([]byte, 32)))
	if err != nil {
		t.Fatal(err)
	}
	return priv
}

func newKey(t testing.TB, d *big.Int) *Key {
	t.Helper()
	k, err := NewKey(privateKey(t, d), make([]byte, SecretLen))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// batch makes operations with a key and a digest each.
func batch(t testing.TB, rnd *rand.Rand, size int) []*Op {
	ops := make([]*Op, size)
	for i := range ops {
		ops[i] = &Op{Key: newKey(t, scalar(rnd)), Digest: message(rnd, 32)}
	}
	return ops
}

func mustVerify(t testing.TB, ops []*Op) {
	t.Helper()
	for i, op := range ops {
		if op.Err != nil {
			t.Errorf("operation %d of %d: %v", i, len(ops), op.Err)
		} else if !ecdsa.VerifyASN1(op.Key.Public(), op.Digest, op.Sig) {
			t.Errorf("operation %d of %d: the signature %x does not verify", i, len(ops), op.Sig)
		}
	}
}

// set writes x into lane l, get reads it.
func (z *element) set(l int, x *big.Int) {
	for j := range limbs {
		z[j][l] = new(big.Int).Rsh(x, uint(52*j)).Uint64() & mask52
	}
}

func (z *element) get(l int) *big.Int {
	x := new(big.Int)
	for j := limbs - 1; j >= 0; j-- {
		x.Lsh(x, 52).Add(x, new(big.Int).SetUint64(z[j][l]))
	}
	return x
}

// signWith is ECDSA as the textbook has it.
func signWith(d, k *big.Int, digest []byte) (r, s *big.Int) {
	z := new(big.Int).SetBytes(digest[:min(32, len(digest))])
	nonce, err := ecdh.P256().NewPrivateKey(k.FillBytes(make([]byte, 32)))
	if err != nil {
		panic(err) // the tests choose k
	}
	r = new(big.Int).SetBytes(nonce.PublicKey().Bytes()[1:33])
	r.Mod(r, order())
	s = new(big.Int).Mul(r, d)
	s.Add(s, z).Mul(s, new(big.Int).ModInverse(k, order()))
	return r, s.Mod(s, order())
}
