package config

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/anypb"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"

	"github.com/hauberk-mesh/hauberk/dataplane/upstream"
)

// defaultConnect is what leaving connect_timeout out means, by Envoy's documentation.
const defaultConnect = 5 * time.Second

// clusters builds all, taking over what did not change.
func (w *build) clusters() error {
	w.g.parts.clusters = map[string]*clusterPart{}
	for _, name := range sorted(w.in[TypeCluster]) {
		part, err := w.cluster(name, w.in[TypeCluster][name], w.prev.parts.clusters[name])
		if err != nil {
			return fmt.Errorf("cluster %q: %w", name, err)
		}
		w.g.parts.clusters[name] = part
		w.g.Clusters[name] = part.cluster
	}
	return nil
}

func (w *build) cluster(name string, message *anypb.Any, old *clusterPart) (*clusterPart, error) {
	part := &clusterPart{message: message}
	var inline *endpointv3.ClusterLoadAssignment
	if old != nil && same(old.message, message) && w.hasTrust(old.spec.TLS) && w.holds(old.secrets) {
		part.spec, part.eds, part.notes, part.secrets = old.spec, old.eds, old.notes, old.secrets
		if part.eds == "" {
			return old, nil
		}
		part.endpoints = w.in[TypeEndpoints][part.eds]
		if same(old.endpoints, part.endpoints) {
			return old, nil
		}
	} else {
		r := w.reader("cluster", name)
		var err error
		if inline, err = w.readCluster(r, part, name); err != nil {
			return nil, err
		}
		part.notes, part.secrets = r.notes, r.secrets
	}
	endpoints, err := w.endpoints(part, inline, name)
	if err != nil {
		return nil, err
	}
	spec := part.spec
	spec.Endpoints = endpoints
	part.cluster = upstream.Build(w.prev.Clusters[name], spec, upstream.Deps{
		Dial: w.deps.Dial, Resolver: w.deps.Resolver, OnHealth: w.deps.OnHealth,
	})
	return part, nil
}

// hasTrust tells whether what a cluster's TLS of a mesh leans on is there.
func (w *build) hasTrust(t *upstream.TLS) bool {
	return t == nil || w.deps.StandAlone || w.in[TypeSecret][secretTrust] != nil
}

// endpoints are those of the message itself or, for EDS, those of the resource that it names.
func (w *build) endpoints(part *clusterPart, inline *endpointv3.ClusterLoadAssignment, name string) ([]upstream.EndpointSpec, error) {
	if part.eds == "" {
		r := w.reader("cluster", name)
		list, err := readEndpoints(r, inline, "load_assignment", part.spec.DNS != nil)
		part.endpointNotes = r.notes
		return list, err
	}
	part.endpoints = w.in[TypeEndpoints][part.eds]
	if part.endpoints == nil {
		return nil, fmt.Errorf("its endpoints %q were not sent", part.eds)
	}
	r := w.reader("endpoints", part.eds)
	m := &endpointv3.ClusterLoadAssignment{}
	if err := r.any(part.endpoints, "", m); err != nil {
		return nil, fmt.Errorf("endpoints %q: %w", part.eds, err)
	}
	if m.GetClusterName() != part.eds {
		return nil, fmt.Errorf("endpoints %q: cluster_name: is %q", part.eds, m.GetClusterName())
	}
	list, err := readEndpoints(r, m, "", false)
	if err != nil {
		return nil, fmt.Errorf("endpoints %q: %w", part.eds, err)
	}
	part.endpointNotes = r.notes
	return list, nil
}

func (w *build) readCluster(r *reader, part *clusterPart, name string) (*endpointv3.ClusterLoadAssignment, error) {
	m := &clusterv3.Cluster{}
	if err := r.any(part.message, "", m); err != nil {
		return nil, err
	}
	if m.GetName() != name {
		return nil, fmt.Errorf("name: is %q", m.GetName())
	}
	if err := panicThreshold(m.GetCommonLbConfig()); err != nil {
		return nil, err
	}
	inline, err := readDiscovery(r, m, part)
	if err != nil {
		return nil, err
	}
	spec := &part.spec
	spec.Name = name
	if spec.ConnectTimeout, err = duration(m.GetConnectTimeout(), defaultConnect, "connect_timeout"); err != nil {
		return nil, err
	}
	if spec.ConnectTimeout == 0 {
		return nil, errors.New("connect_timeout: must be above zero")
	}
	if spec.Limits, err = readLimits(m.GetCircuitBreakers()); err != nil {
		return nil, err
	}
	if err := readHTTPOptions(r, m, spec); err != nil {
		return nil, err
	}
	spec.KeepAlive = readKeepAlive(m.GetUpstreamConnectionOptions().GetTcpKeepalive())
	if err := w.upstream(r, m.GetTransportSocket(), "transport_socket", spec); err != nil {
		return nil, err
	}
	if spec.Protocol == upstream.Negotiated && spec.TLS == nil {
		return nil, errors.New("transport_socket: auto_config chooses the version of HTTP by ALPN, which needs TLS")
	}
	return inline, readClusterMetadata(r, m.GetMetadata(), spec)
}

// panicThreshold: endpoints that are not healthy are used only if no other is left, which is Envoy's panic below one
// percent. The default of 50 would have half of the traffic go to endpoints that do not answer.
func panicThreshold(c *clusterv3.Cluster_CommonLbConfig) error {
	if p := c.GetHealthyPanicThreshold(); p != nil && p.GetValue() != 1 {
		return fmt.Errorf("common_lb_config.healthy_panic_threshold: %v is not honoured, only 1", p.GetValue())
	}
	return nil
}

// readKeepAlive: what is left out is the kernel's to say, as in Envoy.
func readKeepAlive(m *corev3.TcpKeepalive) *net.KeepAliveConfig {
	if m == nil {
		return nil
	}
	k := &net.KeepAliveConfig{Enable: true, Count: -1, Idle: -1, Interval: -1}
	if m.GetKeepaliveProbes() != nil {
		k.Count = int(min(m.GetKeepaliveProbes().GetValue(), maxKeepAlive))
	}
	if m.GetKeepaliveTime() != nil {
		k.Idle = time.Duration(min(m.GetKeepaliveTime().GetValue(), maxKeepAlive)) * time.Second
	}
	if m.GetKeepaliveInterval() != nil {
		k.Interval = time.Duration(min(m.GetKeepaliveInterval().GetValue(), maxKeepAlive)) * time.Second
	}
	return k
}

// maxKeepAlive is what Linux takes for any of them.
const maxKeepAlive = 32767

func readClusterMetadata(r *reader, m *corev3.Metadata, spec *upstream.Spec) error {
	own, err := r.metadata(m, "metadata", metaService, metaPort, metaPortName, metaProbe, metaProbePath, metaProbeInterval)
	if err != nil {
		return err
	}
	at := fmt.Sprintf("metadata.filter_metadata[%q]", namespace)
	spec.Service = own.text(metaService)
	switch kind := own.text(metaProbe); kind {
	case "", "connect":
		spec.Probe.Kind = upstream.ProbeConnect
	case "mesh":
		spec.Probe.Kind = upstream.ProbeMesh
	case "http":
		spec.Probe.Kind = upstream.ProbeHTTP
	default:
		return fmt.Errorf("%s[%q]: %q is not connect, mesh or http", at, metaProbe, kind)
	}
	if spec.Probe.Kind != upstream.ProbeConnect && !spec.HTTP() {
		return fmt.Errorf("%s[%q]: a cluster that is not HTTP can only be probed by connect", at, metaProbe)
	}
	if spec.Probe.Path = own.text(metaProbePath); spec.Probe.Kind == upstream.ProbeHTTP && !validPath(spec.Probe.Path) {
		return fmt.Errorf("%s[%q]: %q is no path to ask for", at, metaProbePath, spec.Probe.Path)
	}
	text := own.text(metaProbeInterval)
	if text == "" {
		return nil
	}
	if spec.Probe.Interval, err = time.ParseDuration(text); err != nil || spec.Probe.Interval <= 0 {
		return fmt.Errorf("%s[%q]: %q is no duration above zero", at, metaProbeInterval, text)
	}
	return nil
}

// validPath keeps everything out of the probe's request line that could end it early.
func validPath(p string) bool {
	return strings.HasPrefix(p, "/") && strings.IndexFunc(p, func(c rune) bool { return c <= ' ' || c >= 0x7f }) < 0
}
