// Package keyring is the key providers of a proxy: which of them keeps the keys that the proxy makes, and the keys of certificates
// that it was given. A key that is given twice is kept once, and given up when nobody can use it any more.
//
// It keeps no key by itself and computes nothing: see accel/keyprovider. Start at Ring.
package keyring

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"weak"

	"github.com/hauberk-mesh/hauberk/accel/keyprovider"
	"github.com/hauberk-mesh/hauberk/accel/keyprovider/batch"
)

// Ring is the providers of one process. All methods are safe for concurrent use.
type Ring struct {
	providers []keyprovider.Provider
	current   atomic.Pointer[keyprovider.Provider]

	mu   sync.Mutex // guards below
	held map[identity]weak.Pointer[Key]
}

// New makes a Ring. started is the provider that is in use until somebody chooses another one.
func New(started keyprovider.Provider, others ...keyprovider.Provider) *Ring {
	r := &Ring{providers: append([]keyprovider.Provider{started}, others...), held: map[identity]weak.Pointer[Key]{}}
	r.current.Store(&started)
	return r
}

// Find returns the provider of a name. The empty name is what the process was started with.
func (r *Ring) Find(name string) (keyprovider.Provider, error) {
	if name == "" {
		return r.providers[0], nil
	}
	var have []string
	for _, p := range r.providers {
		if p.Name() == name {
			return p, nil
		}
		have = append(have, p.Name())
	}
	return nil, fmt.Errorf("this proxy has no key provider %q, only %s", name, strings.Join(have, " and "))
}

// Use makes p the provider in use, and tells whether another one was.
func (r *Ring) Use(p keyprovider.Provider) bool {
	old := r.current.Swap(&p)
	return (*old).Name() != p.Name()
}

// Current is the provider in use.
func (r *Ring) Current() keyprovider.Provider { return *r.current.Load() }

// Status is what an operator asks of a provider first: is it fast here, and if not, why.
type Status struct {
	Provider string // "batch", "memory"
	Backend  string // "ifma": vector kernels; "std": Go's own code
	Reason   string // of "std", as a label: "cpu", "fips", "secret_memory", "chosen"
	Detail   string // why it is that one, as a sentence
}

// Status is that of the provider in use.
func (r *Ring) Status() Status { return StatusOf(r.Current()) }

// StatusOf is that of any provider.
func StatusOf(p keyprovider.Provider) Status {
	b, ok := p.(*batch.Provider)
	if !ok {
		return Status{p.Name(), batch.BackendStd, "chosen", "it was chosen"}
	}
	s := b.Status()
	if s.Backend == batch.BackendIFMA && s.Detail == "" {
		s.Detail = "this CPU has AVX-512 IFMA"
	}
	return Status{p.Name(), s.Backend, s.Reason, s.Detail}
}

// Batch is the provider that has figures to show, in use or not; nil: there is none.
func (r *Ring) Batch() *batch.Provider {
	for _, p := range r.providers {
		if b, ok := p.(*batch.Provider); ok {
			return b
		}
	}
	return nil
}
