package engine

import (
	"fmt"

	"github.com/hauberk-mesh/hauberk/dataplane/config"
)

// Apply puts a configuration in force, or returns why not and leaves the one before untouched: build it, bind what is new,
// swap one pointer, and only then take away what is gone. It returns the configuration that was replaced; nil for none.
// It must not be called twice at once.
//
// Clusters are warm before the swap: Build refuses one whose endpoints were not sent, and names have been looked up.
func (e *Engine) Apply(generation uint64, resources config.Resources) (replaced *config.Graph, err error) {
	if e.draining.Load() {
		return nil, errDraining
	}
	old := e.current.Load()
	next, err := e.builder.Build(old, generation, resources)
	if err != nil {
		return nil, err
	}
	next.Warm(e.serving)
	bound, err := e.bind(next)
	if err != nil {
		next.Release(old)
		return nil, err
	}
	if err := e.trust(next); err != nil {
		bound.close()
		next.Release(old)
		return nil, err
	}
	e.current.Store(next)
	e.adjustKept(next)
	e.sockets.serve(bound)
	e.sockets.drainGone(next)
	if old != nil {
		old.Release(next)
	}
	e.sockets.rejudge()
	return old, nil
}

// Check tells whether a configuration could be built, and puts nothing in force. It must not be called while Apply is.
func (e *Engine) Check(resources config.Resources) (accepted []config.Note, err error) {
	now := e.current.Load()
	g, err := e.builder.Build(now, 0, resources)
	if err != nil {
		return nil, err
	}
	defer g.Release(now)
	return g.Accepted(), distinct(g)
}

// trust takes over whom to trust. It comes before the swap: a new authority must be known before a listener asks for it.
// Build has checked the bundles, so that this does not fail half-way.
func (e *Engine) trust(g *config.Graph) error {
	if e.o.Trust == nil {
		return nil
	}
	if g.HasTrust {
		if err := e.o.Trust.SetBundles(g.Bundles); err != nil {
			return err
		}
	}
	e.o.Trust.SetRevoked(g.Revoked)
	return nil
}

// distinct makes sure that no two listeners want one address.
func distinct(g *config.Graph) error {
	wanted := map[string]string{}
	for name, spec := range g.Listeners {
		addr := addrOf(spec)
		if other, twice := wanted[addr]; twice {
			return fmt.Errorf("listeners %q and %q: both want %s", min(name, other), max(name, other), addr)
		}
		wanted[addr] = name
	}
	return nil
}
