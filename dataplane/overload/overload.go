// Package overload lets a proxy do less before it can do nothing: it measures memory and connections, and says when to
// refuse requests, to end connections after their response, and to accept no new ones. It is Envoy's overload manager in its
// words and defaults.
//
// It refuses nothing by itself: the engine asks it, at the cost of one atomic load, and a nil Manager never has anything
// against anything. Start at New and Manager.Run; Default is what a proxy has without a configuration.
package overload

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Deps are what a Manager needs of the process.
type Deps struct {
	// Shrink gives unused memory back to the system.
	Shrink func()
	// SetMemoryLimit tells the garbage collector its limit and returns the one before.
	SetMemoryLimit func(bytes int64) int64
	// OnChange is told when an action begins or ends to be taken. It must not block. Nil: nobody.
	OnChange func(a Action, state float64)
}

// Manager is safe for concurrent use, and nil is one that never acts.
type Manager struct {
	spec Spec
	deps Deps

	state [actions]atomic.Uint32 // how far each action is taken, of full
	open  atomic.Int64           // downstream connections

	mu       sync.Mutex // guards below
	pressure map[string]float64
	resume   chan struct{} // closed when connections are accepted again; nil while they are
}

// full is an action that is taken wholly.
const full = 1 << 16

// New makes a Manager. It acts once Run or Refresh has measured.
func New(spec Spec, deps Deps) *Manager {
	if spec.Refresh <= 0 {
		spec.Refresh = DefaultRefresh
	}
	return &Manager{spec: spec, deps: deps, pressure: map[string]float64{}}
}

// Run measures until ctx is done.
func (m *Manager) Run(ctx context.Context) {
	if m == nil || len(m.spec.Actions) == 0 {
		return
	}
	if limit := int64(m.spec.MemoryLimit); limit > 0 && m.deps.SetMemoryLimit != nil {
		before := m.deps.SetMemoryLimit(-1)
		if limit < before {
			m.deps.SetMemoryLimit(limit)
			defer m.deps.SetMemoryLimit(before)
		}
	}
	tick := time.NewTicker(m.spec.Refresh)
	defer tick.Stop()
	for {
		m.Refresh()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Refresh measures once and acts on it.
func (m *Manager) Refresh() {
	m.mu.Lock()
	for _, monitor := range m.spec.Monitors {
		m.pressure[monitor.Name] = monitor.Pressure()
	}
	if m.spec.Connections > 0 {
		m.pressure[Connections] = float64(m.open.Load()) / float64(m.spec.Connections)
	}
	var next [actions]float64
	for a, triggers := range m.spec.Actions {
		for _, t := range triggers {
			next[a] = max(next[a], t.state(m.pressure[t.Monitor]))
		}
	}
	m.stopAccepting(next[StopAcceptingConnections] == 1)
	m.mu.Unlock()
	for a, state := range next {
		m.set(Action(a), state)
	}
	if next[ShrinkHeap] == 1 && m.deps.Shrink != nil {
		m.deps.Shrink()
	}
}

func (m *Manager) set(a Action, state float64) {
	now := uint32(state * full)
	before := m.state[a].Swap(now)
	if (before == 0) != (now == 0) && m.deps.OnChange != nil {
		m.deps.OnChange(a, state)
	}
}

// stopAccepting opens or closes the way on for accept loops; the lock is held.
func (m *Manager) stopAccepting(stop bool) {
	switch {
	case stop && m.resume == nil:
		m.resume = make(chan struct{})
	case !stop && m.resume != nil:
		close(m.resume)
		m.resume = nil
	}
}

// ShedRequests tells whether this request is to be refused: always under full pressure, and by chance in proportion to it.
func (m *Manager) ShedRequests() bool { return m.acts(StopAcceptingRequests) }

// EndKeepAlive tells whether a connection is to end with this response.
func (m *Manager) EndKeepAlive() bool { return m.acts(DisableKeepAlive) }

// RejectConnection tells whether a connection that was just accepted is to be closed at once.
func (m *Manager) RejectConnection() bool { return m.acts(RejectConnections) }

func (m *Manager) acts(a Action) bool {
	if m == nil {
		return false
	}
	state := m.state[a].Load()
	return state > 0 && (state >= full || rand.Uint32N(full) < state)
}

// Accept returns at once while connections are accepted, and otherwise when they are again or stop is closed.
func (m *Manager) Accept(stop <-chan struct{}) {
	if m == nil {
		return
	}
	m.mu.Lock()
	resume := m.resume
	m.mu.Unlock()
	if resume == nil {
		return
	}
	select {
	case <-resume:
	case <-stop:
	}
}

// Enter counts a downstream connection, unless there are as many as may be: then it is to be closed. Leave must follow a
// true. A listener that is exempt is counted all the same.
func (m *Manager) Enter(exempt bool) bool {
	if m == nil {
		return true
	}
	if n := m.open.Add(1); m.spec.Connections > 0 && n > m.spec.Connections && !exempt {
		m.open.Add(-1)
		return false
	}
	return true
}

// Leave is the end of a connection that was counted.
func (m *Manager) Leave() {
	if m != nil {
		m.open.Add(-1)
	}
}

// Status is what the admin page shows.
type Status struct {
	Connections int64              `json:"connections"`
	Pressure    map[string]float64 `json:"pressure,omitempty"` // by monitor, when it was last measured
	Actions     map[string]float64 `json:"actions,omitempty"`  // how far each is taken: 0 not at all, 1 wholly
}

// Status is the present state.
func (m *Manager) Status() Status {
	if m == nil {
		return Status{}
	}
	s := Status{Connections: m.open.Load(), Pressure: map[string]float64{}, Actions: map[string]float64{}}
	m.mu.Lock()
	for name, p := range m.pressure {
		s.Pressure[name] = p
	}
	m.mu.Unlock()
	for a := range m.spec.Actions {
		s.Actions[a.String()] = float64(m.state[a].Load()) / full
	}
	return s
}
