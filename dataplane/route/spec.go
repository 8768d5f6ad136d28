package route

import (
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/upstream"
)

// Route is one entry of a table: what matches and what is then done. Immutable.
type Route struct {
	Name string
	// PathPrefix matches by segment; "/" takes all.
	PathPrefix string
	Cluster    *upstream.Cluster // never nil

	RequestTimeout time.Duration // 0: off
	StreamIdle     time.Duration // 0: the chain's
	MaxStream      time.Duration // 0: off
	Retries        int           // further attempts for requests that provably did nothing
}
