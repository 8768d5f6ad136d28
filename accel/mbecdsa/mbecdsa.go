// Package mbecdsa makes ECDSA P-256 signatures, eight at a time, each with a key and a nonce of its own: the eight are lanes
// of AVX-512 IFMA vectors. It knows no hash function of the message, no certificate and no queue; whoever calls it collects
// the operations. It is not for one signature: that costs as much as eight.
//
// Start at Supported, NewKey and Worker.Run. pass.go is the way of one batch from nonces to checked signatures; comb.go
// multiplies the base point, field.go computes modulo p and n, nonce.go draws. Each primitive exists twice: in Go, for every
// architecture, and as an assembly kernel with the same operands, made by gen. README.md says why it takes constant time
// and what is checked.
package mbecdsa

//go:generate go run ./gen

import "errors"

// Ops is the number of signatures that one pass makes side by side.
const Ops = 8

// ErrFault says that a signature did not agree with its own recomputation and was withheld: a fault of the hardware, memory
// that changed, or a key that was destroyed meanwhile. The same operation elsewhere (crypto/ecdsa) is safe.
var ErrFault = errors.New("mbecdsa: the signature failed its check and was withheld: a fault in memory or CPU")

// Op is one signature to make.
type Op struct {
	Key    *Key
	Digest []byte // of the message: 20 to 64 bytes; of a longer one than 32 bytes the first 32 count (FIPS 186-5, section 6.4.1)
	Sig    []byte // after Run: the signature in ASN.1 (RFC 3279, section 2.2.3), appended to Sig[:0]; nil where Err is set
	Err    error  // after Run: nil, ErrFault, or what is wrong with Key or Digest
}

// Supported says whether the kernels run on this CPU and operating system: nil, or what is missing. Where they do not, a
// Worker computes the same in Go, slower than crypto/ecdsa: use that instead.
func Supported() error { return missing() }
