package config

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/anypb"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"

	"github.com/hauberk-mesh/hauberk/dataplane/upstream"
)

const (
	// What Envoy's documentation says that leaving a timeout out means.
	defaultConnect      = 5 * time.Second
	defaultUpstreamIdle = time.Hour

	httpOptionsKey = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
)

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
	if old != nil && same(old.message, message) && (old.spec.TLS == nil || w.in[TypeSecret][secretTrust] != nil) {
		part.spec, part.eds, part.notes = old.spec, old.eds, old.notes
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
		part.notes = r.notes
	}
	endpoints, err := w.endpoints(part, inline, name)
	if err != nil {
		return nil, err
	}
	spec := part.spec
	spec.Endpoints = endpoints
	part.cluster = upstream.Build(w.prev.Clusters[name], spec, upstream.Deps{Dial: w.deps.Dial, OnHealth: w.deps.OnHealth})
	return part, nil
}

// endpoints are those of the message itself or, for EDS, those of the resource that it names.
func (w *build) endpoints(part *clusterPart, inline *endpointv3.ClusterLoadAssignment, name string) ([]upstream.EndpointSpec, error) {
	if part.eds == "" {
		r := w.reader("cluster", name)
		list, err := readEndpoints(r, inline, "load_assignment")
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
	list, err := readEndpoints(r, m, "")
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
	if m.GetLbPolicy() != clusterv3.Cluster_ROUND_ROBIN {
		return nil, fmt.Errorf("lb_policy: %s is not honoured, only ROUND_ROBIN", m.GetLbPolicy())
	}
	if err := panicThreshold(m.GetCommonLbConfig()); err != nil {
		return nil, err
	}
	inline, err := readDiscovery(m, part)
	if err != nil {
		return nil, err
	}
	part.spec.Name = name
	if part.spec.ConnectTimeout, err = duration(m.GetConnectTimeout(), defaultConnect, "connect_timeout"); err != nil {
		return nil, err
	}
	if part.spec.ConnectTimeout == 0 {
		return nil, errors.New("connect_timeout: must be above zero")
	}
	if err := readHTTPOptions(r, m, &part.spec); err != nil {
		return nil, err
	}
	var alpn []string
	if part.spec.HTTP {
		alpn = []string{"http/1.1"}
	}
	if part.spec.TLS, err = w.upstream(r, m.GetTransportSocket(), "transport_socket", alpn); err != nil {
		return nil, err
	}
	return inline, readClusterMetadata(r, m.GetMetadata(), &part.spec)
}

// panicThreshold: endpoints that are not healthy are used only if no other is left, which is Envoy's panic below one
// percent. The default of 50 would have half of the traffic go to endpoints that do not answer.
func panicThreshold(c *clusterv3.Cluster_CommonLbConfig) error {
	if p := c.GetHealthyPanicThreshold(); p != nil && p.GetValue() != 1 {
		return fmt.Errorf("common_lb_config.healthy_panic_threshold: %v is not honoured, only 1", p.GetValue())
	}
	return nil
}

// readDiscovery says where the endpoints come from: the returned message, or part.eds.
func readDiscovery(m *clusterv3.Cluster, part *clusterPart) (*endpointv3.ClusterLoadAssignment, error) {
	switch m.GetType() {
	case clusterv3.Cluster_STATIC:
		if m.GetEdsClusterConfig() != nil {
			return nil, errors.New("eds_cluster_config: is not for a STATIC cluster")
		}
		return m.GetLoadAssignment(), nil
	case clusterv3.Cluster_EDS:
		if m.GetLoadAssignment() != nil {
			return nil, errors.New("load_assignment: is not for an EDS cluster")
		}
		part.eds = m.GetEdsClusterConfig().GetServiceName()
		if part.eds == "" {
			part.eds = m.GetName()
		}
		return nil, overADS(m.GetEdsClusterConfig().GetEdsConfig(), "eds_cluster_config.eds_config")
	}
	return nil, fmt.Errorf("type: %s is not honoured, only STATIC and EDS", m.GetType())
}

// readHTTPOptions: a cluster that says how it speaks HTTP is one for HTTP; any other is opaque.
func readHTTPOptions(r *reader, m *clusterv3.Cluster, spec *upstream.Spec) error {
	for _, key := range sorted(m.GetTypedExtensionProtocolOptions()) {
		path := fmt.Sprintf("typed_extension_protocol_options[%q]", key)
		if key != httpOptionsKey {
			return fmt.Errorf("%s: is not honoured", path)
		}
		o := &httpv3.HttpProtocolOptions{}
		if err := r.any(m.GetTypedExtensionProtocolOptions()[key], path, o); err != nil {
			return err
		}
		if o.GetExplicitHttpConfig().GetHttpProtocolOptions() == nil {
			return fmt.Errorf("%s.explicit_http_config: only http_protocol_options (HTTP/1.1) is honoured", path)
		}
		idle, err := duration(o.GetCommonHttpProtocolOptions().GetIdleTimeout(), defaultUpstreamIdle, path+".common_http_protocol_options.idle_timeout")
		if err != nil {
			return err
		}
		spec.HTTP, spec.IdleTimeout = true, idle
	}
	return nil
}

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
	if spec.Probe.Kind != upstream.ProbeConnect && !spec.HTTP {
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

func readEndpoints(r *reader, m *endpointv3.ClusterLoadAssignment, path string) ([]upstream.EndpointSpec, error) {
	var out []upstream.EndpointSpec
	for i, locality := range m.GetEndpoints() {
		for j, e := range locality.GetLbEndpoints() {
			at := join(path, fmt.Sprintf("endpoints[%d].lb_endpoints[%d]", i, j))
			spec, err := readEndpoint(r, e, at)
			if err != nil {
				return nil, err
			}
			out = append(out, spec)
		}
	}
	return out, nil
}

func readEndpoint(r *reader, m *endpointv3.LbEndpoint, path string) (upstream.EndpointSpec, error) {
	var e upstream.EndpointSpec
	own, err := r.metadata(m.GetMetadata(), path+".metadata", metaDataplane)
	if err != nil {
		return e, err
	}
	e.Name = own.text(metaDataplane)
	// What is not healthy to Envoy, degraded and draining too, is used only if no other is left.
	e.Unready = m.GetHealthStatus() != corev3.HealthStatus_UNKNOWN && m.GetHealthStatus() != corev3.HealthStatus_HEALTHY
	addr, at := m.GetEndpoint().GetAddress(), path+".endpoint.address"
	switch {
	case addr.GetPipe() != nil:
		if !strings.HasPrefix(addr.GetPipe().GetPath(), "/") {
			return e, fmt.Errorf("%s.pipe.path: %q is not absolute", at, addr.GetPipe().GetPath())
		}
		e.Unix = addr.GetPipe().GetPath()
	case addr.GetSocketAddress() != nil:
		if e.Addr, err = socketAddress(addr.GetSocketAddress(), at+".socket_address"); err != nil {
			return e, err
		}
		if e.Addr.Port() == 0 {
			return e, fmt.Errorf("%s.socket_address.port_value: is not set", at)
		}
	default:
		return e, fmt.Errorf("%s: is not set", at)
	}
	return e, nil
}
