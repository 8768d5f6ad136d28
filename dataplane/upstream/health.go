package upstream

import (
	"context"
	"time"
)

// An endpoint is up until something fails: a connect, or a request that the other proxy says it could not hand on. From
// then on it is down and one goroutine asks it again and again (see Probe), 50 ms after the failure and then at doubled
// distances up to the probe's interval, until it answers. A request that is answered by it, because nobody else was left,
// ends that as well.
const firstProbe = 50 * time.Millisecond

// MarkDown notes that e failed, and why.
func (c *Cluster) MarkDown(e *Endpoint, reason string) {
	if e.down.Load() {
		return
	}
	e.mu.Lock()
	if e.gone || e.down.Load() {
		e.mu.Unlock()
		return
	}
	e.down.Store(true)
	e.reason = reason
	ctx, cancel := context.WithCancel(context.Background())
	e.stopProbe = cancel
	e.mu.Unlock()
	c.tell(e, false, reason)
	go c.probe(ctx, e)
}

// MarkUp notes that e has answered.
func (c *Cluster) MarkUp(e *Endpoint) {
	if !e.down.Load() {
		return
	}
	e.mu.Lock()
	if e.gone || !e.down.Load() {
		e.mu.Unlock()
		return
	}
	e.down.Store(false)
	e.reason = ""
	e.stopProbe()
	e.stopProbe = nil
	e.mu.Unlock()
	c.tell(e, true, "")
}

func (c *Cluster) tell(e *Endpoint, up bool, reason string) {
	if c.deps.OnHealth != nil {
		c.deps.OnHealth(c.spec.Name, e.addr, up, reason)
	}
}

// probe asks e until it answers or ctx is done.
func (c *Cluster) probe(ctx context.Context, e *Endpoint) {
	pause := min(firstProbe, c.spec.Probe.Interval)
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if err := c.ask(ctx, e); err == nil && ctx.Err() == nil {
			c.MarkUp(e)
			return
		}
		pause = min(2*pause, c.spec.Probe.Interval)
		timer.Reset(pause)
	}
}
