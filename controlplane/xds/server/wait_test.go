package server_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hauberk-mesh/hauberk/controlplane/world"
	"github.com/hauberk-mesh/hauberk/controlplane/xds/server"
	"github.com/hauberk-mesh/hauberk/dataplane/xdsclient"
)

func TestWaitWhenNobodyIsConnected(t *testing.T) {
	p := newPlane(t, shop(2))
	g := p.worlds.change("default", setEndpoints("cart", "10.0.1.7"))
	want := server.Propagation{Generation: g, ACKed: []string{}, NotConnected: []string{"frontend-0"}}
	if d := cmp.Diff(want, p.propagated(g)); d != "" {
		t.Error(d)
	}
	// What matters to nobody.
	g = p.worlds.change("default", setEndpoints("unused", "10.0.2.1"))
	if d := cmp.Diff(server.Propagation{Generation: g, ACKed: []string{}}, p.propagated(g)); d != "" {
		t.Error(d)
	}
	// A dataplane that is gone is not missed.
	g = p.worlds.change("default", func(m *world.Mesh, c *world.Change) {
		delete(m.Dataplanes, "frontend-0")
		delete(m.Consumers["cart"], "frontend-0")
		c.Dataplanes["frontend-0"] = true
	})
	if got := p.propagated(g); len(got.NotConnected) != 0 {
		t.Errorf("%+v", got)
	}
}

func TestWaitNamesWhoIsPending(t *testing.T) {
	p := newPlane(t, shop(2))
	leave := make(chan struct{})
	p.connectWith(server.Peer{Mesh: "default", Dataplane: "frontend-0", Service: "frontend", Workload: "frontend"},
		func(u *xdsclient.Update) error {
			if policyOf(u) == "slow" {
				<-leave
			}
			return nil
		})
	p.connect("frontend-1", "frontend")
	p.connected("frontend-0")
	p.connected("frontend-1")

	g := p.worlds.change("default", setPolicy("slow"))
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	got, err := p.server().Wait(ctx, "default", g)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("%v %+v", err, got)
	}
	if d := cmp.Diff([]string{"frontend-0"}, got.Pending); d != "" {
		t.Error(d)
	}

	// A slow proxy blocks no other, and no wait for what another mesh or an older generation asked for.
	later := p.worlds.change("default", setPolicy("later"))
	eventually(t, "frontend-1 goes on", func() bool { return p.status("frontend-1").Generation == later })
	if got := p.propagated(1); len(got.Pending) != 0 {
		t.Errorf("%+v", got)
	}

	// It is still waited for by a wait that began before it answered.
	result := make(chan server.Propagation, 1)
	go func() { result <- p.propagated(later) }()
	close(leave)
	if got := <-result; len(got.ACKed) != 2 {
		t.Errorf("%+v", got)
	}
}

func TestWaitWhileProxiesComeAndGo(t *testing.T) {
	p := newPlane(t, shop(3))
	leave := make(chan struct{})
	blocked := make(chan struct{}, 3)
	block := func(u *xdsclient.Update) error {
		if policyOf(u) == "slow" {
			blocked <- struct{}{}
			<-leave
		}
		return nil
	}
	peer := func(n string) server.Peer {
		return server.Peer{Mesh: "default", Dataplane: n, Service: "frontend", Workload: "frontend"}
	}
	p.connectWith(peer("frontend-0"), block)
	goes := p.connectWith(peer("frontend-1"), block)
	p.connected("frontend-0")
	p.connected("frontend-1")

	g := p.worlds.change("default", setPolicy("slow"))
	<-blocked
	<-blocked
	result := make(chan server.Propagation, 1)
	go func() { result <- p.propagated(g) }()
	comes := p.connectWith(peer("frontend-2"), block)
	<-blocked
	close(leave)
	goes.stop()
	got := <-result
	if len(got.Pending) != 0 || len(got.ACKed)+len(got.NotConnected) != 4 { // three frontends, and cart-1 never connected
		t.Errorf("%+v", got)
	}
	eventually(t, "the newcomer runs it", func() bool { return len(comes.taken()) == 1 })
}

func TestWaitForAGenerationThatNeverComes(t *testing.T) {
	p := newPlane(t, shop(1))
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := p.server().Wait(ctx, "default", 1000); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if got := p.propagated(1); len(got.Pending) != 0 {
		t.Errorf("%+v", got)
	}
	ctx2, cancel2 := context.WithTimeout(context.Background(), patience)
	defer cancel2()
	if got, err := p.server().Wait(ctx2, "no-such-mesh", 1); err != nil || len(got.ACKed) != 0 {
		t.Errorf("%v %+v", err, got)
	}
}

// Nobody waits for the proxies of a mesh that was deleted meanwhile: they keep what they have.
func TestWaitEndsWithItsMesh(t *testing.T) {
	p := newPlane(t, shop(1))
	server.SetAbsence(p.server(), time.Hour)
	leave := make(chan struct{})
	defer close(leave)
	p.connectWith(server.Peer{Mesh: "default", Dataplane: "frontend-0", Service: "frontend", Workload: "frontend"},
		func(u *xdsclient.Update) error {
			if policyOf(u) == "slow" {
				<-leave
			}
			return nil
		})
	p.connected("frontend-0")
	g := p.worlds.change("default", setPolicy("slow"))
	eventually(t, "it is sent", func() bool { return p.status("frontend-0").SentGeneration == g })
	result := make(chan error, 1)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	go func() {
		_, err := p.server().Wait(ctx, "default", g)
		result <- err
	}()
	eventually(t, "somebody waits", func() bool { return server.Waiting(p.server(), "default") == 1 })
	p.worlds.remove("default")
	if err := <-result; err != nil {
		t.Error(err)
	}
}
