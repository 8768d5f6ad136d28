package resource_test

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

	"github.com/google/go-cmp/cmp"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/api/resource"
)

// problems decodes one resource, written as "<kind> <labels> <spec>", and returns its problems, one a line.
func problems(t *testing.T, kind, name, spec string) string {
	t.Helper()
	_, err := api.NewRegistry(resource.Kinds()...).Decode("", []byte("apiVersion: hauberk.io/v1alpha1\nkind: "+kind+"\nmetadata: "+name+"\nspec: "+spec))
	if err == nil {
		return ""
	}
	var lines []string
	for _, p := range err.(*api.InvalidError).Problems {
		lines = append(lines, p.Problem.String())
	}
	return strings.Join(lines, "\n")
}

func TestValidation(t *testing.T) {
	for name, c := range map[string]struct{ kind, meta, spec, want string }{
		"a Dataplane without inbounds": {"Dataplane", "{name: a}", "{address: 10.0.0.1}", ""},
		"a whole Dataplane": {"Dataplane", "{name: a, labels: {hauberk.io/service: cart}}",
			"{address: '2001:db8::1', inbounds: [{port: 80, protocol: http, probe: {http: {path: '/z?a=b'}}}, {port: 81, target: 'unix:///run/a.sock'}], outbounds: [{port: 1, backendRef: {name: b, port: 2}}]}", ""},
		"no address":       {"Dataplane", "{name: a}", "{}", "spec.address is missing: write the IP at which other proxies reach this one, as 127.0.0.1"},
		"a host name":      {"Dataplane", "{name: a}", "{address: cart.example}", `spec.address "cart.example" is not an IP address: write an IP such as 127.0.0.1 or ::1; names are not resolved here`},
		"any address":      {"Dataplane", "{name: a}", "{address: 0.0.0.0}", `spec.address "0.0.0.0" is no address that others can dial: write the host's own IP`},
		"a scoped address": {"Dataplane", "{name: a}", "{address: 'fe80::1%eth0'}", `spec.address "fe80::1%eth0" has an IPv6 zone, which means nothing to other hosts: write the address without it`},
		"a service that is no name": {"Dataplane", "{name: a, labels: {hauberk.io/service: My_Cart}}", "{address: 10.0.0.1}",
			`metadata.labels[hauberk.io/service] "My_Cart" is not a DNS label: use at most 63 lower-case letters, digits and '-', with a letter or digit at both ends, as my-cart`},
		"ports": {"Dataplane", "{name: a}", "{address: 10.0.0.1, inbounds: [{listenPort: 70000, targetPort: 65536}]}",
			"spec.inbounds[0].port is missing: write a number from 1 to 65535\nspec.inbounds[0].listenPort 70000 is not a port: write a number from 1 to 65535\nspec.inbounds[0].targetPort 65536 is not a port: write a number from 1 to 65535"},
		"the same name, port and listener": {"Dataplane", "{name: a}", "{address: 10.0.0.1, inbounds: [{port: 80}, {port: 80}]}",
			"spec.inbounds[1].name \"tcp\" is the name of spec.inbounds[0] too: give each inbound a name of its own (without one it is the protocol)\n" +
				"spec.inbounds[1].port 80 is the port of spec.inbounds[0] too: give each inbound a port of its own\n" +
				"spec.inbounds[1].listenPort 80 is where spec.inbounds[0] listens too: let each inbound listen on a port of its own"},
		"a proxy that calls itself": {"Dataplane", "{name: a}", "{address: 127.0.0.1, inbounds: [{port: 80}]}",
			"spec.inbounds[0].targetPort 80 is where the proxy itself listens, on the same address: give listenPort and targetPort different ports"},
		"protocols": {"Dataplane", "{name: a}", "{address: 10.0.0.1, inbounds: [{port: 1, name: a, protocol: h2c}, {port: 2, name: b, protocol: TCP}, {port: 3, name: c, protocol: x}]}",
			"spec.inbounds[0].protocol \"h2c\" is not a protocol: write http2\nspec.inbounds[1].protocol \"TCP\" is not a protocol: write tcp\nspec.inbounds[2].protocol \"x\" is not a protocol: write http, http2, grpc or tcp"},
		"targets": {"Dataplane", "{name: a}", "{address: 10.0.0.1, inbounds: [{port: 1, target: /run/a.sock}, {port: 2, name: b, targetPort: 3, target: 'unix:///a'}]}",
			"spec.inbounds[0].target \"/run/a.sock\" is not a Unix socket: write unix:///path, at most 107 bytes of path\nspec.inbounds[1].target stands beside targetPort: keep one of the two"},
		"probes": {"Dataplane", "{name: a}", "{address: 10.0.0.1, inbounds: [{port: 1, probe: {http: {path: z}, interval: 1ms}}]}",
			"spec.inbounds[0].probe.interval 1ms is out of range: write 100ms to 1h\nspec.inbounds[0].probe.http is on an inbound that is not http: set protocol: http, http2 or grpc, or remove the probe: a tcp inbound is probed by a connect\nspec.inbounds[0].probe.http.path \"z\" is not a path: begin it with '/', as /healthz"},
		"outbounds": {"Dataplane", "{name: a}", "{address: 10.0.0.1, outbounds: [{port: 1, backendRef: {kind: Service, name: b, port: 2}}, {port: 1, backendRef: {name: b, port: 2}}, {port: 3, backendRef: {kind: MeshService, name: b, port: 2}}, {port: 4, backendRef: {}}]}",
			"spec.outbounds[0].backendRef.kind \"Service\" is not a kind of backend: write MeshService\n" +
				"spec.outbounds[1].port 1 is the port of spec.outbounds[0] too: give each outbound a port of its own\n" +
				"spec.outbounds[2].backendRef is the backend of spec.outbounds[1] too: remove one of the two\n" +
				"spec.outbounds[3].backendRef.name is missing: name the service that is called\nspec.outbounds[3].backendRef.port is missing: write a number from 1 to 65535"},
		"an outbound where an inbound listens": {"Dataplane", "{name: a}", "{address: 127.0.0.1, inbounds: [{port: 80, targetPort: 81}], outbounds: [{port: 80, backendRef: {name: b, port: 2}}]}",
			"spec.outbounds[0].port 80 is where spec.inbounds[0] listens on the same address: choose another port for one of them"},
		"a Mesh":                 {"Mesh", "{name: blue}", "{skipCreatingInitialPolicies: ['*', MeshTLS]}", ""},
		"a Mesh with a dot":      {"Mesh", "{name: b.c}", "{}", `metadata.name "b.c" is not a DNS label: use at most 63 lower-case letters, digits and '-', with a letter or digit at both ends`},
		"a Mesh within a mesh":   {"Mesh", "{name: a, labels: {hauberk.io/mesh: b}}", "{}", "metadata.labels[hauberk.io/mesh] is on a Mesh, which belongs to none: remove the label"},
		"a policy that is none":  {"Mesh", "{name: a}", "{skipCreatingInitialPolicies: [MeshRetry]}", `spec.skipCreatingInitialPolicies[0] "MeshRetry" is not created with a mesh: write MeshTLS, MeshTimeout or '*'`},
		"an empty MeshService":   {"MeshService", "{name: a}", "{}", "spec.selector.dataplaneLabels.matchLabels is empty and selects nothing: name the labels of the dataplanes, as {app: cart}\nspec.ports is empty: list at least one port, as {port: 80, targetPort: http}"},
		"identities":             {"MeshService", "{name: a}", "{selector: {dataplaneLabels: {matchLabels: {a: b}}}, ports: [{port: 1, name: http}], identities: [{type: X, value: 'spiffe://a'}]}", "spec.identities[0].type \"X\" is not a type of identity: write SpiffeID\nspec.identities[0].value is not a SPIFFE ID: \"spiffe://a\" names a trust domain and no workload: write it whole, as spiffe://default.default.mesh.local/workload/cart"},
		"service ports":          {"MeshService", "{name: a}", "{selector: {dataplaneLabels: {matchLabels: {a: b}}}, ports: [{port: 1}, {port: 1, name: a}, {port: 2, targetPort: a}]}", "spec.ports[0].targetPort is missing: write the name of the dataplanes' inbound, as http\nspec.ports[1].port 1 is the port of spec.ports[0] too: give each entry a port of its own\nspec.ports[2].name \"a\" is the name of spec.ports[1] too: give each port a name of its own"},
		"a MeshIdentity":         {"MeshIdentity", "{name: a}", "{spiffeID: {path: '/ns/{{ .Zone }}/sa/{{ .Workload }}'}, provider: {type: Bundled, bundled: {autogenerate: {enabled: true}, certificateParameters: {expiry: 10s}}}}", ""},
		"another provider":       {"MeshIdentity", "{name: a}", "{provider: {type: Spire}}", `spec.provider.type "Spire" is not a provider: write Bundled`},
		"an expiry out of range": {"MeshIdentity", "{name: a}", "{provider: {type: Bundled, bundled: {certificateParameters: {expiry: 2161h}}}}", "spec.provider.bundled.certificateParameters.expiry 2161h is out of range: write 10s to 2160h"},
		"one identity for all":   {"MeshIdentity", "{name: a}", "{spiffeID: {path: /x}, provider: {type: Bundled}}", "spec.spiffeID.path gives all workloads the same identity: use {{ .Workload }} in it, as /workload/{{ .Workload }}"},
		"workload not last":      {"MeshIdentity", "{name: a}", "{spiffeID: {path: '/{{ .Workload }}/x'}, provider: {type: Bundled}}", "spec.spiffeID.path does not end in the workload alone: end it with /{{ .Workload }}, as /workload/{{ .Workload }}"},
		"workload not alone":     {"MeshIdentity", "{name: a}", "{spiffeID: {path: '/x/w-{{ .Workload }}'}, provider: {type: Bundled}}", "spec.spiffeID.path does not end in the workload alone: end it with /{{ .Workload }}, as /workload/{{ .Workload }}"},
		"one domain for all":     {"MeshIdentity", "{name: a}", "{spiffeID: {trustDomain: '{{ .Zone }}.x'}, provider: {type: Bundled}}", "spec.spiffeID.trustDomain is the same in every mesh: use {{ .Mesh }} in it, as {{ .Mesh }}.{{ .Zone }}.mesh.local"},
		"a template of Go":       {"MeshIdentity", "{name: a}", "{spiffeID: {path: '/{{ print .Workload }}'}, provider: {type: Bundled}}", `spec.spiffeID.path gives no SPIFFE ID: SPIFFE ID path "/{{ print .Workload }}": {{ print .Workload }} is unknown: write .Mesh, .Zone or, in a path, .Workload: begin it with '/' and use {{ .Workload }}, as /workload/{{ .Workload }}`},
		"an empty MeshTrust":     {"MeshTrust", "{name: a}", "{trustDomain: 'spiffe://x'}", "spec.trustDomain trust domain \"spiffe://x\" has ':': only lower-case letters, digits, '.', '-' and '_' are allowed: write it without spiffe://, as default.default.mesh.local\nspec.caBundles is empty: add at least one, as {type: Pem, pem: {value: ...}}"},
		"bundles":                {"MeshTrust", "{name: a}", "{trustDomain: x, caBundles: [{type: PEM}, {type: Pem, pem: {value: x}}]}", "spec.caBundles[0].type \"PEM\" is not a type of bundle: write Pem\nspec.caBundles[0].pem is missing: write {value: <certificates in PEM>}\nspec.caBundles[1].pem.value is not PEM: paste the certificates of the authority in PEM, and nothing else"},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, problems(t, c.kind, c.meta, c.spec)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func certificate(t *testing.T, ca bool) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "root"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: ca, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
}

func TestMeshTrustTakesAuthoritiesAlone(t *testing.T) {
	ca, key := certificate(t, true)
	leaf, _ := certificate(t, false)
	for name, c := range map[string]struct{ pem, want string }{
		"an authority":     {ca, ""},
		"two":              {ca + "\n" + ca, ""},
		"a leaf":           {leaf, "holds a certificate that is no authority (number 1, CN=root)"},
		"a key behind it":  {ca + key, "holds a PRIVATE KEY where certificates belong"},
		"text before":      {"# root\n" + ca, "is not PEM"},
		"text behind":      {ca + "x", "is not PEM"},
		"an empty value":   {"", "is not PEM"},
		"a damaged one":    {string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")})), "holds a damaged certificate (number 1)"},
		"one that is torn": {ca[:100], "is not PEM"},
	} {
		t.Run(name, func(t *testing.T) {
			spec := &resource.MeshTrust{TrustDomain: "x", CABundles: []resource.CABundle{{Type: "Pem", Pem: &resource.Pem{Value: c.pem}}}}
			k := resource.MeshTrustKind()
			var got string
			for _, p := range k.Validate(api.Meta{Name: "a"}, spec) {
				got += p.Message
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if strings.Contains(got, "MII") {
				t.Error("the message repeats what was pasted")
			}
		})
	}
	spec := &resource.MeshTrust{CABundles: []resource.CABundle{{Pem: &resource.Pem{Value: ca + "\n" + ca}}, {}}}
	if diff := cmp.Diff([]string{ca, ca}, spec.Certificates()); diff != "" {
		t.Error(diff)
	}
}

func TestDefaults(t *testing.T) {
	d := &resource.Dataplane{
		Address:   "127.0.0.1",
		Inbounds:  []resource.Inbound{{Port: 80, Protocol: "http"}, {Port: 81, ListenPort: 15081, Target: "unix:///a"}},
		Outbounds: []resource.Outbound{{Port: 1, BackendRef: api.BackendRef{Name: "b", Port: 2}}},
	}
	want := &resource.Dataplane{
		Address: "127.0.0.1",
		Inbounds: []resource.Inbound{
			{Name: "http", Port: 80, ListenPort: 80, TargetPort: 80, Protocol: "http"},
			{Name: "tcp", Port: 81, ListenPort: 15081, Target: "unix:///a", Protocol: "tcp"},
		},
		Outbounds: []resource.Outbound{{Port: 1, BackendRef: api.BackendRef{Kind: "MeshService", Name: "b", Port: 2}}},
	}
	if diff := cmp.Diff(want, d.WithDefaults()); diff != "" {
		t.Error(diff)
	}
	if d.Inbounds[0].Name != "" {
		t.Error("the original was changed")
	}
	if diff := cmp.Diff(want, want.WithDefaults()); diff != "" {
		t.Errorf("defaults of defaults: %s", diff)
	}
	if got := (*resource.Probe)(nil).IntervalOrDefault(); got != time.Second {
		t.Errorf("interval is %v", got)
	}
	meta := api.Meta{Name: "cart-1"}
	if got := resource.WorkloadOf(meta); got != "cart-1" {
		t.Errorf("workload is %q", got)
	}
	meta.Labels = map[string]string{api.LabelService: "cart"}
	if got := resource.WorkloadOf(meta); got != "cart" {
		t.Errorf("workload is %q", got)
	}
}

func TestSelector(t *testing.T) {
	labels := map[string]string{"a": "b", "c": ""}
	for _, c := range []struct {
		match map[string]string
		want  bool
	}{{nil, false}, {map[string]string{"a": "b"}, true}, {map[string]string{"a": "x"}, false}, {map[string]string{"c": ""}, true}, {map[string]string{"d": ""}, false}} {
		if got := (resource.LabelSelector{MatchLabels: c.match}).Matches(labels); got != c.want {
			t.Errorf("%v matches: %v", c.match, got)
		}
	}
}
