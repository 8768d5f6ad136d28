package config

import (
	"errors"
	"fmt"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/hauberk-mesh/hauberk/dataplane/upstream"
)

// readLimits reads the thresholds. What is left out has the value that Envoy's documentation says.
func readLimits(m *clusterv3.CircuitBreakers) (*upstream.Limits, error) {
	l := &upstream.Limits{Connections: 1024, Pending: 1024, Requests: 1024, Retries: 3}
	if len(m.GetThresholds()) > 1 {
		return nil, errors.New("circuit_breakers.thresholds[1]: is not honoured, only one for the priority DEFAULT")
	}
	for _, t := range m.GetThresholds() {
		if t.GetPriority() != corev3.RoutingPriority_DEFAULT {
			return nil, fmt.Errorf("circuit_breakers.thresholds[0].priority: %s is not honoured, only DEFAULT", t.GetPriority())
		}
		for to, v := range map[*uint32]*wrapperspb.UInt32Value{
			&l.Connections: t.GetMaxConnections(), &l.Pending: t.GetMaxPendingRequests(),
			&l.Requests: t.GetMaxRequests(), &l.Retries: t.GetMaxRetries(),
		} {
			if v != nil {
				*to = v.GetValue()
			}
		}
	}
	return l, nil
}
