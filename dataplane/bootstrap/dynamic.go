package bootstrap

import (
	"errors"
	"fmt"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
)

// Dynamic is where the part of the configuration that is not in the file comes from: one stream of aggregated discovery.
type Dynamic struct {
	Listeners, Clusters bool // which of them are asked for
	// Delta is the incremental protocol, DELTA_GRPC.
	Delta bool
	// NodeOnce says that only the first message of a stream says who asks.
	NodeOnce bool
	// Cluster, of the file, is where the control plane is, Authority its name; empty: the cluster's.
	Cluster, Authority string
	// Metadata goes with the stream, name and value in turn.
	Metadata []string
}

// dynamic reads dynamic_resources; nil where nothing is dynamic.
func dynamic(m *bootstrapv3.Bootstrap) (*Dynamic, error) {
	const at = "dynamic_resources"
	r := m.GetDynamicResources()
	if r == nil {
		return nil, nil
	}
	for path, source := range map[string]*corev3.ConfigSource{at + ".lds_config": r.GetLdsConfig(), at + ".cds_config": r.GetCdsConfig()} {
		if source != nil && source.GetAds() == nil {
			return nil, fmt.Errorf("%s: only ads is honoured: name the control plane in %s.ads_config", path, at)
		}
	}
	api, where := r.GetAdsConfig(), at+".ads_config"
	if api == nil {
		if r.GetLdsConfig() != nil || r.GetCdsConfig() != nil {
			return nil, fmt.Errorf("%s: is not set, and ads is asked for", where)
		}
		return nil, nil
	}
	if m.GetNode().GetId() == "" {
		return nil, errors.New("node.id: is not set: a control plane has to know who asks")
	}
	d := &Dynamic{Listeners: r.GetLdsConfig() != nil, Clusters: r.GetCdsConfig() != nil, NodeOnce: api.GetSetNodeOnFirstMessageOnly()}
	switch t := api.GetApiType(); t {
	case corev3.ApiConfigSource_GRPC:
	case corev3.ApiConfigSource_DELTA_GRPC:
		d.Delta = true
	default:
		return nil, fmt.Errorf("%s.api_type: %s is not honoured, only GRPC and DELTA_GRPC", where, t)
	}
	// AUTO is V3 for every transport that exists today.
	if v := api.GetTransportApiVersion(); v != corev3.ApiVersion_V3 && v != corev3.ApiVersion_AUTO {
		return nil, fmt.Errorf("%s.transport_api_version: %s is not honoured, only V3", where, v)
	}
	if len(api.GetGrpcServices()) != 1 {
		return nil, fmt.Errorf("%s.grpc_services: must be exactly one", where)
	}
	return d, d.service(m, api.GetGrpcServices()[0], where+".grpc_services[0]")
}

func (d *Dynamic) service(m *bootstrapv3.Bootstrap, s *corev3.GrpcService, path string) error {
	d.Cluster, d.Authority = s.GetEnvoyGrpc().GetClusterName(), s.GetEnvoyGrpc().GetAuthority()
	for _, h := range s.GetInitialMetadata() {
		d.Metadata = append(d.Metadata, h.GetKey(), h.GetValue())
	}
	for _, c := range m.GetStaticResources().GetClusters() {
		if c.GetName() == d.Cluster {
			return nil
		}
	}
	return fmt.Errorf("%s.envoy_grpc.cluster_name: %q is no cluster of static_resources", path, d.Cluster)
}
