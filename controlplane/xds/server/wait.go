package server

import (
	"context"
	"fmt"
	"sort"

	"github.com/hauberk-mesh/hauberk/controlplane/store"
)

// Propagation is how far a generation got. All lists are sorted.
type Propagation struct {
	Generation store.Revision `json:"generation"`
	// ACKed run the generation or a newer one.
	ACKed []string `json:"acked"`
	// NACKed refused it and run an older one.
	NACKed []Refusal `json:"nacked,omitempty"`
	// NotConnected are dataplanes that the generation matters to and that have no stream.
	NotConnected []string `json:"notConnected,omitempty"`
	// Pending are those that have not answered; only when the wait was cut short.
	Pending []string `json:"pending,omitempty"`
}

// Refusal is a NACK.
type Refusal struct {
	Dataplane string `json:"dataplane"`
	Reason    string `json:"reason"`
}

// waiter is one call of Wait. Guarded by fleet.mu.
type waiter struct {
	generation store.Revision
	pending    map[string]bool // dataplanes that have not answered
	seen       map[string]bool // dataplanes that were ever pending
	done       chan struct{}   // closed when pending is empty
}

// Wait returns when every connected proxy of the mesh that the generation, or an older one, matters to has acknowledged or
// refused it. If ctx ends before, the error is ctx's, and the Propagation says how far it got.
func (s *Server) Wait(ctx context.Context, mesh string, generation store.Revision) (Propagation, error) {
	if _, err := s.opts.World.WaitFor(ctx, generation); err != nil {
		return Propagation{Generation: generation}, fmt.Errorf("wait for generation %d: %w", generation, err)
	}
	if err := s.fleet.waitAdvanced(ctx, generation); err != nil {
		return Propagation{Generation: generation}, fmt.Errorf("wait for generation %d: %w", generation, err)
	}
	w := s.fleet.addWaiter(mesh, generation)
	var err error
	select {
	case <-w.done:
	case <-ctx.Done():
		err = fmt.Errorf("wait for proxies to run generation %d: %w", generation, ctx.Err())
	case <-s.stopped:
		err = fmt.Errorf("wait for proxies to run generation %d: the control plane is stopping", generation)
	}
	return s.fleet.endWaiter(mesh, w), err
}

// waitAdvanced returns when the fleet has been told of the generation.
func (f *fleet) waitAdvanced(ctx context.Context, generation store.Revision) error {
	for {
		f.mu.Lock()
		reached, next := f.world != nil && f.world.Generation >= generation, f.advanced
		f.mu.Unlock()
		if reached {
			return nil
		}
		select {
		case <-next:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (f *fleet) addWaiter(mesh string, generation store.Revision) *waiter {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := &waiter{
		generation: generation,
		pending:    map[string]bool{},
		seen:       map[string]bool{},
		done:       make(chan struct{}),
	}
	m := f.mesh(mesh)
	for name, p := range m.proxies {
		if f.owes(p, generation) {
			w.pending[name], w.seen[name] = true, true
		}
	}
	if len(w.pending) == 0 {
		close(w.done)
		return w
	}
	m.waiters[w] = true
	return w
}

// endWaiter sums up what became of the generation.
func (f *fleet) endWaiter(mesh string, w *waiter) Propagation {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.mesh(mesh)
	delete(m.waiters, w)

	concerned := w.seen
	for name, newest := range m.affected {
		if newest >= w.generation {
			concerned[name] = true
		}
	}
	out := Propagation{Generation: w.generation, ACKed: []string{}}
	for name := range concerned {
		p := m.proxies[name]
		switch {
		case p == nil || !p.connected:
			if f.known(mesh, name) {
				out.NotConnected = append(out.NotConnected, name)
			}
		case f.runs(p) >= w.generation:
			out.ACKed = append(out.ACKed, name)
		case f.refuses(p, w.generation):
			out.NACKed = append(out.NACKed, Refusal{Dataplane: name, Reason: p.nack})
		case f.known(mesh, name):
			out.Pending = append(out.Pending, name)
		}
	}
	sort.Strings(out.ACKed)
	sort.Strings(out.NotConnected)
	sort.Strings(out.Pending)
	sort.Slice(out.NACKed, func(i, j int) bool { return out.NACKed[i].Dataplane < out.NACKed[j].Dataplane })
	return out
}

// tell lets all waiters of a mesh look again at one proxy. f.mu is held.
func (f *fleet) tell(p *proxy) {
	m := f.mesh(p.hello.Mesh)
	name := p.hello.Dataplane
	if m.proxies[name] != p {
		return // it was replaced: its successor speaks for the dataplane
	}
	for w := range m.waiters {
		if f.owes(p, w.generation) {
			w.pending[name], w.seen[name] = true, true
			continue
		}
		delete(w.pending, name)
		if len(w.pending) == 0 {
			close(w.done)
			delete(m.waiters, w)
		}
	}
}
