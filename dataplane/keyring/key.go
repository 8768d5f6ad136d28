package keyring

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"io"
	"runtime"
	"weak"

	"github.com/hauberk-mesh/hauberk/accel/keyprovider"
	"github.com/hauberk-mesh/hauberk/accel/keyprovider/batch"
)

// Key is a key that was given to a provider. It lasts for as long as somebody can reach it: a configuration that has it, or a
// handshake that began under an older one. Nobody has to say when it is no longer used, and nobody can be wrong about it: the
// provider wipes a key that it keeps outside of the heap when the garbage collector finds that nobody has it.
type Key struct {
	key      keyprovider.Key
	provider string
}

// identity is one key at one provider: the hash of its public half.
type identity struct {
	provider string
	public   [sha256.Size]byte
}

// Import gives a key to a provider. Equal keys are one Key. The caller's own copy stays with the caller.
func (r *Ring) Import(ctx context.Context, p keyprovider.Provider, private crypto.Signer) (crypto.Signer, error) {
	der, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		return nil, fmt.Errorf("private key: %w", err)
	}
	id := identity{p.Name(), sha256.Sum256(der)}
	if k := r.find(id); k != nil {
		return k.signer(), nil
	}
	made, err := p.Import(ctx, private)
	if err != nil {
		return nil, err
	}
	return r.keep(id, made).signer(), nil
}

func (r *Ring) find(id identity) *Key {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.held[id].Value()
}

// keep returns the Key of made, or the one that somebody else has made meanwhile.
func (r *Ring) keep(id identity, made keyprovider.Key) *Key {
	r.mu.Lock()
	defer r.mu.Unlock()
	if k := r.held[id].Value(); k != nil {
		return k
	}
	k := &Key{key: made, provider: id.provider}
	r.held[id] = weak.Make(k)
	runtime.AddCleanup(k, r.drop, id)
	return k
}

// drop forgets a Key that nobody can reach. A newer one may stand in its place by now.
func (r *Ring) drop(id identity) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held[id].Value() == nil {
		delete(r.held, id)
	}
}

// signer is k with the methods that its kind of key has, and no others: crypto/tls asks whether it can decrypt, and a handshake
// whether it can be taken back.
func (k *Key) signer() crypto.Signer {
	_, cancels := k.key.(keyprovider.Canceller)
	_, decrypts := k.key.(crypto.Decrypter)
	switch {
	case cancels && decrypts:
		return cancellingDecrypter{canceller{k}}
	case cancels:
		return canceller{k}
	case decrypts:
		return decrypter{k}
	}
	return k
}

// Provider names who keeps it.
func (k *Key) Provider() string { return k.provider }

// Public implements crypto.Signer.
func (k *Key) Public() crypto.PublicKey { return k.key.Public() }

// Handle implements keyprovider.Key.
func (k *Key) Handle() ([]byte, error) { return k.key.Handle() }

// Sign implements crypto.Signer.
func (k *Key) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return k.key.Sign(random, digest, opts)
}

// String and GoString keep the key out of logs that were handed one by mistake.
func (k *Key) String() string   { return "key of provider " + k.provider + " (secret)" }
func (k *Key) GoString() string { return k.String() }

// decrypter is a Key of RSA.
type decrypter struct{ *Key }

// Decrypt implements crypto.Decrypter.
func (d decrypter) Decrypt(random io.Reader, msg []byte, opts crypto.DecrypterOpts) ([]byte, error) {
	return d.key.(crypto.Decrypter).Decrypt(random, msg, opts)
}

// canceller is a Key whose operations wait for something.
type canceller struct{ *Key }

// SignContext implements keyprovider.Canceller.
func (c canceller) SignContext(ctx context.Context, random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return c.key.(keyprovider.Canceller).SignContext(ctx, random, digest, opts)
}

// DecryptContext implements keyprovider.Canceller.
func (c canceller) DecryptContext(ctx context.Context, random io.Reader, msg []byte, opts crypto.DecrypterOpts) ([]byte, error) {
	return c.key.(keyprovider.Canceller).DecryptContext(ctx, random, msg, opts)
}

// cancellingDecrypter is both.
type cancellingDecrypter struct{ canceller }

// Decrypt implements crypto.Decrypter.
func (c cancellingDecrypter) Decrypt(random io.Reader, msg []byte, opts crypto.DecrypterOpts) ([]byte, error) {
	return decrypter{c.Key}.Decrypt(random, msg, opts)
}

// Backend is what computes with it: a key of package batch that waits for nobody is one that Go's own code computes with.
func (k *Key) Backend() string {
	if _, queued := k.key.(keyprovider.Canceller); queued && k.provider == batch.Name {
		return batch.BackendIFMA
	}
	return batch.BackendStd
}

// Of names the provider of a certificate's key, and what computes with it; both are empty for a key of no Ring.
func Of(key crypto.PrivateKey) (provider, backend string) {
	k, ok := key.(interface {
		Provider() string
		Backend() string
	})
	if !ok {
		return "", ""
	}
	return k.Provider(), k.Backend()
}

var _ keyprovider.Canceller = canceller{}
