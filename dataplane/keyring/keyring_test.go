package keyring

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/hauberk-mesh/hauberk/accel/keyprovider"
	"github.com/hauberk-mesh/hauberk/accel/keyprovider/batch"
	"github.com/hauberk-mesh/hauberk/accel/keyprovider/memory"
)

// device is a provider whose keys are counted when they are collected, and whose operations wait for somebody.
type device struct {
	*memory.Provider
	name      string
	imports   int
	refuse    error
	collected *atomic.Int32
	hold      chan struct{} // operations wait for it
}

func newDevice(name string) *device {
	return &device{Provider: memory.New(), name: name, collected: &atomic.Int32{}, hold: make(chan struct{})}
}

func (d *device) Name() string { return d.name }

func (d *device) Import(ctx context.Context, private crypto.PrivateKey) (keyprovider.Key, error) {
	d.imports++
	if d.refuse != nil {
		return nil, d.refuse
	}
	k, err := d.Provider.Import(ctx, private)
	if err != nil {
		return nil, err
	}
	made := &deviceKey{k, d}
	runtime.AddCleanup(made, func(n *atomic.Int32) { n.Add(1) }, d.collected)
	if _, ok := k.(crypto.Decrypter); ok {
		return &deviceRSA{made}, nil
	}
	return made, nil
}

type deviceKey struct {
	keyprovider.Key
	d *device
}

func (k *deviceKey) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return k.SignContext(context.Background(), random, digest, opts)
}

func (k *deviceKey) SignContext(ctx context.Context, random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	select {
	case <-k.d.hold:
		return k.Key.Sign(random, digest, opts)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (k *deviceKey) DecryptContext(_ context.Context, random io.Reader, msg []byte, opts crypto.DecrypterOpts) ([]byte, error) {
	return k.Key.(crypto.Decrypter).Decrypt(random, msg, opts)
}

type deviceRSA struct{ *deviceKey }

func (k *deviceRSA) Decrypt(random io.Reader, msg []byte, opts crypto.DecrypterOpts) ([]byte, error) {
	return k.DecryptContext(context.Background(), random, msg, opts)
}

func newECDSA(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestFindAndUse(t *testing.T) {
	a, b := newDevice("a"), newDevice("b")
	r := New(a, b)
	for name, want := range map[string]keyprovider.Provider{"": a, "a": a, "b": b} {
		if got, err := r.Find(name); err != nil || got != want {
			t.Errorf("%q: %v, %v", name, got, err)
		}
	}
	if _, err := r.Find("tpm"); err == nil || err.Error() != `this proxy has no key provider "tpm", only a and b` {
		t.Errorf("got %v", err)
	}
	if r.Current() != keyprovider.Provider(a) || r.Use(a) || !r.Use(b) || r.Use(b) || r.Current() != keyprovider.Provider(b) {
		t.Error("the provider in use is not the one that was chosen")
	}
	if got := r.Status(); got != (Status{"b", "std", "chosen", "it was chosen"}) {
		t.Errorf("status %+v", got)
	}
}

// TestKeysAreKeptOnce: equal keys are one at a provider, another provider's is another one, and both work as what they are.
func TestKeysAreKeptOnce(t *testing.T) {
	a, b := newDevice("a"), newDevice("b")
	close(a.hold)
	close(b.hold)
	r := New(a, b)
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	var all []crypto.Signer
	for _, p := range []keyprovider.Provider{a, a, b} {
		k, err := r.Import(t.Context(), p, private)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, k)
		digest := sha256.Sum256([]byte("message"))
		sig, err := k.Sign(rand.Reader, digest[:], crypto.SHA256)
		if err != nil || rsa.VerifyPKCS1v15(&private.PublicKey, crypto.SHA256, digest[:], sig) != nil {
			t.Errorf("sign: %v", err)
		}
		sealed, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, &private.PublicKey, []byte("secret"), nil)
		if err != nil {
			t.Fatal(err)
		}
		open, err := k.(crypto.Decrypter).Decrypt(rand.Reader, sealed, &rsa.OAEPOptions{Hash: crypto.SHA256})
		if err != nil || string(open) != "secret" {
			t.Errorf("decrypt: %q, %v", open, err)
		}
		if name, backend := Of(k); name != p.Name() || backend != "std" {
			t.Errorf("kept by %q (%s), want %q", name, backend, p.Name())
		}
		if s := fmt.Sprintf("%v %+v %#v", k, k, k); strings.Contains(s, private.D.String()) || !strings.Contains(s, "(secret)") {
			t.Errorf("shown as %s", s)
		}
	}
	if a.imports != 1 || b.imports != 1 || all[0] != all[1] || all[0] == all[2] {
		t.Errorf("%d and %d imports", a.imports, b.imports)
	}
	small, err := r.Import(t.Context(), a, newECDSA(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := small.(crypto.Decrypter); ok {
		t.Error("a key of ECDSA decrypts")
	}
	a.refuse = errors.New("full")
	if _, err := r.Import(t.Context(), a, newECDSA(t)); !errors.Is(err, a.refuse) {
		t.Errorf("got %v", err)
	}
	if name, backend := Of(private); name != "" || backend != "" {
		t.Error("a bare key has a provider")
	}
	real := batch.New(batch.Options{})
	defer real.Close()
	k, err := New(real).Import(t.Context(), real, private)
	if name, backend := Of(k); err != nil || name != "batch" || backend != real.Status().Backend {
		t.Errorf("kept by %q (%s), %v", name, backend, err)
	}
	if _, ok := k.(keyprovider.Canceller); ok != (real.Status().Backend == batch.BackendIFMA) {
		t.Error("what a batch computes can't be taken back")
	}
}

// collect runs the garbage collector until f is true; finalising takes a few turns.
func collect(f func() bool) bool {
	for range 100 {
		runtime.GC()
		if f() {
			return true
		}
		runtime.Gosched()
	}
	return false
}

// TestKeysAreGivenUp when nobody can reach them: not while an operation is under way, whoever has let go of the key meanwhile.
func TestKeysAreGivenUp(t *testing.T) {
	d := newDevice("d")
	r := New(d)
	private := newECDSA(t)
	signed := make(chan error, 1)
	func() {
		k, err := r.Import(t.Context(), d, private)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			digest := sha256.Sum256([]byte("message"))
			_, err := k.Sign(rand.Reader, digest[:], crypto.SHA256)
			signed <- err
		}()
	}()
	gone := func() bool { return d.collected.Load() == 1 }
	for range 3 {
		if runtime.GC(); gone() {
			t.Fatal("given up under an operation")
		}
	}
	close(d.hold)
	if err := <-signed; err != nil {
		t.Fatal(err)
	}
	forgotten := func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.held) == 0
	}
	if !collect(gone) || !collect(forgotten) {
		t.Fatal("not given up")
	}
	// And it can be given again.
	if _, err := r.Import(t.Context(), d, private); err != nil || d.imports != 2 {
		t.Errorf("%d imports, %v", d.imports, err)
	}
}

// TestCancel: an operation that waits is taken back with the handshake that wanted it.
func TestCancel(t *testing.T) {
	d := newDevice("d")
	r := New(d)
	k, err := r.Import(t.Context(), d, newECDSA(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := keyprovider.Bind(ctx, k).Sign(rand.Reader, make([]byte, 32), crypto.SHA256); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if _, ok := k.(crypto.Decrypter); ok {
		t.Error("a key of ECDSA decrypts")
	}
	plain := memory.New()
	k, err = New(plain).Import(t.Context(), plain, newECDSA(t))
	if _, ok := k.(keyprovider.Canceller); ok || err != nil {
		t.Errorf("a key that waits for nothing can be taken back, %v", err)
	}
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	k, err = New(plain).Import(t.Context(), plain, private)
	if _, ok := k.(keyprovider.Canceller); ok || err != nil {
		t.Errorf("a key that waits for nothing can be taken back, %v", err)
	}
	sealed, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, &private.PublicKey, []byte("secret"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if open, err := k.(crypto.Decrypter).Decrypt(rand.Reader, sealed, &rsa.OAEPOptions{Hash: crypto.SHA256}); err != nil || string(open) != "secret" {
		t.Errorf("%q, %v", open, err)
	}
}

// TestImportsAtOnce of one key give one Key.
func TestImportsAtOnce(t *testing.T) {
	d := &slow{device: newDevice("d"), both: make(chan struct{})}
	r := New(d)
	private := newECDSA(t)
	var keys [2]crypto.Signer
	var all sync.WaitGroup
	for i := range keys {
		all.Go(func() {
			k, err := r.Import(context.Background(), d, private)
			if err != nil {
				t.Error(err)
			}
			keys[i] = k
		})
	}
	all.Wait()
	if keys[0] != keys[1] || d.imports != 2 {
		t.Errorf("%v and %v, %d imports", keys[0], keys[1], d.imports)
	}
}

// slow has two imports meet.
type slow struct {
	*device
	mu   sync.Mutex
	n    int
	both chan struct{}
}

func (s *slow) Import(ctx context.Context, private crypto.PrivateKey) (keyprovider.Key, error) {
	s.mu.Lock()
	k, err := s.device.Import(ctx, private)
	if s.n++; s.n == 2 {
		close(s.both)
	}
	s.mu.Unlock()
	<-s.both
	return k, err
}
