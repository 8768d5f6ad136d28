// Package prometheus shows what package telemetry has counted, under the names and labels that dashboards made for Istio
// and Envoy know. It runs when somebody scrapes, never on a request.
//
// It is not where anything is counted: see telemetry.Metrics. Start at Collector.
package prometheus

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/hauberk-mesh/hauberk/dataplane/admission"
	"github.com/hauberk-mesh/hauberk/dataplane/keyring"
	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
)

// Sources are where values come from. Nil ones are left out of the answer.
type Sources struct {
	Metrics *telemetry.Metrics
	// Live tells whether the proxy takes traffic, that is, is not draining.
	Live func() bool
	// Connected tells whether the control plane is.
	Connected func() bool
	Listeners func() []Listener
	Clusters  func() []Cluster
	// Handshakes are the bounds of the TLS handshakes of all listeners.
	Handshakes func() admission.Stats
	// Dropped are counts of telemetry that was given up rather than let a request wait, by what it was: access_log, report.
	Dropped map[string]func() uint64
	// Keys are the key providers; nil: nothing is told of them.
	Keys *keyring.Ring
	// LeafExpires is when the present SVID ends; zero without one.
	LeafExpires func() time.Time
}

// Listener is what a listener counts of its connections.
type Listener struct {
	Address       string // host:port
	Total, Active uint64
	Handshakes    Handshakes
}

// Cluster is what a cluster counts of its connections and endpoints.
type Cluster struct {
	Name                       string
	ConnectTotal, ConnectFails uint64
	Active                     uint64 // connections
	Healthy, Members           int    // endpoints
}

// Collector is a prometheus.Collector over Sources.
type Collector struct {
	from  Sources
	start time.Time
}

// NewCollector returns a collector; the uptime that it shows begins now.
func NewCollector(from Sources) *Collector { return &Collector{from: from, start: time.Now()} }

// Handler answers scrapes of all collectors, and of what Go and the kernel know of this process.
func Handler(collectors ...prometheus.Collector) http.Handler {
	registry := prometheus.NewRegistry()
	//lint:ignore SA1019 package collectors, which is to be used instead, brings in database/sql
	registry.MustRegister(prometheus.NewGoCollector(), prometheus.NewProcessCollector(prometheus.ProcessCollectorOpts{}))
	registry.MustRegister(collectors...)
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
}

var istioLabels = []string{
	"reporter",
	"source_workload", "source_workload_namespace", "source_principal", "source_app", "source_canonical_service",
	"destination_workload", "destination_workload_namespace", "destination_principal", "destination_app",
	"destination_service", "destination_service_name", "destination_service_namespace", "destination_canonical_service",
	"request_protocol", "response_code", "grpc_response_status", "response_flags", "connection_security_policy",
}

// firstStatus and afterStatuses are where response_code and grpc_response_status begin and end in istioLabels: a connection has neither.
const firstStatus, afterStatuses = 15, 17

var tcpLabels = slices.Delete(slices.Clone(istioLabels), firstStatus, afterStatuses)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

var (
	requestsTotal   = desc("istio_requests_total", "Requests.", istioLabels...)
	requestDuration = desc("istio_request_duration_milliseconds", "Time to the last byte of the response.", istioLabels...)
	requestBytes    = desc("istio_request_bytes", "Bytes of request bodies.", istioLabels...)
	responseBytes   = desc("istio_response_bytes", "Bytes of response bodies.", istioLabels...)
	tcpSent         = desc("istio_tcp_sent_bytes_total", "Bytes sent to callers.", tcpLabels...)
	tcpReceived     = desc("istio_tcp_received_bytes_total", "Bytes received from callers.", tcpLabels...)
	tcpOpened       = desc("istio_tcp_connections_opened_total", "Connections opened.", tcpLabels...)
	tcpClosed       = desc("istio_tcp_connections_closed_total", "Connections closed.", tcpLabels...)

	refusalsTotal  = desc("hauberk_refusals_total", "Requests and connections that the mesh refused.", "reason", "policy")
	droppedTotal   = desc("hauberk_telemetry_dropped_total", "Telemetry that was given up rather than let a request wait.", "what")
	downstreamRq   = desc("envoy_http_downstream_rq_total", "Requests.", "envoy_http_conn_manager_prefix")
	downstreamRqXX = desc("envoy_http_downstream_rq_xx", "Requests by class of response code.", "envoy_http_conn_manager_prefix", "envoy_response_code_class")
	rbacDenied     = desc("envoy_rbac_denied", "Requests and connections that a permission refused.", "envoy_http_conn_manager_prefix")
	rbacShadow     = desc("envoy_rbac_shadow_denied", "Requests and connections that a shadow rule would refuse.", "envoy_http_conn_manager_prefix")

	serverLive     = desc("envoy_server_live", "1 unless the proxy drains.")
	serverUptime   = desc("envoy_server_uptime", "Seconds since the start.")
	connectedState = desc("envoy_control_plane_connected_state", "1 while connected to the control plane.")
	certExpires    = desc("envoy_server_days_until_first_cert_expiring", "Whole days until the SVID ends.")

	listenerTotal    = desc("envoy_listener_downstream_cx_total", "Connections accepted.", "envoy_listener_address")
	listenerActive   = desc("envoy_listener_downstream_cx_active", "Connections open.", "envoy_listener_address")
	clusterTotal     = desc("envoy_cluster_upstream_cx_total", "Connections made.", "envoy_cluster_name")
	clusterFails     = desc("envoy_cluster_upstream_cx_connect_fail", "Connections that could not be made.", "envoy_cluster_name")
	clusterActive    = desc("envoy_cluster_upstream_cx_active", "Connections open.", "envoy_cluster_name")
	membershipGood   = desc("envoy_cluster_membership_healthy", "Endpoints that answer.", "envoy_cluster_name")
	membershipsTotal = desc("envoy_cluster_membership_total", "Endpoints.", "envoy_cluster_name")
)

// Describe names nothing, which makes this an unchecked collector: series appear with traffic.
func (c *Collector) Describe(chan<- *prometheus.Desc) {}

// Collect reads everything once.
func (c *Collector) Collect(out chan<- prometheus.Metric) {
	if m := c.from.Metrics; m != nil {
		collectHTTP(out, m)
		collectTCP(out, m)
		for k, n := range m.Refused() {
			counter(out, refusalsTotal, n.Value(), k.Reason, text(k.Policy))
		}
		for d, prefix := range prefixes {
			counter(out, rbacDenied, m.Denied(telemetry.Direction(d)), prefix)
			counter(out, rbacShadow, m.ShadowDenied(telemetry.Direction(d)), prefix)
		}
	}
	for what, n := range c.from.Dropped {
		counter(out, droppedTotal, n(), what)
	}
	gauge(out, serverUptime, time.Since(c.start).Truncate(time.Second).Seconds())
	if c.from.Live != nil {
		gauge(out, serverLive, yes(c.from.Live()))
	}
	if c.from.Connected != nil {
		gauge(out, connectedState, yes(c.from.Connected()))
	}
	if c.from.LeafExpires != nil {
		if ends := c.from.LeafExpires(); !ends.IsZero() {
			gauge(out, certExpires, float64(max(0, int(time.Until(ends).Hours()/24))))
		}
	}
	if c.from.Keys != nil {
		collectKeys(out, c.from.Keys)
	}
	if c.from.Handshakes != nil {
		collectAdmission(out, c.from.Handshakes())
	}
	if c.from.Listeners != nil {
		for _, l := range c.from.Listeners() {
			counter(out, listenerTotal, l.Total, l.Address)
			gauge(out, listenerActive, float64(l.Active), l.Address)
			collectHandshakes(out, l)
		}
	}
	if c.from.Clusters != nil {
		for _, k := range c.from.Clusters() {
			counter(out, clusterTotal, k.ConnectTotal, k.Name)
			counter(out, clusterFails, k.ConnectFails, k.Name)
			gauge(out, clusterActive, float64(k.Active), k.Name)
			gauge(out, membershipGood, float64(k.Healthy), k.Name)
			gauge(out, membershipsTotal, float64(k.Members), k.Name)
		}
	}
}

// prefixes are the names of the two directions, by telemetry.Direction.
var prefixes = [2]string{telemetry.Outbound: "outbound", telemetry.Inbound: "inbound"}

func collectHTTP(out chan<- prometheus.Metric, m *telemetry.Metrics) {
	var total [2]uint64
	var classes [2][6]uint64
	for k, s := range m.HTTP() {
		n, labels := s.Requests.Value(), istio(k)
		counter(out, requestsTotal, n, labels...)
		histogram(out, requestDuration, &s.Duration, labels)
		histogram(out, requestBytes, &s.RequestBytes, labels)
		histogram(out, responseBytes, &s.ResponseBytes, labels)
		total[k.Direction&1] += n
		if class := k.Status / 100; class >= 1 && class <= 5 {
			classes[k.Direction&1][class] += n
		}
	}
	for d, prefix := range prefixes {
		counter(out, downstreamRq, total[d], prefix)
		for class := 1; class <= 5; class++ {
			counter(out, downstreamRqXX, classes[d][class], prefix, strconv.Itoa(class))
		}
	}
}

func collectTCP(out chan<- prometheus.Metric, m *telemetry.Metrics) {
	for k, s := range m.TCP() {
		labels := slices.Delete(istio(k), firstStatus, afterStatuses)
		counter(out, tcpSent, s.Sent.Value(), labels...)
		counter(out, tcpReceived, s.Received.Value(), labels...)
		counter(out, tcpOpened, s.Opened.Value(), labels...)
		counter(out, tcpClosed, s.Closed.Value(), labels...)
	}
}

// istio are the values of istioLabels.
func istio(k telemetry.Labels) []string {
	reporter, security := "source", "unknown"
	if k.Direction == telemetry.Inbound {
		reporter = "destination"
	}
	switch {
	case k.Mutual:
		security = "mutual_tls"
	case k.Plain:
		security = "none"
	}
	source, destination := text(k.Source), text(k.Destination)
	return []string{
		reporter,
		source, "unknown", text(k.SourceID), source, source,
		destination, "unknown", text(k.DestinationID), destination,
		destination, destination, "unknown", destination,
		k.Protocol, strconv.Itoa(k.Status), k.GRPCLabel(), k.Flags, security,
	}
}

func text(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}

func yes(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func counter(out chan<- prometheus.Metric, d *prometheus.Desc, v uint64, labels ...string) {
	send(out, d)(prometheus.NewConstMetric(d, prometheus.CounterValue, float64(v), labels...))
}

func gauge(out chan<- prometheus.Metric, d *prometheus.Desc, v float64, labels ...string) {
	send(out, d)(prometheus.NewConstMetric(d, prometheus.GaugeValue, v, labels...))
}

func histogram(out chan<- prometheus.Metric, d *prometheus.Desc, h *telemetry.Histogram, labels []string) {
	count, sum, upTo := h.Read()
	buckets := make(map[float64]uint64, len(telemetry.Bounds))
	for i, bound := range telemetry.Bounds {
		buckets[bound] = upTo[i]
	}
	send(out, d)(prometheus.NewConstHistogram(d, count, sum, buckets, labels...))
}

// send turns a metric that cannot be (a label that is no UTF-8) into one that says so, rather than into a panic.
func send(out chan<- prometheus.Metric, d *prometheus.Desc) func(prometheus.Metric, error) {
	return func(m prometheus.Metric, err error) {
		if err != nil {
			m = prometheus.NewInvalidMetric(d, err)
		}
		out <- m
	}
}
