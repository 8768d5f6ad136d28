// Package memory is the store that keeps records in maps: for tests, for demonstrations, and as the readable half of every
// backend that writes to disk. Such a backend gives Options.Commit, which makes a transaction durable before anybody
// sees it.
//
// It is not durable by itself. Start at Store.Txn.
package memory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/controlplane/store"
)

// Options of a Store. The zero value is an empty store that forgets.
type Options struct {
	// Records and Revision are what there is at the beginning.
	Records  []store.Record
	Revision store.Revision
	// Commit makes the event durable, or returns an error, after which the event never happened. It is called by one
	// goroutine at a time, and reads go on meanwhile.
	Commit func(store.Event) error
	// Close is called once, after the last Commit.
	Close func() error
}

// Store implements store.Store.
type Store struct {
	commit  func(store.Event) error
	onClose func() error
	history *store.History

	writing sync.Mutex // held by a Txn from its first read to its publication; taken before mu

	mu       sync.RWMutex // guards all below
	kinds    map[string]map[api.Key]store.Record
	revision store.Revision
	closed   bool
}

// New makes a store.
func New(o Options) *Store {
	s := &Store{
		commit:   o.Commit,
		onClose:  o.Close,
		history:  store.NewHistory(),
		kinds:    map[string]map[api.Key]store.Record{},
		revision: o.Revision,
	}
	for _, r := range o.Records {
		s.set(r.Key, &r)
	}
	return s
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key api.Key) (store.Record, error) {
	if err := ctx.Err(); err != nil {
		return store.Record{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return store.Record{}, store.ErrClosed
	}
	r, ok := s.kinds[key.Kind][key]
	if !ok {
		return store.Record{}, fmt.Errorf("%s: %w", key, store.ErrNotFound)
	}
	return r, nil
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, sel store.Selector) ([]store.Record, store.Revision, error) {
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	s.mu.RLock()
	if s.closed {
		s.mu.RUnlock()
		return nil, 0, store.ErrClosed
	}
	list, revision := s.chosen(sel), s.revision
	s.mu.RUnlock()
	sortRecords(list)
	return list, revision, nil
}

// Watch implements store.Store.
func (s *Store) Watch(ctx context.Context) (*store.Watch, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.RLock() // publication needs the write lock, so nothing comes between list and watch
	if s.closed {
		s.mu.RUnlock()
		return nil, store.ErrClosed
	}
	w := s.history.Watch(ctx, s.chosen(store.Selector{}), s.revision)
	s.mu.RUnlock()
	sortRecords(w.Initial)
	return w, nil
}

// Txn implements store.Store.
func (s *Store) Txn(ctx context.Context, ops ...store.Op) (store.Revision, error) {
	if err := checkOps(ops); err != nil {
		return 0, err
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	event, err := s.prepare(ops)
	if err != nil {
		return 0, err
	}
	if s.commit != nil {
		if err := s.commit(event); err != nil {
			return 0, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range event.Changes {
		s.set(c.Key, c.New)
	}
	s.revision = event.Revision
	s.history.Publish(event)
	return event.Revision, nil
}

// Close implements store.Store. It waits for a Txn that is under way. Watchers may read on to the last event.
func (s *Store) Close() error {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	already := s.closed
	s.closed = true
	s.mu.Unlock()
	if already {
		return nil
	}
	s.history.Close()
	if s.onClose != nil {
		return s.onClose()
	}
	return nil
}

func checkOps(ops []store.Op) error {
	if len(ops) == 0 {
		return errors.New("a transaction needs at least one op")
	}
	seen := make(map[api.Key]bool, len(ops))
	for _, op := range ops {
		if op.Key.Kind == "" || op.Key.Name == "" {
			return fmt.Errorf("key %q has no kind or no name", op.Key)
		}
		if strings.ContainsRune(op.Key.Kind+op.Key.Mesh+op.Key.Namespace+op.Key.Name, 0) {
			return fmt.Errorf("key %q has a NUL in it, which backends use as separator", op.Key)
		}
		if seen[op.Key] {
			return fmt.Errorf("%s is written twice in one transaction", op.Key)
		}
		seen[op.Key] = true
	}
	return nil
}

// prepare checks all conditions and says what the transaction will do. The caller holds writing, so that it stays true.
func (s *Store) prepare(ops []store.Op) (store.Event, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return store.Event{}, store.ErrClosed
	}
	event := store.Event{Revision: s.revision + 1, Changes: make([]store.Change, 0, len(ops))}
	for _, op := range ops {
		var old *store.Record
		if r, ok := s.kinds[op.Key.Kind][op.Key]; ok {
			old = &r
		}
		if old == nil && op.Value == nil {
			return store.Event{}, fmt.Errorf("%s: %w", op.Key, store.ErrNotFound)
		}
		if !op.If.Holds(old) {
			return store.Event{}, fmt.Errorf("%s: %w", op.Key, store.ErrConflict)
		}
		change := store.Change{Key: op.Key, Old: old}
		if op.Value != nil {
			value := make([]byte, len(op.Value)) // the caller keeps its slice; empty stays different from nil
			copy(value, op.Value)
			change.New = &store.Record{Key: op.Key, Value: value, Revision: event.Revision}
		}
		event.Changes = append(event.Changes, change)
	}
	return event, nil
}

func (s *Store) set(key api.Key, r *store.Record) {
	if r == nil {
		delete(s.kinds[key.Kind], key)
		return
	}
	if s.kinds[key.Kind] == nil {
		s.kinds[key.Kind] = map[api.Key]store.Record{}
	}
	s.kinds[key.Kind][key] = *r
}

func (s *Store) chosen(sel store.Selector) []store.Record {
	var list []store.Record
	for kind, records := range s.kinds {
		if sel.Kind != "" && sel.Kind != kind {
			continue
		}
		for key, r := range records {
			if sel.Matches(key) {
				list = append(list, r)
			}
		}
	}
	return list
}

func sortRecords(list []store.Record) {
	slices.SortFunc(list, func(a, b store.Record) int { return store.CompareKeys(a.Key, b.Key) })
}
