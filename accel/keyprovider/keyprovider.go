// Package keyprovider is where private keys live and who computes with them. A key is made inside a Provider, or given to
// it once, and is used through crypto.Signer and crypto.Decrypter; nobody outside ever needs its bytes again. The providers
// are below: package memory (the Go heap and the standard library) and package batch (secret memory and multi-buffer
// kernels). Others, in other processes and devices, stand behind the same interface.
//
// It is not a store: a Key lasts as long as the Provider, and Handle is what to keep across a restart. README.md says what
// each provider protects and how to add one.
package keyprovider

import (
	"context"
	"crypto"
)

// Algorithm is what a key can be made as.
type Algorithm string

const (
	ECDSAP256 Algorithm = "ecdsa-p256" // the default of workload keys and of the built-in authority
	RSA2048   Algorithm = "rsa-2048"
	RSA3072   Algorithm = "rsa-3072"
	RSA4096   Algorithm = "rsa-4096"
)

// RSABits is the length of the modulus; 0: no RSA key.
func (a Algorithm) RSABits() int {
	switch a {
	case RSA2048:
		return 2048
	case RSA3072:
		return 3072
	case RSA4096:
		return 4096
	}
	return 0
}

// Provider makes keys and finds them again. It is safe for concurrent use.
type Provider interface {
	// Name is the provider's word in stored handles, logs and metrics.
	Name() string
	// Generate makes a new key.
	Generate(ctx context.Context, alg Algorithm) (Key, error)
	// Open finds the key that Key.Handle described, after a restart. An unknown or damaged handle is an error.
	Open(ctx context.Context, handle []byte) (Key, error)
	// Opens tells whether Open understands handles that were stored under a provider's name: its own, and those of
	// providers whose handles are the same thing. Whoever keeps handles keeps the name with them, and asks here first.
	Opens(provider string) bool
	// Import takes in a key that was made elsewhere (a certificate's, from a file or a Secret). What the caller does with
	// its own copy is the caller's business: best is to drop it. A provider that takes none says so in the error.
	Import(ctx context.Context, private crypto.PrivateKey) (Key, error)
}

// Key is a private key that signs where it lives; an RSA key is a crypto.Decrypter too. Options and errors are those of
// crypto/rsa and crypto/ecdsa. It is safe for concurrent use.
type Key interface {
	crypto.Signer
	// Handle is what Open needs to find the key again. For a key in this process it is the key itself (PKCS #8, PEM), so
	// it goes only into files of mode 0600; for keys elsewhere it is a name and no secret.
	Handle() ([]byte, error)
}
