package translate

import (
	"fmt"
	"net/netip"
	"strings"

	"google.golang.org/protobuf/types/known/structpb"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"

	"github.com/hauberk-mesh/hauberk/controlplane/ir"
)

const unixScheme = "unix://"

// loadAssignment is all endpoints in one locality. A nil set is an empty one: a cluster without endpoints has still had them.
func loadAssignment(cluster string, set *ir.Endpoints) (*endpointv3.ClusterLoadAssignment, error) {
	m := &endpointv3.ClusterLoadAssignment{ClusterName: cluster}
	if set == nil || len(set.List) == 0 {
		return m, nil
	}
	locality := &endpointv3.LocalityLbEndpoints{}
	for i := range set.List {
		e, err := lbEndpoint(&set.List[i])
		if err != nil {
			return nil, err
		}
		locality.LbEndpoints = append(locality.LbEndpoints, e)
	}
	m.Endpoints = []*endpointv3.LocalityLbEndpoints{locality}
	return m, nil
}

// lbEndpoint marks an unready endpoint UNHEALTHY: with the cluster's panic threshold of 1 % that means, to a stock Envoy as
// to our proxy, "only if no other is left". DEGRADED would get its share of the traffic as soon as fewer than 71 % are ready.
func lbEndpoint(e *ir.Endpoint) (*endpointv3.LbEndpoint, error) {
	addr, err := address(e.Address, e.Port)
	if err != nil {
		return nil, err
	}
	m := &endpointv3.LbEndpoint{
		HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{Address: addr}},
	}
	if e.Unready {
		m.HealthStatus = corev3.HealthStatus_UNHEALTHY
	}
	if e.Dataplane != "" {
		m.Metadata = metadata(map[string]*structpb.Value{metaDataplane: structpb.NewStringValue(e.Dataplane)})
	}
	return m, nil
}

// address is an IP with a port, or unix:///path with port 0.
func address(host string, port uint32) (*corev3.Address, error) {
	if path, ok := strings.CutPrefix(host, unixScheme); ok {
		return &corev3.Address{Address: &corev3.Address_Pipe{Pipe: &corev3.Pipe{Path: path}}}, nil
	}
	if _, err := netip.ParseAddr(host); err != nil {
		return nil, fmt.Errorf("address %q is neither an IP nor unix:///path", host)
	}
	if port == 0 || port > 65535 {
		return nil, fmt.Errorf("port %d of address %s is not in 1-65535", port, host)
	}
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address:       host,
		PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: port},
	}}}, nil
}
