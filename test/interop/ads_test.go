package interop

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	xdsserver "github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/hauberk-mesh/hauberk/dataplane/bootstrap"
	"github.com/hauberk-mesh/hauberk/dataplane/standalone"
	"github.com/hauberk-mesh/hauberk/internal/memconn"
	"github.com/hauberk-mesh/hauberk/policy/all/filters"
)

// adsBootstrap is a proxy without anything static but the way to its control plane.
const adsBootstrap = `
node: {id: proxy-1, cluster: test}
dynamic_resources:
  ads_config:
    api_type: API_TYPE
    transport_api_version: V3
    set_node_on_first_message_only: true
    grpc_services: [{envoy_grpc: {cluster_name: xds}}]
  lds_config: {resource_api_version: V3, ads: {}}
  cds_config: {resource_api_version: V3, ads: {}}
static_resources:
  clusters:
  - name: xds
    type: STATIC
    load_assignment:
      cluster_name: xds
      endpoints:
      - lb_endpoints:
        - endpoint: {address: {socket_address: {address: 10.0.0.1, port_value: 18000}}}
`

const patience = 20 * time.Second

// stock is a proxy under go-control-plane's own server, with backends that say their names, all in memory.
type stock struct {
	t      *testing.T
	net    *memconn.Network
	cache  cache.SnapshotCache
	server *grpc.Server
	events chan struct{} // something was asked or acknowledged

	mu       sync.Mutex // guards below
	refusals []string
	initial  map[string]string // initial_resource_versions of clusters, of the last stream
}

func newStock(t *testing.T, apiType string) *stock {
	t.Helper()
	s := &stock{t: t, net: &memconn.Network{}, events: make(chan struct{}, 1)}
	s.restart(false)
	for name, addr := range map[string]string{"a": "10.0.1.1:80", "b": "10.0.1.2:80"} {
		l, err := s.net.Listen(addr)
		if err != nil {
			t.Fatal(err)
		}
		backend := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, name+" "+r.URL.Path) })}
		go func() { _ = backend.Serve(l) }()
		t.Cleanup(func() { _ = backend.Close() })
	}
	s.run(strings.Replace(adsBootstrap, "API_TYPE", apiType, 1))
	return s
}

// run runs the proxy until the test ends.
func (s *stock) run(text string) {
	s.t.Helper()
	b, err := bootstrap.Parse("envoy.yaml", []byte(text))
	if err != nil {
		s.t.Fatal(err)
	}
	p, err := standalone.New(standalone.Config{
		Bootstrap: b, Filters: filters.Factories(), Logger: slog.New(slog.NewTextHandler(s.t.Output(), nil)),
		Listen: func(_ context.Context, _, addr string) (net.Listener, error) { return s.net.Listen(addr) },
		Dial:   s.net.Dial, DrainTime: 5 * time.Second,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- p.Run(ctx) }()
	s.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Error(err)
		}
	})
}

// restart makes a new server, which knows nothing of the one before.
func (s *stock) restart(ordered bool) {
	s.t.Helper()
	s.cache = cache.NewSnapshotCache(ordered, cache.IDHash{}, nil)
	l, err := s.net.Listen("10.0.0.1:18000")
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.server = grpc.NewServer()
	server := s.server
	discovery.RegisterAggregatedDiscoveryServiceServer(server, xdsserver.NewServer(ctx, s.cache, xdsserver.CallbackFuncs{
		StreamRequestFunc: func(_ int64, r *discovery.DiscoveryRequest) error {
			s.heard(r.GetTypeUrl(), r.GetErrorDetail().GetMessage(), nil)
			return nil
		},
		StreamDeltaRequestFunc: func(_ int64, r *discovery.DeltaDiscoveryRequest) error {
			s.heard(r.GetTypeUrl(), r.GetErrorDetail().GetMessage(), r.GetInitialResourceVersions())
			return nil
		},
	}))
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(l) })
	s.t.Cleanup(func() {
		cancel()
		server.Stop()
		serving.Wait()
	})
}

func (s *stock) heard(typeURL, refusal string, initial map[string]string) {
	s.mu.Lock()
	if refusal != "" && !slices.Contains(s.refusals, refusal) {
		s.refusals = append(s.refusals, refusal)
	}
	if initial != nil && typeURL == resource.ClusterType {
		s.initial = initial
	}
	s.mu.Unlock()
	select {
	case s.events <- struct{}{}:
	default:
	}
}

// send makes a snapshot the one to be had.
func (s *stock) send(version string, all map[resource.Type][]types.Resource) {
	s.t.Helper()
	snapshot, err := cache.NewSnapshot(version, all)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.cache.SetSnapshot(s.t.Context(), "proxy-1", snapshot); err != nil {
		s.t.Fatal(err)
	}
}

// until waits for a state of things, looking again after each word of the proxy's.
func (s *stock) until(what string, reached func() bool) {
	s.t.Helper()
	deadline := time.After(patience)
	for !reached() {
		select {
		case <-s.events:
		case <-deadline:
			s.t.Fatalf("%s: not within %v; refused: %q", what, patience, s.refused())
		}
	}
}

func (s *stock) refused() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.refusals...)
}

// get asks at an address: the body, or the status, or why there is no answer.
func (s *stock) get(addr, path string) string {
	c, err := s.net.Dial(s.t.Context(), "tcp", addr)
	if err != nil {
		return "refused"
	}
	defer c.Close()
	fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", path, addr)
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err.Error()
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err.Error()
	}
	if r.StatusCode != http.StatusOK {
		return fmt.Sprint(r.StatusCode)
	}
	return string(body)
}

func (s *stock) gives(path, want string) func() bool {
	return func() bool { return s.get("10.0.2.1:80", path) == want }
}

var overADS = &corev3.ConfigSource{
	ResourceApiVersion: corev3.ApiVersion_V3, ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}},
}

func edsCluster(name string) *clusterv3.Cluster {
	return &clusterv3.Cluster{
		Name: name, ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS},
		EdsClusterConfig: &clusterv3.Cluster_EdsClusterConfig{EdsConfig: overADS},
	}
}

func endpointsOf(cluster, ip string) *endpointv3.ClusterLoadAssignment {
	return &endpointv3.ClusterLoadAssignment{ClusterName: cluster, Endpoints: []*endpointv3.LocalityLbEndpoints{{
		LbEndpoints: []*endpointv3.LbEndpoint{{HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{Address: address(ip, 80)}}}},
	}}}
}

func address(ip string, port uint32) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address: ip, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: port},
	}}}
}

func routesTo(name, cluster string) *routev3.RouteConfiguration {
	return &routev3.RouteConfiguration{Name: name, VirtualHosts: []*routev3.VirtualHost{{
		Name: "all", Domains: []string{"*"}, Routes: []*routev3.Route{{
			Match:  &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}},
			Action: &routev3.Route_Route{Route: &routev3.RouteAction{ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: cluster}}},
		}},
	}}}
}

func rdsListener(t *testing.T, name, ip, routes string) *listenerv3.Listener {
	t.Helper()
	hcm := &hcmv3.HttpConnectionManager{
		StatPrefix:     "in",
		RouteSpecifier: &hcmv3.HttpConnectionManager_Rds{Rds: &hcmv3.Rds{RouteConfigName: routes, ConfigSource: overADS}},
		HttpFilters: []*hcmv3.HttpFilter{{
			Name: "envoy.filters.http.router", ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: packed(t, &routerv3.Router{})},
		}},
	}
	return &listenerv3.Listener{
		Name: name, Address: address(ip, 80), TrafficDirection: corev3.TrafficDirection_OUTBOUND,
		FilterChains: []*listenerv3.FilterChain{{Filters: []*listenerv3.Filter{{
			Name: "envoy.filters.network.http_connection_manager", ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: packed(t, hcm)},
		}}}},
	}
}

func packed(t *testing.T, m proto.Message) *anypb.Any {
	t.Helper()
	a, err := anypb.New(m)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// simple is one listener whose routes lead to one cluster, at ip.
func simple(t *testing.T, cluster, ip string) map[resource.Type][]types.Resource {
	t.Helper()
	return map[resource.Type][]types.Resource{
		resource.ClusterType:  {edsCluster(cluster)},
		resource.EndpointType: {endpointsOf(cluster, ip)},
		resource.ListenerType: {rdsListener(t, "in", "10.0.2.1", "routes")},
		resource.RouteType:    {routesTo("routes", cluster)},
	}
}

// TestADS follows go-control-plane's server in both protocols: everything comes type by type, by names that other types
// brought, and is in force when it is whole.
func TestADS(t *testing.T) {
	for _, apiType := range []string{"GRPC", "DELTA_GRPC"} {
		t.Run(apiType, func(t *testing.T) {
			t.Run("endpoints", func(t *testing.T) { testEndpointsChange(t, apiType) })
			t.Run("make before break", func(t *testing.T) { testMakeBeforeBreak(t, apiType) })
			t.Run("refused", func(t *testing.T) { testRefused(t, apiType) })
			t.Run("listeners come and go", func(t *testing.T) { testListeners(t, apiType) })
			t.Run("secrets", func(t *testing.T) { testSecrets(t, apiType) })
			t.Run("server restarts", func(t *testing.T) { testServerRestarts(t, apiType) })
		})
	}
}

func testEndpointsChange(t *testing.T, apiType string) {
	s := newStock(t, apiType)
	s.send("1", simple(t, "backend", "10.0.1.1"))
	s.until("first configuration", s.gives("/x", "a /x"))
	s.send("2", simple(t, "backend", "10.0.1.2"))
	s.until("other endpoint", s.gives("/x", "b /x"))
	if got := s.refused(); len(got) > 0 {
		t.Errorf("refused: %q", got)
	}
}

// testMakeBeforeBreak replaces a cluster by another, routes included, in one snapshot: the server sends the clusters first, of
// which the old one is gone while the routes still lead there. Not one request may fail.
func testMakeBeforeBreak(t *testing.T, apiType string) {
	s := newStock(t, apiType)
	s.send("1", simple(t, "old", "10.0.1.1"))
	s.until("first configuration", s.gives("/", "a /"))
	ctx, cancel := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	for range 4 {
		asking.Go(func() {
			for ctx.Err() == nil {
				if got := s.get("10.0.2.1:80", "/"); got != "a /" && got != "b /" && ctx.Err() == nil {
					t.Errorf("a request failed: %s", got)
					return
				}
			}
		})
	}
	s.send("2", simple(t, "new", "10.0.1.2"))
	s.until("other cluster", s.gives("/", "b /"))
	s.send("3", simple(t, "old", "10.0.1.1"))
	s.until("and back", s.gives("/", "a /"))
	cancel()
	asking.Wait()
	if got := s.refused(); len(got) > 0 {
		t.Errorf("refused: %q", got)
	}
}

// testRefused: what is bad is refused with its path, what is good in the same response is taken, and what was in force stays.
func testRefused(t *testing.T, apiType string) {
	s := newStock(t, apiType)
	s.send("1", simple(t, "backend", "10.0.1.1"))
	s.until("first configuration", s.gives("/", "a /"))

	bad := simple(t, "backend", "10.0.1.1")
	in := rdsListener(t, "in", "10.0.2.1", "routes")
	in.FilterChains[0].Filters = nil
	bad[resource.ListenerType] = []types.Resource{in, rdsListener(t, "other", "10.0.2.2", "routes")}
	s.send("2", bad)
	s.until("a refusal", func() bool { return len(s.refused()) > 0 })
	if got := s.refused(); len(got) != 1 || !strings.Contains(got[0], `listener "in": filter_chains[0]`) || strings.Contains(got[0], "other") {
		t.Errorf("refused: %q", got)
	}
	if got := s.get("10.0.2.1:80", "/"); got != "a /" {
		t.Errorf("the listener before is not in force: %s", got)
	}
	s.until("the good listener", func() bool { return s.get("10.0.2.2:80", "/") == "a /" })

	s.send("3", simple(t, "backend", "10.0.1.2"))
	s.until("mended", s.gives("/", "b /"))
	s.until("the other is gone", func() bool { return s.get("10.0.2.2:80", "/") == "refused" })
}

func testListeners(t *testing.T, apiType string) {
	s := newStock(t, apiType)
	two := simple(t, "backend", "10.0.1.1")
	two[resource.ListenerType] = append(two[resource.ListenerType], rdsListener(t, "second", "10.0.2.2", "more"))
	two[resource.RouteType] = append(two[resource.RouteType], routesTo("more", "backend"))
	s.send("1", two)
	s.until("both", func() bool { return s.get("10.0.2.1:80", "/") == "a /" && s.get("10.0.2.2:80", "/") == "a /" })
	s.send("2", simple(t, "backend", "10.0.1.1"))
	s.until("one", func() bool { return s.get("10.0.2.2:80", "/") == "refused" })
	if got := s.get("10.0.2.1:80", "/"); got != "a /" {
		t.Errorf("the listener that stays: %s", got)
	}
	s.send("3", two)
	s.until("both again", func() bool { return s.get("10.0.2.2:80", "/") == "a /" })
}

// testSecrets: a listener with TLS waits for its certificate, and presents another one when that is sent.
func testSecrets(t *testing.T, apiType string) {
	s := newStock(t, apiType)
	caKey, ca := certificate(t, nil, nil, "authority")
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	secret := func(name string) *tlsv3.Secret {
		key, cert := certificate(t, ca, caKey, name)
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		inline := func(kind string, der []byte) *corev3.DataSource {
			return &corev3.DataSource{Specifier: &corev3.DataSource_InlineBytes{InlineBytes: pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})}}
		}
		return &tlsv3.Secret{Name: "key", Type: &tlsv3.Secret_TlsCertificate{TlsCertificate: &tlsv3.TlsCertificate{
			CertificateChain: inline("CERTIFICATE", cert.Raw), PrivateKey: inline("PRIVATE KEY", der),
		}}}
	}
	in := rdsListener(t, "in", "10.0.2.1", "routes")
	in.FilterChains[0].TransportSocket = &corev3.TransportSocket{Name: "tls", ConfigType: &corev3.TransportSocket_TypedConfig{
		TypedConfig: packed(t, &tlsv3.DownstreamTlsContext{CommonTlsContext: &tlsv3.CommonTlsContext{
			TlsCertificateSdsSecretConfigs: []*tlsv3.SdsSecretConfig{{Name: "key", SdsConfig: overADS}},
		}}),
	}}
	presents := func(name string) func() bool {
		return func() bool {
			c, err := s.net.Dial(t.Context(), "tcp", "10.0.2.1:80")
			if err != nil {
				return false
			}
			defer c.Close()
			return tls.Client(c, &tls.Config{ServerName: name, RootCAs: roots}).HandshakeContext(t.Context()) == nil
		}
	}
	all := simple(t, "backend", "10.0.1.1")
	all[resource.ListenerType], all[resource.SecretType] = []types.Resource{in}, []types.Resource{secret("one.example.com")}
	s.send("1", all)
	s.until("the first certificate", presents("one.example.com"))
	all[resource.SecretType] = []types.Resource{secret("two.example.com")}
	s.send("2", all)
	s.until("the second certificate", presents("two.example.com"))
	if got := s.refused(); len(got) > 0 {
		t.Errorf("refused: %q", got)
	}
}

// testServerRestarts: without a control plane everything goes on, and a new one is followed.
func testServerRestarts(t *testing.T, apiType string) {
	s := newStock(t, apiType)
	s.send("1", simple(t, "backend", "10.0.1.1"))
	s.until("first configuration", s.gives("/", "a /"))
	s.server.Stop()
	if got := s.get("10.0.2.1:80", "/"); got != "a /" {
		t.Errorf("without a server: %s", got)
	}
	s.restart(true)
	s.send("2", simple(t, "backend", "10.0.1.2"))
	s.until("the new server's", s.gives("/", "b /"))
	if apiType == "DELTA_GRPC" {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.initial["backend"] == "" {
			t.Errorf("the new server was not told what is there already: %q", s.initial)
		}
	}
}
