package admission

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func begin(t testing.TB, g *Gate, listener, from string) *Ticket {
	t.Helper()
	ticket, err := g.Begin(listener, netip.MustParseAddr(from), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return ticket
}

// resume takes a slot that must be free.
func resume(t testing.TB, ticket *Ticket) {
	t.Helper()
	if queued, err := ticket.Resume(t.Context()); err != nil || queued {
		t.Fatalf("queued %t, %v", queued, err)
	}
}

// line queues tickets one after the other and notes who gets a turn.
type line struct {
	t  *testing.T
	g  *Gate
	wg sync.WaitGroup

	mu    sync.Mutex // guards below
	turns []string
}

// join returns once the ticket waits.
func (l *line) join(name string, ticket *Ticket) {
	before := l.g.Stats().Waiting
	l.wg.Go(func() {
		queued, err := ticket.Resume(l.t.Context())
		if !queued || err != nil {
			l.t.Errorf("%s: queued %t, %v", name, queued, err)
		}
		l.mu.Lock()
		l.turns = append(l.turns, name)
		l.mu.Unlock()
		ticket.End()
	})
	for l.g.Stats().Waiting == before {
		time.Sleep(time.Millisecond) // fake time, or polling
	}
}

func (l *line) order() string { l.wg.Wait(); return strings.Join(l.turns, " ") }

// TestTurnsGoRound: a source that has queued a hundred times makes itself wait; one with a single handshake is next but one,
// whatever it comes behind, and a second listener has as many turns as the first.
func TestTurnsGoRound(t *testing.T) {
	g := New(Options{Running: 1})
	holder := begin(t, g, "a", "10.9.9.9")
	resume(t, holder)
	l := &line{t: t, g: g}
	for i := range 5 {
		l.join(fmt.Sprint("flood", i), begin(t, g, "a", "10.0.0.1"))
	}
	l.join("other", begin(t, g, "a", "10.0.0.2"))
	l.join("elsewhere", begin(t, g, "b", "10.0.0.1"))
	again := begin(t, g, "a", "10.0.0.1")
	again.ran = true // it has been computed before
	l.join("again", again)
	holder.End()
	// Round the listeners a and b, and within a round 10.0.0.1 and 10.0.0.2.
	if got, want := l.order(), "again elsewhere other flood0 flood1 flood2 flood3 flood4"; got != want {
		t.Errorf("turns: %s\nwant:  %s", got, want)
	}
	if s := g.Stats(); s.Open != 0 || s.Running != 0 || s.Waiting != 0 || s.Queued != 8 || s.Begun != 9 || s.Waited <= 0 {
		t.Errorf("%+v", s)
	}
	if len(g.sources) != 0 && !onlyRecent(g) {
		t.Errorf("sources are left: %v", g.sources)
	}
}

// onlyRecent: a source is forgotten once it may begin as many as at first, which takes a moment.
func onlyRecent(g *Gate) bool {
	for _, s := range g.sources {
		if s.open != 0 {
			return false
		}
	}
	return true
}

// TestSlotsAreKept: never more compute than there are slots, none is lost when those who wait give up, and none of the waiting
// goroutine is left.
func TestSlotsAreKept(t *testing.T) {
	const slots = 3
	g := New(Options{Running: slots, Rate: 1 << 30})
	var wg sync.WaitGroup
	var mu sync.Mutex
	running, most, gaveUp := 0, 0, 0
	for i := range 60 {
		wg.Go(func() {
			for j := range 50 {
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				if (i+j)%4 == 0 {
					go cancel(errors.New("went away"))
				}
				ticket, err := g.Begin(fmt.Sprint(i%3), netip.AddrFrom4([4]byte{10, 0, 0, byte(i % 7)}), time.Minute)
				if err != nil {
					t.Error(err)
					return
				}
				for range 2 { // two flights
					if _, err := ticket.Resume(ctx); err != nil {
						if !strings.Contains(err.Error(), "went away") {
							t.Error(err)
						}
						mu.Lock()
						gaveUp++
						mu.Unlock()
						break
					}
					mu.Lock()
					running++
					most = max(most, running)
					mu.Unlock()
					compute()
					mu.Lock()
					running--
					mu.Unlock()
					ticket.Yield()
				}
				ticket.End()
				ticket.End() // is one
			}
		})
	}
	wg.Wait()
	if most > slots {
		t.Errorf("%d computed at once", most)
	}
	if s := g.Stats(); s.Open != 0 || s.Running != 0 || s.Waiting != 0 || s.Begun != 60*50 {
		t.Errorf("%+v", s)
	}
	for range slots { // none is lost: each can be had again
		ticket := begin(t, g, "", "10.0.0.1")
		if _, err := ticket.Resume(t.Context()); err != nil {
			t.Error(err)
		}
		defer ticket.End()
	}
	t.Logf("at most %d computed at once, %d gave up", most, gaveUp)
}

// TestQueueingEnds: for as long as it may, and no longer.
func TestQueueingEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Options{Running: 1})
		holder := begin(t, g, "l", "10.0.0.1")
		resume(t, holder)
		late := begin(t, g, "l", "10.0.0.2")
		began := time.Now()
		_, err := late.Resume(t.Context())
		var r *Refusal
		if !errors.As(err, &r) || r.Reason != OutOfTime || time.Since(began) != 5*time.Second {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		if want := "too many TLS handshakes: no turn within 5s"; err.Error() != want {
			t.Errorf("%q", err)
		}
		late.End()
		holder.End()
		if s := g.Stats(); s.Refused[OutOfTime] != 1 || s.Waiting != 0 || s.Running != 0 || s.Open != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// TestBounds: each bound refuses by its own name, and lets others in.
func TestBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Options{Open: 6, Rate: 10, Burst: 4})
		try := func(from string, want string) *Ticket {
			t.Helper()
			ticket, err := g.Begin("l", netip.MustParseAddr(from), time.Second)
			if got := fmt.Sprint(err); !strings.Contains(got, want) {
				t.Errorf("%s: %s, want %s", from, got, want)
			}
			return ticket
		}
		var first []*Ticket
		for range 3 {
			first = append(first, try("10.0.0.1", "<nil>"))
		}
		try("10.0.0.1", "10.0.0.1/32 has 3 under way, 3 more may be")
		try("::ffff:10.0.0.1", "10.0.0.1/32 has 3 under way") // the same one
		try("2001:db8::1", "<nil>")
		try("2001:db8::2:0:0:1", "<nil>") // of the same network
		try("2001:db8:1::", "<nil>")
		try("2001:db8::3", "6 are under way")
		for _, f := range first {
			f.End()
		}
		first = []*Ticket{try("10.0.0.1", "<nil>")} // its fourth
		try("10.0.0.1", "10.0.0.1/32 begins more than 10 a second")
		time.Sleep(100 * time.Millisecond)
		first = append(first, try("10.0.0.1", "<nil>"))
		try("10.0.0.1", "more than 10 a second")
		for _, f := range first {
			f.End()
		}
		time.Sleep(time.Minute)
		for range 2 { // others hold three now
			try("10.0.0.1", "<nil>")
		}
		try("10.0.0.1", "has 2 under way, 1 more may be")
		if n := g.sources[tenant(netip.MustParseAddr("10.0.0.1"))].tokens; n != 2 {
			t.Errorf("idle for long, it has saved up %v", n)
		}
		s := g.Stats()
		if s.Refused != [reasonsCount]uint64{TooFast: 2, SourceFull: 3, Full: 1} {
			t.Errorf("%v", s.Refused)
		}
		for _, r := range []Reason{TooFast, SourceFull, Full, OutOfTime} {
			if r.String() == "" || strings.ContainsAny(r.String(), " -") {
				t.Errorf("%d: %q", r, r)
			}
		}
	})
}

// TestSourcesAreForgotten: what strangers leave behind is bounded by what they have under way.
func TestSourcesAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Options{Rate: 1, Burst: 1, Open: 10})
		most := 0
		for i := range 20 * firstSweep {
			a := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
			if ticket, err := g.Begin("l", a, time.Second); err != nil {
				t.Fatal(err)
			} else {
				ticket.End()
			}
			most = max(most, len(g.sources))
			time.Sleep(10 * time.Millisecond)
		}
		if most > firstSweep {
			t.Errorf("%d sources were kept", most)
		}
	})
}

// TestWithoutARound: where the poller can't be asked, turns are handed on all the same.
func TestWithoutARound(t *testing.T) {
	g := New(Options{Running: 1})
	holder := begin(t, g, "l", "10.0.0.1")
	resume(t, holder)
	l := &line{t: t, g: g}
	l.join("first", begin(t, g, "l", "10.0.0.1"))
	l.join("second", begin(t, g, "l", "10.0.0.1"))
	r, err := newRound()
	if err != nil {
		t.Fatal(err)
	}
	_ = r.file.Close()
	g.mu.Lock()
	g.round = r
	g.mu.Unlock()
	holder.End()
	if l.order() != "first second" {
		t.Error(l.turns)
	}
}

func TestDefaults(t *testing.T) {
	o := Options{Running: 7}.filled()
	if o.Running != 7 || o.Open < openPerProcessor || o.Rate < ratePerProcessor || o.Burst != o.Rate {
		t.Errorf("%+v", o)
	}
	all := []netip.Prefix{tenant(netip.Addr{}), tenant(netip.MustParseAddr("fe80::1%eth0")), tenant(netip.MustParseAddr("127.0.0.1"))}
	if want := []string{"invalid Prefix", "fe80::/64", "127.0.0.1/32"}; fmt.Sprint(all) != fmt.Sprint(want) || slices.Contains(all[1:], all[0]) {
		t.Error(all)
	}
}

// BenchmarkTicket is what a handshake pays where nobody waits: Begin, two turns, End.
func BenchmarkTicket(b *testing.B) {
	g := New(Options{Rate: 1 << 30})
	from := netip.MustParseAddr("10.0.0.1")
	b.ReportAllocs()
	for b.Loop() {
		ticket, err := g.Begin("l", from, time.Second)
		if err != nil {
			b.Fatal(err)
		}
		for range 2 {
			if _, err := ticket.Resume(b.Context()); err != nil {
				b.Fatal(err)
			}
			ticket.Yield()
		}
		ticket.End()
	}
}
