package batch

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"io"
	"runtime"

	"github.com/hauberk-mesh/hauberk/accel/keyprovider/memory"
	"github.com/hauberk-mesh/hauberk/accel/mbrsa"
	"github.com/hauberk-mesh/hauberk/accel/rsapad"
)

// rsaKey is a key whose operations are computed by package mbrsa. Its methods return what *rsa.PrivateKey's would.
type rsaKey struct {
	kept
	queue *queue[mbrsa.Op]
	key   *mbrsa.Key
}

// newRSAKey lays a key out in secret memory, or says why not.
func (p *Provider) newRSAKey(private *rsa.PrivateKey) (*rsaKey, Status) {
	if s := p.Status(); s.Backend != BackendIFMA {
		return nil, s
	}
	if private == nil || private.N == nil || mbrsa.SecretLen(private.N.BitLen()) == 0 {
		return nil, Status{BackendStd, ReasonKey, "its size is none of 2048, 3072 and 4096 bits"}
	}
	if err := private.Validate(); err != nil {
		return nil, Status{BackendStd, ReasonKey, "it is damaged"} // package memory refuses it, and says so
	}
	own := *private // marshalling may write to it
	n := mbrsa.SecretLen(private.N.BitLen())
	kept, why := p.keep(&own, n)
	if why.Backend != "" {
		return nil, why
	}
	key, err := mbrsa.NewKey(private, kept.slot.bytes[:n])
	if err != nil {
		p.arena.give(kept.slot)
		return nil, Status{BackendStd, ReasonKey, err.Error()}
	}
	k := &rsaKey{kept, p.rsa[private.N.BitLen()], key}
	runtime.AddCleanup(k, p.arena.give, k.slot)
	return k, Status{}
}

// Public implements crypto.Signer.
func (k *rsaKey) Public() crypto.PublicKey { return k.key.Public() }

// Sign implements crypto.Signer.
func (k *rsaKey) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return k.SignContext(context.Background(), random, digest, opts)
}

// Decrypt implements crypto.Decrypter.
func (k *rsaKey) Decrypt(random io.Reader, msg []byte, opts crypto.DecrypterOpts) ([]byte, error) {
	return k.DecryptContext(context.Background(), random, msg, opts)
}

// SignContext implements keyprovider.Canceller.
func (k *rsaKey) SignContext(ctx context.Context, random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	em, err := rsapad.Encode(k.key.Public(), random, digest, opts)
	if err != nil {
		return nil, err
	}
	signature, err := k.compute(ctx, em)
	if errors.Is(err, mbrsa.ErrFault) {
		return k.again(func(private *rsa.PrivateKey) ([]byte, error) { return private.Sign(orDefault(random), digest, opts) })
	}
	return signature, err
}

// DecryptContext implements keyprovider.Canceller.
func (k *rsaKey) DecryptContext(ctx context.Context, random io.Reader, msg []byte, opts crypto.DecrypterOpts) ([]byte, error) {
	d, err := rsapad.NewDecryption(k.key.Public(), random, msg, opts)
	if err != nil {
		return nil, err
	}
	em, err := k.compute(ctx, d.In)
	if errors.Is(err, mbrsa.ErrFault) {
		return k.again(func(private *rsa.PrivateKey) ([]byte, error) { return private.Decrypt(orDefault(random), msg, opts) })
	}
	if err != nil {
		return nil, err
	}
	return d.Finish(em)
}

// compute raises in to the private exponent, in place: from here on it is the queue's.
func (k *rsaKey) compute(ctx context.Context, in []byte) ([]byte, error) {
	j := &job[mbrsa.Op]{op: mbrsa.Op{Key: k.key, In: in, Out: in}, keep: k}
	if err := k.queue.do(ctx, j); err != nil {
		return nil, err
	}
	return j.op.Out, j.op.Err
}

// again computes with the standard library what failed its check.
func (k *rsaKey) again(operation func(*rsa.PrivateKey) ([]byte, error)) ([]byte, error) {
	private, err := k.onHeap()
	runtime.KeepAlive(k)
	if err != nil {
		return nil, err
	}
	own := private.(*rsa.PrivateKey)
	defer memory.Wipe(own)
	return operation(own)
}

// Handle implements keyprovider.Key.
func (k *rsaKey) Handle() ([]byte, error) {
	defer runtime.KeepAlive(k)
	return k.handle()
}

func orDefault(random io.Reader) io.Reader {
	if random == nil {
		return rand.Reader
	}
	return random
}
