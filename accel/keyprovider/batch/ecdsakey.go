package batch

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"errors"
	"io"
	"runtime"
	"sync/atomic"

	"github.com/hauberk-mesh/hauberk/accel/keyprovider"
	"github.com/hauberk-mesh/hauberk/accel/keyprovider/memory"
	"github.com/hauberk-mesh/hauberk/accel/mbecdsa"
)

// startAfter is how many ECDSA signatures of the whole process the standard library makes before the kernels come. They need
// a table of 190 KB that costs as much as a thousand signatures save: most sidecars never need it, and none at its start.
const startAfter = 256

// ecdsaQueue is the queue of package mbecdsa, and whether it runs yet.
type ecdsaQueue struct {
	*queue[mbecdsa.Op]
	signed atomic.Int64
	ready  atomic.Bool
}

func newECDSAQueue(limit int, newKernel func() kernel[mbecdsa.Op]) *ecdsaQueue {
	q := newQueue(keyprovider.ECDSAP256, passes{mbecdsa.Ops, mbecdsa.Ops}, limit, newKernel)
	q.faulty = func(op *mbecdsa.Op) bool { return errors.Is(op.Err, mbecdsa.ErrFault) }
	return &ecdsaQueue{queue: q}
}

// started counts a signature and says whether the kernels are there for it.
func (q *ecdsaQueue) started() bool {
	if q.ready.Load() {
		return true
	}
	if q.signed.Add(1) == startAfter {
		q.prepare(func() { q.ready.Store(true) })
	}
	return false
}

// ecdsaKey is a P-256 key whose signatures are made by package mbecdsa. Sign returns what *ecdsa.PrivateKey's would.
type ecdsaKey struct {
	kept
	queue *ecdsaQueue
	key   *mbecdsa.Key
}

// newECDSAKey lays a key out in secret memory, or says why not.
func (p *Provider) newECDSAKey(private *ecdsa.PrivateKey) (*ecdsaKey, Status) {
	if s := p.Status(); s.Backend != BackendIFMA {
		return nil, s
	}
	if p.noECDSA != nil {
		return nil, Status{BackendStd, ReasonCPU, p.noECDSA.Error()}
	}
	if private == nil || private.Curve != elliptic.P256() || !memory.Complete(private) {
		return nil, Status{BackendStd, ReasonKey, "it is not whole, or its curve is not P-256"}
	}
	if _, err := private.ECDH(); err != nil {
		return nil, Status{BackendStd, ReasonKey, "it is damaged"} // package memory refuses it, and says so
	}
	kept, why := p.keep(private, mbecdsa.SecretLen)
	if why.Backend != "" {
		return nil, why
	}
	key, err := mbecdsa.NewKey(private, kept.slot.bytes[:mbecdsa.SecretLen])
	if err != nil {
		p.arena.give(kept.slot)
		return nil, Status{BackendStd, ReasonKey, err.Error()}
	}
	k := &ecdsaKey{kept, p.ecdsa, key}
	runtime.AddCleanup(k, p.arena.give, k.slot)
	return k, Status{}
}

// Public implements crypto.Signer.
func (k *ecdsaKey) Public() crypto.PublicKey { return k.key.Public() }

// Sign implements crypto.Signer.
func (k *ecdsaKey) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return k.SignContext(context.Background(), random, digest, opts)
}

// SignContext implements keyprovider.Canceller. Without random the signature is to be deterministic (RFC 6979), and digests
// may have any length: what the kernels don't do, the standard library does.
func (k *ecdsaKey) SignContext(ctx context.Context, random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if random == nil || len(digest) < 20 || len(digest) > 64 || !k.queue.started() {
		return k.signOnHeap(random, digest, opts)
	}
	j := &job[mbecdsa.Op]{op: mbecdsa.Op{Key: k.key, Digest: append([]byte(nil), digest...)}, keep: k}
	if err := k.queue.do(ctx, j); err != nil {
		return nil, err
	}
	if errors.Is(j.op.Err, mbecdsa.ErrFault) {
		return k.signOnHeap(random, digest, opts)
	}
	return j.op.Sig, j.op.Err
}

// DecryptContext implements keyprovider.Canceller, which asks for it: nobody calls it.
func (k *ecdsaKey) DecryptContext(context.Context, io.Reader, []byte, crypto.DecrypterOpts) ([]byte, error) {
	return nil, errors.New("ECDSA key: cannot decrypt")
}

func (k *ecdsaKey) signOnHeap(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	private, err := k.onHeap()
	runtime.KeepAlive(k)
	if err != nil {
		return nil, err
	}
	own := private.(*ecdsa.PrivateKey)
	defer memory.Wipe(own)
	return own.Sign(random, digest, opts)
}

// Handle implements keyprovider.Key.
func (k *ecdsaKey) Handle() ([]byte, error) {
	defer runtime.KeepAlive(k)
	return k.handle()
}
