// Package software keeps private keys in this process's memory. Its handle is the key itself, so whoever stores one stores
// a secret. It is the provider that needs nothing; every other one is measured against it.
package software

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"

	"github.com/hauberk-mesh/hauberk/accel/keyprovider"
)

// Name is the provider's name in stored handles, logs and metrics.
const Name = "software"

const pemType = "PRIVATE KEY" // PKCS #8, RFC 7468 section 10

// Provider makes ECDSA P-256 keys. It has no state.
type Provider struct{}

// New returns a Provider.
func New() *Provider { return &Provider{} }

// Name implements keyprovider.Provider.
func (*Provider) Name() string { return Name }

// Generate implements keyprovider.Provider.
func (*Provider) Generate(_ context.Context, alg keyprovider.Algorithm) (keyprovider.Key, error) {
	if alg != keyprovider.ECDSAP256 {
		return nil, fmt.Errorf("software key provider: makes no %q keys, only %s", alg, keyprovider.ECDSAP256)
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("software key provider: %w", err)
	}
	return &key{private}, nil
}

// Open implements keyprovider.Provider. The handle must be one PKCS #8 block and nothing else. Errors never show it.
func (*Provider) Open(_ context.Context, handle []byte) (keyprovider.Key, error) {
	block, rest := pem.Decode(handle)
	if block == nil {
		return nil, errors.New("software key handle: is not PEM")
	}
	if block.Type != pemType {
		return nil, fmt.Errorf("software key handle: is a PEM block %q instead of %q", block.Type, pemType)
	}
	if len(rest) != 0 {
		return nil, errors.New("software key handle: has something after its PEM block")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("software key handle: is not a PKCS #8 key") // the cause could quote the key
	}
	private, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || private.Curve != elliptic.P256() {
		return nil, fmt.Errorf("software key handle: is not a key of type %s", keyprovider.ECDSAP256)
	}
	return &key{private}, nil
}

type key struct{ private *ecdsa.PrivateKey }

func (k *key) Public() crypto.PublicKey { return k.private.Public() }

func (k *key) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return k.private.Sign(random, digest, opts)
}

func (k *key) Handle() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.private)
	if err != nil {
		return nil, fmt.Errorf("software key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: der}), nil
}

// String and GoString keep the key out of logs that were handed one by mistake.
func (k *key) String() string   { return "software key (secret)" }
func (k *key) GoString() string { return k.String() }
