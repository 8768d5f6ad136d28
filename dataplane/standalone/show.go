package standalone

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/admin"
	"github.com/hauberk-mesh/hauberk/dataplane/config"
	"github.com/hauberk-mesh/hauberk/dataplane/engine"
	"github.com/hauberk-mesh/hauberk/dataplane/telemetry/prometheus"
	"github.com/hauberk-mesh/hauberk/dataplane/xdsclient"
)

// Admin is the handler of the admin port.
func (p *Proxy) Admin() http.Handler {
	return admin.NewAlone(admin.Options{
		Unready: p.unready, Metrics: p.metricsHandler(), Level: p.cfg.LogLevel, Drain: p.Drain, Upgrade: p.cfg.Upgrade,
		ConfigDump: p.configDump, Clusters: p.engine.ShowClusters, Listeners: p.engine.ShowListeners, Certs: p.engine.ShowCertificates,
	}, admin.Alone{
		Server: p.serverInfo, Stats: p.stats, DrainListeners: p.engine.DrainListeners, Fail: p.failed.Store, ReopenLogs: p.ReopenLogs,
	})
}

// server is /server_info.
type server struct {
	Version string `json:"version"`
	State   string `json:"state"`
	Uptime  string `json:"uptime_current_epoch"`
	Node    string `json:"node,omitempty"`
	File    string `json:"config_path"`
}

func (p *Proxy) serverInfo() any {
	state := "LIVE"
	switch {
	case p.engine.Draining() || p.failed.Load():
		state = "DRAINING"
	case len(p.unready()) > 0:
		state = "INITIALIZING"
	}
	return server{
		Version: p.cfg.Version, State: state, Uptime: strconv.Itoa(int(time.Since(p.start).Seconds())) + "s",
		Node: p.cfg.Bootstrap.Node.GetId(), File: p.cfg.Bootstrap.File(),
	}
}

// stats are the counts of listeners and clusters, by the names that Envoy has for them.
func (p *Proxy) stats() map[string]int64 {
	out := map[string]int64{"server.uptime": int64(time.Since(p.start).Seconds()), "server.live": 1}
	if p.engine.Draining() {
		out["server.live"] = 0
	}
	for _, l := range p.engine.ListenerMetrics() {
		name := "listener." + strings.ReplaceAll(l.Address, ":", "_")
		out[name+".downstream_cx_total"], out[name+".downstream_cx_active"] = int64(l.Total), int64(l.Active)
	}
	for _, c := range p.engine.ClusterMetrics() {
		name := "cluster." + strings.ReplaceAll(c.Name, ":", "_")
		out[name+".upstream_cx_total"], out[name+".upstream_cx_active"] = int64(c.ConnectTotal), int64(c.Active)
		out[name+".upstream_cx_connect_fail"] = int64(c.ConnectFails)
		out[name+".membership_total"], out[name+".membership_healthy"] = int64(c.Members), int64(c.Healthy)
	}
	if p.ads != nil {
		s := p.ads.Status()
		out["control_plane.connected_state"] = 0
		if s.Connected {
			out["control_plane.connected_state"] = 1
		}
		out["control_plane.update_success"], out["control_plane.update_rejected"] = int64(s.Updates), int64(s.NACKs)
	}
	return out
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
		// Whoever has asked for an upgrade is to have the answer.
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if server.Shutdown(ctx) != nil {
			_ = server.Close()
		}
	})
	p.log.Info("admin port", "address", l.Addr().String())
	return nil
}

func (p *Proxy) metricsHandler() http.Handler {
	return prometheus.Handler(prometheus.NewCollector(prometheus.Sources{
		Metrics:    p.metrics,
		Live:       func() bool { return !p.engine.Draining() },
		Listeners:  p.engine.ListenerMetrics,
		Clusters:   p.engine.ClusterMetrics,
		Handshakes: p.engine.Handshakes,
		Keys:       p.keys,
	}))
}

// dump is /config_dump.
type dump struct {
	Version   string            `json:"version,omitempty"`
	Stream    *xdsclient.Status `json:"controlPlane,omitempty"`
	Bootstrap []config.Note     `json:"acceptedOfBootstrap,omitempty"`
	engine.Dump
}

func (p *Proxy) configDump() (any, error) {
	shown, err := p.engine.Dump()
	d := dump{Version: p.cfg.Version, Bootstrap: p.cfg.Bootstrap.Notes, Dump: shown}
	if p.ads != nil {
		s := p.ads.Status()
		d.Stream = &s
	}
	return d, err
}
