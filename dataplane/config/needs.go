package config

import (
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
)

// Need is a resource that another one names.
type Need struct {
	Type, Name string
	// Patience is how long it is worth waiting for; zero: nobody said, negative: for ever.
	Patience time.Duration
}

// Needs are the resources without which one cannot be put in force, as far as they come over aggregated discovery, and the
// clusters that it leads to. It finds them wherever they stand in the message, honoured or not, so that it needs no look at
// how the message will be read.
func Needs(a *anypb.Any) ([]Need, error) {
	m, err := a.UnmarshalNew()
	if err != nil {
		return nil, err
	}
	var found []Need
	needs(m.ProtoReflect(), func(n Need) {
		if n.Name != "" {
			found = append(found, n)
		}
	})
	return found, nil
}

func needs(m protoreflect.Message, found func(Need)) {
	overADS := func(kind, name string, from *corev3.ConfigSource) {
		if from.GetAds() != nil {
			found(Need{Type: kind, Name: name, Patience: patience(from)})
		}
	}
	switch m := m.Interface().(type) {
	case *anypb.Any:
		if inner, err := m.UnmarshalNew(); err == nil { // else Build says what it thinks of that
			needs(inner.ProtoReflect(), found)
		}
		return
	case *hcmv3.Rds:
		overADS(TypeRoute, m.GetRouteConfigName(), m.GetConfigSource())
	case *tlsv3.SdsSecretConfig:
		overADS(TypeSecret, m.GetName(), m.GetSdsConfig())
	case *clusterv3.Cluster:
		if m.GetType() == clusterv3.Cluster_EDS {
			name := m.GetEdsClusterConfig().GetServiceName()
			if name == "" {
				name = m.GetName()
			}
			overADS(TypeEndpoints, name, m.GetEdsClusterConfig().GetEdsConfig())
		}
	case *routev3.RouteAction:
		found(Need{Type: TypeCluster, Name: m.GetCluster()})
	case *routev3.WeightedCluster_ClusterWeight:
		found(Need{Type: TypeCluster, Name: m.GetName()})
	case *tcpproxyv3.TcpProxy:
		found(Need{Type: TypeCluster, Name: m.GetCluster()})
	case *tcpproxyv3.TcpProxy_WeightedCluster_ClusterWeight:
		found(Need{Type: TypeCluster, Name: m.GetName()})
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsMap() && f.MapValue().Message() != nil:
			v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
				needs(v.Message(), found)
				return true
			})
		case f.IsMap() || f.Message() == nil:
		case f.IsList():
			for i := range v.List().Len() {
				needs(v.List().Get(i).Message(), found)
			}
		default:
			needs(v.Message(), found)
		}
		return true
	})
}

// patience is initial_fetch_timeout, where zero is for ever.
func patience(c *corev3.ConfigSource) time.Duration {
	switch d := c.GetInitialFetchTimeout(); {
	case d == nil:
		return 0
	case d.AsDuration() <= 0:
		return -1
	default:
		return d.AsDuration()
	}
}

// StandIn is what takes the place of a resource for which nobody wants to wait any longer: a cluster or endpoints of which
// there are none, or routes that lead nowhere. Nil: nothing can take its place.
func StandIn(typeURL, name string) *anypb.Any {
	var m proto.Message
	switch typeURL {
	case TypeCluster:
		m = &clusterv3.Cluster{Name: name, ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC}}
	case TypeEndpoints:
		m = &endpointv3.ClusterLoadAssignment{ClusterName: name}
	case TypeRoute:
		m = &routev3.RouteConfiguration{Name: name}
	default:
		return nil
	}
	a, err := anypb.New(m)
	if err != nil {
		return nil // a name that is no UTF-8, which no resource can have
	}
	return a
}
