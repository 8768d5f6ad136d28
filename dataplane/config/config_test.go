package config_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/hauberk-mesh/hauberk/controlplane/ir"
	"github.com/hauberk-mesh/hauberk/controlplane/xds/translate"
	"github.com/hauberk-mesh/hauberk/dataplane/config"
	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
	"github.com/hauberk-mesh/hauberk/dataplane/listener"
	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
	"github.com/hauberk-mesh/hauberk/dataplane/tls"
	"github.com/hauberk-mesh/hauberk/dataplane/upstream"
	"github.com/hauberk-mesh/hauberk/policy/all/filters"
)

func builder() *config.Builder {
	return config.New(config.Deps{
		Identity: &tls.Identity{}, Trust: &tls.Trust{}, Service: "catalog", Filters: filters.Factories(),
		ClusterReady: func(string) bool { return true }, Resolver: hosts{},
	})
}

// everything is a proxy that uses each feature of the intermediate form.
func everything(t testing.TB) *ir.Proxy {
	http := func(name string, port uint32, mode ir.TLSMode) *ir.Listener {
		return &ir.Listener{
			Name: "inbound|" + name, Address: "127.0.0.1", Port: port, Protocol: ir.HTTP, Service: "catalog", ServicePort: 80, PortName: name,
			TLS: &ir.InboundTLS{Mode: mode},
			Permission: &ir.Permission{
				Deny:   []ir.PermissionEntry{{Rule: "P/p#rules[0].deny[0]", Paths: []ir.PathMatch{{Type: ir.Prefix, Value: "/admin"}}}},
				Allow:  []ir.PermissionEntry{{Rule: "P/p#rules[0].allow[0]", Methods: []string{"GET"}, SPIFFEID: &ir.StringMatch{Type: ir.Prefix, Value: "spiffe://d/"}}},
				Shadow: []ir.PermissionEntry{{Rule: "P/p#rules[0].allowWithShadowDeny[0]", Paths: []ir.PathMatch{{Type: ir.Template, Value: "/a/{b}/**"}}}},
			},
			Routes:   []*ir.Route{{Name: "default", PathPrefix: "/", Cluster: "inbound|" + name}},
			Timeouts: ir.ListenerTimeouts{Idle: time.Hour, StreamIdle: time.Minute, RequestHeaders: time.Second, MaxConnection: time.Hour},
		}
	}
	app := func(name string, protocol ir.Protocol, address string, port uint32) *ir.Cluster {
		return &ir.Cluster{
			Name: "inbound|" + name, Protocol: protocol, Service: "catalog", PortName: name,
			Endpoints: &ir.Endpoints{Cluster: "inbound|" + name, List: []ir.Endpoint{{Address: address, Port: port}}},
		}
	}
	service := func(name string, protocol ir.Protocol, port uint32, peers ...string) *ir.Cluster {
		return &ir.Cluster{
			Name: name, Protocol: protocol, Service: "cart", ServicePort: 80, PortName: "http", TLS: &ir.UpstreamTLS{PeerIDs: peers, SNI: "cart"},
			Endpoints: &ir.Endpoints{Cluster: name, List: []ir.Endpoint{
				{Dataplane: "cart-1", Address: "10.0.0.1", Port: port}, {Dataplane: "cart-2", Address: "10.0.0.2", Port: port, Unready: true},
			}},
			Timeouts: ir.ClusterTimeouts{Connect: time.Second, Idle: time.Minute},
		}
	}
	p := &ir.Proxy{
		Mesh: "default", Name: "catalog-1", Service: "catalog", KeyProvider: ir.KeysInMemory,
		Inbounds: []*ir.Listener{
			http("strict", 15080, ir.Strict), http("lax", 15081, ir.Permissive),
			{
				Name: "inbound|db", Address: "::1", Port: 15082, Protocol: ir.TCP, Service: "catalog", Cluster: "inbound|db",
				TLS: &ir.InboundTLS{Mode: ir.Permissive, MinVersion: "TLS12"}, Permission: &ir.Permission{Allow: []ir.PermissionEntry{{Rule: "P/q#rules[0].allow[0]"}}},
			},
		},
		Outbounds: []*ir.Listener{
			{
				Name: "outbound|cart|80", Address: "127.0.0.1", Port: 10001, Protocol: ir.HTTP, Service: "cart", ServicePort: 80, PortName: "http",
				Routes: []*ir.Route{
					{Name: "items", PathPrefix: "/items", Cluster: "outbound|cart|80", Timeouts: ir.RouteTimeouts{Request: time.Second, MaxStream: time.Minute}, Retry: ir.Retry{Attempts: 2}},
					{Name: "default", PathPrefix: "/", Cluster: "outbound|cart|80"},
				},
			},
			{Name: "outbound|redis|6379", Address: "127.0.0.1", Port: 10002, Protocol: ir.TCP, Service: "redis", Cluster: "outbound|redis|6379"},
		},
		Clusters: []*ir.Cluster{
			app("strict", ir.HTTP, "127.0.0.1", 8080), app("lax", ir.HTTP, "unix:///run/app.sock", 0), app("db", ir.TCP, "127.0.0.1", 5432),
			service("outbound|cart|80", ir.HTTP, 80, "spiffe://d/workload/cart"), service("outbound|redis|6379", ir.TCP, 6379),
		},
		Trust:   []ir.TrustBundle{{TrustDomain: "d", PEM: []string{authority(t)}}},
		Revoked: []string{"spiffe://d/workload/evil"},
	}
	p.Clusters[0].Probe = ir.Probe{Kind: ir.ProbeHTTP, Path: "/healthz", Interval: time.Second}
	p.Clusters[3].Probe = ir.Probe{Kind: ir.ProbeMesh, Interval: 200 * time.Millisecond}
	return p
}

func authority(t testing.TB) string {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "root"}, IsCA: true, BasicConstraintsValid: true,
		NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}, &x509.Certificate{Subject: pkix.Name{CommonName: "root"}}, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// onTheWire is what a client of the control plane would hold.
func onTheWire(t testing.TB, p *ir.Proxy, cache *translate.Cache) config.Resources {
	s, err := translate.Proxy(p, cache)
	if err != nil {
		t.Fatal(err)
	}
	out := config.Resources{}
	for typeURL, byName := range s {
		out[typeURL] = map[string]*anypb.Any{}
		for name, r := range byName {
			out[typeURL][name] = r.Any
		}
	}
	return out
}

// TestBuildsWhatIsTranslated: everything that our control plane can say is honoured, and means what it meant.
func TestBuildsWhatIsTranslated(t *testing.T) {
	g, err := builder().Build(nil, 7, onTheWire(t, everything(t), nil))
	if err != nil {
		t.Fatal(err)
	}
	if g.Generation != 7 || !g.HasTrust || len(g.Bundles) != 1 || len(g.Revoked) != 1 || len(g.Listeners) != 5 || len(g.Clusters) != 5 {
		t.Errorf("graph %+v", g)
	}
	for _, n := range g.Accepted() {
		if !strings.HasSuffix(n.Path, "stat_prefix") {
			t.Errorf("our own control plane sends what has no effect: %+v", n)
		}
	}

	strict := g.Listeners["inbound|strict"]
	if strict.Sniff || len(strict.Chains) != 1 || strict.Chains[0].TLS == nil || strict.Direction != telemetry.Inbound {
		t.Errorf("strict: %+v", strict)
	}
	h := strict.Chains[0].HTTP
	if len(h.Filters) != 3 || !h.NormalizePath || !h.MergeSlashes || h.IdleTimeout != time.Hour || h.StreamIdle != time.Minute ||
		h.RequestHeaders != time.Second || h.MaxConnection != time.Hour || h.Service != "catalog" || h.OwnService != "catalog" {
		t.Errorf("strict HTTP: %+v", h)
	}
	lax := g.Listeners["inbound|lax"]
	if !lax.Sniff || len(lax.Chains) != 2 || lax.Chains[0].Match.Transport != listener.TLS || lax.Chains[1].TLS != nil || lax.PlaintextOnSniffIdle {
		t.Errorf("lax: %+v", lax)
	}
	db := g.Listeners["inbound|db"]
	if !db.PlaintextOnSniffIdle || db.SniffTimeout != 100*time.Millisecond || len(db.Chains[0].Network) != 1 || db.Chains[0].TCP.Cluster != g.Clusters["inbound|db"] {
		t.Errorf("db: %+v", db)
	}
	cart := g.Listeners["outbound|cart|80"].Chains[0]
	if cart.TLS != nil || cart.HTTP.Service != "cart" || len(cart.HTTP.Filters) != 0 {
		t.Errorf("cart: %+v", cart)
	}
	items := cart.HTTP.Routes.Match(&message.Request{Path: "/items/1"})
	if items.Name != "items" || items.Retries != 2 || items.RequestTimeout != time.Second || items.MaxStream != time.Minute || items.Cluster != g.Clusters["outbound|cart|80"] {
		t.Errorf("items: %+v", items)
	}
	if d := cart.HTTP.Routes.Match(&message.Request{Path: "/itemsx"}); d.Name != "default" || d.RequestTimeout != 0 || d.Retries != 0 {
		t.Errorf("default: %+v", d)
	}
	spec := g.Clusters["outbound|cart|80"].Spec()
	if spec.Service != "cart" || !spec.HTTP() || spec.TLS == nil || spec.ConnectTimeout != time.Second || spec.IdleTimeout != time.Minute ||
		spec.Probe.Kind != upstream.ProbeMesh || spec.Probe.Interval != 200*time.Millisecond {
		t.Errorf("cart cluster: %+v", spec)
	}
	if e := spec.Endpoints; len(e) != 2 || e[0].Name != "cart-1" || e[0].Unready || !e[1].Unready || e[1].Addr.String() != "10.0.0.2:80" {
		t.Errorf("cart endpoints: %+v", e)
	}
	if s := g.Clusters["inbound|lax"].Spec(); s.TLS != nil || s.Service != "" || s.Endpoints[0].Unix != "/run/app.sock" {
		t.Errorf("lax application: %+v", s)
	}
	if g.Clusters["outbound|redis|6379"].HTTP() {
		t.Error("redis is opaque")
	}
}

// TestReuse: a build touches only what changed.
func TestReuse(t *testing.T) {
	b, cache, p := builder(), translate.NewCache(), everything(t)
	first, err := b.Build(nil, 1, onTheWire(t, p, cache))
	if err != nil {
		t.Fatal(err)
	}
	build := func() *config.Graph {
		g, err := b.Build(first, 2, onTheWire(t, p, cache))
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	changed := func(g *config.Graph) (out []string) {
		for name, c := range g.Clusters {
			if first.Clusters[name] != c {
				out = append(out, "cluster "+name)
			}
		}
		for name, l := range g.Listeners {
			if first.Listeners[name] != l {
				out = append(out, "listener "+name)
			}
		}
		return out
	}
	if c := changed(build()); c != nil {
		t.Errorf("nothing changed, but %v", c)
	}
	e := p.Clusters[3].Endpoints
	p.Clusters[3].Endpoints = &ir.Endpoints{Cluster: e.Cluster, List: e.List[:1]}
	g := build()
	if c := changed(g); len(c) != 2 {
		t.Errorf("endpoints of one cluster changed, and %v", c)
	}
	if g.Clusters["outbound|cart|80"].Spec().TLS != first.Clusters["outbound|cart|80"].Spec().TLS {
		t.Error("TLS of the cluster is made anew")
	}
	p.Clusters[3].Endpoints = e
	p.Outbounds[0].Routes = p.Outbounds[0].Routes[1:]
	if c := changed(build()); len(c) != 1 || c[0] != "listener outbound|cart|80" {
		t.Errorf("one route changed, and %v", c)
	}
}

// TestRefused edits one resource, given as JSON, and expects the reason of the NACK.
func TestRefused(t *testing.T) {
	const (
		httpListener = config.TypeListener + " inbound|strict"
		cluster      = config.TypeCluster + " outbound|cart|80"
		routes       = config.TypeRoute + " outbound|cart|80"
		endpoints    = config.TypeEndpoints + " outbound|cart|80"
		secret       = config.TypeSecret + " trust"
	)
	for _, c := range []struct{ name, resource, from, to, want string }{
		{"unknown to the proxy", httpListener, `"trafficDirection":"INBOUND"`, `"trafficDirection":"INBOUND","transparent":true`,
			`listener "inbound|strict": transparent: is not honoured`},
		{"deep in the manager", httpListener, `"mergeSlashes":true`, `"mergeSlashes":true,"addUserAgent":true`,
			`listener "inbound|strict": filter_chains[0].filters[0].typed_config.add_user_agent: is not honoured`},
		{"in a filter", httpListener, `"passThroughMode":false`, `"passThroughMode":true`,
			`listener "inbound|strict": filter_chains[0].filters[0].typed_config.http_filters[0].typed_config.pass_through_mode: must be false: this filter answers by itself`},
		{"in a permission", httpListener, `"urlPath":{"path":{"exact":"/admin"}}`, `"urlPath":{"path":{"safeRegex":{"regex":".*"}}}`,
			`listener "inbound|strict": filter_chains[0].filters[0].typed_config.http_filters[1].typed_config.rules.policies["P/p#rules[0].deny[0]"].permissions[0].or_rules.rules[0].url_path.path.safe_regex: is not honoured by this version: a regular expression on each request has no bound yet`},
		{"unknown filter", httpListener, `{"name":"envoy.filters.http.health_check"`, `{"name":"x","typedConfig":{"@type":"type.googleapis.com/google.protobuf.Empty","value":{}}},{"name":"envoy.filters.http.health_check"`,
			`listener "inbound|strict": filter_chains[0].filters[0].typed_config.http_filters[0].typed_config: filter "type.googleapis.com/google.protobuf.Empty" is not honoured`},
		{"no client certificate", httpListener, `"requireClientCertificate":true`, `"requireClientCertificate":false`,
			`listener "inbound|strict": filter_chains[0].transport_socket.typed_config.require_client_certificate: must be true: without it nobody is who they say`},
		{"old TLS", httpListener, `"tlsMinimumProtocolVersion":"TLSv1_3"`, `"tlsMinimumProtocolVersion":"TLSv1_1"`,
			`listener "inbound|strict": filter_chains[0].transport_socket.typed_config.common_tls_context.tls_params.tls_minimum_protocol_version: TLSv1_1 is not honoured: TLS below 1.2 is broken`},
		{"direction", httpListener, `,"trafficDirection":"INBOUND"`, ``,
			`listener "inbound|strict": traffic_direction: must be INBOUND or OUTBOUND: what is believed of a caller depends on it`},
		{"no router", httpListener, `,{"name":"envoy.filters.http.router","typedConfig":{"@type":"type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}`, ``,
			`listener "inbound|strict": filter_chains[0].filters[0].typed_config.http_filters: does not end with the router`},
		{"inline route's cluster", httpListener, `"route":{"cluster":"inbound|strict"`, `"route":{"cluster":"nowhere"`,
			`listener "inbound|strict": filter_chains[0].filters[0].typed_config.route_config.virtual_hosts[0].routes[0].route.cluster: cluster "nowhere" was not sent`},
		{"balancing", cluster, `"type":"EDS"`, `"type":"EDS","lbPolicy":"MAGLEV"`,
			`cluster "outbound|cart|80": lb_policy: MAGLEV is not honoured, only ROUND_ROBIN`},
		{"discovery", cluster, `"type":"EDS"`, `"type":"LOGICAL_DNS"`,
			`cluster "outbound|cart|80": eds_cluster_config: is not for a cluster of type LOGICAL_DNS`},
		{"circuit breakers", cluster, `"thresholds":[{`, `"thresholds":[{"priority":"HIGH",`,
			`cluster "outbound|cart|80": circuit_breakers.thresholds[0].priority: HIGH is not honoured, only DEFAULT`},
		{"certificates in a mesh", cluster, `"tlsCertificateSdsSecretConfigs"`, `"tlsCertificates":[{}],"tlsCertificateSdsSecretConfigs"`,
			`cluster "outbound|cart|80": transport_socket.typed_config.common_tls_context.tls_certificates: is not honoured in a mesh`},
		{"no identity, only an authority", cluster, `"matchTypedSubjectAltNames"`, `"trustedCa":{"inlineString":"x"},"matchTypedSubjectAltNames"`,
			`cluster "outbound|cart|80": transport_socket.typed_config.common_tls_context.combined_validation_context.default_validation_context.trusted_ca: is not honoured in a mesh`},
		{"loose identity", cluster, `"matcher":{"exact":"spiffe://d/workload/cart"}`, `"matcher":{"prefix":"spiffe://d/"}`,
			`cluster "outbound|cart|80": transport_socket.typed_config.common_tls_context.combined_validation_context.default_validation_context.match_typed_subject_alt_names[0].matcher.prefix: is not honoured in a mesh`},
		{"nobody named", cluster, `"matchTypedSubjectAltNames":[{"sanType":"URI","matcher":{"exact":"spiffe://d/workload/cart"}}]`, ``,
			`cluster "outbound|cart|80": transport_socket.typed_config.common_tls_context.combined_validation_context.default_validation_context.match_typed_subject_alt_names: is empty, and any peer of a trusted domain would do; name the identities of the service`},
		{"our own metadata", cluster, `"probe":"mesh"`, `"probe":"mesh","colour":"red"`,
			`cluster "outbound|cart|80": metadata.filter_metadata["hauberk.mesh"]["colour"]: is not honoured`},
		{"weights", endpoints, `"healthStatus":"UNHEALTHY"`, `"healthStatus":"UNHEALTHY","loadBalancingWeight":0`,
			`cluster "outbound|cart|80": endpoints "outbound|cart|80": endpoints[0].lb_endpoints[1].load_balancing_weight: must be above zero`},
		{"host names", endpoints, `"address":"10.0.0.1"`, `"address":"cart"`,
			`cluster "outbound|cart|80": endpoints "outbound|cart|80": endpoints[0].lb_endpoints[0].endpoint.address.socket_address.address: ParseAddr("cart"): unable to parse IP`},
		{"hashing", routes, `"retryPolicy"`, `"hashPolicy":[{"terminal":true}],"retryPolicy"`,
			`listener "outbound|cart|80": route configuration "outbound|cart|80": virtual_hosts[0].routes[0].route.hash_policy: is not honoured`},
		{"retry on", routes, `"retryOn":"connect-failure,refused-stream"`, `"retryOn":"5xx"`,
			`listener "outbound|cart|80": route configuration "outbound|cart|80": virtual_hosts[0].routes[0].route.retry_policy.retry_on: "5xx" is not honoured, only connect-failure and refused-stream`},
		{"trust", secret, `"trustDomains"`, `"trustBundles":{"inlineString":"x"},"trustDomains"`,
			`secret "trust": validation_context.custom_validator_config.typed_config.trust_bundles: is not honoured`},
		{"private key", secret, `"validationContext"`, `"tlsCertificate":{"privateKey":{"inlineString":"x"}},"was"`,
			`secret "trust": tls_certificate: is not honoured in a mesh`},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := onTheWire(t, everything(t), nil)
			typeURL, name, _ := strings.Cut(c.resource, " ")
			in[typeURL][name] = edit(t, in[typeURL][name], c.from, c.to)
			b := builder()
			_, err := b.Build(nil, 1, in)
			if err == nil || err.Error() != c.want {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

// TestMissing: what is named must have been sent.
func TestMissing(t *testing.T) {
	for _, c := range []struct{ typeURL, name, want string }{
		{config.TypeEndpoints, "outbound|cart|80", `cluster "outbound|cart|80": its endpoints "outbound|cart|80" were not sent`},
		{config.TypeRoute, "outbound|cart|80", `listener "outbound|cart|80": filter_chains[0].filters[0].typed_config.rds: route configuration "outbound|cart|80" was not sent`},
		{config.TypeCluster, "outbound|redis|6379", `listener "outbound|redis|6379": filter_chains[0].filters[0].typed_config.cluster: cluster "outbound|redis|6379" was not sent`},
		{config.TypeSecret, "trust", `cluster "outbound|cart|80": transport_socket.typed_config.common_tls_context.combined_validation_context: names the secret "trust", which was not sent`},
	} {
		in := onTheWire(t, everything(t), nil)
		b := builder()
		whole, err := b.Build(nil, 1, in)
		if err != nil {
			t.Fatal(err)
		}
		less := config.Resources{}
		for typeURL, byName := range in {
			less[typeURL] = map[string]*anypb.Any{}
			for name, a := range byName {
				if typeURL != c.typeURL || name != c.name {
					less[typeURL][name] = a
				}
			}
		}
		for _, prev := range []*config.Graph{nil, whole} {
			if _, err := b.Build(prev, 2, less); err == nil || err.Error() != c.want {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		}
	}
}

func TestOptionalFilter(t *testing.T) {
	in := onTheWire(t, everything(t), nil)
	in[config.TypeListener]["inbound|strict"] = edit(t, in[config.TypeListener]["inbound|strict"], `{"name":"envoy.filters.http.health_check"`,
		`{"name":"x","isOptional":true,"typedConfig":{"@type":"type.googleapis.com/google.protobuf.Empty","value":{}}},{"name":"envoy.filters.http.health_check"`)
	g, err := builder().Build(nil, 1, in)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range g.Accepted() {
		if n.Why == "is_optional says that it may be left out" {
			return
		}
	}
	t.Errorf("a filter that is left out is not noted: %+v", g.Accepted())
}

// edit changes a message by way of its JSON, from which protobuf's random white space is taken out.
func edit(t *testing.T, a *anypb.Any, from, to string) *anypb.Any {
	t.Helper()
	m, err := a.UnmarshalNew()
	if err != nil {
		t.Fatal(err)
	}
	text, err := protojson.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	compact := strings.NewReplacer(`", "`, `","`, `: `, `:`, `, "`, `,"`, `}, {`, `},{`).Replace(string(text))
	after := strings.Replace(compact, from, to, 1)
	if after == compact {
		t.Fatalf("%s is not in %s", from, compact)
	}
	after = strings.Replace(after, `"was":`, `"x":`, 1)
	fresh := m.ProtoReflect().New().Interface()
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal([]byte(after), fresh); err != nil {
		t.Fatalf("%v in %s", err, after)
	}
	out, err := anypb.New(fresh)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestTable: the table speaks of fields that exist, and of every message that is linked in its place.
func TestTable(t *testing.T) {
	entries := config.Compat()
	seen := map[string]map[string]bool{}
	for _, e := range entries {
		key := e.Message + " in " + e.Within
		if seen[key] == nil {
			seen[key] = map[string]bool{}
		}
		seen[key][e.Field] = true
		if (e.Class == config.Accepted) != (e.Note != "") {
			t.Errorf("%+v: an accepted field needs its reason, and only that", e)
		}
	}
	for _, row := range config.TableForTest() {
		mt, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(row.Message))
		if err != nil {
			t.Errorf("%s: %v", row.Message, err)
			continue
		}
		for _, f := range row.Fields {
			if mt.Descriptor().Fields().ByName(protoreflect.Name(f)) == nil {
				t.Errorf("%s has no field %s", row.Message, f)
			}
		}
	}
}

// TestUnknownField: bytes of a newer protobuf are refused, not dropped.
func TestUnknownField(t *testing.T) {
	in := onTheWire(t, everything(t), nil)
	a := proto.Clone(in[config.TypeCluster]["inbound|db"]).(*anypb.Any)
	a.Value = append(a.Value, 0xfa, 0xff, 0x01, 0x00) // field 4095, empty
	in[config.TypeCluster]["inbound|db"] = a
	_, err := builder().Build(nil, 1, in)
	if err == nil || err.Error() != `cluster "inbound|db": resource: holds a field of envoy.config.cluster.v3.Cluster that this version does not know` {
		t.Errorf("got %v", err)
	}
}

func BenchmarkBuild(b *testing.B) {
	in, bd := onTheWire(b, everything(b), nil), builder()
	first, err := bd.Build(nil, 1, in)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("whole", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := bd.Build(nil, 1, in); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("unchanged", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := bd.Build(first, 2, in); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// FuzzBuild replaces one resource by any bytes: an error or a graph, never a panic.
func FuzzBuild(f *testing.F) {
	in := onTheWire(f, everything(f), nil)
	types := []string{config.TypeCluster, config.TypeEndpoints, config.TypeListener, config.TypeRoute, config.TypeSecret, config.TypeRevocations}
	for i, typeURL := range types {
		for _, a := range in[typeURL] {
			f.Add(byte(i), a.Value)
		}
	}
	b := builder()
	first, err := b.Build(nil, 1, in)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, kind byte, value []byte) {
		typeURL := types[int(kind)%len(types)]
		for name := range in[typeURL] {
			changed := config.Resources{}
			for u, byName := range in {
				changed[u] = byName
			}
			changed[typeURL] = map[string]*anypb.Any{}
			for n, a := range in[typeURL] {
				changed[typeURL][n] = a
			}
			changed[typeURL][name] = &anypb.Any{TypeUrl: typeURL, Value: value}
			for _, prev := range []*config.Graph{nil, first} {
				g, err := b.Build(prev, 2, changed)
				if (g == nil) == (err == nil) {
					t.Fatalf("neither or both of graph and error: %v", err)
				}
				if g != nil {
					g.Release(prev) // names are resolved until then
				}
			}
		}
	})
}
