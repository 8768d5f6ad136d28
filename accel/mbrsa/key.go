package mbrsa

import (
	"crypto/rsa"
	"errors"
	"fmt"
	"math"
	"math/big"
	"unsafe"
)

// Key is a private key laid out for the kernels. All of it that is secret is in the memory that NewKey was given. It may be
// used by many goroutines at once; Destroy must come after the last of them.
type Key struct {
	public *rsa.PublicKey
	size   size
	modulus
	half   [2]half
	qInv   []uint64 // 1/q mod p, times R
	q      []uint64 // q mod N, times R of N
	secret []uint64 // what half, qInv and q are in; nil: destroyed
}

// modulus is N and its Montgomery constants: R is 2^52 to the number of limbs.
type modulus struct {
	n, r, rr []uint64 // N; R and R*R mod N
	k0       uint64   // -1/N mod 2^52
}

// half is p or q.
type half struct {
	n, rr, rrr []uint64 // the prime; R*R and R*R*R mod the prime
	exp        []uint64 // d mod (prime - 1)
	k0         []uint64 // one word: -1/prime mod 2^52
}

func secretWords(s size) int {
	words := 2*(4*s.limbs+1) + s.limbs + 2*s.limbs
	return (words + 7) &^ 7 // whole cache lines
}

// NewKey lays priv out in secret: SecretLen bytes at the start of a cache line (64 bytes), best in memory that neither other
// processes nor core dumps see. It keeps no reference to priv's secrets. It takes keys of two primes of the same length; e
// must be odd and below 2^31.
func NewKey(priv *rsa.PrivateKey, secret []byte) (*Key, error) {
	s, err := check(priv)
	if err != nil {
		return nil, err
	}
	if len(secret) < SecretLen(s.bits) {
		return nil, fmt.Errorf("mbrsa: %d bytes of memory for a key of %d bits, want %d: allocate SecretLen bytes",
			len(secret), s.bits, SecretLen(s.bits))
	}
	if uintptr(unsafe.Pointer(&secret[0]))%64 != 0 {
		return nil, errors.New("mbrsa: the memory for the key does not start at a multiple of 64: allocate it aligned")
	}
	k := &Key{
		public:  &rsa.PublicKey{N: new(big.Int).Set(priv.N), E: priv.E},
		size:    s,
		modulus: newModulus(priv.N, s),
		secret:  unsafe.Slice((*uint64)(unsafe.Pointer(&secret[0])), secretWords(s)),
	}
	clear(k.secret)
	rest := k.secret
	take := func(words int) (x []uint64) {
		x, rest = rest[:words:words], rest[words:]
		return x
	}
	pre := precomputed(priv)
	for i, exp := range []*big.Int{pre.Dp, pre.Dq} {
		h := half{take(s.limbs), take(s.limbs), take(s.limbs), take(s.limbs), take(1)}
		h.set(priv.Primes[i], exp, s)
		k.half[i] = h
	}
	k.qInv, k.q = take(s.limbs), take(2*s.limbs)
	setInt(k.qInv, pre.Qinv)
	shift(k.qInv, k.half[0].n, limbBits*s.limbs)
	copy(k.q, k.half[1].n)
	shift(k.q, k.n, limbBits*len(k.n))
	return k, nil
}

// check says what is wrong with priv for our purposes.
func check(priv *rsa.PrivateKey) (size, error) {
	if priv == nil || priv.N == nil || priv.D == nil {
		return size{}, errors.New("mbrsa: no key")
	}
	s, ok := sizeOf(priv.N.BitLen())
	switch {
	case !ok:
		return s, fmt.Errorf("mbrsa: a key of %d bits, want 2048, 3072 or 4096: leave others to crypto/rsa", priv.N.BitLen())
	case len(priv.Primes) != 2:
		return s, fmt.Errorf("mbrsa: a key of %d primes, want 2: leave others to crypto/rsa", len(priv.Primes))
	case priv.E&1 == 0 || priv.E < 3 || priv.E > math.MaxInt32:
		return s, fmt.Errorf("mbrsa: the public exponent is %d, want an odd one from 3 to 2^31-1", priv.E)
	}
	for i, p := range priv.Primes {
		if p == nil || p.BitLen() != s.bits/2 {
			return s, fmt.Errorf("mbrsa: prime %d does not have %d bits: leave primes of unequal length to crypto/rsa", i+1, s.bits/2)
		}
	}
	if err := priv.Validate(); err != nil {
		return s, fmt.Errorf("mbrsa: the key is inconsistent: %w", err)
	}
	return s, nil
}

// precomputed is what priv has or would have after Precompute, which writes to the key: it is the caller's.
func precomputed(priv *rsa.PrivateKey) rsa.PrecomputedValues {
	pre := priv.Precomputed
	if pre.Dp != nil && pre.Dq != nil && pre.Qinv != nil {
		return pre
	}
	private := *priv
	private.Precompute()
	return private.Precomputed
}

// newModulus is N with its constants.
func newModulus(n *big.Int, s size) modulus {
	limbs := 2 * s.limbs
	m := modulus{n: make([]uint64, limbs), r: make([]uint64, limbs), rr: make([]uint64, limbs)}
	setInt(m.n, n)
	m.k0 = negInverse(m.n[0])
	powerOfTwo(m.r, m.n, s.bits, limbBits*limbs)
	copy(m.rr, m.r)
	shift(m.rr, m.n, limbBits*limbs)
	return m
}

// set lays a prime and its exponent out, with the constants.
func (h half) set(prime, exp *big.Int, s size) {
	setInt(h.n, prime)
	setInt(h.exp, exp)
	h.k0[0] = negInverse(h.n[0])
	powerOfTwo(h.rr, h.n, s.bits/2, 2*limbBits*s.limbs)
	copy(h.rrr, h.rr)
	shift(h.rrr, h.n, limbBits*s.limbs)
}

// dummy is what runs in lanes that nobody uses: numbers of the same length, so that nothing depends on how many are used.
type dummy struct {
	modulus
	half
}

func newDummy(s size) *dummy {
	ones := func(width int) *big.Int {
		x := new(big.Int).Lsh(big.NewInt(1), uint(width))
		return x.Sub(x, big.NewInt(1))
	}
	take := func() []uint64 { return make([]uint64, s.limbs) }
	d := &dummy{newModulus(ones(s.bits), s), half{take(), take(), take(), take(), make([]uint64, 1)}}
	d.half.set(ones(s.bits/2), ones(s.bits/2), s)
	return d
}

func setInt(x []uint64, i *big.Int) {
	b := i.FillBytes(make([]byte, (limbBits*len(x)+7)/8))
	setBytes(x, 1, b)
	clear(b)
}

// Destroy wipes the key's secrets. An Op with it has an error from now on.
func (k *Key) Destroy() {
	clear(k.secret)
	k.secret = nil
}
