package translate

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
	"sigs.k8s.io/yaml"

	"github.com/hauberk-mesh/hauberk/controlplane/ir"
)

var update = flag.Bool("update", false, "rewrite testdata")

// TestGolden runs testdata/*.txtar: ir.yaml is an ir.Proxy (durations as Go writes them), xds.yaml what goes over the wire.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			in, want := member(archive, "ir.yaml"), member(archive, "xds.yaml")
			s, err := Proxy(ParseIR(t, in), nil)
			if err != nil {
				t.Fatal(err)
			}
			got := render(t, s)
			if *update {
				archive.Files = []txtar.File{{Name: "ir.yaml", Data: in}, {Name: "xds.yaml", Data: got}}
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("-want +got (rewrite with -update):\n%s", diff)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	inbound := func(edit func(*ir.Listener)) *ir.Proxy {
		l := &ir.Listener{
			Name: "inbound|http", Address: "127.0.0.1", Port: 80, Protocol: ir.TCP, Cluster: "inbound|http",
			TLS: &ir.InboundTLS{Mode: ir.Strict}, Permission: &ir.Permission{},
		}
		edit(l)
		return &ir.Proxy{Inbounds: []*ir.Listener{l}, Trust: []ir.TrustBundle{{TrustDomain: "d", PEM: []string{"x"}}}}
	}
	for _, c := range []struct {
		name, want string
		proxy      *ir.Proxy
	}{
		{"no trust", `secret "trust": no trust bundle: the mesh has no MeshTrust`, &ir.Proxy{}},
		{"empty trust", `secret "trust": trust domain "d" has no certificate`, &ir.Proxy{Trust: []ir.TrustBundle{{TrustDomain: "d"}}}},
		{"key provider", `key provider "tpm" is neither batch nor memory`, &ir.Proxy{KeyProvider: "tpm"}},
		{"no tls", `listener "inbound|http": an inbound without TLS mode: plaintext is chosen by MeshTLS mode Permissive alone`,
			inbound(func(l *ir.Listener) { l.TLS = nil })},
		{"no permission", `listener "inbound|http": an inbound without a permission: empty lists deny everything`,
			inbound(func(l *ir.Listener) { l.Permission = nil })},
		{"mode", `listener "inbound|http": TLS mode "Lax" is neither Strict nor Permissive`,
			inbound(func(l *ir.Listener) { l.TLS.Mode = "Lax" })},
		{"version", `listener "inbound|http": TLS versions "TLS11" to "": only TLS12 and TLS13 are known`,
			inbound(func(l *ir.Listener) { l.TLS.MinVersion = "TLS11" })},
		{"address", `listener "inbound|http": address "localhost" is neither an IP nor unix:///path`,
			inbound(func(l *ir.Listener) { l.Address = "localhost" })},
		{"port", `listener "inbound|http": port 0 of address 127.0.0.1 is not in 1-65535`,
			inbound(func(l *ir.Listener) { l.Port = 0 })},
		{"no rule", `listener "inbound|http": permission: deny: entry 0 has no rule name`,
			inbound(func(l *ir.Listener) { l.Permission.Deny = []ir.PermissionEntry{{}} })},
		{"twice", `listener "inbound|http": permission: allow: rule "r" is there twice`,
			inbound(func(l *ir.Listener) { l.Permission.Allow = []ir.PermissionEntry{{Rule: "r"}, {Rule: "r"}} })},
		{"match", `listener "inbound|http": permission: allow: rule "r": spiffeID.type "Regex" is neither Exact nor Prefix`,
			inbound(func(l *ir.Listener) {
				l.Permission.Allow = []ir.PermissionEntry{{Rule: "r", SPIFFEID: &ir.StringMatch{Type: "Regex"}}}
			})},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Proxy(c.proxy, NewCache())
			if err == nil || err.Error() != c.want {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

// TestCacheShares: what is equal is one pointer, over proxies and over time.
func TestCacheShares(t *testing.T) {
	cache := NewCache()
	set := &ir.Endpoints{Cluster: "outbound|a|80", List: []ir.Endpoint{{Dataplane: "a-1", Address: "10.0.0.1", Port: 80}}}
	trust := []ir.TrustBundle{{TrustDomain: "d", PEM: []string{"x"}}}
	proxy := func(name string, e *ir.Endpoints) *ir.Proxy {
		return &ir.Proxy{Name: name, Trust: trust, Clusters: []*ir.Cluster{{
			Name: "outbound|a|80", Protocol: ir.HTTP, Service: "a", Endpoints: e, TLS: &ir.UpstreamTLS{PeerIDs: []string{"spiffe://d/a"}},
		}}}
	}
	must := func(p *ir.Proxy) Snapshot {
		s, err := Proxy(p, cache)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	a, b := must(proxy("one", set)), must(proxy("two", set))
	for typeURL, byName := range a {
		for name, r := range byName {
			if b[typeURL][name] != r {
				t.Errorf("%s %q is not shared", typeURL, name)
			}
		}
	}
	again := *set
	if c := must(proxy("one", &again)); c[TypeEndpoints]["outbound|a|80"] != a[TypeEndpoints]["outbound|a|80"] {
		t.Error("equal endpoints behind another pointer are not shared")
	}
	changed := &ir.Endpoints{Cluster: set.Cluster, List: []ir.Endpoint{{Address: "10.0.0.2", Port: 80}}}
	if c := must(proxy("one", changed)); c[TypeEndpoints]["outbound|a|80"].Version == a[TypeEndpoints]["outbound|a|80"].Version {
		t.Error("changed endpoints have the same version")
	}
}

// ParseIR reads an ir.Proxy as the cases write it.
func ParseIR(t *testing.T, text []byte) *ir.Proxy {
	t.Helper()
	var tree any
	if err := yaml.Unmarshal(text, &tree); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(withDurations(tree))
	if err != nil {
		t.Fatal(err)
	}
	p := &ir.Proxy{}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(p); err != nil {
		t.Fatal(err)
	}
	return p
}

// withDurations turns "5s" into nanoseconds below the keys whose values are durations.
func withDurations(tree any) any {
	switch tree := tree.(type) {
	case []any:
		for i := range tree {
			tree[i] = withDurations(tree[i])
		}
	case map[string]any:
		for k, v := range tree {
			tree[k] = withDurations(v)
			if s, ok := v.(string); ok && (k == "interval" || k == "connect" || k == "idle" || k == "streamIdle" || k == "requestHeaders" ||
				k == "maxConnection" || k == "request" || k == "maxStream") {
				if d, err := time.ParseDuration(s); err == nil {
					tree[k] = int64(d)
				}
			}
		}
	}
	return tree
}

func member(a *txtar.Archive, name string) []byte {
	for _, f := range a.Files {
		if f.Name == name {
			return f.Data
		}
	}
	return nil
}

// render validates each message, the packed ones too, with the rules that Envoy's own protobufs carry.
func render(t *testing.T, s Snapshot) []byte {
	t.Helper()
	out := map[string]map[string]any{}
	for _, typeURL := range Types() {
		for name, r := range s[typeURL] {
			m, err := r.Any.UnmarshalNew()
			if err != nil {
				t.Fatal(err)
			}
			validate(t, m)
			text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			var tree any
			if err := json.Unmarshal(text, &tree); err != nil {
				t.Fatal(err)
			}
			short := string(m.ProtoReflect().Descriptor().Name())
			if out[short] == nil {
				out[short] = map[string]any{}
			}
			out[short][name] = tree
		}
	}
	text, err := yaml.Marshal(out)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func validate(t *testing.T, m proto.Message) {
	t.Helper()
	if v, ok := m.(interface{ ValidateAll() error }); ok {
		if err := v.ValidateAll(); err != nil {
			t.Errorf("a stock Envoy would refuse: %v", err)
		}
	}
	eachAny(m.ProtoReflect(), func(a *anypb.Any) {
		inner, err := a.UnmarshalNew()
		if err != nil {
			t.Errorf("%s: %v", a.TypeUrl, err)
			return
		}
		validate(t, inner)
	})
}

func eachAny(m protoreflect.Message, visit func(*anypb.Any)) {
	if a, ok := m.Interface().(*anypb.Any); ok {
		visit(a)
		return
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsMap() && f.MapValue().Message() != nil:
			v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
				eachAny(v.Message(), visit)
				return true
			})
		case f.IsList() && f.Message() != nil:
			for i := range v.List().Len() {
				eachAny(v.List().Get(i).Message(), visit)
			}
		case !f.IsList() && !f.IsMap() && f.Message() != nil:
			eachAny(v.Message(), visit)
		}
		return true
	})
}

func BenchmarkProxy(b *testing.B) {
	p := &ir.Proxy{Trust: []ir.TrustBundle{{TrustDomain: "d", PEM: []string{"x"}}}}
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"} {
		cluster := "outbound|" + name + "|80"
		p.Clusters = append(p.Clusters, &ir.Cluster{
			Name: cluster, Protocol: ir.HTTP, Service: name, TLS: &ir.UpstreamTLS{PeerIDs: []string{"spiffe://d/" + name}},
			Endpoints: &ir.Endpoints{Cluster: cluster, List: []ir.Endpoint{{Dataplane: name, Address: "10.0.0.1", Port: 80}}},
		})
		p.Outbounds = append(p.Outbounds, &ir.Listener{
			Name: cluster, Address: "127.0.0.1", Port: 80, Protocol: ir.HTTP, Service: name,
			Routes: []*ir.Route{{Name: "default", PathPrefix: "/", Cluster: cluster}},
		})
	}
	cache := NewCache()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Proxy(p, cache); err != nil {
			b.Fatal(err)
		}
	}
}
