package identity

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/api/resource"
	"github.com/hauberk-mesh/hauberk/controlplane/store"
)

// Revocations knows of each token and identity whether it still counts, as the store says at this moment, and ends the
// streams of those that no longer do. Lookups take no lock.
type Revocations struct {
	registry *api.Registry
	logger   *slog.Logger
	watch    *store.Watch

	tokens     sync.Map // token id -> bool: it counts. Absent: it does not.
	identities sync.Map // revokedID -> struct{}

	mu      sync.Mutex // guards below
	streams map[*stream]struct{}
}

type revokedID struct{ mesh, spiffeID string }

// stream is one open call of a peer.
type stream struct {
	peer Peer
	end  func(reason error) // called at most once, without the lock
}

// NewRevocations reads what is revoked now. Run must follow, and ctx must live as long.
func NewRevocations(ctx context.Context, s store.Store, registry *api.Registry, logger *slog.Logger) (*Revocations, error) {
	watch, err := s.Watch(ctx)
	if err != nil {
		return nil, fmt.Errorf("watch revocations: %w", err)
	}
	r := &Revocations{registry: registry, logger: logger, watch: watch, streams: map[*stream]struct{}{}}
	for i := range watch.Initial {
		r.take(ctx, store.Change{Key: watch.Initial[i].Key, New: &watch.Initial[i]})
	}
	return r, nil
}

// Run follows the store until ctx ends (then it returns nil) or the store does.
func (r *Revocations) Run(ctx context.Context) error {
	for {
		e, err := r.watch.Next(ctx)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, context.Canceled) {
				return nil
			}
			return fmt.Errorf("watch revocations: %w", err)
		}
		less := false
		for _, c := range e.Changes {
			less = r.take(ctx, c) || less
		}
		if less {
			r.endRevoked(ctx)
		}
	}
}

// take notes a change and tells whether somebody may have lost something by it.
func (r *Revocations) take(ctx context.Context, c store.Change) bool {
	switch c.Key.Kind {
	case "Token":
		// A deleted record leaves its false behind, so that admitted can't bring the token back.
		counts := c.New != nil && r.tokenCounts(ctx, c.New)
		r.tokens.Store(c.Key.Name, counts)
		return !counts
	case "IdentityRevocation":
		return r.takeRevocation(ctx, c)
	}
	return false
}

// takeRevocation: at no moment does an identity count that was revoked before and is now, nor one whose revocation can't be
// read any more.
func (r *Revocations) takeRevocation(ctx context.Context, c store.Change) bool {
	var old, now revokedID
	var err error
	if c.New != nil {
		if now, err = r.revoked(c.New); err != nil {
			r.logger.ErrorContext(ctx, "revocation is unreadable: what it said before stays in force", "resource", c.Key.String(), "error", err)
			return false
		}
		r.identities.Store(now, struct{}{})
	}
	if c.Old != nil {
		if old, err = r.revoked(c.Old); err == nil && old != now {
			r.identities.Delete(old)
		}
	}
	return c.New != nil
}

// tokenCounts takes a record that it can't read for revoked.
func (r *Revocations) tokenCounts(ctx context.Context, rec *store.Record) bool {
	res, err := r.registry.DecodeJSON(rec.Value)
	if err != nil {
		r.logger.ErrorContext(ctx, "token record is unreadable: the token is refused", "resource", rec.Key.String(), "error", err)
		return false
	}
	t, ok := res.Spec.(*resource.Token)
	return ok && !t.Revoked
}

func (r *Revocations) revoked(rec *store.Record) (revokedID, error) {
	res, err := r.registry.DecodeJSON(rec.Value)
	if err != nil {
		return revokedID{}, err
	}
	spec, ok := res.Spec.(*resource.IdentityRevocation)
	if !ok {
		return revokedID{}, fmt.Errorf("spec is a %T", res.Spec)
	}
	return revokedID{rec.Key.Mesh, spec.SpiffeID}, nil
}

// admitted notes a token whose record the store has just shown to be good, in case the watch has yet to tell of it. What
// the watch has told already stands.
func (r *Revocations) admitted(tokenID string) { r.tokens.LoadOrStore(tokenID, true) }

// Check says why a peer no longer counts; nil if it does.
func (r *Revocations) Check(p Peer) error {
	if counts, known := r.tokens.Load(p.TokenID); !known {
		return fmt.Errorf("the token %s with which it joined is unknown to this control plane: join with a new one", p.TokenID)
	} else if !counts.(bool) {
		return fmt.Errorf("the token %s with which it joined is revoked", p.TokenID)
	}
	if _, yes := r.identities.Load(revokedID{p.Mesh, p.SPIFFEID}); yes {
		return fmt.Errorf("the identity %s is revoked", p.SPIFFEID)
	}
	return nil
}

// register makes end be called, once, as soon as p is revoked; at once if it is. forget must be called when the stream
// is over.
func (r *Revocations) register(p Peer, end func(reason error)) (forget func()) {
	s := &stream{peer: p, end: end}
	r.mu.Lock()
	r.streams[s] = struct{}{}
	r.mu.Unlock()
	// After the registration, so that a revocation in between is seen by one of the two.
	if err := r.Check(p); err != nil && r.remove(s) {
		end(err)
	}
	return func() { r.remove(s) }
}

// remove tells whether s was still there: who removes it may end it.
func (r *Revocations) remove(s *stream) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, there := r.streams[s]
	delete(r.streams, s)
	return there
}

func (r *Revocations) endRevoked(ctx context.Context) {
	r.mu.Lock()
	var ended []*stream
	var why []error
	for s := range r.streams {
		if err := r.Check(s.peer); err != nil {
			delete(r.streams, s)
			ended, why = append(ended, s), append(why, err)
		}
	}
	r.mu.Unlock()
	for i, s := range ended {
		r.logger.WarnContext(ctx, "stream ended", "mesh", s.peer.Mesh, "dataplane", s.peer.Dataplane, "service", s.peer.Service,
			"identity", s.peer.SPIFFEID, "reason", why[i])
		s.end(why[i])
	}
}
