// Package mbrsa computes RSA private operations, four side by side, on the 52-bit multipliers of AVX-512 (IFMA). A vector has
// eight lanes: the halves mod p and mod q of four operations, each lane with its own modulus and exponent, so that different
// keys share a pass. A lone operation takes most of the time of four, and less than half of what crypto/rsa takes.
//
// It computes x^d mod N and nothing else: it knows no padding, no queue and no key store. It is constant time in the key and
// in the operands, and lets no result out that it did not check with the public exponent.
//
// Start at Worker.Run; pass.go is one pass from top to bottom, README.md tells how and why. Every kernel in assembly has a
// twin in portable Go (portable.go), which is its oracle in tests and what runs on other machines.
package mbrsa

import (
	"crypto/rsa"
	"errors"
)

// Ops is how many operations one pass computes. Two passes share one check of their results: a multiple of 8 is the cheapest
// an operation, 4 the shortest wait.
const Ops = 4

// Op is one operation. Run fills in Out and Err.
type Op struct {
	Key *Key
	In  []byte // big-endian, Key.Size() bytes, less than N
	Out []byte // Key.Size() bytes; may be In
	Err error  // why Out is all zeroes; nil: it is In^d mod N
}

// ErrFault says that a result, raised to the public exponent, was not the input. Whoever learned such a result could factor
// the modulus (Boneh, DeMillo, Lipton: "On the Importance of Checking Cryptographic Protocols for Faults").
var ErrFault = errors.New("mbrsa: the result failed its check with the public exponent: " +
	"the processor, the memory or the key is damaged")

// size is all that depends on the length of the modulus.
type size struct {
	bits   int // of N
	limbs  int // of a half; N takes twice as many
	window int // bits of the exponent a multiplication: 4, for pick has sixteen entries, and no window crosses limbs
}

// The limbs leave at least 16 bits above a half, so that no product needs a final subtraction before the next (Walter:
// "Montgomery exponentiation needs no final subtractions").
var sizes = [...]size{{2048, 20, 4}, {3072, 30, 4}, {4096, 40, 4}}

func sizeOf(bits int) (size, bool) {
	for _, s := range sizes {
		if s.bits == bits {
			return s, true
		}
	}
	return size{}, false
}

// SecretLen is how many bytes of memory a Key of so many bits keeps its secrets in; 0: not a size that can be computed here.
func SecretLen(bits int) int {
	s, ok := sizeOf(bits)
	if !ok {
		return 0
	}
	return 8 * secretWords(s)
}

// Public is the key's public half.
func (k *Key) Public() *rsa.PublicKey { return k.public }

// Size is the length of the modulus in bytes.
func (k *Key) Size() int { return k.size.bits / 8 }
