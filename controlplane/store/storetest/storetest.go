// Package storetest is what every backend of the store must do. A backend's test calls Run, and RunDurable if what it
// keeps outlives it.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/controlplane/store"
)

// Run checks a backend. open returns a new and empty store; Run closes it.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	tests := []struct {
		name string
		test func(*testing.T, store.Store)
	}{
		{"create, read, update, delete", testCRUD},
		{"values and keys are taken as they are", testValues},
		{"conditions", testConditions},
		{"a transaction is all or nothing", testAtomic},
		{"transactions that make no sense", testBadTxn},
		{"list is chosen and ordered", testList},
		{"optimistic concurrency counts right", testCounter},
		{"watch: initial state, then each transaction whole", testWatch},
		{"watch: concurrent writers, slow and late watchers", testWatchConcurrent},
		{"watch ends with its context", testWatchContext},
		{"close", testClose},
		{"an ended context changes nothing", testEndedContext},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := open(t)
			t.Cleanup(func() { _ = s.Close() })
			tt.test(t, s)
		})
	}
}

// RunDurable checks what a backend keeps when it is closed and opened again. reopen opens the same store each time.
func RunDurable(t *testing.T, reopen func(t *testing.T) store.Store) {
	ctx := t.Context()
	s := reopen(t)
	mustTxn(t, s, put("a", "1"), put("b", "1"))
	mustTxn(t, s, put("a", "2"))
	last := mustTxn(t, s, remove("b"), put("c", ""))
	want, _, err := s.List(ctx, store.Selector{})
	check(t, err)
	check(t, s.Close())

	s = reopen(t)
	defer s.Close()
	got, revision, err := s.List(ctx, store.Selector{})
	check(t, err)
	if diff := cmp.Diff(want, got); diff != "" || revision != last {
		t.Fatalf("after reopening at revision %d, want %d, records differ (-want +got):\n%s", revision, last, diff)
	}
	if next := mustTxn(t, s, put("d", "1")); next != last+1 {
		t.Fatalf("the revision after reopening is %d, want %d", next, last+1)
	}
}

func testCRUD(t *testing.T, s store.Store) {
	ctx := t.Context()
	if _, err := s.Get(ctx, key("a")); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("get of what is absent: %v, want ErrNotFound", err)
	}
	first := mustTxn(t, s, put("a", "1"))
	if first != 1 {
		t.Errorf("the first revision is %d, want 1", first)
	}
	wantRecord(t, s, "a", "1", first)
	second := mustTxn(t, s, put("a", "2"))
	if second != 2 {
		t.Errorf("the second revision is %d, want 2", second)
	}
	wantRecord(t, s, "a", "2", second)
	mustTxn(t, s, remove("a"))
	wantAbsent(t, s, "a")
	if _, err := s.Txn(ctx, remove("a")); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("delete of what is absent: %v, want ErrNotFound", err)
	}
	if next := mustTxn(t, s, put("a", "3")); next != 4 {
		t.Errorf("a refused transaction took a revision: the next is %d, want 4", next)
	}
}

func testValues(t *testing.T, s store.Store) {
	ctx := t.Context()
	mine := []byte("before")
	mustTxn(t, s, store.Op{Key: key("a"), Value: mine})
	copy(mine, "AFTER!")
	wantRecord(t, s, "a", "before", 1)

	mustTxn(t, s, store.Op{Key: key("empty"), Value: []byte{}})
	wantRecord(t, s, "empty", "", 2)

	big := make([]byte, 1<<20)
	for i := range big {
		big[i] = byte(i * 7)
	}
	mustTxn(t, s, store.Op{Key: key("big"), Value: big})
	r, err := s.Get(ctx, key("big"))
	check(t, err)
	if !slices.Equal(r.Value, big) {
		t.Error("a value of 1 MiB came back different")
	}

	// Keys that would collide if their parts were simply joined.
	for i, k := range collidingKeys {
		mustTxn(t, s, store.Op{Key: k, Value: fmt.Append(nil, i)})
	}
	for i, k := range collidingKeys {
		r, err := s.Get(ctx, k)
		check(t, err)
		if string(r.Value) != fmt.Sprint(i) || r.Key != k {
			t.Errorf("%#v gave %q of %#v, want %d", k, r.Value, r.Key, i)
		}
	}
}

var collidingKeys = []api.Key{
	{Kind: "K", Mesh: "m", Name: "a/b"},
	{Kind: "K", Mesh: "m", Namespace: "a", Name: "b"},
	{Kind: "K", Mesh: "m/a", Name: "b"},
	{Kind: "K/m", Mesh: "a", Name: "b"},
	{Kind: "K", Name: "m"},
	{Kind: "K", Mesh: "é", Name: "日本"},
}

func testConditions(t *testing.T, s store.Store) {
	ctx := t.Context()
	r1 := mustTxn(t, s, store.Op{Key: key("a"), Value: []byte("1"), If: store.IfAbsent})
	refuse := func(what string, op store.Op, want error) {
		t.Helper()
		if _, err := s.Txn(ctx, op); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	refuse("create of what exists", store.Op{Key: key("a"), Value: []byte("x"), If: store.IfAbsent}, store.ErrConflict)
	refuse("update of what is absent", store.Op{Key: key("b"), Value: []byte("x"), If: store.IfRevision(r1)}, store.ErrConflict)
	refuse("delete of what is absent", store.Op{Key: key("b"), If: store.IfRevision(r1)}, store.ErrNotFound)

	r2 := mustTxn(t, s, store.Op{Key: key("a"), Value: []byte("2"), If: store.IfRevision(r1)})
	refuse("update at an old revision", store.Op{Key: key("a"), Value: []byte("x"), If: store.IfRevision(r1)}, store.ErrConflict)
	refuse("delete at an old revision", store.Op{Key: key("a"), If: store.IfRevision(r1)}, store.ErrConflict)
	wantRecord(t, s, "a", "2", r2)
	mustTxn(t, s, store.Op{Key: key("a"), If: store.IfRevision(r2)})
	wantAbsent(t, s, "a")
	mustTxn(t, s, store.Op{Key: key("a"), Value: []byte("3"), If: store.IfAbsent})
}

func testAtomic(t *testing.T, s store.Store) {
	ctx := t.Context()
	first := mustTxn(t, s, put("a", "1"), put("b", "1"))
	w, err := s.Watch(ctx)
	check(t, err)
	for what, ops := range map[string][]store.Op{
		"last fails":   {put("a", "2"), put("c", "2"), {Key: key("b"), Value: []byte("2"), If: store.IfAbsent}},
		"first fails":  {{Key: key("b"), If: store.IfRevision(99)}, put("a", "2"), remove("b")},
		"delete fails": {put("a", "2"), remove("c")},
	} {
		if _, err := s.Txn(ctx, ops...); err == nil {
			t.Errorf("%s: was carried out", what)
		}
	}
	wantRecord(t, s, "a", "1", first)
	wantRecord(t, s, "b", "1", first)
	wantAbsent(t, s, "c")
	last := mustTxn(t, s, put("a", "3"), remove("b"), put("c", "3"))
	if e := next(t, w); e.Revision != last || last != first+1 {
		t.Errorf("the watcher saw revision %d after %d, want %d", e.Revision, first, last)
	}
}

func testBadTxn(t *testing.T, s store.Store) {
	for what, ops := range map[string][]store.Op{
		"no ops":          nil,
		"one key twice":   {put("a", "1"), put("a", "2")},
		"put and delete":  {put("a", "1"), remove("a")},
		"no kind":         {{Key: api.Key{Name: "a"}, Value: []byte("1")}},
		"no name":         {{Key: api.Key{Kind: "K"}, Value: []byte("1")}},
		"NUL in the name": {put("a\x00b", "1")},
	} {
		if _, err := s.Txn(t.Context(), ops...); err == nil {
			t.Errorf("%s: was carried out", what)
		}
	}
	if list, revision, err := s.List(t.Context(), store.Selector{}); err != nil || len(list) != 0 || revision != 0 {
		t.Errorf("something was written: %v, revision %d, %v", list, revision, err)
	}
}

func testList(t *testing.T, s store.Store) {
	ctx := t.Context()
	keys := []api.Key{ // in the order of List
		{Kind: "A", Name: "m"},
		{Kind: "A", Mesh: "m", Name: "a"},
		{Kind: "A", Mesh: "m", Name: "a-1"},
		{Kind: "A", Mesh: "m", Name: "b"},
		{Kind: "A", Mesh: "m", Namespace: "n", Name: "a"},
		{Kind: "A", Mesh: "m2", Name: "a"},
		{Kind: "AB", Mesh: "m", Name: "a"},
		{Kind: "B", Mesh: "m", Name: "a"},
	}
	for i := range keys {
		mustTxn(t, s, store.Op{Key: keys[(i*5+3)%len(keys)], Value: []byte("v")})
	}
	tests := map[string]struct {
		sel  store.Selector
		want []api.Key
	}{
		"all":           {store.Selector{}, keys},
		"kind":          {store.Selector{Kind: "A"}, keys[:6]},
		"mesh":          {store.Selector{Mesh: "m"}, []api.Key{keys[1], keys[2], keys[3], keys[4], keys[6], keys[7]}},
		"kind and mesh": {store.Selector{Kind: "A", Mesh: "m"}, keys[1:5]},
		"none":          {store.Selector{Kind: "C"}, nil},
	}
	for name, tt := range tests {
		list, revision, err := s.List(ctx, tt.sel)
		check(t, err)
		if diff := cmp.Diff(tt.want, recordKeys(list)); diff != "" || revision != store.Revision(len(keys)) {
			t.Errorf("%s: at revision %d (-want +got):\n%s", name, revision, diff)
		}
	}
}

func testClose(t *testing.T, s store.Store) {
	ctx := t.Context()
	mustTxn(t, s, put("a", "1"))
	w, err := s.Watch(ctx)
	check(t, err)
	mustTxn(t, s, put("a", "2"))
	waiting, err := s.Watch(ctx)
	check(t, err)
	ended := make(chan error, 1)
	go func() {
		_, err := waiting.Next(ctx)
		ended <- err
	}()
	check(t, s.Close())

	if err := <-ended; !errors.Is(err, store.ErrClosed) {
		t.Errorf("a watcher that waited got %v, want ErrClosed", err)
	}
	if e := next(t, w); e.Revision != 2 {
		t.Errorf("a watcher that was behind saw revision %d, want 2", e.Revision)
	}
	if _, err := w.Next(ctx); !errors.Is(err, store.ErrClosed) {
		t.Errorf("after the last event: %v, want ErrClosed", err)
	}
	_, getErr := s.Get(ctx, key("a"))
	_, _, listErr := s.List(ctx, store.Selector{})
	_, txnErr := s.Txn(ctx, put("a", "3"))
	_, watchErr := s.Watch(ctx)
	for what, err := range map[string]error{"Get": getErr, "List": listErr, "Txn": txnErr, "Watch": watchErr} {
		if !errors.Is(err, store.ErrClosed) {
			t.Errorf("%s after Close: %v, want ErrClosed", what, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Errorf("a second Close: %v", err)
	}
}

func testEndedContext(t *testing.T, s store.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Txn(ctx, put("a", "1")); !errors.Is(err, context.Canceled) {
		t.Errorf("Txn: %v, want context.Canceled", err)
	}
	wantAbsent(t, s, "a")
	if _, err := s.Watch(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Watch: %v, want context.Canceled", err)
	}
}

func key(name string) api.Key { return api.Key{Kind: "K", Mesh: "m", Name: name} }

func put(name, value string) store.Op { return store.Op{Key: key(name), Value: []byte(value)} }

func remove(name string) store.Op { return store.Op{Key: key(name)} }

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mustTxn(t *testing.T, s store.Store, ops ...store.Op) store.Revision {
	t.Helper()
	r, err := s.Txn(t.Context(), ops...)
	check(t, err)
	return r
}

func next(t *testing.T, w *store.Watch) store.Event {
	t.Helper()
	e, err := w.Next(t.Context())
	check(t, err)
	return e
}

func wantRecord(t *testing.T, s store.Store, name, value string, revision store.Revision) {
	t.Helper()
	got, err := s.Get(t.Context(), key(name))
	check(t, err)
	want := store.Record{Key: key(name), Value: []byte(value), Revision: revision}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

func wantAbsent(t *testing.T, s store.Store, name string) {
	t.Helper()
	if r, err := s.Get(t.Context(), key(name)); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("%s: got %q, %v, want ErrNotFound", name, r.Value, err)
	}
}

func recordKeys(list []store.Record) []api.Key {
	var keys []api.Key
	for _, r := range list {
		keys = append(keys, r.Key)
	}
	return keys
}
