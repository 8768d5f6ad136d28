package dataplane

import (
	"fmt"
	"net/http"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
	"github.com/hauberk-mesh/hauberk/dataplane/telemetry/prometheus"
)

// refusalsQueued is how many refusals may wait for the report stream.
const refusalsQueued = 256

// sinks are where records go. recorder is all of them at once.
type sinks struct {
	metrics  *telemetry.Metrics
	edges    *telemetry.Edges
	ring     *telemetry.Ring
	refusals *telemetry.Refusals
	recorder telemetry.Recorder
}

func newSinks(cfg Config) (sinks, error) {
	s := sinks{
		metrics: telemetry.NewMetrics(), edges: telemetry.NewEdges(), ring: telemetry.NewRing(),
		refusals: telemetry.NewRefusals(refusalsQueued),
	}
	all := []telemetry.Recorder{s.metrics, s.edges, s.ring, s.refusals}
	if cfg.AccessLog != nil {
		log, err := accessLog(cfg.AccessLog, cfg.AccessLogFormat)
		if err != nil {
			return sinks{}, err
		}
		all = append(all, log)
	}
	s.recorder = telemetry.Tee(all...)
	return s, nil
}

func accessLog(out *telemetry.LogWriter, format string) (telemetry.Recorder, error) {
	switch format {
	case "", "text":
		return telemetry.NewTextLog(out), nil
	case "json":
		return telemetry.NewJSONLog(out), nil
	}
	f, err := telemetry.CompileFormat(format)
	if err != nil {
		return nil, fmt.Errorf("access log format: %w", err)
	}
	return telemetry.NewFormatLog(out, f), nil
}

// metricsHandler answers scrapes.
func (p *Proxy) metricsHandler() http.Handler {
	dropped := map[string]func() uint64{"report": p.report.Dropped, "decision": p.sinks.ring.Dropped}
	if p.cfg.AccessLog != nil {
		dropped["access_log"] = p.cfg.AccessLog.Dropped
	}
	return prometheus.Handler(prometheus.NewCollector(prometheus.Sources{
		Metrics:    p.sinks.metrics,
		Live:       func() bool { return !p.engine.Draining() },
		Connected:  func() bool { return p.xds.Status().Connected },
		Listeners:  p.engine.ListenerMetrics,
		Clusters:   p.engine.ClusterMetrics,
		Handshakes: p.engine.Handshakes,
		Dropped:    dropped,
		Keys:       p.keys,
		LeafExpires: func() time.Time {
			if s := p.id.Get(); s != nil {
				return s.NotAfter
			}
			return time.Time{}
		},
	}))
}
