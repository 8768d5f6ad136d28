// Package memory keeps private keys on this process's heap and computes with crypto/rsa, crypto/ecdsa and crypto/ed25519. It
// is the provider that needs nothing; every other one is measured against it, and falls back to it.
//
// What it does not protect: the key is in ordinary memory, in as many copies as the garbage collector and the standard
// library care to make, and is never wiped. Root, whoever may ptrace the process, a hypervisor, and a bug in this process
// that reads memory beyond its bounds all get the key itself and not just its use; so does a core dump or a swap file.
// Package undumpable takes cores and other processes of the same user off that list. Handles are the keys themselves, so
// whoever stores one stores a secret.
package memory

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"

	"github.com/hauberk-mesh/hauberk/accel/keyprovider"
)

// Name is the provider's name in stored handles, logs and metrics.
const Name = "memory"

// Handles stored under these names are the same bytes: this provider's own of before, and those of package batch, whose keys
// are elsewhere only while the process runs.
const (
	formerName = "software"
	batchName  = "batch"
)

// Provider makes keys on the heap. It has no state.
type Provider struct{}

// New returns a Provider.
func New() *Provider { return &Provider{} }

// Name implements keyprovider.Provider.
func (*Provider) Name() string { return Name }

// Opens implements keyprovider.Provider.
func (*Provider) Opens(provider string) bool {
	return provider == Name || provider == formerName || provider == batchName
}

// Generate implements keyprovider.Provider.
func (p *Provider) Generate(ctx context.Context, alg keyprovider.Algorithm) (keyprovider.Key, error) {
	private, err := Make(alg)
	if err != nil {
		return nil, err
	}
	return p.Import(ctx, private)
}

// Make makes a key that is nobody's yet, for this provider and for those that keep it elsewhere.
func Make(alg keyprovider.Algorithm) (crypto.PrivateKey, error) {
	if alg == keyprovider.ECDSAP256 {
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if bits := alg.RSABits(); bits != 0 {
		return rsa.GenerateKey(rand.Reader, bits)
	}
	return nil, fmt.Errorf("key provider: makes no %q keys, only %s, %s, %s and %s", alg,
		keyprovider.ECDSAP256, keyprovider.RSA2048, keyprovider.RSA3072, keyprovider.RSA4096)
}

// Import implements keyprovider.Provider. It takes what crypto/tls can serve: RSA from 1024 bits, ECDSA on P-256, P-384 and
// P-521, Ed25519. The key's numbers are not copied: whoever gives it changes them no more.
func (*Provider) Import(_ context.Context, private crypto.PrivateKey) (keyprovider.Key, error) {
	switch private := private.(type) {
	case *rsa.PrivateKey:
		if err := checkRSA(private); err != nil {
			return nil, err
		}
		own := *private
		own.Precompute() // one made by hand may lack it, and each operation would do it again
		return &rsaKey{key{&own}}, nil
	case *ecdsa.PrivateKey:
		if err := checkECDSA(private); err != nil {
			return nil, err
		}
		return &key{private}, nil
	case ed25519.PrivateKey:
		if len(private) != ed25519.PrivateKeySize {
			return nil, fmt.Errorf("ed25519 key: has %d bytes instead of %d", len(private), ed25519.PrivateKeySize)
		}
		return &key{private}, nil
	}
	return nil, fmt.Errorf("key provider: takes RSA, ECDSA and Ed25519 keys and no %T", private)
}

func checkRSA(private *rsa.PrivateKey) error {
	if private == nil || private.N == nil {
		return errors.New("RSA key: is empty")
	}
	if bits := private.N.BitLen(); bits < 1024 {
		return fmt.Errorf("RSA key: has %d bits: use 2048 or more", bits)
	}
	if err := private.Validate(); err != nil {
		return errors.New("RSA key: its numbers do not belong together") // the cause could quote them
	}
	return nil
}

func checkECDSA(private *ecdsa.PrivateKey) error {
	if private == nil || private.Curve == nil || !Complete(private) {
		return errors.New("ECDSA key: is empty")
	}
	switch private.Curve {
	case elliptic.P256(), elliptic.P384(), elliptic.P521():
	default:
		return fmt.Errorf("ECDSA key: is on the curve %s: use P-256, P-384 or P-521", private.Curve.Params().Name)
	}
	own, err := private.ECDH() // refuses a private number out of range and a point off the curve
	if err != nil {
		return errors.New("ECDSA key: its numbers are out of range")
	}
	if public, err := private.PublicKey.ECDH(); err != nil || !public.Equal(own.PublicKey()) {
		return errors.New("ECDSA key: private and public half do not belong together")
	}
	return nil
}

// Open implements keyprovider.Provider. The handle must be one PKCS #8 block and nothing else. Errors never show it.
func (p *Provider) Open(ctx context.Context, handle []byte) (keyprovider.Key, error) {
	private, err := DecodeHandle(handle)
	if err != nil {
		return nil, err
	}
	return p.Import(ctx, private)
}

// key is one that signs only; rsaKey decrypts too.
type key struct{ private crypto.Signer }

func (k *key) Public() crypto.PublicKey { return k.private.Public() }

func (k *key) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return k.private.Sign(random, digest, opts)
}

func (k *key) Handle() ([]byte, error) { return EncodeHandle(k.private) }

// String and Format keep the key out of logs that were handed one by mistake, whatever the verb: fmt asks String for some only.
func (k *key) String() string { return "private key in memory (secret)" }

// Format implements fmt.Formatter.
func (k *key) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, k.String()) }

type rsaKey struct{ key }

func (k *rsaKey) Decrypt(random io.Reader, msg []byte, opts crypto.DecrypterOpts) ([]byte, error) {
	return k.private.(*rsa.PrivateKey).Decrypt(random, msg, opts)
}

// Complete tells whether an ECDSA key has its numbers: crypto/ecdsa panics over one without.
func Complete(private *ecdsa.PrivateKey) bool {
	//lint:ignore SA1019 there is no other way to ask
	return private.X != nil && private.Y != nil && private.D != nil
}
