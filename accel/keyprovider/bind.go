package keyprovider

import (
	"context"
	"crypto"
	"io"
)

// Canceller is a Key whose operations wait for something: a queue, another process, a device. Its methods are those of
// crypto.Signer and crypto.Decrypter with a context; they return when it ends, with an error that wraps its cause.
type Canceller interface {
	Key
	SignContext(ctx context.Context, random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error)
	// DecryptContext of a key that is no crypto.Decrypter is never called: Bind looks first.
	DecryptContext(ctx context.Context, random io.Reader, msg []byte, opts crypto.DecrypterOpts) ([]byte, error)
}

// Bind returns a signer (and decrypter, if the given one is) whose operations are taken back when ctx ends. crypto/tls has
// no context in its calls of Sign, so a handshake that may be given up is bound to its own: in GetCertificate, to
// tls.ClientHelloInfo.Context. A signer that doesn't wait is returned as it is.
func Bind(ctx context.Context, signer crypto.Signer) crypto.Signer {
	key, ok := signer.(Canceller)
	if !ok || ctx.Done() == nil {
		return signer
	}
	b := boundSigner{ctx, key}
	if _, ok := signer.(crypto.Decrypter); ok {
		return boundKey{b}
	}
	return b
}

type boundSigner struct {
	ctx context.Context
	key Canceller
}

func (b boundSigner) Public() crypto.PublicKey { return b.key.Public() }

func (b boundSigner) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return b.key.SignContext(b.ctx, random, digest, opts)
}

type boundKey struct{ boundSigner }

func (b boundKey) Decrypt(random io.Reader, msg []byte, opts crypto.DecrypterOpts) ([]byte, error) {
	return b.key.DecryptContext(b.ctx, random, msg, opts)
}
