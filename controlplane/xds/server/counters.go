package server

import (
	"sync/atomic"

	"github.com/hauberk-mesh/hauberk/controlplane/xds/translate"
)

// Counters is what the server has done since its start.
type Counters struct {
	// Pushes are responses sent, by type URL. Generations are the pushes that proxies saw as one: a generation of one of
	// our proxies has one or more responses.
	Pushes      map[string]uint64
	Generations uint64
	// Resources and Removed are what those responses carried.
	Resources uint64
	Removed   uint64
	ACKs      uint64
	NACKs     uint64
	// Resolved counts snapshots that were made, also those that turned out to change nothing.
	Resolved uint64
	// UnknownTypes counts requests for type URLs that are not served.
	UnknownTypes uint64
	// Streams counts the accepted ones; Connected is how many are open now.
	Streams   uint64
	Connected int
}

type counters struct {
	pushes                                       map[string]*atomic.Uint64 // fixed keys
	generations, resources, removed, acks, nacks atomic.Uint64
	resolved, unknownTypes, streams              atomic.Uint64
	connected                                    atomic.Int64
}

func newCounters() *counters {
	c := &counters{pushes: map[string]*atomic.Uint64{}}
	for _, t := range translate.Types() {
		c.pushes[t] = new(atomic.Uint64)
	}
	return c
}

// Counters returns the present values.
func (s *Server) Counters() Counters {
	c := s.counters
	out := Counters{
		Pushes:       map[string]uint64{},
		Generations:  c.generations.Load(),
		Resources:    c.resources.Load(),
		Removed:      c.removed.Load(),
		ACKs:         c.acks.Load(),
		NACKs:        c.nacks.Load(),
		Resolved:     c.resolved.Load(),
		UnknownTypes: c.unknownTypes.Load(),
		Streams:      c.streams.Load(),
		Connected:    int(c.connected.Load()),
	}
	for t, n := range c.pushes {
		out.Pushes[t] = n.Load()
	}
	return out
}
