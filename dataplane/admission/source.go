package admission

import (
	"net/netip"
	"time"
)

// source is what one tenant has under way. Guarded by the gate's lock.
type source struct {
	key    netip.Prefix
	open   int
	tokens float64 // handshakes that it may begin now
	filled time.Time
}

// tenant is whom an address belongs to: of IPv6 a network of 64 bits, which one host has to itself (RFC 4291 section 2.5.4).
// Who comes over a Unix socket is one tenant.
func tenant(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// firstSweep is how many sources are kept before somebody looks which of them are needed.
const firstSweep = 1024

func (g *Gate) source(key netip.Prefix) *source {
	if s := g.sources[key]; s != nil {
		return s
	}
	if len(g.sources) >= g.sweepAt {
		g.sweep()
	}
	s := &source{key: key, tokens: float64(g.o.Burst), filled: time.Now()}
	g.sources[key] = s
	return s
}

// sweep forgets sources that are as if they had never come. The next one is due when there are twice as many as are left, so
// that each source pays for a bounded part of it.
func (g *Gate) sweep() {
	now := time.Now()
	for key, s := range g.sources {
		if s.refill(now, g.o); s.idle(g.o) {
			delete(g.sources, key)
		}
	}
	g.sweepAt = max(firstSweep, 2*len(g.sources))
}

func (s *source) refill(now time.Time, o Options) {
	s.tokens = min(float64(o.Burst), s.tokens+now.Sub(s.filled).Seconds()*float64(o.Rate))
	s.filled = now
}

func (s *source) idle(o Options) bool { return s.open == 0 && s.tokens >= float64(o.Burst) }
