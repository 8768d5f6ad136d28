package overload

import "time"

// Spec is what to watch and what to do about it. Immutable.
type Spec struct {
	Refresh  time.Duration // between two measurements; 0: DefaultRefresh
	Monitors []Monitor
	// Connections is how many downstream connections there may be at once over all listeners; 0 is any number.
	Connections int64
	// MemoryLimit is what the garbage collector is told to stay below, so that what is measured is memory in use and no
	// garbage; 0 leaves it alone.
	MemoryLimit uint64
	Actions     map[Action][]Trigger
}

// DefaultRefresh is Envoy's.
const DefaultRefresh = time.Second

// Monitor is one resource.
type Monitor struct {
	Name string
	// Pressure is how much of the resource is in use: 0 is nothing, 1 is all.
	Pressure func() float64
}

// Connections is the name under which triggers ask how many of the allowed downstream connections are open.
const Connections = "envoy.resource_monitors.global_downstream_max_connections"

// Action is what can be done under pressure.
type Action uint8

// The actions, as Envoy calls them in envoy.overload_actions.
const (
	StopAcceptingRequests Action = iota
	DisableKeepAlive
	StopAcceptingConnections
	RejectConnections
	ShrinkHeap
	actions // how many there are
)

// String is Envoy's name of the action.
func (a Action) String() string {
	return [...]string{"stop_accepting_requests", "disable_http_keepalive", "stop_accepting_connections",
		"reject_incoming_connections", "shrink_heap"}[a]
}

// Trigger turns the pressure on one resource into how far an action is taken: not at all below From, wholly from To on, and
// in between in proportion. A threshold has both equal.
type Trigger struct {
	Monitor  string
	From, To float64
}

func (t Trigger) state(pressure float64) float64 {
	switch {
	case pressure >= t.To:
		return 1
	case pressure <= t.From:
		return 0
	}
	return (pressure - t.From) / (t.To - t.From)
}
