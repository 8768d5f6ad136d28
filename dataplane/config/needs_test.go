package config

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"
)

func anyOf(t *testing.T, text string) *anypb.Any {
	t.Helper()
	a := &anypb.Any{}
	if err := protojson.Unmarshal([]byte(text), a); err != nil {
		t.Fatal(err)
	}
	return a
}

// TestNeeds finds what a resource names, however deep, and what of it comes over aggregated discovery.
func TestNeeds(t *testing.T) {
	const ads = `{"ads": {}}`
	for _, c := range []struct {
		text string
		want []Need
	}{
		{`{"@type": "` + TypeCluster + `", "name": "a", "type": "STATIC"}`, nil},
		{`{"@type": "` + TypeCluster + `", "name": "a", "type": "EDS", "eds_cluster_config": {"eds_config": ` + ads + `}}`, []Need{{Type: TypeEndpoints, Name: "a"}}},
		{`{"@type": "` + TypeCluster + `", "name": "a", "type": "EDS", "eds_cluster_config": {"service_name": "b",
			"eds_config": {"ads": {}, "initial_fetch_timeout": "3s"}}}`, []Need{{Type: TypeEndpoints, Name: "b", Patience: 3 * time.Second}}},
		{`{"@type": "` + TypeCluster + `", "name": "a", "type": "EDS", "eds_cluster_config": {"eds_config": {"path": "/x"}}}`, nil},
		{`{"@type": "` + TypeCluster + `", "name": "a", "transport_socket": {"name": "tls", "typed_config": {
			"@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext", "common_tls_context": {
				"tls_certificate_sds_secret_configs": [{"name": "key", "sds_config": {"ads": {}, "initial_fetch_timeout": "0s"}}],
				"combined_validation_context": {"validation_context_sds_secret_config": {"name": "static"}}}}}}`,
			[]Need{{Type: TypeSecret, Name: "key", Patience: -1}}},
		{`{"@type": "` + TypeListener + `", "filter_chains": [{"filters": [{"typed_config": {
			"@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
			"rds": {"route_config_name": "r", "config_source": ` + ads + `}}}]}]}`, []Need{{Type: TypeRoute, Name: "r"}}},
		{`{"@type": "` + TypeListener + `", "default_filter_chain": {"filters": [{"typed_config": {
			"@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", "cluster": "c"}}]}}`, []Need{{Type: TypeCluster, Name: "c"}}},
		{`{"@type": "` + TypeRoute + `", "virtual_hosts": [{"routes": [{"route": {"weighted_clusters": {"clusters": [{"name": "x"}, {"name": "y"}]}}},
			{"route": {"cluster": "z"}}, {"redirect": {}}]}]}`, []Need{{Type: TypeCluster, Name: "x"}, {Type: TypeCluster, Name: "y"}, {Type: TypeCluster, Name: "z"}}},
	} {
		got, err := Needs(anyOf(t, c.text))
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s\n%s", c.text, diff)
		}
	}
	if _, err := Needs(&anypb.Any{TypeUrl: TypeCluster, Value: []byte{0xff}}); err == nil {
		t.Error("no error for what cannot be read")
	}
}

// TestStandIn: what takes the place of something that does not come can itself be put in force.
func TestStandIn(t *testing.T) {
	b := New(Deps{StandAlone: true})
	cluster := anyOf(t, `{"@type": "`+TypeCluster+`", "name": "a", "type": "EDS", "eds_cluster_config": {"eds_config": {"ads": {}}}}`)
	g, err := b.Build(nil, 0, Resources{
		TypeCluster:   {"a": cluster, "gone": StandIn(TypeCluster, "gone")},
		TypeEndpoints: {"a": StandIn(TypeEndpoints, "a")},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Release(nil)
	if g.Clusters["a"].Size() != 0 || g.Clusters["gone"].Size() != 0 {
		t.Error("something empty has endpoints")
	}
	if StandIn(TypeSecret, "key") != nil || StandIn(TypeListener, "l") != nil {
		t.Error("nothing can take the place of a secret or a listener")
	}
}
