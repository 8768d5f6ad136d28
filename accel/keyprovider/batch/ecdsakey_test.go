package batch

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/hauberk-mesh/hauberk/accel/keyprovider"
	"github.com/hauberk-mesh/hauberk/accel/mbecdsa"
)

var _ keyprovider.Canceller = (*ecdsaKey)(nil)

func newP256(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return private
}

// warm has the standard library make its signatures, and waits for the kernels.
func warm(t *testing.T, p *Provider, k crypto.Signer) {
	t.Helper()
	for range startAfter {
		checkSigns(t, k, k.Public())
	}
	p.ecdsa.workers.Wait()
	if !p.ecdsa.ready.Load() {
		t.Fatal("the kernels are not ready")
	}
}

func TestECDSAKeysSign(t *testing.T) {
	p := newFit(t, nil, nil)
	private := newP256(t)
	k := importKey(t, p, private)
	if _, ok := k.(*ecdsaKey); !ok || !private.PublicKey.Equal(k.Public()) {
		t.Fatalf("is a %T, or has another public key", k)
	}
	if _, ok := k.(crypto.Decrypter); ok {
		t.Error("says that it decrypts")
	}
	ctx, cancel := context.WithCancel(t.Context())
	bound := keyprovider.Bind(ctx, k)
	if _, ok := bound.(crypto.Decrypter); ok {
		t.Error("says that it decrypts, once it is bound")
	}
	warm(t, p, bound)
	cancel()
	if n := queueOf(p, keyprovider.ECDSAP256).Operations(); n != 0 {
		t.Errorf("the kernels made %d of the first signatures", n)
	}
	digest := sha256.Sum256(nil)
	if _, err := bound.Sign(rand.Reader, digest[:], crypto.SHA256); !errors.Is(err, context.Canceled) {
		t.Errorf("bound to a context that has ended: %v", err)
	}
	var callers sync.WaitGroup
	for range 64 {
		callers.Go(func() { checkSigns(t, k, k.Public()) })
	}
	callers.Wait()
	s := queueOf(p, keyprovider.ECDSAP256)
	if s.Operations() != 64 {
		t.Errorf("the kernels made %d of 64 signatures", s.Operations())
	}
	t.Logf("fill %.2f, batches %v", s.Fill(), s.Batches)
	if _, err := private.ECDH(); err != nil {
		t.Errorf("the caller's key was changed: %v", err)
	}
}

// Deterministic signatures, and digests of lengths that no hash function of TLS has, are the standard library's.
func TestECDSAKeysSignTheUnusual(t *testing.T) {
	p := newFit(t, nil, nil)
	private := newP256(t)
	k := importKey(t, p, private)
	warm(t, p, k)
	digest := sha256.Sum256([]byte("message"))
	got, gotErr := k.Sign(nil, digest[:], crypto.SHA256)
	want, wantErr := private.Sign(nil, digest[:], crypto.SHA256)
	if gotErr != nil || wantErr != nil || !bytes.Equal(got, want) {
		t.Errorf("deterministic: %x, %v, want %x, %v", got, gotErr, want, wantErr)
	}
	if _, err := k.Sign(nil, digest[:], crypto.SHA512); err == nil {
		t.Error("deterministic: signed a digest of the wrong length")
	}
	long := sha512.Sum512([]byte("message"))
	for _, digest := range [][]byte{digest[:1], digest[:19], digest[:20], long[:], append(long[:], 1)} {
		got, err := k.Sign(rand.Reader, digest, nil)
		if err != nil || !ecdsa.VerifyASN1(&private.PublicKey, digest, got) {
			t.Errorf("%d bytes: %v, or does not verify", len(digest), err)
		}
	}
}

// faultyECDSA is a kernel that finds a fault in every operation.
type faultyECDSA struct{}

func (faultyECDSA) Run(ops []*mbecdsa.Op) {
	for _, op := range ops {
		op.Sig, op.Err = nil, mbecdsa.ErrFault
	}
}

func TestECDSAFaultsAreComputedAnew(t *testing.T) {
	var log bytes.Buffer
	p := newFit(t, func(b *backend) { b.ecdsaKernel = func() kernel[mbecdsa.Op] { return faultyECDSA{} } }, &log)
	k := importKey(t, p, newP256(t))
	warm(t, p, k)
	checkSigns(t, k, k.Public())
	if s := queueOf(p, keyprovider.ECDSAP256); s.ChecksFailed != 1 || strings.Count(log.String(), "failed its check") != 1 {
		t.Errorf("counted %d, logged\n%s", s.ChecksFailed, &log)
	}
}

func TestECDSAFallsBack(t *testing.T) {
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for reason, c := range map[string]struct {
		change  func(*backend)
		private *ecdsa.PrivateKey
	}{
		ReasonCPU: {func(b *backend) { b.unfitECDSA = func() error { return errors.New("no IFMA") } }, newP256(t)},
		ReasonKey: {nil, p384},
	} {
		p := newFit(t, c.change, nil)
		k := importKey(t, p, c.private)
		checkSigns(t, k, k.Public())
		if p.Stats().Fallbacks[reason] != 1 {
			t.Errorf("%s: %v", reason, p.Stats().Fallbacks)
		}
	}
}

func TestECDSAAfterClose(t *testing.T) {
	p := newFit(t, nil, nil)
	k := importKey(t, p, newP256(t))
	warm(t, p, k)
	p.Close()
	digest := sha256.Sum256(nil)
	for _, random := range []bool{true, false} {
		var err error
		if random {
			_, err = k.Sign(rand.Reader, digest[:], crypto.SHA256)
		} else {
			_, err = k.Sign(nil, digest[:], crypto.SHA256)
		}
		if err == nil || !strings.Contains(err.Error(), "is closed") {
			t.Errorf("got %v", err)
		}
	}
}
