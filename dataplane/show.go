package dataplane

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/admin"
	"github.com/hauberk-mesh/hauberk/dataplane/config"
	"github.com/hauberk-mesh/hauberk/dataplane/identity"
	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
	"github.com/hauberk-mesh/hauberk/dataplane/upstream"
	"github.com/hauberk-mesh/hauberk/dataplane/xdsclient"
)

// Admin is the handler of the admin port, for who serves it by other means.
func (p *Proxy) Admin() http.Handler {
	return admin.New(admin.Options{
		Unready: p.unready, Metrics: p.metricsHandler(),
		ConfigDump: p.configDump, Clusters: p.showClusters, Listeners: p.showListeners, Certs: p.showCerts,
		Decisions: func(f telemetry.Filter) []telemetry.Decision { return p.sinks.ring.Query(f) },
		Drain:     p.Drain, Level: p.cfg.LogLevel, Token: identity.TokenFile(p.cfg.TokenFile),
	})
}

// serveAdmin binds the admin port; it is served until the drain is over.
func (p *Proxy) serveAdmin() error {
	if p.cfg.AdminAddr == "" {
		return nil
	}
	l, err := p.cfg.Listen(p.serving, "tcp", p.cfg.AdminAddr)
	if err != nil {
		return fmt.Errorf("admin port: bind %s: %w", p.cfg.AdminAddr, err)
	}
	server := admin.Server(p.Admin())
	p.running.Go(func() { _ = server.Serve(l) })
	p.running.Go(func() {
		<-p.serving.Done()
		_ = server.Close()
	})
	p.log.Info("admin port", "address", l.Addr().String())
	return nil
}

// dump is /config_dump.
type dump struct {
	Version    string                                `json:"version,omitempty"`
	Mesh       string                                `json:"mesh"`
	Dataplane  string                                `json:"dataplane"`
	Identity   string                                `json:"identity,omitempty"`
	Generation uint64                                `json:"generation"`
	Stream     xdsclient.Status                      `json:"controlPlane"`
	Accepted   []config.Note                         `json:"acceptedWithoutEffect"`
	Configs    map[string]map[string]json.RawMessage `json:"configs"`
}

func (p *Proxy) configDump() (any, error) {
	d := dump{
		Version: p.cfg.Version, Mesh: p.cfg.Node.Mesh, Dataplane: p.cfg.Node.Name, Identity: p.id.ID(), Stream: p.xds.Status(),
		Accepted: []config.Note{},
	}
	g := p.current.Load()
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

func (p *Proxy) showClusters() any {
	out := []shownCluster{}
	if g := p.current.Load(); g != nil {
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

func (p *Proxy) showListeners() any {
	out := []shownListener{}
	for _, s := range p.sockets.open() {
		spec := s.source()
		if spec == nil {
			continue
		}
		n := s.listener.Stats()
		l := shownListener{
			Name: spec.Name, Address: s.listener.Addr().String(), Direction: "inbound",
			Accepted: n.Accepted, Active: n.Active, HandshakeErrors: n.HandshakeErrors, NoChain: n.NoChain,
		}
		if spec.Direction == telemetry.Outbound {
			l.Direction = "outbound"
		}
		out = append(out, l)
	}
	slices.SortFunc(out, func(a, b shownListener) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return out
}

type shownCertificate struct {
	Subject   string    `json:"subject,omitempty"`
	URIs      []string  `json:"uris,omitempty"`
	Serial    string    `json:"serial"`
	NotBefore time.Time `json:"notBefore"`
	NotAfter  time.Time `json:"notAfter"`
}

type shownCerts struct {
	SVID   []shownCertificate            `json:"svid"`
	Trust  map[string][]shownCertificate `json:"trust"`
	Issues string                        `json:"lastError,omitempty"`
}

func (p *Proxy) showCerts() any {
	out := shownCerts{SVID: []shownCertificate{}, Trust: map[string][]shownCertificate{}}
	if s := p.id.Get(); s != nil {
		for _, der := range s.Certificate.Certificate {
			if c, err := x509.ParseCertificate(der); err == nil {
				out.SVID = append(out.SVID, shown(c))
			}
		}
	}
	for _, b := range p.trust.Bundles() {
		for _, c := range b.Certificates {
			out.Trust[b.TrustDomain] = append(out.Trust[b.TrustDomain], shown(c))
		}
	}
	if err := p.identity.LastError(); err != nil {
		out.Issues = err.Error()
	}
	return out
}

func shown(c *x509.Certificate) shownCertificate {
	v := shownCertificate{Subject: c.Subject.String(), Serial: c.SerialNumber.Text(16), NotBefore: c.NotBefore, NotAfter: c.NotAfter}
	for _, u := range c.URIs {
		v.URIs = append(v.URIs, u.String())
	}
	return v
}
