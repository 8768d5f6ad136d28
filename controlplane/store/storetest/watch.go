package storetest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/controlplane/store"
)

// testCounter: several writers count up one number, each by reading it and writing it back on condition.
func testCounter(t *testing.T, s store.Store) {
	const writers, each = 4, 25
	ctx := t.Context()
	mustTxn(t, s, store.Op{Key: key("n"), Value: binary.BigEndian.AppendUint64(nil, 0)})
	increment := func() error {
		for {
			r, err := s.Get(ctx, key("n"))
			if err != nil {
				return err
			}
			n := binary.BigEndian.Uint64(r.Value)
			_, err = s.Txn(ctx, store.Op{Key: key("n"), Value: binary.BigEndian.AppendUint64(nil, n+1), If: store.IfRevision(r.Revision)})
			if !errors.Is(err, store.ErrConflict) {
				return err
			}
		}
	}
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				if err := increment(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	r, err := s.Get(ctx, key("n"))
	check(t, err)
	if n := binary.BigEndian.Uint64(r.Value); n != writers*each {
		t.Errorf("counted to %d, want %d", n, writers*each)
	}
}

func testWatch(t *testing.T, s store.Store) {
	ctx := t.Context()
	mustTxn(t, s, put("b", "1"), put("a", "1"))
	w, err := s.Watch(ctx)
	check(t, err)
	a, b := rec("a", "1", 1), rec("b", "1", 1)
	if diff := cmp.Diff([]store.Record{*a, *b}, w.Initial); diff != "" || w.Revision != 1 {
		t.Errorf("initial state at revision %d (-want +got):\n%s", w.Revision, diff)
	}

	mustTxn(t, s, put("a", "2"), remove("b"), put("c", "2"))
	mustTxn(t, s, put("a", "3"))
	want := []store.Event{
		{Revision: 2, Changes: []store.Change{
			{Key: key("a"), Old: a, New: rec("a", "2", 2)},
			{Key: key("b"), Old: b},
			{Key: key("c"), New: rec("c", "2", 2)},
		}},
		{Revision: 3, Changes: []store.Change{{Key: key("a"), Old: rec("a", "2", 2), New: rec("a", "3", 3)}}},
	}
	if diff := cmp.Diff(want, []store.Event{next(t, w), next(t, w)}); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// testWatchConcurrent: each transaction writes the same value to two keys; writers do not coordinate. Every watcher,
// whenever it began and however slow it reads, must see every revision once, in order and whole, and end with what the
// store has.
func testWatchConcurrent(t *testing.T, s store.Store) {
	const writers, each, watchers = 4, 30, 6
	const last = store.Revision(writers * each)
	ctx := t.Context()

	began := make(chan struct{}, writers*each)
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for j := range each {
				value := fmt.Sprintf("%d.%d", i, j)
				pair := fmt.Sprint(j % 7)
				ops := []store.Op{put("x"+pair, value), put("y"+pair, value)}
				if _, err := s.Txn(ctx, ops...); err != nil {
					t.Error(err)
				}
				began <- struct{}{}
			}
		})
	}
	final := make([]map[api.Key]store.Record, watchers)
	var readers sync.WaitGroup
	for i := range watchers {
		for range i * 4 { // later watchers begin in the midst of it
			<-began
		}
		w, err := s.Watch(ctx)
		check(t, err)
		readers.Go(func() {
			if i%2 == 0 {
				wg.Wait() // reads nothing before all has been written
			}
			final[i] = follow(t, w, last)
		})
	}
	readers.Wait()

	list, revision, err := s.List(ctx, store.Selector{})
	check(t, err)
	if revision != last {
		t.Errorf("the last revision is %d, want %d", revision, last)
	}
	want := map[api.Key]store.Record{}
	for _, r := range list {
		want[r.Key] = r
	}
	for i, got := range final {
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("watcher %d ended with something else (-want +got):\n%s", i, diff)
		}
	}
}

// follow replays what a watcher sees up to a revision, checking each step.
func follow(t *testing.T, w *store.Watch, last store.Revision) map[api.Key]store.Record {
	state := map[api.Key]store.Record{}
	for _, r := range w.Initial {
		state[r.Key] = r
	}
	for at := w.Revision; at < last; {
		e, err := w.Next(t.Context())
		if err != nil {
			t.Error(err)
			return nil
		}
		if e.Revision != at+1 {
			t.Errorf("revision %d came after %d", e.Revision, at)
			return nil
		}
		at = e.Revision
		if len(e.Changes) != 2 || string(e.Changes[0].New.Value) != string(e.Changes[1].New.Value) {
			t.Errorf("revision %d is not the whole transaction: %v", at, e)
		}
		for _, c := range e.Changes {
			old, was := state[c.Key]
			if was != (c.Old != nil) || was && old.Revision != c.Old.Revision {
				t.Errorf("revision %d says that %s was %v, it was %v", at, c.Key, c.Old, old)
			}
			state[c.Key] = *c.New
		}
	}
	return state
}

func testWatchContext(t *testing.T, s store.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	w, err := s.Watch(ctx)
	check(t, err)

	short, cancelShort := context.WithCancel(t.Context())
	cancelShort()
	if _, err := w.Next(short); !errors.Is(err, context.Canceled) {
		t.Errorf("Next with an ended context: %v, want context.Canceled", err)
	}
	mustTxn(t, s, put("a", "1"))
	if e := next(t, w); e.Revision != 1 {
		t.Errorf("after an interrupted Next came revision %d, want 1", e.Revision)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := w.Next(t.Context())
		ended <- err
	}()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Next of an ended watch: %v, want context.Canceled", err)
	}
}

func rec(name, value string, revision store.Revision) *store.Record {
	return &store.Record{Key: key(name), Value: []byte(value), Revision: revision}
}
