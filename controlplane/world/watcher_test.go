package world

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/controlplane/store"
	"github.com/hauberk-mesh/hauberk/controlplane/store/memory"
)

// followed runs a Watcher over a store in a synctest bubble; both end with the test.
func followed(t *testing.T) (*store.Resources, *Watcher) {
	s := memory.New(memory.Options{})
	w := NewWatcher(s, registry(), slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run ended with %v", err)
		}
		_ = s.Close()
	})
	return store.NewResources(s, registry()), w
}

func applyYAML(t *testing.T, resources *store.Resources, yaml string) store.Revision {
	t.Helper()
	all, err := registry().Decode("test", []byte(yaml))
	if err != nil {
		t.Fatal(err)
	}
	revision, err := resources.Apply(context.Background(), all)
	if err != nil {
		t.Fatal(err)
	}
	return revision
}

func TestWatcher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		resources, w := followed(t)
		if w.Current() == nil {
			t.Fatal("before Run there is no World")
		}
		<-w.Ready()
		ctx, cancel := context.WithCancel(t.Context())
		updates := w.Subscribe(ctx)

		revision := applyYAML(t, resources, meshDoc("default")+cart("cart-1", "10.0.0.1"))
		now, err := w.WaitFor(ctx, revision)
		if err != nil || now.Generation != revision || now.Meshes["default"].Services["cart"] == nil {
			t.Fatalf("waited for %d and got %+v, %v", revision, now, err)
		}
		if u := <-updates; u.New != now || u.Old.Generation != 0 || u.Changed["default"] == nil {
			t.Errorf("the update is %+v", u)
		}
		short, cancelShort := context.WithCancel(ctx)
		cancelShort()
		if _, err := w.WaitFor(short, revision+1); !errors.Is(err, context.Canceled) {
			t.Errorf("waiting with an ended context: %v", err)
		}
		cancel()
		if _, open := <-updates; open {
			t.Error("an update came after the subscription's end")
		}
	})
}

// TestSlowSubscriber: steps that wait become one, whose Old is the last World that the subscriber has seen, and which names
// all that changed. Nobody else waits for it, and what others got stays as it was.
func TestSlowSubscriber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		resources, w := followed(t)
		<-w.Ready()
		slow, fast := w.Subscribe(t.Context()), w.Subscribe(t.Context())
		applyYAML(t, resources, meshDoc("default"))
		first := <-slow
		<-fast

		var single []*Update
		last := first.New
		for i := range 5 {
			applyYAML(t, resources, cart(fmt.Sprintf("cart-%d", i), "10.0.0.1"))
			u := <-fast
			single = append(single, u)
			if len(u.Changed["default"].Dataplanes) != 1 || u.Old != last {
				t.Errorf("the fast subscriber got %+v", u.Changed["default"])
			}
			last = u.New
		}
		synctest.Wait()
		u := <-slow
		if u.Old != first.New || u.New != last {
			t.Errorf("the merged step is from %d to %d", u.Old.Generation, u.New.Generation)
		}
		want := map[string]bool{"cart-0": true, "cart-1": true, "cart-2": true, "cart-3": true, "cart-4": true}
		if diff := cmp.Diff(want, u.Changed["default"].Dataplanes); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		for i, u := range single {
			if len(u.Changed["default"].Dataplanes) != 1 {
				t.Errorf("step %d was changed by a merge", i)
			}
		}
	})
}

// TestSubscribersMissNothing: with writers and readers that know nothing of each other, each subscriber's steps connect.
func TestSubscribersMissNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		resources, w := followed(t)
		const n = 200
		done := make(chan error, 3)
		for range 3 {
			ctx, cancel := context.WithCancel(t.Context())
			updates := w.Subscribe(ctx)
			go func() {
				defer cancel()
				seen := map[string]bool{}
				var last *World
				for u := range updates {
					if last != nil && u.Old != last {
						done <- fmt.Errorf("a step from %d came after %d", u.Old.Generation, last.Generation)
						return
					}
					last = u.New
					if c := u.Changed["default"]; c != nil {
						for name := range c.Dataplanes {
							seen[name] = true
						}
					}
					if last.Generation == n+1 {
						break
					}
				}
				if len(seen) != n {
					done <- fmt.Errorf("saw %d dataplanes change, want %d", len(seen), n)
					return
				}
				done <- nil
			}()
		}
		applyYAML(t, resources, meshDoc("default"))
		for i := range n {
			applyYAML(t, resources, cart(fmt.Sprintf("cart-%d", i), "10.0.0.1"))
		}
		for range 3 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
}

func TestStoreCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memory.New(memory.Options{})
		w := NewWatcher(s, registry(), slog.New(slog.DiscardHandler))
		ended := make(chan error, 1)
		go func() { ended <- w.Run(t.Context()) }()
		<-w.Ready()
		waiting := make(chan error, 1)
		go func() {
			_, err := w.WaitFor(t.Context(), 9)
			waiting <- err
		}()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; !errors.Is(err, store.ErrClosed) {
			t.Errorf("Run ended with %v, want ErrClosed", err)
		}
		if err := <-waiting; !errors.Is(err, ErrStopped) {
			t.Errorf("WaitFor ended with %v, want ErrStopped", err)
		}
	})
}

// BenchmarkEndpointChange is the step for one dataplane that changes between ready and not ready: of a service of 10, in a
// mesh of n; and of one service that all n belong to.
func BenchmarkEndpointChange(b *testing.B) {
	for _, n := range []int{100, 1000} {
		for _, members := range []int{10, n} {
			b.Run(fmt.Sprintf("dataplanes=%d/service=%d", n, members), func(b *testing.B) { benchmarkEndpointChange(b, n, members) })
		}
	}
}

func benchmarkEndpointChange(b *testing.B, n, members int) {
	f := newFixture(b)
	yaml := meshDoc("default") + identityDoc()
	for i := range n {
		yaml += doc("Dataplane", fmt.Sprintf("d-%d", i), fmt.Sprintf("hauberk.io/service: s-%d", i/members),
			fmt.Sprintf("{address: 10.0.%d.%d, inbounds: [{port: 80, protocol: http}], outbounds: [{port: 10001, backendRef: {kind: MeshService, name: s-0, port: 80}}]}", i/256, i%256))
	}
	f.apply(yaml)
	var events [2]store.Event
	for i := range events {
		value, err := registry().Encode(insight("d-0", i == 0, "refused"))
		f.check(err)
		key := api.Key{Kind: kindInsight, Mesh: "default", Name: "d-0"}
		events[i].Changes = []store.Change{{Key: key, New: &store.Record{Key: key, Value: value}}}
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if u := f.builder.Apply(events[i%2]); i > 0 && !u.Changed["default"].Endpoints["s-0"] {
			b.Fatal("nothing changed")
		}
	}
}
