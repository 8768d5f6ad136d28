package xdsclient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/anypb"
)

// A fake resource is its needs as text: "r:routes c:cluster". What begins with "bad" can never be put in force.
func fake(typeURL, text string) *anypb.Any { return &anypb.Any{TypeUrl: typeURL, Value: []byte(text)} }

func fakeNeeds(a *anypb.Any) (out []Need, err error) {
	for _, word := range strings.Fields(string(a.GetValue())) {
		kind, name, _ := strings.Cut(word, ":")
		switch kind {
		case "r":
			out = append(out, Need{Type: TypeRoute, Name: name})
		case "c":
			out = append(out, Need{Type: TypeCluster, Name: name})
		case "e":
			out = append(out, Need{Type: TypeEndpoints, Name: name})
		case "s":
			out = append(out, Need{Type: TypeSecret, Name: name})
		case "patient":
			out = append(out, Need{Type: TypeEndpoints, Name: name, Patience: -1})
		}
	}
	return out, nil
}

// follower is a Client without a stream, its Handler, and the wire on which its answers are seen.
type follower struct {
	t      *testing.T
	c      *Client
	force  string // what is in force
	fail   error  // of the next Apply
	asked  []string
	late   *late
	calls  int
	subbed map[string][]string
}

func newFollower(t *testing.T, static resources) *follower {
	t.Helper()
	f := &follower{t: t, late: newLate(), subbed: map[string][]string{}}
	t.Cleanup(f.late.stop)
	var err error
	f.c, err = New(Options{
		Node: &core.Node{Id: "n"}, Handler: f, Logger: slog.New(slog.DiscardHandler),
		Dial: func(context.Context) (*grpc.ClientConn, error) { return nil, errors.New("there is none") },
		Stock: &Stock{
			Listeners: true, Clusters: true, Static: static, Needs: fakeNeeds,
			StandIn: func(typeURL, name string) *anypb.Any {
				if typeURL == TypeSecret {
					return nil
				}
				return fake(typeURL, "stand-in")
			},
			Check: func(r map[string]map[string]*anypb.Any) error {
				for _, t := range Types() {
					for _, name := range sortedKeys(r[t]) {
						if strings.HasPrefix(string(r[t][name].GetValue()), "bad") {
							return fmt.Errorf("%s %q: is bad", shortType(t), name)
						}
					}
				}
				return nil
			},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.c.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *follower) Apply(_ context.Context, u *Update) error {
	f.calls++
	if err := f.fail; err != nil {
		f.fail = nil
		return err
	}
	var all []string
	for _, t := range Types() {
		for _, name := range sortedKeys(u.Resources[t]) {
			all = append(all, fmt.Sprintf("%s %s=%s", shortType(t)[:1], name, u.Resources[t][name].GetValue()))
		}
	}
	f.force = strings.Join(all, ", ")
	return nil
}

// The wire.
func (f *follower) recv() (*news, string, error) { return nil, "", errors.New("is not used") }
func (f *follower) broken(err error) error       { return err }
func (f *follower) answer(n *news, _ *assembly, refusal error) error {
	text := "ACK"
	if refusal != nil {
		text = "NACK " + refusal.Error()
	}
	f.asked = append(f.asked, shortType(n.typeURL)+" "+text)
	return nil
}

func (f *follower) subscribe(typeURL string, names []string, _ *assembly) error {
	if !slices.Equal(f.subbed[typeURL], names) {
		f.asked = append(f.asked, fmt.Sprint(shortType(typeURL), names))
		f.subbed[typeURL] = names
	}
	return nil
}

// send hands over a response of the state of the world: "name=text", and checks what was answered.
func (f *follower) send(typeURL string, want string, put ...string) {
	f.t.Helper()
	f.hear(&news{typeURL: typeURL, version: "v", full: true}, want, put)
}

func (f *follower) hear(n *news, want string, put []string) {
	f.t.Helper()
	for _, p := range put {
		name, text, _ := strings.Cut(p, "=")
		n.put = append(n.put, sent{name: name, message: fake(n.typeURL, text)})
	}
	f.asked = nil
	if err := f.c.hear(f.t.Context(), f, f.late, n); err != nil {
		f.t.Fatal(err)
	}
	if got := strings.Join(f.asked, "; "); got != want {
		f.t.Errorf("answered %q, want %q", got, want)
	}
}

func (f *follower) inForce(want string) {
	f.t.Helper()
	f.c.work.Lock()
	defer f.c.work.Unlock()
	if f.force != want {
		f.t.Errorf("in force: %q, want %q", f.force, want)
	}
}

// TestAssembleWaits: each type is acknowledged as it comes, and used when what it names is there, in whatever order.
func TestAssembleWaits(t *testing.T) {
	f := newFollower(t, nil)
	f.send(TypeListener, "Listener ACK; RouteConfiguration[routes]", "in=r:routes")
	f.inForce("")
	f.send(TypeRoute, "RouteConfiguration ACK", "routes=c:a")
	f.inForce("")
	f.send(TypeCluster, "Cluster ACK; ClusterLoadAssignment[a-eds]", "a=e:a-eds")
	f.inForce("")
	if got := strings.Join(f.c.Status().Waiting, "; "); got != `ClusterLoadAssignment "a-eds"` {
		t.Errorf("waiting for %s", got)
	}
	f.send(TypeEndpoints, "ClusterLoadAssignment ACK", "a-eds=1")
	f.inForce("C a=e:a-eds, C a-eds=1, L in=r:routes, R routes=c:a")
	if got := f.c.Status().Waiting; len(got) > 0 {
		t.Errorf("waiting for %s", got)
	}
}

// TestMakeBeforeBreak: a cluster that is taken away before the routes to it are, stays until they are; a new version of
// something that is not whole yet leaves the one before in force.
func TestMakeBeforeBreak(t *testing.T) {
	f := newFollower(t, nil)
	f.send(TypeCluster, "Cluster ACK", "a=1")
	f.send(TypeListener, "Listener ACK; RouteConfiguration[routes]", "in=r:routes")
	f.send(TypeRoute, "RouteConfiguration ACK", "routes=c:a")
	f.inForce("C a=1, L in=r:routes, R routes=c:a")

	f.send(TypeCluster, "Cluster ACK; ClusterLoadAssignment[b]", "b=e:b")
	f.inForce("C a=1, L in=r:routes, R routes=c:a")
	f.send(TypeRoute, "RouteConfiguration ACK", "routes=c:b")
	f.inForce("C a=1, L in=r:routes, R routes=c:a")
	f.send(TypeEndpoints, "ClusterLoadAssignment ACK", "b=1")
	f.inForce("C b=e:b, C b=1, L in=r:routes, R routes=c:b")

	f.send(TypeListener, "Listener ACK; Secret[key]", "in=r:routes s:key")
	f.inForce("C b=e:b, C b=1, L in=r:routes, R routes=c:b")
	f.send(TypeSecret, "Secret ACK", "key=1")
	f.inForce("C b=e:b, C b=1, L in=r:routes s:key, R routes=c:b, S key=1")
	f.send(TypeListener, "Listener ACK; RouteConfiguration[]; Secret[]")
	f.inForce("C b=e:b, C b=1")
}

// TestRefuseOnlyWhatIsBad: the rest of a response is taken, and of what is bad the version before stays.
func TestRefuseOnlyWhatIsBad(t *testing.T) {
	f := newFollower(t, nil)
	f.send(TypeCluster, "Cluster ACK", "a=1", "b=1")
	f.send(TypeCluster, `Cluster NACK Cluster "a": is bad`, "a=bad", "b=2", "c=2")
	f.inForce("C a=1, C b=2, C c=2")
	if got := f.c.Status(); got.NACKs != 1 || got.LastNACK != `Cluster "v": Cluster "a": is bad` {
		t.Errorf("%d NACKs, %s", got.NACKs, got.LastNACK)
	}
	f.send(TypeCluster, "Cluster ACK", "a=3")
	f.inForce("C a=3")
	if got := f.c.Status().LastNACK; got != "" {
		t.Errorf("mended, and still %s", got)
	}
	f.hear(&news{typeURL: TypeRevocations}, "Revocations NACK type \"type.googleapis.com/hauberk.trust.v1.Revocations\" was not asked for", nil)
	f.hear(&news{typeURL: TypeCluster, err: errors.New("no name")}, "Cluster NACK no name", nil)
	f.inForce("C a=3")
}

// TestApplyFails: what cannot be put in force by its time, as a listener whose address is taken, leaves nothing behind.
func TestApplyFails(t *testing.T) {
	f := newFollower(t, nil)
	f.send(TypeListener, "Listener ACK", "in=1")
	f.fail = errors.New("address in use")
	f.send(TypeListener, "Listener NACK address in use", "in=2", "two=s:x")
	f.inForce("L in=1")
	f.send(TypeCluster, "Cluster ACK", "a=1")
	f.inForce("C a=1, L in=1")
}

// TestStaticStays: a resource of the bootstrap is not replaced, and may itself name what is sent.
func TestStaticStays(t *testing.T) {
	f := newFollower(t, resources{
		TypeCluster: {"xds": fake(TypeCluster, "1")}, TypeListener: {"here": fake(TypeListener, "r:routes")}, TypeSecret: {"own": fake(TypeSecret, "1")},
	})
	f.inForce("C xds=1, S own=1")
	f.send(TypeCluster, `Cluster NACK Cluster "xds": is in the bootstrap file, and nothing can take its place; RouteConfiguration[routes]`, "xds=2", "a=1")
	f.inForce("C a=1, C xds=1, S own=1")
	f.send(TypeRoute, "RouteConfiguration ACK", "routes=c:a")
	f.inForce("C a=1, C xds=1, L here=r:routes, R routes=c:a, S own=1")
}

// TestPatienceEnds: what does not come is stood in for, but for a secret, and only as long as it has not come.
func TestPatienceEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFollower(t, nil)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			f.c.keepTime(ctx)
		}()
		f.send(TypeCluster, "Cluster ACK; ClusterLoadAssignment[a b]", "a=e:a", "b=patient:b")
		f.send(TypeListener, "Listener ACK; RouteConfiguration[none routes]; Secret[key]", "in=r:routes", "tls=s:key", "empty=r:none")
		f.send(TypeRoute, "RouteConfiguration ACK", "routes=c:gone")
		f.inForce("")
		time.Sleep(defaultPatience - time.Millisecond)
		synctest.Wait()
		f.inForce("")
		time.Sleep(time.Millisecond)
		synctest.Wait()
		f.inForce("C a=e:a, C gone=stand-in, C a=stand-in, L empty=r:none, L in=r:routes, R none=stand-in, R routes=c:gone")
		if got := strings.Join(f.c.Status().Waiting, "; "); got != `ClusterLoadAssignment "b"` {
			t.Errorf("waiting for %s", got)
		}
		f.c.work.Lock()
		calls := f.calls
		f.c.work.Unlock()
		time.Sleep(time.Hour)
		synctest.Wait()
		f.c.work.Lock()
		if f.calls != calls {
			t.Errorf("%d times put in force again", f.calls-calls)
		}
		f.c.work.Unlock()
		f.send(TypeEndpoints, "ClusterLoadAssignment ACK", "a=1", "b=1")
		f.inForce("C a=e:a, C b=patient:b, C gone=stand-in, C a=1, C b=1, L empty=r:none, L in=r:routes, R none=stand-in, R routes=c:gone")
		cancel()
		<-done
	})
}

// TestRepeatedRefusals: a server that sends the same bad thing again and again is answered less and less often.
func TestRepeatedRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFollower(t, nil)
		f.send(TypeCluster, `Cluster NACK Cluster "a": is bad`, "a=bad")
		begin := time.Now()
		for range 8 {
			f.send(TypeCluster, "", "a=bad")
			f.c.work.Lock()
			f.asked = nil
			f.c.work.Unlock()
			for waited := false; !waited; {
				time.Sleep(10 * time.Millisecond)
				f.c.work.Lock()
				waited = len(f.asked) > 0
				f.c.work.Unlock()
			}
		}
		if took := time.Since(begin); took < 8*time.Second {
			t.Errorf("eight answers in %v", took)
		}
		if n := f.c.Status().NACKs; n != 1 {
			t.Errorf("the same was noted %d times", n)
		}
		f.send(TypeCluster, "Cluster ACK", "a=1")
		f.inForce("C a=1")
	})
}

// TestMergedKeepsMessages: what was sent again and is the same is the same pointer, so that nothing is built anew.
func TestMergedKeepsMessages(t *testing.T) {
	f := newFollower(t, nil)
	f.send(TypeCluster, "Cluster ACK", "a=1")
	calls := f.calls
	f.send(TypeCluster, "Cluster ACK", "a=1")
	if f.calls != calls {
		t.Error("the same configuration was put in force again")
	}
}

var (
	_ wire    = (*follower)(nil)
	_ Handler = (*follower)(nil)
)
