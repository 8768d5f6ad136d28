package config

//lint:file-ignore SA1019 deprecated fields are honoured: files that people have use them

import (
	"errors"
	"fmt"
	"strings"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"

	"github.com/hauberk-mesh/hauberk/dataplane/upstream"
)

// readDiscovery says where the endpoints come from: the returned message, part.eds, or where the caller wanted to go.
func readDiscovery(r *reader, m *clusterv3.Cluster, part *clusterPart) (*endpointv3.ClusterLoadAssignment, error) {
	if err := misplaced(r, m); err != nil {
		return nil, err
	}
	var err error
	switch m.GetType() {
	case clusterv3.Cluster_STATIC:
	case clusterv3.Cluster_STRICT_DNS, clusterv3.Cluster_LOGICAL_DNS:
		if part.spec.DNS, err = readDNS(m); err != nil {
			return nil, err
		}
	case clusterv3.Cluster_EDS:
		part.eds = m.GetEdsClusterConfig().GetServiceName()
		if part.eds == "" {
			part.eds = m.GetName()
		}
		return nil, overADS(m.GetEdsClusterConfig().GetEdsConfig(), "eds_cluster_config.eds_config")
	case clusterv3.Cluster_ORIGINAL_DST:
		part.spec.OriginalDst, err = readOriginalDst(m)
		return nil, err
	default:
		return nil, fmt.Errorf("type: %s is not honoured", m.GetType())
	}
	return m.GetLoadAssignment(), nil
}

// misplaced refuses what belongs to another kind of discovery, and a balancer that the kind does not have. Of names that are not
// there Envoy is told so often how to resolve them that it is only noted.
func misplaced(r *reader, m *clusterv3.Cluster) error {
	kind := m.GetType()
	dns := kind == clusterv3.Cluster_STRICT_DNS || kind == clusterv3.Cluster_LOGICAL_DNS
	original := kind == clusterv3.Cluster_ORIGINAL_DST
	policy := clusterv3.Cluster_ROUND_ROBIN
	if original {
		policy = clusterv3.Cluster_CLUSTER_PROVIDED
	}
	switch {
	case m.GetLbPolicy() != policy:
		return fmt.Errorf("lb_policy: %s is not honoured, only %s", m.GetLbPolicy(), policy)
	case m.GetEdsClusterConfig() != nil && kind != clusterv3.Cluster_EDS:
		return fmt.Errorf("eds_cluster_config: is not for a cluster of type %s", kind)
	case m.GetLoadAssignment() != nil && (kind == clusterv3.Cluster_EDS || original):
		return fmt.Errorf("load_assignment: is not for a cluster of type %s", kind)
	case m.GetOriginalDstLbConfig() != nil && !original:
		return fmt.Errorf("original_dst_lb_config: is not for a cluster of type %s", kind)
	case m.GetCleanupInterval() != nil && !original:
		return fmt.Errorf("cleanup_interval: is not for a cluster of type %s", kind)
	}
	if !dns {
		for _, f := range populated(m.ProtoReflect()) {
			if strings.HasPrefix(string(f.Name()), "dns_") {
				r.note(string(f.Name()), "a cluster of this type resolves no names")
			}
		}
	}
	return nil
}

func readDNS(m *clusterv3.Cluster) (*upstream.DNS, error) {
	d := &upstream.DNS{Single: m.GetType() == clusterv3.Cluster_LOGICAL_DNS}
	family, ok := map[clusterv3.Cluster_DnsLookupFamily]upstream.Family{
		clusterv3.Cluster_AUTO: upstream.Auto, clusterv3.Cluster_V4_ONLY: upstream.V4Only, clusterv3.Cluster_V6_ONLY: upstream.V6Only,
		clusterv3.Cluster_V4_PREFERRED: upstream.V4Preferred, clusterv3.Cluster_ALL: upstream.AllFamilies,
	}[m.GetDnsLookupFamily()]
	if !ok {
		return nil, fmt.Errorf("dns_lookup_family: %s is not honoured", m.GetDnsLookupFamily())
	}
	d.Family = family
	var errs [4]error
	d.Refresh, errs[0] = duration(m.GetDnsRefreshRate(), upstream.DefaultRefresh, "dns_refresh_rate")
	d.Jitter, errs[1] = duration(m.GetDnsJitter(), 0, "dns_jitter")
	failure := m.GetDnsFailureRefreshRate()
	d.Retry, errs[2] = duration(failure.GetBaseInterval(), 0, "dns_failure_refresh_rate.base_interval")
	d.MaxRetry, errs[3] = duration(failure.GetMaxInterval(), 10*d.Retry, "dns_failure_refresh_rate.max_interval")
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	switch {
	case d.Refresh < time.Millisecond:
		return nil, fmt.Errorf("dns_refresh_rate: %s is below 1ms", d.Refresh)
	case failure != nil && (d.Retry < time.Millisecond || d.MaxRetry < d.Retry):
		return nil, errors.New("dns_failure_refresh_rate: needs base_interval of 1ms or more, and max_interval not below it")
	}
	if !d.Single {
		return d, nil
	}
	if l := m.GetLoadAssignment().GetEndpoints(); len(l) != 1 || len(l[0].GetLbEndpoints()) != 1 {
		return nil, errors.New("load_assignment: a LOGICAL_DNS cluster has exactly one endpoint")
	}
	return d, nil
}

// originalDstHeader is the header with the address unless another one is named.
const originalDstHeader = "x-envoy-original-dst-host"

func readOriginalDst(m *clusterv3.Cluster) (*upstream.OriginalDst, error) {
	o, config := &upstream.OriginalDst{}, m.GetOriginalDstLbConfig()
	var err error
	if o.Forget, err = duration(m.GetCleanupInterval(), upstream.DefaultForget, "cleanup_interval"); err != nil {
		return nil, err
	}
	if o.Forget == 0 {
		return nil, errors.New("cleanup_interval: must be above zero")
	}
	if config.GetUseHttpHeader() {
		if o.Header = strings.ToLower(config.GetHttpHeaderName()); o.Header == "" {
			o.Header = originalDstHeader
		}
	} else if config.GetHttpHeaderName() != "" {
		return nil, errors.New("original_dst_lb_config.http_header_name: needs use_http_header")
	}
	port := config.GetUpstreamPortOverride()
	if port != nil && (port.GetValue() == 0 || port.GetValue() > 65535) {
		return nil, fmt.Errorf("original_dst_lb_config.upstream_port_override: %d is no port", port.GetValue())
	}
	o.Port = uint16(port.GetValue())
	return o, nil
}
