package world

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/controlplane/store"
)

// ErrStopped is WaitFor's answer when Run has returned: the generation will never come.
var ErrStopped = errors.New("the world is no longer followed")

// Watcher keeps the World of a store current and tells subscribers of each step. Nothing happens before Run.
type Watcher struct {
	store    store.Store
	registry *api.Registry
	log      *slog.Logger
	ready    chan struct{} // closed with the first World
	stopped  chan struct{} // closed when Run returns

	mu          sync.Mutex // guards all below
	world       *World
	stepped     chan struct{} // closed and replaced with each World
	subscribers map[*subscriber]struct{}
}

// NewWatcher makes one; it has an empty World of generation 0.
func NewWatcher(s store.Store, registry *api.Registry, log *slog.Logger) *Watcher {
	return &Watcher{
		store: s, registry: registry, log: log,
		ready:       make(chan struct{}),
		stopped:     make(chan struct{}),
		world:       empty(),
		stepped:     make(chan struct{}),
		subscribers: map[*subscriber]struct{}{},
	}
}

// Run follows the store until ctx ends (nil) or the store does (an error). Call it once.
func (w *Watcher) Run(ctx context.Context) error {
	defer close(w.stopped)
	watch, err := w.store.Watch(ctx)
	if err != nil {
		return ended(ctx, err)
	}
	b := NewBuilder(w.registry, w.log)
	w.publish(b.Load(watch.Initial, watch.Revision))
	watch.Initial = nil // the Builder has what it needs of them
	close(w.ready)
	for {
		e, err := watch.Next(ctx)
		if err != nil {
			return ended(ctx, err)
		}
		w.publish(b.Apply(e))
	}
}

func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("world: %w", err)
}

// Ready is closed once all that the store held is in the World.
func (w *Watcher) Ready() <-chan struct{} { return w.ready }

// Current is the newest World, never nil; before Ready it is empty and of generation 0.
func (w *Watcher) Current() *World {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.world
}

// WaitFor returns a World that has the transaction of the revision, ctx's error, or ErrStopped.
func (w *Watcher) WaitFor(ctx context.Context, revision store.Revision) (*World, error) {
	for {
		w.mu.Lock()
		now, stepped := w.world, w.stepped
		w.mu.Unlock()
		if now.Generation >= revision {
			return now, nil
		}
		select {
		case <-stepped:
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for generation %d (the present one is %d): %w", revision, now.Generation, ctx.Err())
		case <-w.stopped:
			if now := w.Current(); now.Generation >= revision {
				return now, nil
			}
			return nil, ErrStopped
		}
	}
}

// Subscribe delivers each step after the World that is current now, which is the first Update's Old; whoever subscribes and
// then calls Current misses nothing and may see a step that it knows. For a subscriber that is behind, the steps that wait
// become one. The channel is closed when ctx ends.
func (w *Watcher) Subscribe(ctx context.Context) <-chan *Update {
	s := &subscriber{wake: make(chan struct{}, 1)}
	w.mu.Lock()
	w.subscribers[s] = struct{}{}
	w.mu.Unlock()
	out := make(chan *Update)
	go func() {
		defer close(out)
		s.deliver(ctx, out)
		w.mu.Lock()
		delete(w.subscribers, s)
		w.mu.Unlock()
	}()
	return out
}

func (w *Watcher) publish(u *Update) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.world = u.New
	close(w.stepped)
	w.stepped = make(chan struct{})
	for s := range w.subscribers {
		s.offer(u)
	}
}

// subscriber holds what has not been delivered.
type subscriber struct {
	wake chan struct{} // has room for one: pending is not empty

	mu      sync.Mutex // guards pending
	pending backlog
}

func (s *subscriber) offer(u *Update) {
	s.mu.Lock()
	s.pending.add(u)
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *subscriber) take() *Update {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.pending.update
	s.pending = backlog{}
	return u
}

func (s *subscriber) deliver(ctx context.Context, out chan<- *Update) {
	var waiting backlog
	for {
		var ready chan<- *Update // nil, which is never ready, while there is nothing to send
		if waiting.update != nil {
			ready = out
		}
		select {
		case ready <- waiting.update:
			waiting = backlog{}
		case <-s.wake:
			waiting.add(s.take())
		case <-ctx.Done():
			return
		}
	}
}

// backlog makes one Update of several that follow each other.
type backlog struct {
	update *Update
	own    bool // it is a copy; otherwise other subscribers have it too, and it must stay as it is
}

func (b *backlog) add(u *Update) {
	if u == nil {
		return
	}
	if b.update == nil {
		b.update = u
		return
	}
	if !b.own {
		first := b.update
		b.update, b.own = &Update{Old: first.Old, Changed: map[string]*Change{}}, true
		b.include(first)
	}
	b.include(u)
}

func (b *backlog) include(u *Update) {
	b.update.New = u.New
	for mesh, c := range u.Changed {
		if b.update.Changed[mesh] == nil {
			b.update.Changed[mesh] = newChange()
		}
		b.update.Changed[mesh].add(c)
	}
}

func (c *Change) add(more *Change) {
	c.MeshWide = c.MeshWide || more.MeshWide
	maps.Copy(c.Dataplanes, more.Dataplanes)
	maps.Copy(c.Services, more.Services)
	maps.Copy(c.Endpoints, more.Endpoints)
	maps.Copy(c.Policies, more.Policies)
}
