package standalone

import (
	"fmt"
	"net/http"

	"github.com/hauberk-mesh/hauberk/dataplane/admin"
	"github.com/hauberk-mesh/hauberk/dataplane/config"
	"github.com/hauberk-mesh/hauberk/dataplane/engine"
	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
	"github.com/hauberk-mesh/hauberk/dataplane/telemetry/prometheus"
)

// Admin is the handler of the admin port.
func (p *Proxy) Admin() http.Handler {
	return admin.New(admin.Options{
		Unready: p.unready, Metrics: p.metricsHandler(),
		ConfigDump: p.configDump, Clusters: p.engine.ShowClusters, Listeners: p.engine.ShowListeners, Certs: func() any { return []string{} },
		Decisions: func(telemetry.Filter) []telemetry.Decision { return nil },
		Drain:     p.Drain, Level: p.cfg.LogLevel, Token: func() (string, error) { return "", nil },
	})
}

// serveAdmin binds the admin port; it is served until the drain is over.
func (p *Proxy) serveAdmin() error {
	if p.cfg.AdminAddr == "" {
		return nil
	}
	l, err := p.cfg.Listen(p.engine.Serving(), "tcp", p.cfg.AdminAddr)
	if err != nil {
		return fmt.Errorf("admin port: bind %s: %w", p.cfg.AdminAddr, err)
	}
	server := admin.Server(p.Admin())
	p.engine.Go(func() { _ = server.Serve(l) })
	p.engine.Go(func() {
		<-p.engine.Serving().Done()
		_ = server.Close()
	})
	p.log.Info("admin port", "address", l.Addr().String())
	return nil
}

func (p *Proxy) metricsHandler() http.Handler {
	return prometheus.Handler(prometheus.NewCollector(prometheus.Sources{
		Metrics:   p.metrics,
		Live:      func() bool { return !p.engine.Draining() },
		Listeners: p.engine.ListenerMetrics,
		Clusters:  p.engine.ClusterMetrics,
	}))
}

// dump is /config_dump.
type dump struct {
	Version   string        `json:"version,omitempty"`
	Bootstrap []config.Note `json:"acceptedOfBootstrap,omitempty"`
	engine.Dump
}

func (p *Proxy) configDump() (any, error) {
	d, err := p.engine.Dump()
	return dump{Version: p.cfg.Version, Bootstrap: p.cfg.Bootstrap.Notes, Dump: d}, err
}
