package ir

import "time"

// Route sends the requests that match to a cluster.
type Route struct {
	Name string `json:"name"` // the default route's name is "default"
	// PathPrefix matches by segment; "/" takes all.
	PathPrefix string `json:"pathPrefix"`
	Cluster    string `json:"cluster"`

	Timeouts RouteTimeouts `json:"timeouts"`
	Retry    Retry         `json:"retry"`
}

// RouteTimeouts are those of one request. Zero is off.
type RouteTimeouts struct {
	Request   time.Duration `json:"request,omitempty"`   // from the whole request received to the whole response sent upstream-side
	MaxStream time.Duration `json:"maxStream,omitempty"` // whole life of a stream
}

// Retry is what is tried again. Only failures that provably did nothing are in this version: failed connects and
// unprocessed requests (DESIGN section 5), each on another endpoint.
type Retry struct {
	Attempts uint32 `json:"attempts"` // further attempts after the first
}
