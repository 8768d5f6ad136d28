package upstream

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// nameServer answers with what it is told, by network and host ("ip4 a.test"), and counts how often it is asked.
type nameServer struct {
	mu      sync.Mutex
	answers map[string][]string
	asked   map[string]int
	hang    map[string]bool
}

func (n *nameServer) set(question string, answer ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.answers == nil {
		n.answers, n.asked, n.hang = map[string][]string{}, map[string]int{}, map[string]bool{}
	}
	n.answers[question] = answer
}

func (n *nameServer) count(question string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asked[question]
}

func (n *nameServer) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	n.mu.Lock()
	q := network + " " + host
	n.asked[q]++
	answer, hang := n.answers[q], n.hang[host]
	n.mu.Unlock()
	if hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if answer == nil {
		return nil, errors.New("no such host")
	}
	var out []netip.Addr
	for _, a := range answer {
		out = append(out, netip.MustParseAddr(a))
	}
	return out, nil
}

func named(d DNS, hosts ...string) Spec {
	s := Spec{Name: "c", Protocol: HTTP1, DNS: &d}
	for _, h := range hosts {
		s.Endpoints = append(s.Endpoints, EndpointSpec{Host: h, Addr: netip.AddrPortFrom(netip.Addr{}, 80)})
	}
	return s
}

func addresses(c *Cluster) (out []string) {
	for _, e := range c.Endpoints() {
		out = append(out, e.Address)
	}
	slices.Sort(out)
	return out
}

func isWarm(c *Cluster) bool {
	select {
	case <-c.Warm():
		return true
	default:
		return false
	}
}

func TestNamesAreFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dns := newServers(t, "10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"), &nameServer{}
		dns.set("ip4 a.test", "10.0.0.2", "10.0.0.1")
		c := Build(nil, named(DNS{Family: V4Only, Refresh: 10 * time.Second}, "a.test"), Deps{Dial: s.Dial, Resolver: dns})
		<-c.Warm()
		if got := addresses(c); !slices.Equal(got, []string{"10.0.0.1:80", "10.0.0.2:80"}) {
			t.Fatal(got)
		}
		// One stays with its connections and its health, one goes, one comes; the order of an answer means nothing.
		var stays, goes *Endpoint
		for _, m := range c.members() {
			if m.addr == "10.0.0.1:80" {
				stays = m.Endpoint
			} else {
				goes = m.Endpoint
			}
		}
		kept, lost := connect(t, c, stays), connect(t, c, goes)
		c.keep(kept)
		c.keep(lost)
		dns.set("ip4 a.test", "10.0.0.3", "10.0.0.1")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := addresses(c); !slices.Equal(got, []string{"10.0.0.1:80", "10.0.0.3:80"}) {
			t.Fatal(got)
		}
		if got := connect(t, c, stays); got != kept {
			t.Error("the one that stays has lost its connection")
		} else {
			got.Close()
		}
		if !lost.closed.Load() {
			t.Error("the one that goes keeps its connection")
		}
		// A name server that fails is not a service that is gone.
		dns.set("ip4 a.test")
		time.Sleep(time.Minute)
		dns.set("ip4 a.test", "10.0.0.1")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := addresses(c); !slices.Equal(got, []string{"10.0.0.1:80"}) {
			t.Error(got)
		}
		c.Release()
		synctest.Wait()
		before := dns.count("ip4 a.test")
		time.Sleep(time.Hour)
		if after := dns.count("ip4 a.test"); after != before {
			t.Errorf("%d questions after it was given up", after-before)
		}
	})
}

func TestFamilies(t *testing.T) {
	const both = "ip a.test"
	for _, tc := range []struct {
		family  Family
		answers map[string][]string
		want    []string
	}{
		{Auto, map[string][]string{"ip6 a.test": {"fd00::1"}, "ip4 a.test": {"10.0.0.1"}}, []string{"[fd00::1]:80"}},
		{Auto, map[string][]string{"ip4 a.test": {"10.0.0.1"}}, []string{"10.0.0.1:80"}},
		{V4Preferred, map[string][]string{"ip6 a.test": {"fd00::1"}, "ip4 a.test": {"10.0.0.1"}}, []string{"10.0.0.1:80"}},
		{V4Preferred, map[string][]string{"ip6 a.test": {"fd00::1"}}, []string{"[fd00::1]:80"}},
		{V4Only, map[string][]string{"ip6 a.test": {"fd00::1"}}, nil},
		{V6Only, map[string][]string{"ip4 a.test": {"10.0.0.1"}}, nil},
		{AllFamilies, map[string][]string{both: {"fd00::1", "::ffff:10.0.0.1", "10.0.0.1"}}, []string{"10.0.0.1:80", "[fd00::1]:80"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			dns := &nameServer{}
			dns.set("nothing")
			for q, a := range tc.answers {
				dns.set(q, a...)
			}
			c := Build(nil, named(DNS{Family: tc.family}, "a.test"), Deps{Resolver: dns})
			<-c.Warm()
			if got := addresses(c); !slices.Equal(got, tc.want) {
				t.Errorf("%d of %v: %v, want %v", tc.family, tc.answers, got, tc.want)
			}
			c.Release()
		})
	}
}

// A configuration does not wait for ever for a name server, and one slow name does not hold up the others.
func TestWarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dns := &nameServer{}
		dns.set("ip4 fast.test", "10.0.0.1")
		dns.hang["slow.test"] = true
		began := time.Now()
		c := Build(nil, named(DNS{Family: V4Only}, "fast.test", "slow.test"), Deps{Resolver: dns})
		synctest.Wait()
		if isWarm(c) || c.Size() != 1 {
			t.Errorf("warm: %t, %d endpoints", isWarm(c), c.Size())
		}
		<-c.Warm()
		if waited := time.Since(began); waited != warmAfter {
			t.Errorf("warm after %s", waited)
		}
		c.Release()
		// One that is given up keeps nobody waiting.
		given := Build(nil, named(DNS{Family: V4Only}, "slow.test"), Deps{Resolver: dns})
		given.Release()
		synctest.Wait()
		if !isWarm(given) {
			t.Error("given up, and still waited for")
		}
		static := Build(nil, spec("10.0.0.1:80"), Deps{})
		if !isWarm(static) {
			t.Error("addresses need no resolver")
		}
		static.Release()
	})
}

// The next configuration begins with what is known, so that no request finds nobody.
func TestNamesOverAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dns := &nameServer{}
		dns.set("ip4 a.test", "10.0.0.1")
		s := named(DNS{Family: V4Only}, "a.test")
		c := Build(nil, s, Deps{Resolver: dns})
		<-c.Warm()
		e := c.Pick(nil)
		dns.hang["a.test"] = true
		s.ConnectTimeout = time.Second
		next := Build(c, s, Deps{Resolver: dns})
		c.Release()
		if next.Pick(nil) != e || !e.hold() {
			t.Error("the endpoint is another one, or retired")
		}
		e.drop()
		next.Release()
		if e.hold() {
			t.Error("nobody has it, and it lives")
		}
	})
}

// LOGICAL_DNS: one address, for as long as the name has it.
func TestSingle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dns := &nameServer{}
		c := (*Cluster)(nil)
		for i, step := range []struct {
			answer []string
			want   string
		}{
			{[]string{"10.0.0.2", "10.0.0.1"}, "10.0.0.2:80"},
			{[]string{"10.0.0.1", "10.0.0.2"}, "10.0.0.2:80"},
			{[]string{"10.0.0.3", "10.0.0.1"}, "10.0.0.3:80"},
		} {
			dns.set("ip4 a.test", step.answer...)
			if i == 0 {
				c = Build(nil, named(DNS{Family: V4Only, Single: true}, "a.test"), Deps{Resolver: dns})
				<-c.Warm()
			} else {
				time.Sleep(DefaultRefresh)
				synctest.Wait()
			}
			if got := addresses(c); !slices.Equal(got, []string{step.want}) {
				t.Errorf("%v: %v, want %s", step.answer, got, step.want)
			}
		}
		c.Release()
	})
}

func TestRetryAfterFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dns := &nameServer{}
		dns.set("nothing")
		c := Build(nil, named(DNS{Family: V4Only, Refresh: time.Hour, Retry: time.Second, MaxRetry: 4 * time.Second}, "a.test"), Deps{Resolver: dns})
		// Asked after 0, 1, 3, 7, 11 and 15 seconds.
		time.Sleep(15*time.Second + time.Millisecond)
		if n := dns.count("ip4 a.test"); n != 6 {
			t.Errorf("asked %d times", n)
		}
		dns.set("ip4 a.test", "10.0.0.1")
		time.Sleep(4 * time.Second)
		before := dns.count("ip4 a.test")
		time.Sleep(30 * time.Minute)
		if n := dns.count("ip4 a.test"); n != before {
			t.Errorf("asked %d times more before the refresh", n-before)
		}
		c.Release()
	})
}

// Answers, picks, new configurations and releases at the same time: for the race detector.
func TestNamesRace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dns := &nameServer{}
		dns.set("ip4 a.test", "10.0.0.1")
		s := named(DNS{Family: V4Only, Refresh: time.Millisecond}, "a.test")
		c := Build(nil, s, Deps{Resolver: dns})
		var wg sync.WaitGroup
		for i := range 20 {
			dns.set("ip4 a.test", "10.0.0.1", netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}).String())
			wg.Go(func() {
				for range 10 {
					c.Pick(nil)
					c.Endpoints()
					time.Sleep(time.Millisecond)
				}
			})
			time.Sleep(time.Millisecond)
		}
		wg.Wait()
		for range 20 {
			next := Build(c, s, Deps{Resolver: dns})
			wg.Go(c.Release)
			c = next
			time.Sleep(time.Millisecond)
		}
		wg.Wait()
		if got := addresses(c); !slices.Equal(got, []string{"10.0.0.19:80", "10.0.0.1:80"}) {
			t.Error(got)
		}
		c.Release()
	})
}
