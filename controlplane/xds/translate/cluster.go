package translate

import (
	"math"
	"strings"

	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"

	"github.com/hauberk-mesh/hauberk/controlplane/ir"
)

const (
	httpOptionsKey = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
	tlsSocket      = "envoy.transport_sockets.tls"
	rawSocket      = "envoy.transport_sockets.raw_buffer"

	// nobody stands in match_typed_subject_alt_names where no identity is acceptable: an empty list would accept every
	// certificate that the trust bundles verify. No certificate can hold it, since it is no SPIFFE ID.
	nobody = "none:no-identity-of-this-service-is-known"
)

// isApplication tells clusters of the workload behind an inbound, whose one endpoint is inline, from those of services.
func isApplication(c *ir.Cluster) bool { return strings.HasPrefix(c.Name, "inbound|") }

func cluster(c *ir.Cluster) (*clusterv3.Cluster, error) {
	m := &clusterv3.Cluster{
		Name:           c.Name,
		ConnectTimeout: ifSet(c.Timeouts.Connect),
		Metadata:       metadata(clusterMetadata(c)),
		// Unready endpoints are used only if no other is left; see lbEndpoint.
		CommonLbConfig:  &clusterv3.Cluster_CommonLbConfig{HealthyPanicThreshold: &typev3.Percent{Value: 1}},
		CircuitBreakers: unlimited(),
	}
	if isApplication(c) {
		endpoints, err := loadAssignment(c.Name, c.Endpoints)
		if err != nil {
			return nil, err
		}
		m.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC}
		m.LoadAssignment = endpoints
	} else {
		m.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS}
		m.EdsClusterConfig = &clusterv3.Cluster_EdsClusterConfig{EdsConfig: ads()}
	}
	if c.TLS != nil {
		socket, err := upstreamTLS(c)
		if err != nil {
			return nil, err
		}
		m.TransportSocket = socket
	}
	if c.Protocol.IsHTTP() {
		options, err := upstreamHTTP(c)
		if err != nil {
			return nil, err
		}
		m.TypedExtensionProtocolOptions = map[string]*anypb.Any{httpOptionsKey: options}
	}
	return m, nil
}

// unlimited says that nothing is limited where no policy limits it: left out, Envoy's own thresholds of 1024 would hold, which
// nobody in the mesh has asked for.
func unlimited() *clusterv3.CircuitBreakers {
	most := wrapperspb.UInt32(math.MaxUint32)
	return &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{{
		MaxConnections: most, MaxPendingRequests: most, MaxRequests: most, MaxRetries: most,
	}}}
}

// clusterMetadata names the destination. An application is none: to telemetry the proxy in front of it is.
func clusterMetadata(c *ir.Cluster) map[string]*structpb.Value {
	fields := map[string]*structpb.Value{}
	if !isApplication(c) {
		fields = serviceMetadata(c.Service, c.ServicePort, c.PortName)
	}
	if c.Probe.Kind != "" {
		fields[metaProbe] = structpb.NewStringValue(string(c.Probe.Kind))
	}
	if c.Probe.Path != "" {
		fields[metaProbePath] = structpb.NewStringValue(c.Probe.Path)
	}
	if c.Probe.Interval > 0 {
		fields[metaProbeInterval] = structpb.NewStringValue(c.Probe.Interval.String())
	}
	return fields
}

// upstreamTLS accepts exactly the identities of the service, proven under any of the trust bundles.
func upstreamTLS(c *ir.Cluster) (*corev3.TransportSocket, error) {
	t := c.TLS
	ids := t.PeerIDs
	if len(ids) == 0 {
		ids = []string{nobody}
	}
	var sans []*tlsv3.SubjectAltNameMatcher
	for _, id := range ids {
		sans = append(sans, &tlsv3.SubjectAltNameMatcher{
			SanType: tlsv3.SubjectAltNameMatcher_URI,
			Matcher: exactly(id),
		})
	}
	context := commonTLS(tlsParameters("", ""), &tlsv3.CertificateValidationContext{MatchTypedSubjectAltNames: sans})
	if c.Protocol.IsHTTP() {
		context.AlpnProtocols = []string{"h2"}
	}
	return socket(tlsSocket, &tlsv3.UpstreamTlsContext{Sni: t.SNI, CommonTlsContext: context})
}

// upstreamHTTP: between proxies requests share connections of HTTP/2, whatever the application speaks.
func upstreamHTTP(c *ir.Cluster) (*anypb.Any, error) {
	explicit := &httpv3.HttpProtocolOptions_ExplicitHttpConfig{
		ProtocolConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{
			Http2ProtocolOptions: &corev3.Http2ProtocolOptions{},
		},
	}
	if isApplication(c) && c.Protocol == ir.HTTP {
		explicit.ProtocolConfig = &httpv3.HttpProtocolOptions_ExplicitHttpConfig_HttpProtocolOptions{
			HttpProtocolOptions: &corev3.Http1ProtocolOptions{},
		}
	}
	return packed(&httpv3.HttpProtocolOptions{
		CommonHttpProtocolOptions: &corev3.HttpProtocolOptions{IdleTimeout: always(c.Timeouts.Idle)},
		UpstreamProtocolOptions:   &httpv3.HttpProtocolOptions_ExplicitHttpConfig_{ExplicitHttpConfig: explicit},
	})
}

func exactly(s string) *matcherv3.StringMatcher {
	return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: s}}
}

func beginning(s string) *matcherv3.StringMatcher {
	return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: s}}
}
