package memory

import (
	"errors"
	"testing"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/controlplane/store"
	"github.com/hauberk-mesh/hauberk/controlplane/store/storetest"
	"github.com/hauberk-mesh/hauberk/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

func TestStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) store.Store { return New(Options{}) })
}

// TestFailedCommit: what could not be made durable never happened.
func TestFailedCommit(t *testing.T) {
	ctx := t.Context()
	disk := errors.New("disk is gone")
	fail := false
	s := New(Options{Commit: func(store.Event) error {
		if fail {
			return disk
		}
		return nil
	}})
	defer s.Close()
	key := api.Key{Kind: "K", Name: "a"}
	if _, err := s.Txn(ctx, store.Op{Key: key, Value: []byte("1")}); err != nil {
		t.Fatal(err)
	}
	w, err := s.Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	fail = true
	if _, err := s.Txn(ctx, store.Op{Key: key, Value: []byte("2")}); !errors.Is(err, disk) {
		t.Fatalf("got %v, want %v", err, disk)
	}
	if r, _ := s.Get(ctx, key); string(r.Value) != "1" {
		t.Errorf("a refused write is visible: %q", r.Value)
	}
	fail = false
	revision, err := s.Txn(ctx, store.Op{Key: key, Value: []byte("3")})
	if err != nil || revision != 2 {
		t.Fatalf("the next write got revision %d, %v, want 2", revision, err)
	}
	if e, _ := w.Next(ctx); e.Revision != 2 || string(e.Changes[0].Old.Value) != "1" {
		t.Errorf("the watcher saw %+v", e)
	}
}

func BenchmarkTxn(b *testing.B) {
	s := New(Options{})
	defer s.Close()
	key, value := api.Key{Kind: "K", Name: "a"}, make([]byte, 512)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Txn(b.Context(), store.Op{Key: key, Value: value}); err != nil {
			b.Fatal(err)
		}
	}
}
