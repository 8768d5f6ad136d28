// Package keyprovider is where private keys live. A key is made inside a Provider and is used through crypto.Signer;
// nobody outside ever needs its bytes. Software keys are the first provider; batching kernels, a guardian process and
// PKCS#11 tokens are others behind the same interface.
package keyprovider

import (
	"context"
	"crypto"
)

// Algorithm is what a key can be made as.
type Algorithm string

// ECDSAP256 is the default of workload keys and of the built-in authority.
const ECDSAP256 Algorithm = "ecdsa-p256"

// Provider makes keys and finds them again. It is safe for concurrent use.
type Provider interface {
	// Name is the provider's word in logs and metrics: software.
	Name() string
	// Generate makes a new key.
	Generate(ctx context.Context, alg Algorithm) (Key, error)
	// Open finds the key that Key.Handle described, after a restart. An unknown or damaged handle is an error.
	Open(ctx context.Context, handle []byte) (Key, error)
}

// Key is a private key that signs where it lives. Sign is safe for concurrent use.
type Key interface {
	crypto.Signer
	// Handle is what Open needs to find the key again. For a software key it is the key itself (PKCS #8, PEM), so it
	// goes only into files of mode 0600; for protected keys it is a name and no secret.
	Handle() ([]byte, error)
}
