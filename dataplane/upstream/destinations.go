package upstream

import (
	"net/netip"
	"sync"
	"time"
)

// maxDestinations bounds the memory that callers can make a cluster of OriginalDst use: an endpoint is about a kilobyte.
const maxDestinations = 16384

// destinations are the endpoints of a cluster that sends to where its callers want to go: made when they are asked for first,
// forgotten when nobody has used them for a while.
type destinations struct {
	spec *Spec

	mu     sync.Mutex // guards below
	list   map[netip.AddrPort]*destination
	timer  *time.Timer // nil: there is nothing to forget
	closed bool
}

type destination struct {
	*Endpoint
	used bool // since the last look
}

// newDestinations takes over what prev (nil: nobody) has and c would make in the same way.
func newDestinations(prev, c *Cluster) *destinations {
	d := &destinations{spec: &c.spec, list: map[netip.AddrPort]*destination{}}
	if prev == nil || prev.destinations == nil {
		return d
	}
	prev.destinations.mu.Lock()
	defer prev.destinations.mu.Unlock()
	for addr, old := range prev.destinations.list {
		if old.key == c.spec.key(EndpointSpec{Addr: addr}) && old.hold() {
			d.list[addr] = &destination{Endpoint: old.Endpoint, used: true}
		}
	}
	d.watch()
	return d
}

func (d *destinations) pick(addr netip.AddrPort) *Endpoint {
	if port := d.spec.OriginalDst.Port; port != 0 {
		addr = netip.AddrPortFrom(addr.Addr(), port)
	}
	addr = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
	d.mu.Lock()
	defer d.mu.Unlock()
	one := d.list[addr]
	if one == nil {
		if len(d.list) >= maxDestinations {
			d.forget()
		}
		if len(d.list) >= maxDestinations {
			return nil
		}
		one = &destination{Endpoint: newEndpoint(d.spec.key(EndpointSpec{Addr: addr}))}
		one.hold()
		if d.closed {
			// Who holds the cluster may go on after it was given up, on endpoints that keep nothing.
			one.drop()
			return one.Endpoint
		}
		d.list[addr] = one
		d.watch()
	}
	one.used = true
	return one.Endpoint
}

// watch comes back while there is something to forget. mu is held, or nobody else has d yet.
func (d *destinations) watch() {
	if d.timer != nil || len(d.list) == 0 || d.closed {
		return
	}
	after := d.spec.OriginalDst.Forget
	if after <= 0 {
		after = DefaultForget
	}
	d.timer = time.AfterFunc(after, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.timer = nil
		d.forget()
		d.watch()
	})
}

// forget drops what nobody has asked for since it was called last, and that is not in use.
func (d *destinations) forget() {
	for addr, one := range d.list {
		if !one.used && one.n.rqActive.Load() == 0 {
			one.drop()
			delete(d.list, addr)
		}
		one.used = false
	}
}

func (d *destinations) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	if d.timer != nil {
		d.timer.Stop()
	}
	for _, one := range d.list {
		one.drop()
	}
	clear(d.list)
}

func (d *destinations) members() []member {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]member, 0, len(d.list))
	for _, one := range d.list {
		out = append(out, member{Endpoint: one.Endpoint})
	}
	return out
}
