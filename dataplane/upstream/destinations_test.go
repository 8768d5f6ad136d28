package upstream

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

func TestOriginalDestination(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServers(t, "10.0.0.1:80", "10.0.0.2:80")
		sp := Spec{Name: "c", Protocol: HTTP1, OriginalDst: &OriginalDst{}}
		c := Build(nil, sp, Deps{Dial: s.Dial})
		a := c.PickFor(netip.MustParseAddrPort("10.0.0.1:80"))
		if a.String() != "10.0.0.1:80" || c.PickFor(netip.MustParseAddrPort("[::ffff:10.0.0.1]:80")) != a {
			t.Error("the same address is not the same endpoint")
		}
		for _, none := range []netip.AddrPort{{}, netip.MustParseAddrPort("10.0.0.1:0")} {
			if c.PickFor(none) != nil {
				t.Errorf("%s is an endpoint", none)
			}
		}
		if !c.Ready() || c.Pick(nil) != nil || len(c.Endpoints()) != 1 {
			t.Error("not as it should be")
		}
		// In use it is not forgotten, nor by a change of configuration that leaves it what it is.
		a.Begin()
		time.Sleep(time.Minute)
		next := Build(c, sp, Deps{Dial: s.Dial})
		c.Release()
		if next.PickFor(netip.MustParseAddrPort("10.0.0.1:80")) != a {
			t.Error("the change of configuration lost it")
		}
		a.End(false)
		time.Sleep(3 * DefaultForget)
		if len(next.Endpoints()) != 0 || a.hold() {
			t.Error("nobody uses it, and it is remembered")
		}
		if e := c.PickFor(netip.MustParseAddrPort("10.0.0.1:80")); e == nil || e.hold() {
			t.Error("who still has the old cluster must get an endpoint that keeps nothing")
		}
		next.Release()
	})
}

func TestPortOverride(t *testing.T) {
	c := Build(nil, Spec{OriginalDst: &OriginalDst{Port: 8080}}, Deps{})
	defer c.Release()
	if e := c.PickFor(netip.MustParseAddrPort("10.0.0.1:80")); e.String() != "10.0.0.1:8080" {
		t.Error(e)
	}
	if Build(nil, Spec{}, Deps{}).PickFor(netip.MustParseAddrPort("10.0.0.1:80")) != nil {
		t.Error("a cluster of another kind goes to anywhere")
	}
}

// Who can say where to go can say it a million times: the memory is bounded, and comes back.
func TestDestinationsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := Build(nil, Spec{OriginalDst: &OriginalDst{}}, Deps{})
		at := netip.MustParseAddr("10.0.0.0")
		full := 0
		for range maxDestinations + 100 {
			at = at.Next()
			if c.PickFor(netip.AddrPortFrom(at, 80)) == nil {
				full++
			}
		}
		if n := len(c.Endpoints()); n > maxDestinations || full == 0 {
			t.Errorf("%d endpoints, %d refused", n, full)
		}
		time.Sleep(3 * DefaultForget)
		if n := len(c.Endpoints()); n != 0 {
			t.Errorf("%d endpoints are still there", n)
		}
		c.Release()
	})
}
