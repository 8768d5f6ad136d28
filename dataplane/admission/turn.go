package admission

// A slot that was given back is spent: it can be had again only after a round of the network poller. A goroutine that is woken
// directly runs next, before all that wait for a processor; if handshakes woke each other so, or each found free what the one
// before it has just left, a busy processor would never come to ask which connections have something to read, and a request
// would wait for hundreds of them.

// call begins a round if somebody needs what is spent; the lock is held.
func (g *Gate) call() {
	if g.spent == 0 || g.turning || g.queue.len == 0 && g.running+g.spent < g.o.Running {
		return
	}
	if g.round == nil {
		g.round, _ = newRound()
	}
	if g.round == nil { // no file descriptor is to be had
		g.turnOver()
		return
	}
	g.turning = true
	go g.turn(g.round)
}

func (g *Gate) turn(r *round) {
	r.wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.turning = false
	g.turnOver()
}

// turnOver makes spent slots free ones and gives them to those whose turn it is; the lock is held.
func (g *Gate) turnOver() {
	g.spent = 0
	for g.running < g.o.Running {
		t := g.queue.pop()
		if t == nil {
			return
		}
		g.running++
		t.holds, t.ran = true, true
		t.ready <- struct{}{}
	}
}
