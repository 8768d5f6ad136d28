// Package batch is the key provider that computes many private-key operations side by side. Keys live in memory that only
// this process's own code can read (memfd_secret(2)); the kernels of packages mbrsa and mbecdsa read them there. One queue
// per kind and size of key serves the whole process, all goroutines and all keys: an idle worker takes what waits at once,
// what arrives meanwhile is the next batch, and there is no timer. So a lone operation is not delayed, and many share the
// cost of one.
//
// Where that can't be had (other CPUs, FIPS mode, no secret memory left, keys of other kinds and shapes) a key is package
// memory's instead: never an error, but one log line, and Status and Stats say why. A process has one Provider.
//
// Start at Provider.Import and rsaKey.SignContext; queue.go is the queue.
package batch

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/fips140"
	"crypto/rsa"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/hauberk-mesh/hauberk/accel/keyprovider"
	"github.com/hauberk-mesh/hauberk/accel/keyprovider/memory"
	"github.com/hauberk-mesh/hauberk/accel/mbecdsa"
	"github.com/hauberk-mesh/hauberk/accel/mbrsa"
)

// Name is the provider's name in stored handles, logs and metrics.
const Name = "batch"

// DefaultQueueLimit is how many operations of one key size may wait: some 0.13 s of work for one core with RSA-2048.
const DefaultQueueLimit = 1024

// Options of a Provider. The zero value is ready.
type Options struct {
	Logger     *slog.Logger // nil: none
	QueueLimit int          // operations of one key size that may wait before QueueFullError; 0: DefaultQueueLimit
}

// Backends are who computes.
const (
	BackendIFMA = "ifma" // the multi-buffer kernels, on AVX-512 IFMA
	BackendStd  = "std"  // Go's standard library
)

// Reasons why a key is computed by the standard library: labels of metrics.
const (
	ReasonCPU    = "cpu"           // the kernels don't run on this CPU
	ReasonFIPS   = "fips"          // the kernels are no validated module
	ReasonMemory = "secret_memory" // no memory for secrets is to be had: the kernel has none, or RLIMIT_MEMLOCK is used up
	ReasonKey    = "key_shape"     // not a key that the kernels compute: other sizes, curves and kinds, more than two primes
)

// Status is who computes with keys of a kind that the kernels know.
type Status struct {
	Backend string // BackendIFMA or BackendStd
	Reason  string // of BackendStd: one of the Reason constants
	Detail  string // the same as a sentence for people
}

// Provider implements keyprovider.Provider.
type Provider struct {
	logger *slog.Logger
	heap   *memory.Provider
	arena  *arena
	rsa    map[int]*queue[mbrsa.Op] // by bits
	ecdsa  *ecdsaQueue

	noECDSA error // why package mbecdsa must not run

	laying sync.RWMutex // held for reading while a key is laid out: Close takes the memory away
	status Status       // found at the start

	mu        sync.Mutex        // guards below
	fallbacks map[string]uint64 // keys by reason
}

// New makes a Provider. It finds out what this machine can do and logs it.
func New(o Options) *Provider { return newProvider(o, machine()) }

// backend is what a Provider computes on; tests replace parts of it.
type backend struct {
	arena       *arena
	unfit       func() Status // why no kernel may run; its Backend is empty if they may
	unfitECDSA  func() error  // why that of package mbecdsa may not
	rsaKernel   func(bits int) kernel[mbrsa.Op]
	ecdsaKernel func() kernel[mbecdsa.Op]
}

func machine() backend {
	return backend{
		arena: newArena(mapSecret), unfit: unfit, unfitECDSA: mbecdsa.Supported,
		rsaKernel:   func(bits int) kernel[mbrsa.Op] { return mbrsa.NewWorker(bits) },
		ecdsaKernel: func() kernel[mbecdsa.Op] { return mbecdsa.NewWorker() },
	}
}

func newProvider(o Options, b backend) *Provider {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.QueueLimit <= 0 {
		o.QueueLimit = DefaultQueueLimit
	}
	p := &Provider{
		logger: o.Logger, heap: memory.New(), arena: b.arena, noECDSA: b.unfitECDSA(),
		rsa: map[int]*queue[mbrsa.Op]{}, ecdsa: newECDSAQueue(o.QueueLimit, b.ecdsaKernel), fallbacks: map[string]uint64{},
	}
	for _, alg := range []keyprovider.Algorithm{keyprovider.RSA2048, keyprovider.RSA3072, keyprovider.RSA4096} {
		bits := alg.RSABits()
		newKernel := func() kernel[mbrsa.Op] { return b.rsaKernel(bits) }
		q := newQueue(alg, passes{mbrsa.Ops, 2 * mbrsa.Ops}, o.QueueLimit, newKernel)
		q.faulty = func(op *mbrsa.Op) bool { return errors.Is(op.Err, mbrsa.ErrFault) }
		q.onFault = func() { p.checkFailed(&q.counters, alg) }
		p.rsa[bits] = q
	}
	p.ecdsa.onFault = func() { p.checkFailed(&p.ecdsa.counters, keyprovider.ECDSAP256) }
	if p.status = b.unfit(); p.status.Backend == "" {
		p.status = p.tryMemory()
	}
	if s := p.status; s.Backend == BackendStd {
		p.logger.Warn("key provider", "provider", Name, "backend", s.Backend, "reason", s.Reason, "detail", s.Detail)
	} else {
		p.logger.Info("key provider", "provider", Name, "backend", s.Backend)
	}
	return p
}

// unfit asks the machine.
func unfit() Status {
	if fips140.Enabled() {
		return Status{BackendStd, ReasonFIPS, "in FIPS 140 mode only Go's validated module computes"}
	}
	if err := mbrsa.Supported(); err != nil {
		return Status{BackendStd, ReasonCPU, err.Error()}
	}
	return Status{}
}

// tryMemory finds out at the start, rather than at the first key, whether there is memory for secrets.
func (p *Provider) tryMemory() Status {
	slot, err := p.arena.take(1)
	if err != nil {
		return Status{BackendStd, ReasonMemory, err.Error()}
	}
	p.arena.give(slot)
	return Status{Backend: BackendIFMA}
}

// Name implements keyprovider.Provider.
func (*Provider) Name() string { return Name }

// Opens implements keyprovider.Provider. A handle is the key itself, as package memory's is.
func (p *Provider) Opens(provider string) bool { return provider == Name || p.heap.Opens(provider) }

// Status is what was found at the start for RSA and P-256 keys. Keys that have stayed with the standard library since are in
// Stats().Fallbacks.
func (p *Provider) Status() Status { return p.status }

// Generate implements keyprovider.Provider. The key is made on the heap and wiped there once it is in its place; what the
// standard library copied meanwhile is not in our reach.
func (p *Provider) Generate(ctx context.Context, alg keyprovider.Algorithm) (keyprovider.Key, error) {
	private, err := memory.Make(alg)
	if err != nil {
		return nil, err
	}
	return p.adopt(ctx, private)
}

// Open implements keyprovider.Provider.
func (p *Provider) Open(ctx context.Context, handle []byte) (keyprovider.Key, error) {
	private, err := memory.DecodeHandle(handle)
	if err != nil {
		return nil, err
	}
	return p.adopt(ctx, private)
}

// adopt imports a key that nobody else has.
func (p *Provider) adopt(ctx context.Context, private crypto.PrivateKey) (keyprovider.Key, error) {
	key, err := p.Import(ctx, private)
	switch key.(type) {
	case *rsaKey:
		memory.Wipe(private)
	case *ecdsaKey:
		memory.Wipe(private)
	}
	return key, err
}

// Import implements keyprovider.Provider. It takes what package memory takes.
func (p *Provider) Import(ctx context.Context, private crypto.PrivateKey) (keyprovider.Key, error) {
	p.laying.RLock()
	defer p.laying.RUnlock()
	var why Status
	switch private := private.(type) {
	case *rsa.PrivateKey:
		var key *rsaKey
		if key, why = p.newRSAKey(private); key != nil {
			return key, nil
		}
	case *ecdsa.PrivateKey:
		var key *ecdsaKey
		if key, why = p.newECDSAKey(private); key != nil {
			return key, nil
		}
	default:
		why = Status{BackendStd, ReasonKey, "it is neither RSA nor ECDSA"}
	}
	key, err := p.heap.Import(ctx, private)
	if err == nil {
		p.fellBack(ctx, why)
	}
	return key, err
}

// fellBack counts a key that the standard library computes. The first of each reason is logged.
func (p *Provider) fellBack(ctx context.Context, why Status) {
	p.mu.Lock()
	p.fallbacks[why.Reason]++
	first := p.fallbacks[why.Reason] == 1 && p.status.Backend == BackendIFMA // otherwise New has said so
	p.mu.Unlock()
	if first {
		p.logger.WarnContext(ctx, "key provider: a key stays with the standard library; "+
			"later ones for the same reason are only counted", "provider", Name, "reason", why.Reason, "detail", why.Detail)
	}
}

// Close waits for what is queued and wipes all keys: an operation on one fails from now on.
func (p *Provider) Close() {
	for _, q := range p.rsa {
		q.close()
	}
	p.ecdsa.close()
	p.laying.Lock()
	defer p.laying.Unlock()
	p.arena.close()
}

func errClosed() error { return fmt.Errorf("%s key provider: is closed", Name) }
