package prometheus

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/admission"
)

// TestHandshakes: what became of them at each listener, and what the bounds of all have done.
func TestHandshakes(t *testing.T) {
	g := admission.New(admission.Options{Running: 5, Open: 4})
	from := netip.MustParseAddr("10.0.0.1")
	for range 3 {
		ticket, err := g.Begin("l", from, time.Second)
		if err != nil {
			break
		}
		if _, err := ticket.Resume(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer ticket.End()
	}
	got := scrape(t, Sources{Handshakes: g.Stats, Listeners: func() []Listener {
		return []Listener{{Address: "a:1", Handshakes: Handshakes{Done: 7, Failed: 3, Timeout: 2, Refused: 1}}}
	}})
	for _, line := range []string{
		`hauberk_tls_handshakes_total{envoy_listener_address="a:1",result="ok"} 7`,
		`hauberk_tls_handshakes_total{envoy_listener_address="a:1",result="failed"} 3`,
		`hauberk_tls_handshakes_total{envoy_listener_address="a:1",result="timeout"} 2`,
		`hauberk_tls_handshakes_total{envoy_listener_address="a:1",result="refused"} 1`,
		`hauberk_tls_handshakes_refused_total{reason="source_open"} 1`,
		`hauberk_tls_handshakes_refused_total{reason="queue_timeout"} 0`,
		`hauberk_tls_handshakes_refused_total{reason="source_rate"} 0`,
		`hauberk_tls_handshakes_refused_total{reason="open"} 0`,
		"hauberk_tls_handshakes_open 2\n", "hauberk_tls_handshakes_running 2\n", "hauberk_tls_handshakes_waiting 0\n",
		"hauberk_tls_handshakes_queued_total 0\n", "hauberk_tls_handshakes_queued_seconds_total 0\n",
	} {
		if !strings.Contains(got, line) {
			t.Errorf("no %s in\n%s", line, got)
		}
	}
}
