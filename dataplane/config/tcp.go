package config

import (
	"fmt"
	"math"

	connectionlimitv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/connection_limit/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"

	"github.com/hauberk-mesh/hauberk/dataplane/listener"
	"github.com/hauberk-mesh/hauberk/dataplane/tcp"
	"github.com/hauberk-mesh/hauberk/dataplane/upstream"
)

// tcp reads the filter that ends an opaque chain.
func (l *listenerBuild) tcp(r *reader, m *tcpproxyv3.TcpProxy, path string) (*tcp.Spec, error) {
	s := &tcp.Spec{Direction: l.direction, Service: l.service, OwnService: l.deps.Service, OwnID: l.ownID()}
	var err error
	switch {
	case m.GetWeightedClusters() != nil:
		s.Weighted, err = l.weighted(m.GetWeightedClusters(), path+".weighted_clusters")
	default:
		s.Cluster, err = l.opaque(m.GetCluster(), path+".cluster")
	}
	if err != nil {
		return nil, err
	}
	if s.IdleTimeout, err = duration(m.GetIdleTimeout(), defaultIdle, path+".idle_timeout"); err != nil {
		return nil, err
	}
	if s.MaxConnection, err = duration(m.GetMaxDownstreamConnectionDuration(), 0, path+".max_downstream_connection_duration"); err != nil {
		return nil, err
	}
	if n := m.GetMaxConnectAttempts(); n != nil {
		if n.GetValue() == 0 || n.GetValue() > 1000 {
			return nil, fmt.Errorf("%s.max_connect_attempts: %d is not between 1 and 1000", path, n.GetValue())
		}
		s.ConnectAttempts = int(n.GetValue())
	}
	if s.AccessLog, err = l.accessLogs(r, m.GetAccessLog(), path+".access_log"); err != nil {
		return nil, err
	}
	s.Service = l.serviceOr("")
	return s, nil
}

// ownID gives the own SPIFFE ID; nil where there is none to have.
func (l *listenerBuild) ownID() func() string {
	if l.deps.Identity == nil {
		return nil
	}
	return l.deps.Identity.ID
}

func (l *listenerBuild) opaque(name, path string) (*upstream.Cluster, error) {
	c, err := l.cluster(name, path)
	if err == nil && c.HTTP() && !l.deps.StandAlone {
		err = fmt.Errorf("%s: %q speaks HTTP, an opaque connection can not go there", path, name)
	}
	return c, err
}

func (l *listenerBuild) weighted(m *tcpproxyv3.TcpProxy_WeightedCluster, path string) ([]tcp.Weighted, error) {
	var out []tcp.Weighted
	total := uint64(0)
	for i, c := range m.GetClusters() {
		at := fmt.Sprintf("%s.clusters[%d]", path, i)
		cluster, err := l.opaque(c.GetName(), at+".name")
		if err != nil {
			return nil, err
		}
		if c.GetWeight() == 0 {
			return nil, fmt.Errorf("%s.weight: must be 1 or more; leave out a cluster that is to get nothing", at)
		}
		total += uint64(c.GetWeight())
		out = append(out, tcp.Weighted{Cluster: cluster, Weight: c.GetWeight()})
	}
	if len(out) == 0 || total > math.MaxUint32 {
		return nil, fmt.Errorf("%s.clusters: the sum of the weights is %d, want 1 to %d", path, total, uint32(math.MaxUint32))
	}
	return out, nil
}

// connectionLimit reads the filter that bounds how many connections a chain serves at once.
func connectionLimit(r *reader, f *connectionlimitv3.ConnectionLimit, key, path string) (*listener.ConnectionLimit, error) {
	n := f.GetMaxConnections().GetValue()
	if n == 0 || n > math.MaxInt32 {
		return nil, fmt.Errorf("%s.max_connections: %d is not between 1 and %d", path, n, math.MaxInt32)
	}
	delay, err := duration(f.GetDelay(), 0, path+".delay")
	if err != nil {
		return nil, err
	}
	return &listener.ConnectionLimit{Key: key, Max: int(n), Delay: delay}, nil
}
