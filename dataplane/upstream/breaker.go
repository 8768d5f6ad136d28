package upstream

import "sync/atomic"

// breaker counts what a cluster has in hand against its Limits. Counts are the cluster's own, over all endpoints, and go on
// over a change of configuration. All methods are safe for concurrent use and take no lock.
//
// A gate is taken before the thing that it counts and given back after it, once. What is refused is answered at once with
// flag UO and details "overflow": to wait for room is what the thresholds are there to end.
type breaker struct {
	connections, pending, requests, retries gate
	overflow                                atomic.Int64 // refusals of all four
}

// gate is a count that may not pass a limit, which the caller brings along since a configuration may change it.
type gate struct{ n atomic.Int64 }

func (g *gate) enter(limit uint32) bool {
	if g.n.Add(1) <= int64(limit) || limit == NoLimit {
		return true
	}
	g.n.Add(-1)
	return false
}

func (g *gate) leave() { g.n.Add(-1) }

func (c *Cluster) enter(g *gate, limit func(*Limits) uint32) bool {
	at := uint32(NoLimit)
	if c.spec.Limits != nil {
		at = limit(c.spec.Limits)
	}
	if g.enter(at) {
		return true
	}
	c.breaker.overflow.Add(1)
	return false
}

// AcquireRequest takes room for one request, from before an endpoint is picked until it is over. False is overflow: the
// request is answered with upstream_overflow, and is not tried again.
func (c *Cluster) AcquireRequest() bool {
	return c.enter(&c.breaker.requests, func(l *Limits) uint32 { return l.Requests })
}

// ReleaseRequest gives back what AcquireRequest took.
func (c *Cluster) ReleaseRequest() { c.breaker.requests.leave() }

// AcquirePending takes room for one request that waits until a connection is made, or has a stream free. A request that finds
// a connection ready never asks. False is overflow.
func (c *Cluster) AcquirePending() bool {
	return c.enter(&c.breaker.pending, func(l *Limits) uint32 { return l.Pending })
}

// ReleasePending gives back what AcquirePending took: the connection is there, or will not be.
func (c *Cluster) ReleasePending() { c.breaker.pending.leave() }

// AcquireConnection takes room for one connection, from before it is dialled until it is closed; idle ones count. False is
// overflow for opaque TCP. A request may wait for one of the connections that are there (see AcquirePending); as in Envoy, an
// endpoint that has no connection at all gets one even so, by ForceConnection: the request would wait for nothing.
func (c *Cluster) AcquireConnection() bool {
	return c.enter(&c.breaker.connections, func(l *Limits) uint32 { return l.Connections })
}

// ForceConnection counts a connection that is made though there was no room. It is given back by ReleaseConnection too.
func (c *Cluster) ForceConnection() { c.breaker.connections.n.Add(1) }

// ReleaseConnection gives back what AcquireConnection or ForceConnection took.
func (c *Cluster) ReleaseConnection() { c.breaker.connections.leave() }

// AcquireRetry takes room for one attempt after the first, until that attempt is over. False: the answer that there is, is
// the answer, and it has the flag UO beside its own.
func (c *Cluster) AcquireRetry() bool {
	return c.enter(&c.breaker.retries, func(l *Limits) uint32 { return l.Retries })
}

// ReleaseRetry gives back what AcquireRetry took.
func (c *Cluster) ReleaseRetry() { c.breaker.retries.leave() }
