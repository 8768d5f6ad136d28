package engine

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/hauberk-mesh/hauberk/dataplane/admission"
	"github.com/hauberk-mesh/hauberk/dataplane/config"
	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
	"github.com/hauberk-mesh/hauberk/dataplane/telemetry/prometheus"
	"github.com/hauberk-mesh/hauberk/dataplane/upstream"
)

// Dump is the part of /config_dump that any proxy has.
type Dump struct {
	Generation uint64                                `json:"generation"`
	Accepted   []config.Note                         `json:"acceptedWithoutEffect"`
	Configs    map[string]map[string]json.RawMessage `json:"configs"`
}

// Dump shows the configuration in force, without what is secret.
func (e *Engine) Dump() (Dump, error) {
	d := Dump{Accepted: []config.Note{}}
	g := e.current.Load()
	if g == nil {
		return d, nil
	}
	d.Generation = g.Generation
	d.Accepted = append(d.Accepted, g.Accepted()...)
	var err error
	d.Configs, err = g.Dump()
	return d, err
}

type shownCluster struct {
	Name      string            `json:"name"`
	Service   string            `json:"service,omitempty"`
	Endpoints []upstream.Status `json:"endpoints"`
}

// ShowClusters is /clusters, to be marshalled.
func (e *Engine) ShowClusters() any {
	out := []shownCluster{}
	if g := e.current.Load(); g != nil {
		for _, name := range slices.Sorted(maps.Keys(g.Clusters)) {
			c := g.Clusters[name]
			out = append(out, shownCluster{Name: name, Service: c.Service(), Endpoints: c.Endpoints()})
		}
	}
	return out
}

type shownListener struct {
	Name            string `json:"name"`
	Address         string `json:"address"`
	Direction       string `json:"direction"`
	Accepted        int64  `json:"connectionsTotal"`
	Active          int64  `json:"connectionsActive"`
	HandshakeErrors int64  `json:"handshakeErrors"`
	NoChain         int64  `json:"noFilterChain"`
}

// ShowListeners is /listeners, to be marshalled.
func (e *Engine) ShowListeners() any {
	out := []shownListener{}
	for _, s := range e.sockets.open() {
		spec := s.source()
		if spec == nil {
			continue
		}
		n := s.listener.Stats()
		l := shownListener{
			Name: spec.Name, Address: s.shownAddr(), Direction: "inbound",
			Accepted: n.Accepted, Active: n.Active, HandshakeErrors: n.HandshakeErrors, NoChain: n.NoChain,
		}
		if spec.Direction == telemetry.Outbound {
			l.Direction = "outbound"
		}
		out = append(out, l)
	}
	slices.SortFunc(out, func(a, b shownListener) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// shownAddr is where a socket really is: port 0 of a configuration is any free one.
func (s *socket) shownAddr() string {
	if addr := s.listener.Addr(); addr.IsValid() {
		return addr.String()
	}
	return s.addr
}

// ListenerMetrics are the counts of all listeners, for a scrape.
func (e *Engine) ListenerMetrics() []prometheus.Listener {
	var out []prometheus.Listener
	for _, s := range e.sockets.open() {
		n := s.listener.Stats()
		out = append(out, prometheus.Listener{Address: s.addr, Total: uint64(n.Accepted), Active: uint64(n.Active),
			Handshakes: prometheus.Handshakes{Done: uint64(n.Handshakes), Failed: uint64(n.HandshakeErrors - n.HandshakeTimeouts),
				Timeout: uint64(n.HandshakeTimeouts), Refused: uint64(n.HandshakesRefused)}})
	}
	return out
}

// Handshakes are the bounds of the TLS handshakes of all listeners, for a scrape.
func (e *Engine) Handshakes() admission.Stats { return e.gate.Stats() }

// ClusterMetrics are the counts of all clusters, for a scrape.
func (e *Engine) ClusterMetrics() []prometheus.Cluster {
	g := e.current.Load()
	if g == nil {
		return nil
	}
	var out []prometheus.Cluster
	for name, c := range g.Clusters {
		m := prometheus.Cluster{Name: name, Members: c.Size()}
		for _, p := range c.Endpoints() {
			m.ConnectTotal += uint64(p.ConnectionsTotal)
			m.ConnectFails += uint64(p.ConnectFailures)
			m.Active += uint64(p.ConnectionsActive)
			if !p.Down && !p.Unready {
				m.Healthy++
			}
		}
		out = append(out, m)
	}
	return out
}
