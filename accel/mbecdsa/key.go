package mbecdsa

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"
)

// secret is what a Key keeps: the private key d three times, each for its own use. The second tells when the first was damaged,
// or both wiped (see checkS); the third need only be unpredictable.
type secret struct {
	d    number    // d in Montgomery form modulo n: makes the signature
	rest number    // 1-d modulo n: checks the signature
	seed [8]uint32 // d as big-endian words: seeds the nonce
	_    [16]byte  // to whole cache lines
}

// SecretLen is the size of the secret memory that a Key takes, in bytes.
const SecretLen = int(unsafe.Sizeof(secret{}))

// Key is a private key, laid out for the kernels. It may be used by many Workers at once.
type Key struct {
	secret *secret
	public *ecdsa.PublicKey
	dead   atomic.Bool
}

// NewKey lays priv out in memory, which holds SecretLen bytes or more, begins at a multiple of eight and belongs to the Key
// until Destroy. memory may lie outside the Go heap (memfd_secret). What priv itself holds stays the caller's to dispose of.
func NewKey(priv *ecdsa.PrivateKey, memory []byte) (*Key, error) {
	//lint:ignore SA1019 crypto/ecdsa panics over a key without its numbers, and there is no other way to ask
	if priv == nil || priv.Curve != elliptic.P256() || priv.X == nil || priv.Y == nil || priv.D == nil {
		return nil, errors.New("mbecdsa: not a P-256 private key: only P-256 is computed here, use crypto/ecdsa for other curves")
	}
	if len(memory) < SecretLen {
		return nil, fmt.Errorf("mbecdsa: %d bytes of secret memory for a key: give it SecretLen, %d", len(memory), SecretLen)
	}
	if uintptr(unsafe.Pointer(unsafe.SliceData(memory)))%8 != 0 {
		return nil, errors.New("mbecdsa: the secret memory for a key does not begin at a multiple of 8")
	}
	d, err := priv.Bytes() // fails where d is not in 1..n-1
	if err != nil {
		return nil, fmt.Errorf("mbecdsa: private key: %w", err)
	}
	defer clear(d)
	own, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), d)
	if err != nil {
		return nil, fmt.Errorf("mbecdsa: private key: %w", err)
	}
	if !own.PublicKey.Equal(&priv.PublicKey) {
		return nil, errors.New("mbecdsa: the public key does not belong to the private key")
	}
	k := &Key{secret: (*secret)(unsafe.Pointer(unsafe.SliceData(memory))), public: &own.PublicKey}
	k.secret.fill(d)
	return k, nil
}

// fill writes d, 32 bytes big-endian, in its three forms.
func (s *secret) fill(d []byte) {
	for i := range s.seed {
		s.seed[i] = binary.BigEndian.Uint32(d[4*i:])
	}
	var b struct { // one lane of it is used
		words      [8]words
		x, y, rest element
	}
	for i := range s.seed {
		b.words[i][0] = s.seed[i]
	}
	b.x.setWords(&b.words)
	b.y.setAll(&unit)
	b.rest.sub(&b.y, &b.x)
	n.addMultiple(&b.rest, 1)
	b.rest.carry()
	n.reduce(&b.rest)
	b.y.setAll(&n.rr)
	n.mul(&b.x, &b.x, &b.y)
	n.reduce(&b.x)
	for j := range limbs {
		s.d[j], s.rest[j] = b.x[j][0], b.rest[j][0]
	}
	clear(bytesOf(&b))
}

// Public returns the public key.
func (k *Key) Public() *ecdsa.PublicKey { return k.public }

// Destroy wipes the secret; the memory may be freed once no Run uses the Key any more. A later Run refuses the Key.
func (k *Key) Destroy() {
	if !k.dead.Swap(true) {
		clear(bytesOf(k.secret))
	}
}
