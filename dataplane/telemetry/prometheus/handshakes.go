package prometheus

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/hauberk-mesh/hauberk/dataplane/admission"
)

// Handshakes are those of one listener, by what became of them.
type Handshakes struct {
	Done    uint64
	Failed  uint64 // those not done in time are not among them
	Timeout uint64
	Refused uint64 // beyond the bounds of all listeners together: see package admission
}

var (
	handshakesTotal   = desc("hauberk_tls_handshakes_total", "TLS handshakes of clients that have ended.", "envoy_listener_address", "result")
	handshakesRefused = desc("hauberk_tls_handshakes_refused_total", "TLS handshakes beyond the bounds.", "reason")
	handshakesOpen    = desc("hauberk_tls_handshakes_open", "TLS handshakes under way.")
	handshakesRunning = desc("hauberk_tls_handshakes_running", "TLS handshakes that compute, and do not wait for their client.")
	handshakesWaiting = desc("hauberk_tls_handshakes_waiting", "TLS handshakes that queue for their turn.")
	handshakesQueued  = desc("hauberk_tls_handshakes_queued_total", "Times that a TLS handshake had to queue.")
	handshakesWaited  = desc("hauberk_tls_handshakes_queued_seconds_total", "Time that TLS handshakes have queued.")
)

func collectHandshakes(out chan<- prometheus.Metric, l Listener) {
	h := l.Handshakes
	for result, n := range map[string]uint64{"ok": h.Done, "failed": h.Failed, "timeout": h.Timeout, "refused": h.Refused} {
		counter(out, handshakesTotal, n, l.Address, result)
	}
}

func collectAdmission(out chan<- prometheus.Metric, s admission.Stats) {
	for why, n := range s.Refused {
		counter(out, handshakesRefused, n, admission.Reason(why).String())
	}
	gauge(out, handshakesOpen, float64(s.Open))
	gauge(out, handshakesRunning, float64(s.Running))
	gauge(out, handshakesWaiting, float64(s.Waiting))
	counter(out, handshakesQueued, s.Queued)
	send(out, handshakesWaited)(prometheus.NewConstMetric(handshakesWaited, prometheus.CounterValue, s.Waited.Seconds()))
}
