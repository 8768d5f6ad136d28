package batch

//lint:file-ignore SA1019 what is deprecated is what users have: PKCS #1 v1.5 decryption, keys of three primes

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/hauberk-mesh/hauberk/accel/keyprovider"
	"github.com/hauberk-mesh/hauberk/accel/keyprovider/memory"
	"github.com/hauberk-mesh/hauberk/accel/mbrsa"
)

var (
	_ keyprovider.Provider  = (*Provider)(nil)
	_ keyprovider.Canceller = (*rsaKey)(nil)
	_ crypto.Decrypter      = (*rsaKey)(nil)
)

// keyOf reads a key of so many bits: making one takes seconds.
func keyOf(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	handle, err := os.ReadFile(fmt.Sprintf("testdata/rsa-%d.pem", bits))
	if err != nil {
		t.Fatal(err)
	}
	key, err := memory.DecodeHandle(handle)
	if err != nil {
		t.Fatal(err)
	}
	return key.(*rsa.PrivateKey)
}

// newFit is a provider that takes the kernels for granted: on CPUs without them mbrsa's portable code does the same. With
// no secret memory on this machine it takes the heap.
func newFit(t testing.TB, change func(*backend), log *bytes.Buffer) *Provider {
	t.Helper()
	b := machine()
	b.unfit, b.unfitECDSA = func() Status { return Status{} }, func() error { return nil }
	if _, free, err := mapSecret(chunkSize); err != nil {
		b.arena = newArena(func(size int) ([]byte, func(), error) {
			mem := make([]byte, size) // of a size class that is aligned to pages
			return mem, func() {}, nil
		})
	} else {
		free()
	}
	if change != nil {
		change(&b)
	}
	var o Options
	if log != nil {
		o.Logger = slog.New(slog.NewTextHandler(log, nil))
	}
	p := newProvider(o, b)
	t.Cleanup(p.Close)
	return p
}

func queueOf(p *Provider, alg keyprovider.Algorithm) QueueStats {
	s := p.Stats()
	return s.Queues[slices.IndexFunc(s.Queues, func(q QueueStats) bool { return q.Algorithm == alg })]
}

func importKey(t testing.TB, p keyprovider.Provider, private crypto.PrivateKey) keyprovider.Key {
	t.Helper()
	k, err := p.Import(context.Background(), private)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// checkAgainst compares a key's results with crypto/rsa's: PKCS #1 v1.5 to the byte, PSS by its verification, decryption both ways.
func checkAgainst(t *testing.T, k crypto.Signer, private *rsa.PrivateKey) {
	t.Helper()
	digest := sha512.Sum384([]byte("message"))
	want, err := private.Sign(nil, digest[:], crypto.SHA384)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := k.Sign(rand.Reader, digest[:], crypto.SHA384); err != nil || !bytes.Equal(got, want) {
		t.Errorf("PKCS #1 v1.5: %v, or another signature", err)
	}
	pss := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA384}
	got, err := k.Sign(rand.Reader, digest[:], pss)
	if err != nil {
		t.Fatal(err)
	}
	if err := rsa.VerifyPSS(&private.PublicKey, crypto.SHA384, digest[:], got, pss); err != nil {
		t.Errorf("PSS: %v", err)
	}

	for _, opts := range []crypto.DecrypterOpts{nil, &rsa.PKCS1v15DecryptOptions{SessionKeyLen: 7}} {
		sealed, err := rsa.EncryptPKCS1v15(rand.Reader, &private.PublicKey, []byte("message"))
		if err != nil {
			t.Fatal(err)
		}
		if plain, err := k.(crypto.Decrypter).Decrypt(rand.Reader, sealed, opts); err != nil || string(plain) != "message" {
			t.Errorf("PKCS #1 v1.5 decrypts to %q, %v", plain, err)
		}
	}
	sealed, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, &private.PublicKey, []byte("message"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := k.(crypto.Decrypter).Decrypt(nil, sealed, &rsa.OAEPOptions{Hash: crypto.SHA256}); err != nil || string(plain) != "message" {
		t.Errorf("OAEP decrypts to %q, %v", plain, err)
	}
	sealed[0] ^= 1
	if plain, err := k.(crypto.Decrypter).Decrypt(nil, sealed, &rsa.OAEPOptions{Hash: crypto.SHA256}); !errors.Is(err, rsa.ErrDecryption) {
		t.Errorf("OAEP, damaged, decrypts to %q, %v", plain, err)
	}
	if _, err := k.Sign(rand.Reader, digest[1:], crypto.SHA384); err == nil {
		t.Error("signed a digest of the wrong length")
	}
}

func TestKeysComputeWhatCryptoRSADoes(t *testing.T) {
	p := newFit(t, nil, nil)
	for _, bits := range []int{2048, 3072, 4096} {
		t.Run(fmt.Sprint(bits), func(t *testing.T) {
			private := keyOf(t, bits)
			k := importKey(t, p, private)
			if _, ok := k.(*rsaKey); !ok {
				t.Fatalf("is a %T", k)
			}
			if !private.PublicKey.Equal(k.Public()) {
				t.Error("has another public key")
			}
			checkAgainst(t, k, private)
			if err := private.Validate(); err != nil {
				t.Errorf("the caller's key was changed: %v", err)
			}
		})
	}
}

func TestHandleFindsTheSameKey(t *testing.T) {
	p := newFit(t, nil, nil)
	for _, alg := range []keyprovider.Algorithm{keyprovider.RSA2048, keyprovider.ECDSAP256} {
		t.Run(string(alg), func(t *testing.T) {
			made, err := p.Generate(t.Context(), alg)
			if err != nil {
				t.Fatal(err)
			}
			handle, err := made.Handle()
			if err != nil {
				t.Fatal(err)
			}
			for _, provider := range []keyprovider.Provider{p, memory.New()} {
				if !provider.Opens(p.Name()) {
					t.Errorf("%s does not open handles of %s", provider.Name(), p.Name())
				}
				found, err := provider.Open(t.Context(), handle)
				if err != nil {
					t.Fatal(err)
				}
				again, err := found.Handle()
				if err != nil || !bytes.Equal(handle, again) {
					t.Errorf("%s: handle changed on the way (%v)", provider.Name(), err)
				}
				checkSigns(t, found, made.Public())
			}
			checkSigns(t, made, made.Public())
		})
	}
	for _, name := range []string{"batch", "memory", "software"} {
		if !p.Opens(name) {
			t.Errorf("does not open handles of %s", name)
		}
	}
	if p.Opens("guardian") {
		t.Error("opens handles of a guardian")
	}
	if _, err := p.Open(t.Context(), []byte("hello")); err == nil {
		t.Error("opened something that is no handle")
	}
	if _, err := p.Generate(t.Context(), "rsa-1024"); err == nil {
		t.Error("made a key of an algorithm that it does not have")
	}
}

func checkSigns(t *testing.T, k crypto.Signer, public crypto.PublicKey) {
	t.Helper()
	digest := sha256.Sum256([]byte("message"))
	signature, err := k.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	switch public := public.(type) {
	case *rsa.PublicKey:
		err = rsa.VerifyPKCS1v15(public, crypto.SHA256, digest[:], signature)
	case *ecdsa.PublicKey:
		if !ecdsa.VerifyASN1(public, digest[:], signature) {
			err = errors.New("does not verify")
		}
	}
	if err != nil {
		t.Error(err)
	}
}

// faulty is a kernel that finds a fault in every operation.
type faulty struct{}

func (faulty) Run(ops []*mbrsa.Op) {
	for _, op := range ops {
		clear(op.Out)
		op.Err = mbrsa.ErrFault
	}
}

func TestFaultsAreComputedAnew(t *testing.T) {
	var log bytes.Buffer
	p := newFit(t, func(b *backend) { b.rsaKernel = func(int) kernel[mbrsa.Op] { return faulty{} } }, &log)
	private := keyOf(t, 2048)
	k := importKey(t, p, private)
	checkAgainst(t, k, private)
	if err := private.Validate(); err != nil {
		t.Errorf("the caller's key was wiped: %v", err)
	}
	digest := sha256.Sum256(nil)
	if _, err := k.Sign(nil, digest[:], &rsa.PSSOptions{Hash: crypto.SHA256}); err != nil {
		t.Error(err)
	}
	s := queueOf(p, keyprovider.RSA2048)
	if s.ChecksFailed != 7 || strings.Count(log.String(), "failed its check") != 7 {
		t.Errorf("counted %d and logged %d of 7", s.ChecksFailed, strings.Count(log.String(), "failed its check"))
	}
}

// Each case is one reason why the standard library computes.
func TestFallsBack(t *testing.T) {
	full := errors.New("RLIMIT_MEMLOCK is used up")
	odd, err := rsa.GenerateKey(rand.Reader, 2056)
	if err != nil {
		t.Fatal(err)
	}
	multi, err := rsa.GenerateMultiPrimeKey(rand.Reader, 3, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change  func(*backend)
		private *rsa.PrivateKey
		reason  string
		atStart bool
	}{
		"CPU":         {func(b *backend) { b.unfit = func() Status { return Status{BackendStd, ReasonCPU, "no IFMA"} } }, keyOf(t, 2048), ReasonCPU, true},
		"FIPS":        {func(b *backend) { b.unfit = func() Status { return Status{BackendStd, ReasonFIPS, "FIPS"} } }, keyOf(t, 2048), ReasonFIPS, true},
		"no memory":   {func(b *backend) { b.arena = newArena(func(int) ([]byte, func(), error) { return nil, nil, full }) }, keyOf(t, 2048), ReasonMemory, true},
		"size":        {nil, odd, ReasonKey, false},
		"multi-prime": {nil, multi, ReasonKey, false},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			p := newFit(t, c.change, &log)
			for range 2 {
				checkAgainst(t, importKey(t, p, c.private), c.private)
			}
			if n := p.Stats().Fallbacks[c.reason]; n != 2 {
				t.Errorf("counted %d of 2: %v", n, p.Stats().Fallbacks)
			}
			if strings.Count(log.String(), "level=WARN") != 1 || !strings.Contains(log.String(), "reason="+c.reason) {
				t.Errorf("want one warning with the reason %s:\n%s", c.reason, &log)
			}
			if s := p.Status(); (s.Backend == BackendStd) != c.atStart || (s.Reason == c.reason) != c.atStart {
				t.Errorf("%+v", s)
			}
		})
	}
}

// RLIMIT_MEMLOCK ends in the middle: what has its place keeps it, what comes later goes to the heap.
func TestSecretMemoryIsUsedUp(t *testing.T) {
	chunks := &heapChunks{t: t, most: 1}
	var log bytes.Buffer
	p := newFit(t, func(b *backend) { b.arena = newArena(chunks.new) }, &log)
	private := keyOf(t, 2048)
	var kept []keyprovider.Key
	protected := 0
	for range 40 {
		k := importKey(t, p, private)
		if _, ok := k.(*rsaKey); ok {
			protected++
		}
		kept = append(kept, k)
	}
	if protected == 0 || protected == len(kept) || p.Stats().Fallbacks[ReasonMemory] != uint64(len(kept)-protected) {
		t.Errorf("%d of %d are protected, %v fell back", protected, len(kept), p.Stats().Fallbacks)
	}
	if strings.Count(log.String(), "level=WARN") != 1 || !strings.Contains(log.String(), "used up") {
		t.Errorf("want one warning:\n%s", &log)
	}
	checkAgainst(t, kept[0], private)
	checkAgainst(t, kept[len(kept)-1], private)
	if s := p.Status(); s.Backend != BackendIFMA {
		t.Errorf("%+v", s)
	}
}

// A key that nobody has any more gives its secret memory back.
func TestDroppedKeysAreWiped(t *testing.T) {
	chunks := &heapChunks{t: t, most: 100} // checks that what is freed is zero
	p := newFit(t, func(b *backend) { b.arena = newArena(chunks.new) }, nil)
	for range 40 {
		importKey(t, p, keyOf(t, 2048))
	}
	for range 1000 {
		runtime.GC()
		p.arena.mu.Lock()
		left := len(p.arena.chunks)
		p.arena.mu.Unlock()
		if left == 0 {
			return
		}
		runtime.Gosched()
	}
	t.Error("chunks are left")
}

func TestInvalidKeysAreRefused(t *testing.T) {
	good := keyOf(t, 2048)
	tampered := *good
	tampered.Precomputed = rsa.PrecomputedValues{}
	tampered.D = new(big.Int).Add(good.D, big.NewInt(2))
	p := newFit(t, nil, nil)
	for name, private := range map[string]crypto.PrivateKey{
		"nil": nil, "nil RSA": (*rsa.PrivateKey)(nil), "empty": new(rsa.PrivateKey), "tampered": &tampered, "a string": "key",
	} {
		if _, err := p.Import(t.Context(), private); err == nil {
			t.Errorf("%s: took it", name)
		}
	}
	if n := len(p.Stats().Fallbacks); n != 0 {
		t.Errorf("%d reasons counted for keys that were refused", n)
	}
}

func TestAfterClose(t *testing.T) {
	p := newFit(t, nil, nil)
	k := importKey(t, p, keyOf(t, 2048))
	p.Close()
	p.Close()
	digest := sha256.Sum256(nil)
	if _, err := k.Sign(rand.Reader, digest[:], crypto.SHA256); err == nil || !strings.Contains(err.Error(), "is closed") {
		t.Errorf("Sign: %v", err)
	}
	if _, err := k.Handle(); err == nil || !strings.Contains(err.Error(), "is closed") {
		t.Errorf("Handle: %v", err)
	}
	if _, err := p.Import(t.Context(), keyOf(t, 2048)); err != nil {
		t.Errorf("Import: %v; want a key of package memory's", err)
	}
}

// Bound to a context that has ended, a key does nothing; unbound it works.
func TestBind(t *testing.T) {
	p := newFit(t, nil, nil)
	private := keyOf(t, 2048)
	k := importKey(t, p, private)
	ctx, cancel := context.WithCancelCause(t.Context())
	bound := keyprovider.Bind(ctx, k)
	checkAgainst(t, bound, private)
	gone := errors.New("client went away")
	cancel(gone)
	digest := sha256.Sum256(nil)
	if _, err := bound.Sign(rand.Reader, digest[:], crypto.SHA256); !errors.Is(err, gone) {
		t.Errorf("Sign: %v", err)
	}
	if _, err := bound.(crypto.Decrypter).Decrypt(rand.Reader, digest[:], nil); !errors.Is(err, gone) {
		t.Errorf("Decrypt: %v", err)
	}
	checkAgainst(t, k, private)
	if keyprovider.Bind(context.Background(), k) != crypto.Signer(k) {
		t.Error("wraps for a context that never ends")
	}
}

func TestKeyDoesNotPrintItself(t *testing.T) {
	k := importKey(t, newFit(t, nil, nil), keyOf(t, 2048))
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%o", "%x"} {
		if s := fmt.Sprintf(verb, k); !strings.Contains(s, "secret") || len(s) > 80 {
			t.Errorf("%s prints %q", verb, s)
		}
	}
}

// What New finds on this machine must be what the machine says.
func TestStatusOfThisMachine(t *testing.T) {
	var log bytes.Buffer
	p := New(Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	defer p.Close()
	s := p.Status()
	if mbrsa.Supported() != nil && (s.Backend != BackendStd || s.Reason == "" || s.Detail == "") {
		t.Errorf("%+v", s)
	}
	if !strings.Contains(log.String(), "backend="+s.Backend) {
		t.Errorf("%+v, and the log says\n%s", s, &log)
	}
	t.Logf("%+v", s)
}

// Close waits for keys that are being laid out: it takes away the memory into which that is.
func TestImportWhileItCloses(t *testing.T) {
	private := keyOf(t, 2048)
	for range 20 {
		p := newFit(t, nil, nil)
		began := make(chan struct{})
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for i := range 4 {
				if _, err := p.Import(context.Background(), private); err != nil {
					t.Error(err)
				}
				if i == 0 {
					close(began)
				}
			}
		}()
		<-began
		p.Close()
		<-ended
	}
}
