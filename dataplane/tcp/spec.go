package tcp

import (
	"math/rand/v2"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
	"github.com/hauberk-mesh/hauberk/dataplane/upstream"
)

// Spec is one opaque TCP chain. Immutable.
type Spec struct {
	Direction           telemetry.Direction
	Service, OwnService string
	OwnID               func() string
	// Cluster is where all connections go; Weighted, if it is not empty, shares them out in its place.
	Cluster       *upstream.Cluster
	Weighted      []Weighted
	IdleTimeout   time.Duration
	MaxConnection time.Duration
	// ConnectAttempts is how many endpoints are tried for one connection; 0 is a few.
	ConnectAttempts int
	// AccessLog takes each record beside the proxy's own; nil: nobody.
	AccessLog telemetry.Recorder
}

// Weighted is a cluster with its share of the connections.
type Weighted struct {
	Cluster *upstream.Cluster
	Weight  uint32
}

// choose is the cluster of one connection.
func (s *Spec) choose() *upstream.Cluster {
	if len(s.Weighted) == 0 {
		return s.Cluster
	}
	total := uint32(0)
	for _, w := range s.Weighted {
		total += w.Weight
	}
	at := rand.Uint32N(total)
	for _, w := range s.Weighted {
		if at < w.Weight {
			return w.Cluster
		}
		at -= w.Weight
	}
	return nil // not reached: the weights add up
}
