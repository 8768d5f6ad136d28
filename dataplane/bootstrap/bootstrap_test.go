package bootstrap

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hauberk-mesh/hauberk/dataplane/config"
)

const good = `# a comment
node: {id: n, cluster: c, locality: {zone: z}}
admin:
  address:
    socket_address: {address: 127.0.0.1, port_value: 9901}
  access_log_path: /dev/null
stats_flush_interval: 5s
layered_runtime: {layers: [{name: admin, admin_layer: {}}]}
dynamic_resources:
  ads_config:
    api_type: DELTA_GRPC
    transport_api_version: V3
    grpc_services:
    - envoy_grpc: {cluster_name: xds, authority: control.example.com}
      initial_metadata: [{key: x-token, value: secret}]
  lds_config: {ads: {}, resource_api_version: V3}
static_resources:
  listeners:
  - address: {socket_address: {address: 127.0.0.1, portValue: 80}}
    filter_chains: []
  clusters:
  - name: xds
    connect_timeout: 0.25s
  secrets:
  - name: key
`

func TestParse(t *testing.T) {
	b, err := Parse("envoy.yaml", []byte(good))
	if err != nil {
		t.Fatal(err)
	}
	if b.Node.GetId() != "n" || b.Node.GetLocality().GetZone() != "z" || b.Admin != "127.0.0.1:9901" {
		t.Errorf("node %v, admin %s", b.Node, b.Admin)
	}
	want := &Dynamic{Listeners: true, Delta: true, Cluster: "xds", Authority: "control.example.com", Metadata: []string{"x-token", "secret"}}
	if diff := cmp.Diff(want, b.Dynamic); diff != "" {
		t.Error(diff)
	}
	if b.Static[config.TypeListener]["listener_0"] == nil || b.Static[config.TypeCluster]["xds"] == nil || b.Static[config.TypeSecret]["key"] == nil {
		t.Errorf("static: %v", b.Static)
	}
	var notes []string
	for _, n := range b.Notes {
		notes = append(notes, n.Path)
	}
	if got := strings.Join(notes, " "); got != "stats_flush_interval layered_runtime.layers[0].admin_layer admin.access_log_path" &&
		got != "stats_flush_interval admin.access_log_path layered_runtime.layers[0].admin_layer" {
		t.Errorf("notes: %s", got)
	}
}

// TestRefused: whatever is wrong is said with its line and path.
func TestRefused(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{good, "", "envoy.yaml: is empty"},
		{good, "node: [", "envoy.yaml: yaml: line 1: did not find expected node content"},
		{good, "[]", "envoy.yaml:1: unexpected token ["},
		{good, good + "---\n", "envoy.yaml: line 26: a second document: a bootstrap file has one"},
		{"node: {id: n,", "node: {id: n, idd: n,", `envoy.yaml:2: node.idd: unknown field "idd"`},
		{"port_value: 9901", "port_value: many", `envoy.yaml:5: admin.address.socket_address.port_value: invalid value for uint32 field portValue: "many"`},
		{"  access_log_path: /dev/null", "  profile: x", `envoy.yaml:6: admin.profile: unknown field "profile"`},
		{"stats_flush_interval: 5s", "hds_config: {}", "envoy.yaml:7: hds_config: is not honoured"},
		{"stats_flush_interval: 5s", "flags_path: x\nflags_path: y", `envoy.yaml:8: flags_path: duplicate field "flags_path"`},
		{"stats_flush_interval: 5s", "<<: {a: b}", "envoy.yaml: line 7: merging with << is no JSON and not honoured: write the fields out"},
		{"admin_layer: {}", "static_layer: {a: b}",
			`envoy.yaml:8: layered_runtime.layers[0].static_layer: the runtime value "a" is not honoured: say it in the resource that it is about`},
		{"socket_address: {address: 127.0.0.1, port_value: 9901}", "pipe: {path: /x}", "envoy.yaml:5: admin.address: only socket_address is honoured"},
		{"DELTA_GRPC", "REST", "envoy.yaml:11: dynamic_resources.ads_config.api_type: REST is not honoured, only GRPC and DELTA_GRPC"},
		{"version: V3\n    grpc", "version: V2\n    grpc", "envoy.yaml:12: dynamic_resources.ads_config.transport_api_version: V2 is not honoured, only V3"},
		{"cluster_name: xds", "cluster_name: yds",
			`envoy.yaml:14: dynamic_resources.ads_config.grpc_services[0].envoy_grpc.cluster_name: "yds" is no cluster of static_resources`},
		{"lds_config: {ads: {}", "lds_config: {self: {}", "envoy.yaml:16: dynamic_resources.lds_config.self: is not honoured"},
		{"node: {id: n, ", "node: {", "envoy.yaml:2: node.id: is not set: a control plane has to know who asks"},
		{"- name: xds", "- name: \"\"", "envoy.yaml:22: static_resources.clusters[0].name: is not set"},
		{"  - name: key", "  - name: key\n  - name: key", `envoy.yaml:26: static_resources.secrets[1].name: another secret is called "key" too`},
	} {
		_, err := Parse("envoy.yaml", []byte(strings.Replace(good, c.old, c.new, 1)))
		if err == nil || strings.ReplaceAll(err.Error(), "\u00a0", " ") != c.want {
			t.Errorf("%s:\ngot  %v\nwant %s", c.new, err, c.want)
		}
	}
}

func TestLocate(t *testing.T) {
	b, err := Parse("envoy.yaml", []byte(good))
	if err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]string{
		`cluster "xds": connect_timeout: is short`:         "envoy.yaml:23: static_resources.clusters[0].connect_timeout: is short",
		`cluster "xds": lb_policy: no`:                     "envoy.yaml:22: static_resources.clusters[0].lb_policy: no",
		`listener "listener_0": address.pipe.path: wrong`:  "envoy.yaml:19: static_resources.listeners[0].address.pipe.path: wrong",
		`listener "listener_0": bind 127.0.0.1:80: in use`: "envoy.yaml:19: static_resources.listeners[0]: bind 127.0.0.1:80: in use",
		`something else`: "envoy.yaml: something else",
	} {
		if got := b.Locate(errors.New(in)).Error(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// TestAliases: they mean what they point at, and cannot be used to blow a small file up.
func TestAliases(t *testing.T) {
	b, err := Parse("envoy.yaml", []byte("node: {id: &x n, cluster: *x}"))
	if err != nil || b.Node.GetCluster() != "n" {
		t.Errorf("%v %v", b, err)
	}
	bomb := "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for i := range 9 {
		bomb += strings.NewReplacer("TO", string(rune('b'+i)), "FROM", string(rune('a'+i))).Replace("TO: &TO [*FROM,*FROM,*FROM,*FROM,*FROM,*FROM,*FROM,*FROM,*FROM,*FROM]\n")
	}
	if _, err := Parse("envoy.yaml", []byte(bomb)); err == nil || !strings.Contains(err.Error(), "is too large or nested too deep") {
		t.Errorf("a bomb: %v", err)
	}
}

// FuzzParse: no file makes the reader panic, and every error names the file.
func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte(`{"node": {"id": "n", "metadata": {"a": [1, 2.5, null, true, "x"]}}}`))
	f.Add([]byte("node: {id: &x n, cluster: *x}\nadmin: ~"))
	f.Add([]byte("a: .inf\nb: 0x1F\nc: 2001-01-01\nd: !!binary aGk="))
	f.Fuzz(func(t *testing.T, text []byte) {
		b, err := Parse("envoy.yaml", text)
		if err != nil && !strings.HasPrefix(err.Error(), "envoy.yaml") {
			t.Errorf("an error without the file: %v", err)
		}
		if err == nil && b.Static == nil {
			t.Error("no configuration and no error")
		}
	})
}

// TestOverload: overload_manager is read, and what is wrong with it located.
func TestOverload(t *testing.T) {
	const text = `overload_manager:
  refresh_interval: 0.5s
  resource_monitors:
  - name: envoy.resource_monitors.fixed_heap
    typed_config: {"@type": type.googleapis.com/envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig, max_heap_size_bytes: 100000000}
  actions:
  - name: envoy.overload_actions.stop_accepting_requests
    triggers: [{name: envoy.resource_monitors.fixed_heap, threshold: {value: 0.95}}]
`
	b, err := Parse("envoy.yaml", []byte(text))
	if err != nil || b.Overload == nil || len(b.Overload.Monitors) != 1 {
		t.Fatalf("%+v %v", b, err)
	}
	_, err = Parse("envoy.yaml", []byte(strings.Replace(text, "overload_actions.stop_accepting_requests", "overload_actions.dance", 1)))
	if err == nil || !strings.HasPrefix(err.Error(), "envoy.yaml:7: overload_manager.actions[0].name: ") {
		t.Errorf("got %v", err)
	}
}
