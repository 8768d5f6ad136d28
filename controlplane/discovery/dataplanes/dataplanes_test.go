package dataplanes

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/api/resource"
	"github.com/hauberk-mesh/hauberk/controlplane/store"
	"github.com/hauberk-mesh/hauberk/controlplane/store/memory"
	"github.com/hauberk-mesh/hauberk/controlplane/world"
	"github.com/hauberk-mesh/hauberk/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// fixture is a store that outlives control planes, and the one that runs.
type fixture struct {
	t         *testing.T
	failing   atomic.Bool // the store takes no writes
	store     *memory.Store
	registry  *api.Registry
	resources *store.Resources
	m         *Manager
	stop      func()
}

// bubble runs a test with a control plane in a synctest bubble, where an hour takes no time.
func bubble(t *testing.T, test func(*testing.T, *fixture)) {
	synctest.Test(t, func(t *testing.T) {
		f := &fixture{t: t, registry: api.NewRegistry(resource.Kinds()...)}
		f.store = memory.New(memory.Options{Commit: func(store.Event) error {
			if f.failing.Load() {
				return errors.New("disk is full")
			}
			return nil
		}})
		f.resources = store.NewResources(f.store, f.registry)
		f.apply(`{apiVersion: hauberk.io/v1alpha1, kind: Mesh, metadata: {name: default}}`)
		f.start()
		test(t, f)
		f.stop()
		f.check(f.store.Close())
	})
}

// start runs a control plane on the store.
func (f *fixture) start() {
	ctx, cancel := context.WithCancel(context.Background())
	log := slog.New(slog.DiscardHandler)
	w := world.NewWatcher(f.store, f.registry, log)
	f.m = New(Options{Store: f.store, Registry: f.registry, World: w, Logger: log})
	ended := make(chan error, 2)
	go func() { ended <- w.Run(ctx) }()
	go func() { ended <- f.m.Run(ctx) }()
	f.stop = func() {
		cancel()
		f.check(errors.Join(<-ended, <-ended))
	}
	synctest.Wait()
}

func (f *fixture) check(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) apply(yaml string) {
	f.t.Helper()
	all, err := f.registry.Decode("test", []byte(yaml))
	f.check(err)
	_, err = f.resources.Apply(f.t.Context(), all)
	f.check(err)
}

func (f *fixture) revision() store.Revision {
	_, r, err := f.store.List(f.t.Context(), store.Selector{})
	f.check(err)
	return r
}

// published is the Dataplane as stored, nil if there is none.
func (f *fixture) published(name string) *api.Resource {
	f.t.Helper()
	r, err := f.resources.Get(f.t.Context(), id{"default", name}.key(kindDataplane))
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	f.check(err)
	return r
}

func (f *fixture) insight(name string) *resource.DataplaneInsight {
	f.t.Helper()
	r, err := f.resources.Get(f.t.Context(), id{"default", name}.key(kindInsight))
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	f.check(err)
	return r.Spec.(*resource.DataplaneInsight)
}

func dataplaneJSON(name, service, address string, port int) string {
	return fmt.Sprintf(`{"apiVersion":"hauberk.io/v1alpha1","kind":"Dataplane","metadata":{"name":%q,"labels":{"hauberk.io/service":%q}},`+
		`"spec":{"address":%q,"inbounds":[{"port":%d,"protocol":"http"}]}}`, name, service, address, port)
}

func registration(name, service, address string) Registration {
	return Registration{Mesh: "default", Dataplane: name, Service: service, Workload: service,
		Resource: []byte(dataplaneJSON(name, service, address, 80))}
}

func (f *fixture) connect(r Registration) *Session {
	f.t.Helper()
	s, err := f.m.Connect(f.t.Context(), r)
	f.check(err)
	return s
}

func (f *fixture) refused(r Registration, want string) {
	f.t.Helper()
	s, err := f.m.Connect(f.t.Context(), r)
	if err == nil {
		s.Close()
		f.t.Errorf("was registered, want an error with %q", want)
	} else if !strings.Contains(err.Error(), want) {
		f.t.Errorf("got %q, want an error with %q", err, want)
	}
}

func wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestLease(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		s := f.connect(registration("cart-1", "cart", "10.0.0.1"))
		got := f.published("cart-1")
		want := map[string]string{api.LabelService: "cart", api.LabelOrigin: api.OriginDataplane}
		if diff := cmp.Diff(want, got.Metadata.Labels); diff != "" {
			t.Errorf("labels (-want +got):\n%s", diff)
		}
		f.check(f.m.SetReadiness(t.Context(), "default", "cart-1", []resource.InboundInsight{{Name: "http", Ready: true}}))
		wait(time.Hour)
		if f.published("cart-1") == nil {
			t.Fatal("a connected dataplane was withdrawn")
		}
		if diff := cmp.Diff(map[string]bool{"cart-1": true}, f.m.Connected("default")); diff != "" {
			t.Error(diff)
		}

		s.Close()
		s.Close()
		wait(29 * time.Second)
		if f.published("cart-1") == nil || len(f.m.Connected("default")) != 0 {
			t.Fatal("a dataplane was withdrawn before its lease ran out, or is still connected")
		}
		before := f.revision()
		s = f.connect(registration("cart-1", "cart", "10.0.0.1")) // it comes back
		wait(time.Hour)
		if f.published("cart-1") == nil || f.revision() != before {
			t.Fatal("a dataplane that came back was withdrawn or written again")
		}

		s.Close()
		wait(31 * time.Second)
		if f.published("cart-1") != nil || f.insight("cart-1") != nil {
			t.Error("a dataplane is still there after its lease")
		}
		if f.revision() != before+1 {
			t.Error("the dataplane and its insight were not withdrawn in one transaction")
		}
		if len(f.m.table) != 0 {
			t.Errorf("entries are left: %v", f.m.table)
		}
	})
}

func TestLeave(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		s := f.connect(registration("cart-1", "cart", "10.0.0.1"))
		f.check(s.Leave(t.Context()))
		if f.published("cart-1") != nil {
			t.Error("the dataplane that left is still there")
		}
		f.check(s.Leave(t.Context()))
		s.Close()

		// Asked for on another stream, while the proxy drains on.
		s = f.connect(registration("cart-1", "cart", "10.0.0.1"))
		f.check(f.m.Leave(t.Context(), "default", "cart-1"))
		if f.published("cart-1") != nil || !f.m.Connected("default")["cart-1"] {
			t.Error("a draining dataplane is still published, or not connected")
		}
		f.check(f.m.SetReadiness(t.Context(), "default", "cart-1", nil))
		before := f.revision()
		s.Close()
		wait(time.Hour)
		if f.revision() != before || len(f.m.table) != 0 {
			t.Errorf("something is left of it: %v", f.m.table)
		}
		f.check(f.m.Leave(t.Context(), "default", "nobody"))
	})
}

// TestRestart: a control plane that starts withdraws nobody before a lease has run out.
func TestRestart(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		f.connect(registration("stays", "cart", "10.0.0.1"))
		gone := f.connect(registration("goes", "cart", "10.0.0.2"))
		gone.Close()
		f.apply(dataplaneJSON("users", "cart", "10.0.0.3", 80))
		wait(20 * time.Second)
		before := f.revision()
		f.stop()
		wait(time.Hour)

		f.start()
		wait(29 * time.Second)
		if f.revision() != before {
			t.Fatal("something was written before the lease from the start ran out")
		}
		f.connect(registration("stays", "cart", "10.0.0.1"))
		wait(2 * time.Second)
		if f.published("stays") == nil || f.published("goes") != nil || f.published("users") == nil {
			t.Errorf("after the lease: stays %v, goes %v, users %v", f.published("stays"), f.published("goes"), f.published("users"))
		}
		if f.revision() != before+1 {
			t.Errorf("%d writes, want one", f.revision()-before)
		}
	})
}

func TestUserApplied(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		f.apply(dataplaneJSON("cart-1", "cart", "10.0.0.1", 80))
		before := f.revision()
		f.refused(registration("cart-1", "cart", "10.0.0.2"), "a user has applied")
		s := f.connect(registration("cart-1", "cart", "10.0.0.1"))
		if f.revision() != before {
			t.Error("what the user applied was written again")
		}
		s.Close()
		wait(time.Hour)
		if f.published("cart-1") == nil {
			t.Error("what the user applied was withdrawn after the lease")
		}
		f.check(f.connect(registration("cart-1", "cart", "10.0.0.1")).Leave(t.Context()))
		if f.published("cart-1") == nil {
			t.Error("what the user applied was withdrawn when the proxy left")
		}
		// A user takes over what a proxy has registered.
		s = f.connect(registration("cart-2", "cart", "10.0.0.2"))
		f.apply(dataplaneJSON("cart-2", "cart", "10.0.0.2", 80))
		s.Close()
		wait(time.Hour)
		if f.published("cart-2") == nil {
			t.Error("what the user took over was withdrawn")
		}
	})
}

// TestTwoSessions: of two connections of one proxy the newer one counts, whichever ends first.
func TestTwoSessions(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		first := f.connect(registration("cart-1", "cart", "10.0.0.1"))
		second := f.connect(registration("cart-1", "cart", "10.0.0.9"))
		select {
		case <-first.Superseded():
		default:
			t.Error("the first session does not know that it is superseded")
		}
		if got := f.published("cart-1").Spec.(*resource.Dataplane).Address; got != "10.0.0.9" {
			t.Errorf("published is %s, want what the newer one says", got)
		}
		first.Close()
		f.check(first.Leave(t.Context()))
		wait(time.Hour)
		if f.published("cart-1") == nil || !f.m.Connected("default")["cart-1"] {
			t.Error("the end of the superseded session ended the other")
		}

		thief := registration("cart-1", "payments", "10.0.0.1")
		f.refused(thief, `a proxy of service "cart"`)
		second.Close()
		f.connect(thief).Close() // nobody is there any more
		if got := f.published("cart-1").Metadata.Labels[api.LabelService]; got != "payments" {
			t.Errorf("service is %q", got)
		}
		wait(time.Hour)
	})
}

func TestChecks(t *testing.T) {
	good := registration("cart-2", "cart", "10.0.0.2")
	tests := map[string]struct {
		change func(*Registration)
		want   string
	}{
		"name":                                 {func(r *Registration) { r.Dataplane = "other" }, "metadata.name of the Dataplane"},
		"mesh":                                 {func(r *Registration) { r.Mesh = "other" }, "hauberk.io/mesh"},
		"service":                              {func(r *Registration) { r.Service = "other" }, "hauberk.io/service"},
		"workload":                             {func(r *Registration) { r.Workload = "other" }, "hauberk.io/workload"},
		"zone":                                 {func(r *Registration) { r.Zone = "other" }, "hauberk.io/zone"},
		"claims a workload without having one": {func(r *Registration) { r.Workload = "" }, "hauberk.io/workload"},
		"unknown field": {func(r *Registration) {
			r.Resource = []byte(strings.Replace(string(r.Resource), `"address"`, `"adress"`, 1))
		}, "adress"},
		"invalid": {func(r *Registration) { r.Resource = []byte(dataplaneJSON("cart-2", "cart", "nowhere", 80)) }, "spec.address"},
		"another kind": {func(r *Registration) {
			r.Resource = []byte(`{"apiVersion":"hauberk.io/v1alpha1","kind":"Mesh","metadata":{"name":"evil"}}`)
		}, "its Dataplane"},
		"two documents": {func(r *Registration) {
			r.Resource = []byte(dataplaneJSON("cart-2", "cart", "10.0.0.2", 80) + "\n---\n" + dataplaneJSON("x", "cart", "10.0.0.3", 80))
		}, "one resource"},
		"nothing": {func(r *Registration) { r.Resource = nil }, "one resource"},
		"contradicts another": {func(r *Registration) {
			r.Resource = []byte(dataplaneJSON("cart-2", "cart", "10.0.0.2", 81))
		}, `has port 80 on dataplane "cart-1" and 81 on "cart-2"`},
	}
	bubble(t, func(t *testing.T, f *fixture) {
		f.connect(registration("cart-1", "cart", "10.0.0.1"))
		before := f.revision()
		for name, tt := range tests {
			r := good
			tt.change(&r)
			if s, err := f.m.Connect(t.Context(), r); err == nil {
				t.Errorf("%s: was registered", name)
				s.Close()
			} else if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: got %q, want %q", name, err, tt.want)
			}
		}
		if f.revision() != before || len(f.m.table) != 1 {
			t.Errorf("something that was refused left traces: %v", f.m.table)
		}
		f.connect(good)
	})
}

// TestOwnOrigin: what a proxy says of its origin is not believed.
func TestOwnOrigin(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		r := registration("cart-1", "cart", "10.0.0.1")
		r.Resource = []byte(strings.Replace(string(r.Resource), `"labels":{`, `"labels":{"hauberk.io/origin":"default",`, 1))
		f.connect(r)
		if got := f.published("cart-1").Metadata.Labels[api.LabelOrigin]; got != api.OriginDataplane {
			t.Errorf("origin is %q", got)
		}
	})
}

func TestNoMesh(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		r := registration("cart-1", "cart", "10.0.0.1")
		r.Mesh = "other"
		r.Resource = []byte(strings.Replace(string(r.Resource), `"labels":{`, `"labels":{"hauberk.io/mesh":"other",`, 1))
		f.refused(r, `there is no mesh "other"`)
		f.apply(`{apiVersion: hauberk.io/v1alpha1, kind: Mesh, metadata: {name: other}}`)
		synctest.Wait()
		f.connect(r)
		f.connect(registration("cart-1", "cart", "10.0.0.1"))
		if len(f.m.Connected("other")) != 1 || len(f.m.Connected("default")) != 1 {
			t.Error("the same name in two meshes is one")
		}
	})
}

func TestReadiness(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		set := func(inbounds ...resource.InboundInsight) {
			t.Helper()
			f.check(f.m.SetReadiness(t.Context(), "default", "cart-1", inbounds))
		}
		// What is told before the registration comes with it, in one transaction.
		set(resource.InboundInsight{Name: "http", Reason: "refused"})
		before := f.revision()
		f.connect(registration("cart-1", "cart", "10.0.0.1"))
		if in := f.insight("cart-1"); in == nil || in.Inbounds[0].Ready || f.revision() != before+1 {
			t.Fatalf("after registration the insight is %+v", in)
		}
		set(resource.InboundInsight{Name: "http", Reason: "refused"})
		if f.revision() != before+1 {
			t.Error("readiness that did not change was written")
		}
		set(resource.InboundInsight{Name: "http", Ready: true}, resource.InboundInsight{Name: "admin", Ready: true})
		set(resource.InboundInsight{Name: "admin", Ready: true}, resource.InboundInsight{Name: "http", Ready: true})
		if in := f.insight("cart-1"); len(in.Inbounds) != 1 || !in.Inbounds[0].Ready || f.revision() != before+2 {
			t.Errorf("insight is %+v after %d writes", in, f.revision()-before)
		}
	})
}

// TestFailingStore: a store that takes no writes refuses new dataplanes, keeps the others, and withdraws later what it could
// not withdraw in time.
func TestFailingStore(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		s := f.connect(registration("cart-1", "cart", "10.0.0.1"))
		f.failing.Store(true)
		f.refused(registration("cart-2", "cart", "10.0.0.2"), "disk is full")
		f.connect(registration("cart-1", "cart", "10.0.0.1")) // writes nothing
		if err := f.m.Leave(t.Context(), "default", "cart-1"); err == nil {
			t.Error("left without a write")
		}
		s.Close()
		f.connect(registration("cart-1", "cart", "10.0.0.1")).Close()
		wait(time.Minute)
		if f.published("cart-1") == nil {
			t.Error("withdrawn without a write")
		}
		f.failing.Store(false)
		wait(31 * time.Second)
		if f.published("cart-1") != nil {
			t.Error("was never withdrawn after the store had recovered")
		}
	})
}

// TestConcurrent: many proxies of one service register at once; of those that contradict each other one side alone gets in.
func TestConcurrent(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		const n = 40
		results := make(chan bool, n)
		for i := range n {
			go func() {
				r := registration(fmt.Sprintf("cart-%d", i), "cart", "10.0.0.1")
				r.Resource = []byte(dataplaneJSON(r.Dataplane, "cart", "10.0.0.1", 80+i%2))
				_, err := f.m.Connect(context.Background(), r)
				results <- err == nil
			}()
		}
		ok := 0
		for range n {
			if <-results {
				ok++
			}
		}
		if ok != n/2 || len(f.m.Connected("default")) != n/2 {
			t.Errorf("%d were registered, want %d", ok, n/2)
		}
		w, err := f.m.world.WaitFor(t.Context(), f.revision())
		f.check(err)
		if got := len(w.Meshes["default"].Services["cart"].Ports[0].Endpoints.List); got != n/2 {
			t.Errorf("%d endpoints, want %d", got, n/2)
		}
	})
}
