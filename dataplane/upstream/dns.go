package upstream

import (
	"context"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Resolver finds the addresses of a name. network is "ip", "ip4" or "ip6". *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

const (
	// warmAfter bounds how long a configuration waits for the first answers.
	warmAfter = 5 * time.Second
	// lookupTimeout bounds one question.
	lookupTimeout = 5 * time.Second
)

// names follow the addresses of a cluster's host names. Each name is asked for by a goroutine of its own, so that a slow one
// does not hold up the others. What was known stays when a question fails: the name server is not the service.
type names struct {
	cluster  *Cluster
	resolver Resolver
	ctx      context.Context
	stop     context.CancelFunc
	warm     chan struct{}

	mu    sync.Mutex // guards below
	known map[string][]netip.Addr
	first map[string]bool // names that have not been asked for yet
	timer *time.Timer     // until warm at the latest
}

// newNames begins with what prev (nil: nobody) knows of the same names.
func newNames(prev, c *Cluster) *names {
	n := &names{
		cluster: c, resolver: c.deps.Resolver, warm: make(chan struct{}),
		known: map[string][]netip.Addr{}, first: map[string]bool{},
	}
	if n.resolver == nil {
		n.resolver = net.DefaultResolver
	}
	n.ctx, n.stop = context.WithCancel(context.Background())
	for _, e := range c.spec.Endpoints {
		if e.Host != "" {
			n.first[e.Host] = true
		}
	}
	if prev == nil || prev.names == nil || *prev.spec.DNS != *c.spec.DNS {
		return n
	}
	prev.names.mu.Lock()
	defer prev.names.mu.Unlock()
	for host := range n.first {
		if list := prev.names.known[host]; len(list) > 0 {
			n.known[host] = list
		}
	}
	return n
}

func (n *names) start() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.first) == 0 {
		close(n.warm)
		return
	}
	n.timer = time.AfterFunc(warmAfter, func() { n.answered("") })
	context.AfterFunc(n.ctx, func() { n.answered("") })
	for host := range n.first {
		go n.follow(host)
	}
}

// answered notes that a host has been asked for, whatever came of it; "" that nobody shall wait any longer.
func (n *names) answered(host string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	waiting := len(n.first) > 0
	delete(n.first, host)
	if host == "" {
		clear(n.first)
	}
	if waiting && len(n.first) == 0 {
		n.timer.Stop()
		close(n.warm)
	}
}

// follow asks for one name until the cluster is given up.
func (n *names) follow(host string) {
	spec := n.cluster.spec.DNS
	refresh := spec.Refresh
	if refresh <= 0 {
		refresh = DefaultRefresh
	}
	failures := 0
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-n.ctx.Done():
			return
		case <-timer.C:
		}
		list, err := n.lookup(host)
		pause := refresh
		if err == nil {
			failures = 0
			n.learn(host, list)
		} else if failures++; spec.Retry > 0 {
			pause = backoff(spec.Retry, max(spec.MaxRetry, spec.Retry), failures)
		}
		n.answered(host)
		if spec.Jitter > 0 {
			pause += rand.N(spec.Jitter)
		}
		timer.Reset(pause)
	}
}

// backoff is base, doubled for each failure after the first, and at most limit.
func backoff(base, limit time.Duration, failures int) time.Duration {
	for ; failures > 1 && base < limit; failures-- {
		base *= 2
	}
	return min(base, limit)
}

// lookup asks for the family that is wanted. An answer without addresses is net.DNSError too.
func (n *names) lookup(host string) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(n.ctx, lookupTimeout)
	defer cancel()
	var list []netip.Addr
	var err error
	for _, network := range networks(n.cluster.spec.DNS.Family) {
		if list, err = n.resolver.LookupNetIP(ctx, network, host); err == nil && len(list) > 0 {
			break
		}
	}
	if err == nil && len(list) == 0 {
		err = &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	if err != nil {
		return nil, err
	}
	out := make([]netip.Addr, len(list))
	for i, a := range list {
		out[i] = a.Unmap()
	}
	return out, nil
}

func networks(f Family) []string {
	switch f {
	case V4Only:
		return []string{"ip4"}
	case V6Only:
		return []string{"ip6"}
	case V4Preferred:
		return []string{"ip4", "ip6"}
	case AllFamilies:
		return []string{"ip"}
	}
	return []string{"ip6", "ip4"}
}

// learn puts an answer in force. Its order means nothing: name servers rotate it.
func (n *names) learn(host string, list []netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	old := n.known[host]
	if n.cluster.spec.DNS.Single {
		if len(old) == 1 && slices.Contains(list, old[0]) {
			return
		}
		list = list[:1]
	}
	slices.SortFunc(list, netip.Addr.Compare)
	list = slices.Compact(list)
	if slices.Equal(old, list) {
		return
	}
	n.known[host] = list
	n.cluster.replace(n.endpointsLocked(), true)
}

// endpoints are the cluster's with names replaced by what they stand for now.
func (n *names) endpoints() []EndpointSpec {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.endpointsLocked()
}

func (n *names) endpointsLocked() []EndpointSpec {
	var out []EndpointSpec
	for _, e := range n.cluster.spec.Endpoints {
		if e.Host == "" {
			out = append(out, e)
			continue
		}
		for _, a := range n.known[e.Host] {
			one := e
			one.Addr = netip.AddrPortFrom(a, e.Addr.Port())
			out = append(out, one)
		}
	}
	return out
}
