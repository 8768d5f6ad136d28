// Package admission bounds TLS handshakes, the dearest thing that a stranger can make a proxy do: how many compute at once, how
// many may be open, how fast one source may begin them, and who comes first when there are more than that.
//
// A handshake computes for some hundred microseconds and waits for its peer for as long as the network takes. Only while it
// computes it holds a slot; there are few slots, so that a request on a connection that is open already never waits behind more
// than a few handshakes for a processor, however many strangers knock. Who finds no slot free queues for a bounded time, and
// slots go round: from listener to listener, and within one from source to source. So a flood makes its own source wait.
//
// It is not a limit of connections (listener.Spec has those), and it knows neither TLS nor sockets: dataplane/tls asks a Ticket
// before it computes. Start at New, then Gate.Begin and Ticket.Resume.
package admission

import (
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"time"
)

// Options are the bounds. What is 0 has the value that its comment gives, P being the processors that Go uses (GOMAXPROCS).
type Options struct {
	// Running is how many handshakes compute at once: 16 P. A batch of private-key operations is full with 8 to 32 of them; and
	// so many, of 0.2 ms each, are what an open connection may have to wait for.
	Running int
	// Open is how many handshakes may be under way in the process, silent ones too: 4096 P. One source may have as many as there
	// is room left: a flood of one gets half of them, one of three sources a quarter each, and somebody else always finds
	// a place (in switches this is the dynamic threshold of Choudhury and Hahne, with alpha 1).
	Open int
	// Rate is how many handshakes one source may begin a second, and Burst how many at once beyond that: 8000 P, which is more
	// than P processors can finish. It bounds what is dropped before it computes.
	Rate, Burst int
}

const (
	runningPerProcessor = 16
	openPerProcessor    = 4096
	ratePerProcessor    = 8000
)

func (o Options) filled() Options {
	p := runtime.GOMAXPROCS(0)
	fill := func(n *int, otherwise int) {
		if *n <= 0 {
			*n = otherwise
		}
	}
	fill(&o.Running, runningPerProcessor*p)
	fill(&o.Open, openPerProcessor*p)
	fill(&o.Rate, ratePerProcessor*p)
	fill(&o.Burst, o.Rate)
	return o
}

// Gate is where the handshakes of all listeners meet. It is safe for concurrent use.
type Gate struct {
	o Options

	mu      sync.Mutex // guards below
	running int        // slots that are held
	spent   int        // and those that were given back: see turn.go
	open    int
	sources map[netip.Prefix]*source
	sweepAt int // sources are looked through when there are so many
	queue   queue
	round   *round // nil at first, and where the system has none
	turning bool   // one is under way
	stats   Stats
}

// New makes a Gate.
func New(o Options) *Gate {
	return &Gate{o: o.filled(), sources: map[netip.Prefix]*source{}, sweepAt: firstSweep}
}

// Reason is why a handshake was refused: the value of a metric's label.
type Reason uint8

// The reasons.
const (
	TooFast      Reason = iota // the source begins more than Options.Rate
	SourceFull                 // it has as many under way as there is room left
	Full                       // there is no room at all
	OutOfTime                  // it queued for as long as it may
	reasonsCount               // how many there are
)

// String is the reason as metrics have it.
func (r Reason) String() string {
	return [...]string{"source_rate", "source_open", "open", "queue_timeout"}[r]
}

// Refusal is the error of a handshake that was refused.
type Refusal struct {
	Reason Reason
	Detail string
}

func (r *Refusal) Error() string { return "too many TLS handshakes: " + r.Detail }

// Begin counts a handshake that a source begins at a listener, or refuses it: the error is a *Refusal. patience is for how long
// it may queue each time. Ticket.End must follow.
func (g *Gate) Begin(listener string, from netip.Addr, patience time.Duration) (*Ticket, error) {
	key := tenant(from)
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.source(key)
	s.refill(time.Now(), g.o)
	switch {
	case s.tokens < 1:
		return nil, g.refuse(TooFast, "%s begins more than %d a second", key, g.o.Rate)
	case g.open >= g.o.Open:
		return nil, g.refuse(Full, "%d are under way", g.open)
	case s.open >= g.o.Open-g.open:
		return nil, g.refuse(SourceFull, "%s has %d under way, %d more may be", key, s.open, g.o.Open-g.open)
	}
	s.tokens--
	s.open++
	g.open++
	g.stats.Begun++
	return &Ticket{gate: g, source: s, listener: listener, patience: patience}, nil
}

func (g *Gate) refuse(why Reason, format string, args ...any) error {
	g.stats.Refused[why]++
	return &Refusal{why, fmt.Sprintf(format, args...)}
}

// Stats are counts since the start, and the present state.
type Stats struct {
	Open, Running, Waiting int // now: under way, of these computing, and queueing

	Begun   uint64
	Queued  uint64 // times that one had to queue
	Waited  time.Duration
	Refused [reasonsCount]uint64 // by Reason
}

// Stats are the present counts.
func (g *Gate) Stats() Stats {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.stats
	s.Open, s.Running, s.Waiting = g.open, g.running, g.queue.len
	return s
}
