package server_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hauberk-mesh/hauberk/controlplane/world"
)

// What a proxy refused because of something on its own host is tried again, more and more seldom, until it takes it.
func TestRefusedGenerationIsTriedAgain(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		all := d.told()
		d.answer("bind 127.0.0.1:10001: address already in use", all...)
		var waits []time.Duration
		for range 6 {
			again, wait := d.next()
			waits = append(waits, wait)
			if len(again) != len(all) {
				t.Fatalf("the retry has %d parts, and what was refused had %d", len(again), len(all))
			}
			d.answer("bind 127.0.0.1:10001: address already in use", again...)
		}
		s := time.Second
		if diff := cmp.Diff([]time.Duration{5 * s, 10 * s, 20 * s, 40 * s, 60 * s, 60 * s}, waits); diff != "" {
			t.Error(diff)
		}
		// What changes nothing for it does not change its turn; what does begins anew.
		d.worlds.change("default", setEndpoints("unused", "10.0.2.1"))
		if more := d.told(); len(more) != 0 {
			t.Error("it was sent what does not matter to it")
		}
		g := d.worlds.change("default", setPolicy("strict"))
		d.answer("still in use", d.told()...)
		// Who waits hears of the refusal at once, not of the retry's end.
		begin := time.Now()
		got, err := d.xds.Wait(t.Context(), "default", g)
		if err != nil || len(got.NACKed) != 1 || time.Since(begin) != 0 {
			t.Errorf("%+v %v after %s", got, err, time.Since(begin))
		}
		again, wait := d.next()
		if wait != 5*s {
			t.Errorf("after a change the first wait is %s", wait)
		}
		d.answer("", again...)
		if got := d.status(); got.NACK != "" || got.Generation != d.worlds.Current().Generation {
			t.Errorf("%+v", got)
		}
		time.Sleep(time.Hour)
		if more := d.told(); len(more) != 0 {
			t.Error("it was tried again although it took it")
		}

		// A refusal of one change leaves what it has: the retry is the difference alone.
		d.worlds.change("default", setPolicy("bad"))
		d.answer("no", d.told()...)
		again, wait = d.next()
		if len(again) != 1 || len(again[0].GetResources()) != 1 || wait != 5*s {
			t.Errorf("after %s: %v", wait, again)
		}
	})
}

// So is what the control plane could not make.
func TestUnresolvableIsTriedAgain(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		d.answer("", d.told()...)
		d.worlds.change("default", setPolicy("unresolvable"))
		resolved := d.xds.Counters().Resolved
		if d.status().NACK == "" {
			t.Fatal("it is not said")
		}
		time.Sleep(5*time.Second + 10*time.Second)
		if got := d.status(); got.NACK == "" || d.xds.Counters().Resolved != resolved+3 {
			t.Errorf("%+v after %d attempts", got, d.xds.Counters().Resolved-resolved)
		}
		d.worlds.change("default", func(m *world.Mesh, _ *world.Change) { m.Policies = nil }) // mended, and nobody was told
		time.Sleep(20 * time.Second)
		if got := d.status(); got.NACK != "" || got.Generation != d.worlds.Current().Generation {
			t.Errorf("%+v", got)
		}
	})
}
