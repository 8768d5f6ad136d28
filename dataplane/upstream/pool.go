package upstream

import (
	"sync"
	"time"
)

// maxIdle bounds the idle connections of one endpoint; more than so many at once are closed when they are done.
const maxIdle = 1024

// pool keeps idle connections that carry one exchange at a time, the last used first: under a falling load the rest grow old
// and close.
type pool struct {
	mu      sync.Mutex // guards all below
	idle    []*Conn    // oldest first
	timeout time.Duration
	expire  *time.Timer // nil: nothing is due
	closed  bool
}

// get takes the newest connection that is not worn for c, and still alive. The others on the way are closed.
func (p *pool) get(c *Cluster) *Conn {
	for {
		p.mu.Lock()
		n := len(p.idle)
		if n == 0 {
			p.mu.Unlock()
			return nil
		}
		conn := p.idle[n-1]
		p.idle[n-1] = nil
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		if !conn.worn(c, time.Now()) && conn.h1.Alive() {
			conn.Reused = true
			return conn
		}
		_ = conn.Close()
	}
}

func (p *pool) put(c *Conn, timeout time.Duration) bool {
	c.h1.Release()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.idle) >= maxIdle {
		return false
	}
	c.since = time.Now()
	if timeout != p.timeout && p.expire != nil { // the configuration has changed, for those from before too
		p.expire.Stop()
		p.expire = nil
	}
	p.timeout = timeout
	if timeout > 0 && p.expire == nil {
		p.expire = time.AfterFunc(timeout, p.evict)
	}
	p.idle = append(p.idle, c)
	return true
}

// evict closes what has been idle for too long and comes again when the next one is due.
func (p *pool) evict() {
	now := time.Now()
	p.mu.Lock()
	old, timeout := 0, p.timeout
	for timeout > 0 && old < len(p.idle) && now.Sub(p.idle[old].since) >= timeout {
		old++
	}
	expired := append([]*Conn(nil), p.idle[:old]...)
	p.idle = append(p.idle[:0], p.idle[old:]...)
	p.expire = nil
	if len(p.idle) > 0 && !p.closed && timeout > 0 {
		p.expire = time.AfterFunc(timeout-now.Sub(p.idle[0].since), p.evict)
	}
	p.mu.Unlock()
	for _, c := range expired {
		_ = c.Close()
	}
}

func (p *pool) close() {
	p.mu.Lock()
	idle := p.idle
	p.idle, p.closed = nil, true
	if p.expire != nil {
		p.expire.Stop()
	}
	p.mu.Unlock()
	for _, c := range idle {
		_ = c.Close()
	}
}

func (p *pool) size() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.idle)
}
