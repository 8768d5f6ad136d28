package prometheus

import (
	"crypto/tls"
	"io"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hauberk-mesh/hauberk/accel/keyprovider/batch"
	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
)

func scrape(t *testing.T, from Sources) string {
	t.Helper()
	return ask(t, NewCollector(from))
}

// oneQueue is a collector of one queue alone.
type oneQueue struct{ q *batch.QueueStats }

func (oneQueue) Describe(chan<- *prometheus.Desc)       {}
func (o oneQueue) Collect(out chan<- prometheus.Metric) { collectQueue(out, o.q) }

func scrapeQueue(t *testing.T, q *batch.QueueStats) string {
	t.Helper()
	return ask(t, oneQueue{q})
}

func ask(t *testing.T, c prometheus.Collector) string {
	t.Helper()
	answer := httptest.NewRecorder()
	Handler(c).ServeHTTP(answer, httptest.NewRequest("GET", "/stats/prometheus", nil))
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.Code != 200 {
		t.Fatalf("%d %v\n%s", answer.Code, err, body)
	}
	return string(body)
}

func record() *telemetry.Record {
	return &telemetry.Record{
		Duration: 7 * time.Millisecond, Protocol: "HTTP/1.1", Method: "GET", Path: "/", Status: 200,
		SourceService: "frontend", DestinationService: "cart", SourceID: "spiffe://m/workload/frontend", DestinationID: "spiffe://m/workload/cart",
		TLSVersion: tls.VersionTLS13, UpstreamHost: netip.MustParseAddrPort("127.0.0.1:1"), BytesIn: 5, BytesOut: 700,
	}
}

func TestScrape(t *testing.T) {
	m := telemetry.NewMetrics()
	m.Record(record())
	denied := record()
	denied.Direction, denied.Status, denied.Flags, denied.Reason, denied.Policy = telemetry.Inbound, 403, "UAEX", "permission_denied", "default-deny"
	m.Record(denied)
	plain := record()
	plain.Direction, plain.TLSVersion, plain.SourceID, plain.SourceService = telemetry.Inbound, 0, "", ""
	m.Record(plain)
	call := record()
	call.Protocol, call.GRPC, call.GRPCStatus = "HTTP/2", true, 5
	m.Record(call)
	tcp := record()
	tcp.Protocol, tcp.Status = "TCP", 0
	m.Opened(tcp)
	m.Opened(tcp)
	m.Record(tcp)

	got := scrape(t, Sources{
		Metrics: m, Live: func() bool { return true }, Connected: func() bool { return false },
		LeafExpires: func() time.Time { return time.Now().Add(49 * time.Hour) },
		Listeners:   func() []Listener { return []Listener{{Address: "127.0.0.1:15006", Total: 4, Active: 2}} },
		Clusters: func() []Cluster {
			return []Cluster{{Name: "outbound|cart|80", ConnectTotal: 3, Healthy: 1, Members: 2}}
		},
		Dropped: map[string]func() uint64{"access_log": func() uint64 { return 9 }},
	})
	common := `destination_app="cart",destination_canonical_service="cart",destination_principal="spiffe://m/workload/cart",destination_service="cart",` +
		`destination_service_name="cart",destination_service_namespace="unknown",destination_workload="cart",destination_workload_namespace="unknown",`
	frontend := `source_app="frontend",source_canonical_service="frontend",source_principal="spiffe://m/workload/frontend",source_workload="frontend",source_workload_namespace="unknown"`
	for _, want := range []string{
		`istio_requests_total{connection_security_policy="mutual_tls",` + common + `grpc_response_status="",reporter="source",request_protocol="http",response_code="200",response_flags="-",` + frontend + `} 1`,
		`istio_requests_total{connection_security_policy="mutual_tls",` + common + `grpc_response_status="",reporter="destination",request_protocol="http",response_code="403",response_flags="UAEX",` + frontend + `} 1`,
		`istio_requests_total{connection_security_policy="none",` + common + `grpc_response_status="",reporter="destination",request_protocol="http",response_code="200",response_flags="-",source_app="unknown",source_canonical_service="unknown",source_principal="unknown"`,
		`istio_tcp_connections_opened_total{connection_security_policy="mutual_tls",` + common + `reporter="source",request_protocol="tcp",response_flags="-",` + frontend + `} 2`,
		`istio_requests_total{connection_security_policy="mutual_tls",` + common + `grpc_response_status="5",reporter="source",request_protocol="grpc",response_code="200",response_flags="-",` + frontend + `} 1`,
		`istio_tcp_connections_closed_total{`, `istio_tcp_sent_bytes_total{`, `istio_tcp_received_bytes_total{`,
		`istio_request_bytes_sum{`, `istio_response_bytes_count{`,
		`hauberk_refusals_total{policy="default-deny",reason="permission_denied"} 1`,
		`envoy_http_downstream_rq_total{envoy_http_conn_manager_prefix="inbound"} 2`,
		`envoy_http_downstream_rq_xx{envoy_http_conn_manager_prefix="inbound",envoy_response_code_class="4"} 1`,
		`envoy_rbac_denied{envoy_http_conn_manager_prefix="inbound"} 1`,
		"envoy_server_live 1\n", "envoy_control_plane_connected_state 0\n", "envoy_server_uptime 0\n",
		"envoy_server_days_until_first_cert_expiring 2\n",
		`envoy_listener_downstream_cx_total{envoy_listener_address="127.0.0.1:15006"} 4`,
		`envoy_listener_downstream_cx_active{envoy_listener_address="127.0.0.1:15006"} 2`,
		`envoy_cluster_upstream_cx_total{envoy_cluster_name="outbound|cart|80"} 3`,
		`envoy_cluster_membership_healthy{envoy_cluster_name="outbound|cart|80"} 1`,
		`hauberk_telemetry_dropped_total{what="access_log"} 9`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("missing %s", want)
		}
	}
	for _, want := range []string{`le="5"} 0`, `le="10"} 1`, `le="+Inf"} 1`} {
		if !lineWith(got, "istio_request_duration_milliseconds_bucket", `reporter="source"`, want) {
			t.Errorf("no duration bucket with %s", want)
		}
	}
	if lineWith(got, "istio_tcp_sent_bytes_total", "response_code=") || lineWith(got, "istio_tcp_sent_bytes_total", "grpc_response_status=") {
		t.Error("a connection has a response code or status")
	}
	if t.Failed() {
		t.Log(got)
	}
}

func lineWith(text string, parts ...string) bool {
next:
	for _, line := range strings.Split(text, "\n") {
		for _, p := range parts {
			if !strings.Contains(line, p) {
				continue next
			}
		}
		return true
	}
	return false
}

// A label that Prometheus cannot carry costs its own series, not the scrape.
func TestBrokenLabelCostsOnlyItself(t *testing.T) {
	m := telemetry.NewMetrics()
	m.Record(record())
	bad := record()
	bad.Flags = "\xff"
	m.Record(bad)
	if got := scrape(t, Sources{Metrics: m}); !strings.Contains(got, `istio_requests_total{`) {
		t.Error(got)
	}
}

func TestEmptySources(t *testing.T) {
	if got := scrape(t, Sources{}); !strings.Contains(got, "envoy_server_uptime") {
		t.Error(got)
	}
}
