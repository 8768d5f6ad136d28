package memory

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"math/big"
)

// Wipe overwrites what can be reached of an RSA or ECDSA key on the heap. The standard library's own copies can't.
func Wipe(private crypto.PrivateKey) {
	for _, n := range secretsOf(private) {
		if n != nil {
			clear(n.Bits())
		}
	}
}

// secretsOf are the numbers of a key that nobody may know.
func secretsOf(private crypto.PrivateKey) []*big.Int {
	switch private := private.(type) {
	case *rsa.PrivateKey:
		return append([]*big.Int{private.D, private.Precomputed.Dp, private.Precomputed.Dq, private.Precomputed.Qinv}, private.Primes...)
	case *ecdsa.PrivateKey:
		//lint:ignore SA1019 there is no other way to overwrite it
		return []*big.Int{private.D}
	}
	return nil
}
