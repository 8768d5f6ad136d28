package upstream

import (
	"sync"
	"time"
)

// maxIdle bounds the idle connections of one endpoint; more than so many at once are closed when they are done.
const maxIdle = 1024

// pool keeps idle connections, the last used first: under a falling load the rest grow old and close.
type pool struct {
	mu     sync.Mutex // guards all below
	idle   []*Conn    // oldest first
	expire *time.Timer
	closed bool
}

// get takes the newest connection that was made in the present epoch and is still alive. The others on the way are closed.
func (p *pool) get(epoch uint64) *Conn {
	for {
		p.mu.Lock()
		n := len(p.idle)
		if n == 0 {
			p.mu.Unlock()
			return nil
		}
		c := p.idle[n-1]
		p.idle[n-1] = nil
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		if c.epoch == epoch && c.R.Alive() {
			c.Reused = true
			return c
		}
		_ = c.Close()
	}
}

func (p *pool) put(c *Conn, timeout time.Duration) bool {
	c.R.Release()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.idle) >= maxIdle {
		return false
	}
	if timeout > 0 {
		c.since = time.Now()
		if p.expire == nil {
			p.expire = time.AfterFunc(timeout, func() { p.evict(timeout) })
		}
	}
	p.idle = append(p.idle, c)
	return true
}

// evict closes what has been idle for too long and comes again when the next one is due.
func (p *pool) evict(timeout time.Duration) {
	now := time.Now()
	p.mu.Lock()
	old := 0
	for old < len(p.idle) && now.Sub(p.idle[old].since) >= timeout {
		old++
	}
	expired := append([]*Conn(nil), p.idle[:old]...)
	p.idle = append(p.idle[:0], p.idle[old:]...)
	p.expire = nil
	if len(p.idle) > 0 && !p.closed {
		p.expire = time.AfterFunc(timeout-now.Sub(p.idle[0].since), func() { p.evict(timeout) })
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
