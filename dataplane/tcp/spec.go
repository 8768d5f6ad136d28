package tcp

import (
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
	"github.com/hauberk-mesh/hauberk/dataplane/upstream"
)

// Spec is one opaque TCP chain. Immutable.
type Spec struct {
	Direction           telemetry.Direction
	Service, OwnService string
	OwnID               func() string
	Cluster             *upstream.Cluster
	IdleTimeout         time.Duration
	MaxConnection       time.Duration
}
