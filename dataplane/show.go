package dataplane

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/http"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/admin"
	"github.com/hauberk-mesh/hauberk/dataplane/engine"
	"github.com/hauberk-mesh/hauberk/dataplane/identity"
	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
	"github.com/hauberk-mesh/hauberk/dataplane/xdsclient"
)

// Admin is the handler of the admin port, for who serves it by other means.
func (p *Proxy) Admin() http.Handler {
	return admin.New(admin.Options{
		Unready: p.unready, Metrics: p.metricsHandler(),
		ConfigDump: p.configDump, Clusters: p.engine.ShowClusters, Listeners: p.engine.ShowListeners, Certs: p.showCerts,
		Decisions: func(f telemetry.Filter) []telemetry.Decision { return p.sinks.ring.Query(f) },
		Drain:     p.Drain, Upgrade: p.cfg.Upgrade, Level: p.cfg.LogLevel, Token: identity.TokenFile(p.cfg.TokenFile),
	})
}

// lastAnswers is how long the admin port may take to finish what it was asked when the drain is over.
const lastAnswers = time.Second

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
		// Who asked for the drain or the upgrade is to read the answer.
		ctx, cancel := context.WithTimeout(context.Background(), lastAnswers)
		defer cancel()
		if server.Shutdown(ctx) != nil {
			_ = server.Close()
		}
	})
	p.log.Info("admin port", "address", l.Addr().String())
	return nil
}

// dump is /config_dump.
type dump struct {
	Version   string           `json:"version,omitempty"`
	Mesh      string           `json:"mesh"`
	Dataplane string           `json:"dataplane"`
	Identity  string           `json:"identity,omitempty"`
	Stream    xdsclient.Status `json:"controlPlane"`
	engine.Dump
}

func (p *Proxy) configDump() (any, error) {
	d := dump{Version: p.cfg.Version, Mesh: p.cfg.Node.Mesh, Dataplane: p.cfg.Node.Name, Identity: p.id.ID(), Stream: p.xds.Status()}
	var err error
	d.Dump, err = p.engine.Dump()
	return d, err
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
	Keys   string                        `json:"keyProvider,omitempty"` // of the SVID's key
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
	out.Keys = p.identity.KeyProvider()
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
