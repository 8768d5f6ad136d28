package store_test

import (
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/api/resource"
	"github.com/hauberk-mesh/hauberk/controlplane/store"
	"github.com/hauberk-mesh/hauberk/controlplane/store/memory"
	"github.com/hauberk-mesh/hauberk/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

func setup(t *testing.T) (*memory.Store, *store.Resources) {
	s := memory.New(memory.Options{})
	t.Cleanup(func() { _ = s.Close() })
	return s, store.NewResources(s, api.NewRegistry(resource.Kinds()...))
}

func dataplane(name, address string) *api.Resource {
	return &api.Resource{
		APIVersion: api.APIVersion, Kind: "Dataplane",
		Metadata: api.Meta{Name: name, Labels: map[string]string{"hauberk.io/service": "cart", "version": "v1"}},
		Spec:     &resource.Dataplane{Address: address},
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestResourcesMetadata(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		_, resources := setup(t)
		begin := time.Now().UTC().Truncate(time.Second)
		_, err := resources.Put(ctx, dataplane("a", "10.0.0.1"))
		check(t, err)
		time.Sleep(time.Hour)
		lie := dataplane("a", "10.0.0.2")
		other := begin.Add(-time.Hour)
		lie.Metadata.CreationTime = &other
		_, err = resources.Put(ctx, lie)
		check(t, err)

		got, err := resources.Get(ctx, lie.Key())
		check(t, err)
		want := dataplane("a", "10.0.0.2")
		want.Metadata.ResourceVersion, want.Metadata.CreationTime = "2", &begin
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		if lie.Metadata.ResourceVersion != "" || !lie.Metadata.CreationTime.Equal(other) {
			t.Error("Put changed its argument")
		}
	})
}

func TestApply(t *testing.T) {
	ctx := t.Context()
	s, resources := setup(t)
	apply := func(wantRevision store.Revision, want []store.Outcome, all ...*api.Resource) {
		t.Helper()
		revision, results, err := resources.ApplyResults(ctx, all)
		check(t, err)
		var got []store.Outcome
		for _, r := range results {
			got = append(got, r.Outcome)
		}
		if diff := cmp.Diff(want, got); diff != "" || revision != wantRevision {
			t.Errorf("revision %d, want %d (-want +got):\n%s", revision, wantRevision, diff)
		}
	}
	a, b, c := dataplane("a", "10.0.0.1"), dataplane("b", "10.0.0.2"), dataplane("c", "10.0.0.3")
	apply(1, []store.Outcome{store.Created, store.Created}, a, b)
	apply(1, []store.Outcome{store.Unchanged, store.Unchanged}, a, b)
	a.Spec = &resource.Dataplane{Address: "10.0.0.9"}
	apply(2, []store.Outcome{store.Created, store.Configured, store.Unchanged}, c, a, b)
	if r, err := s.Get(ctx, b.Key()); err != nil || r.Revision != 1 {
		t.Errorf("what did not change is at revision %d, %v, want 1", r.Revision, err)
	}
	got, err := resources.Get(ctx, a.Key())
	check(t, err)
	apply(2, []store.Outcome{store.Unchanged}, got) // what get printed can be applied

	// All or nothing, and what is refused says its name.
	stale := dataplane("b", "10.0.0.5")
	stale.Metadata.ResourceVersion = "7"
	_, err = resources.Apply(ctx, []*api.Resource{dataplane("d", "10.0.0.4"), stale})
	if !errors.Is(err, store.ErrConflict) || !strings.Contains(err.Error(), "Dataplane/b") {
		t.Errorf("got %v, want a conflict of Dataplane/b", err)
	}
	if _, err := resources.Get(ctx, dataplane("d", "").Key()); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("half of a refused apply is there: %v", err)
	}
	gone := dataplane("gone", "10.0.0.5")
	gone.Metadata.ResourceVersion = "1"
	if _, err := resources.Put(ctx, gone); !errors.Is(err, store.ErrConflict) {
		t.Errorf("update of what is gone: %v, want ErrConflict", err)
	}
	bad := dataplane("e", "10.0.0.5")
	bad.Metadata.ResourceVersion = "latest"
	if _, err := resources.Put(ctx, bad); err == nil {
		t.Error("a resourceVersion that is none was taken")
	}
	if _, err := resources.Apply(ctx, []*api.Resource{c, c}); err == nil {
		t.Error("one resource twice was taken")
	}
}

func TestCreate(t *testing.T) {
	ctx := t.Context()
	_, resources := setup(t)
	_, err := resources.Create(ctx, dataplane("a", "10.0.0.1"))
	check(t, err)
	if _, err := resources.Create(ctx, dataplane("b", "10.0.0.1"), dataplane("a", "10.0.0.1")); !errors.Is(err, store.ErrConflict) {
		t.Errorf("got %v, want ErrConflict", err)
	}
	list, err := resources.List(ctx, "Dataplane", "")
	check(t, err)
	if len(list) != 1 {
		t.Errorf("half of a refused create is there: %v", list)
	}
}

func TestDelete(t *testing.T) {
	ctx := t.Context()
	_, resources := setup(t)
	a := dataplane("a", "10.0.0.1")
	_, err := resources.Put(ctx, a)
	check(t, err)
	revision, err := resources.Delete(ctx, a.Key())
	if err != nil || revision != 2 {
		t.Errorf("deleted at %d, %v, want 2", revision, err)
	}
	if _, err := resources.Delete(ctx, a.Key()); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("deleted twice: %v, want ErrNotFound", err)
	}
}

func TestMeshesAreApart(t *testing.T) {
	ctx := t.Context()
	_, resources := setup(t)
	other := dataplane("a", "10.9.9.9")
	other.Metadata.Labels["hauberk.io/mesh"] = "other"
	_, err := resources.Apply(ctx, []*api.Resource{dataplane("a", "10.0.0.1"), other})
	check(t, err)
	list, err := resources.List(ctx, "Dataplane", "other")
	check(t, err)
	if len(list) != 1 || list[0].Spec.(*resource.Dataplane).Address != "10.9.9.9" {
		t.Errorf("mesh other has %v", list)
	}
}

// TestRawKinds: what is no resource cannot be had through the typed layer.
func TestRawKinds(t *testing.T) {
	ctx := t.Context()
	s, resources := setup(t)
	secret := api.Key{Kind: "Secret", Name: "ca-key"}
	_, err := s.Txn(ctx, store.Op{Key: secret, Value: []byte("{}")})
	check(t, err)
	_, getErr := resources.Get(ctx, secret)
	_, listErr := resources.List(ctx, "Secret", "")
	_, deleteErr := resources.Delete(ctx, secret)
	_, putErr := resources.Put(ctx, &api.Resource{Kind: "Secret", Metadata: api.Meta{Name: "ca-key"}})
	for what, err := range map[string]error{"get": getErr, "list": listErr, "delete": deleteErr, "put": putErr} {
		if err == nil || errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s of a secret: %v, want that the kind is unknown", what, err)
		}
	}
}

func TestUnreadableRecords(t *testing.T) {
	ctx := t.Context()
	s, resources := setup(t)
	key := dataplane("a", "").Key()
	for _, value := range []string{
		`{`,
		`{"apiVersion":"hauberk.io/v1alpha1","kind":"Dataplane","metadata":{"name":"a"},"spec":{"fromTheFuture":1}}`,
		`{"apiVersion":"hauberk.io/v1alpha1","kind":"Dataplane","metadata":{"name":"b"},"spec":{"address":"10.0.0.1"}}`,
	} {
		_, err := s.Txn(ctx, store.Op{Key: key, Value: []byte(value)})
		check(t, err)
		if _, err := resources.Get(ctx, key); err == nil || !strings.Contains(err.Error(), "Dataplane/a") {
			t.Errorf("%s: got %v, want an error that names the record", value, err)
		}
		if _, err := resources.List(ctx, "Dataplane", ""); err == nil {
			t.Errorf("%s: was left out of a list", value)
		}
	}
}

// TestConcurrentApply: writers that carry no version all get through; those that carry one never overwrite each other.
func TestConcurrentApply(t *testing.T) {
	ctx := t.Context()
	_, resources := setup(t)
	_, err := resources.Put(ctx, counted(0))
	check(t, err)
	const writers, each = 4, 25
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for j := 0; j < each; {
				if _, err := resources.Put(ctx, dataplane("free", "10.0.0."+strconv.Itoa(i*each+j))); err != nil {
					t.Error(err)
					return
				}
				old, err := resources.Get(ctx, counted(0).Key())
				if err != nil {
					t.Error(err)
					return
				}
				n, _ := strconv.Atoi(old.Metadata.Labels["n"])
				next := counted(n + 1)
				next.Metadata.ResourceVersion = old.Metadata.ResourceVersion
				switch _, err := resources.Put(ctx, next); {
				case err == nil:
					j++
				case !errors.Is(err, store.ErrConflict):
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	got, err := resources.Get(ctx, counted(0).Key())
	check(t, err)
	if n := got.Metadata.Labels["n"]; n != strconv.Itoa(writers*each) {
		t.Errorf("counted to %s, want %d", n, writers*each)
	}
}

func counted(n int) *api.Resource {
	d := dataplane("counted", "10.0.0.1")
	d.Metadata.Labels["n"] = strconv.Itoa(n)
	return d
}
