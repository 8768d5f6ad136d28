// Package standalone is the proxy without a mesh: an engine (package engine) that runs what an Envoy bootstrap file says. It
// has no identity, no control plane of ours and no state; the proxy as a member of a mesh is package dataplane.
//
// Start with Proxy.Run.
package standalone

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hauberk-mesh/hauberk/accel/keyprovider"
	"github.com/hauberk-mesh/hauberk/accel/keyprovider/memory"
	"github.com/hauberk-mesh/hauberk/dataplane/bootstrap"
	"github.com/hauberk-mesh/hauberk/dataplane/config"
	"github.com/hauberk-mesh/hauberk/dataplane/engine"
	"github.com/hauberk-mesh/hauberk/dataplane/filter"
	"github.com/hauberk-mesh/hauberk/dataplane/keyring"
	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
	"github.com/hauberk-mesh/hauberk/dataplane/tls"
	"github.com/hauberk-mesh/hauberk/dataplane/xdsclient"
)

// Config is what a Proxy is made from. Fields without a default must be set.
type Config struct {
	Bootstrap *bootstrap.Bootstrap
	// AdminAddr is where the admin port is; empty: where the bootstrap says, or nowhere.
	AdminAddr string
	Filters   []filter.Factory
	// Keys keeps the keys of certificates; nil: the Go heap. A certificate that asks for another provider finds it in MoreKeys.
	Keys     keyprovider.Provider
	MoreKeys []keyprovider.Provider
	// Getenv reads the environment for keys that a configuration says are there. Nil: it may say none.
	Getenv func(name string) string

	Logger *slog.Logger
	// LogLevel is what POST /logging changes; nil: it cannot be changed.
	LogLevel *slog.LevelVar

	// Listen and Dial default to the net package's.
	Listen func(ctx context.Context, network, addr string) (net.Listener, error)
	Dial   func(ctx context.Context, network, addr string) (net.Conn, error)

	// DrainTime is how long requests in flight may take to end. Default 30s.
	DrainTime time.Duration
	// Upgrade is what POST /upgrade of the admin port does. Nil: it answers that this process cannot.
	Upgrade func() (any, error)
	// Version is shown by the admin port and told to a control plane.
	Version string
}

// Proxy is one running proxy. Make it with New and Run it once.
type Proxy struct {
	cfg     Config
	log     *slog.Logger
	keys    *keyring.Ring
	engine  *engine.Engine
	metrics *telemetry.Metrics // nil: nobody can ask for them
	logs    *config.AccessLogs
	ads     *xdsclient.Client // nil: all is in the file

	start    time.Time
	failed   atomic.Bool   // somebody wants /ready to say no
	begun    chan struct{} // closed when what the file says is in force
	stop     chan struct{} // closed by Drain
	stopOnce sync.Once
}

// New binds and dials nothing.
func New(cfg Config) (*Proxy, error) {
	if cfg.Bootstrap == nil {
		return nil, errors.New("standalone: no bootstrap")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Listen == nil {
		cfg.Listen = (&net.ListenConfig{}).Listen
	}
	if cfg.Dial == nil {
		cfg.Dial = (&net.Dialer{}).DialContext
	}
	if cfg.DrainTime <= 0 {
		cfg.DrainTime = 30 * time.Second
	}
	if cfg.AdminAddr == "" {
		cfg.AdminAddr = cfg.Bootstrap.Admin
	}
	if cfg.Keys == nil {
		cfg.Keys = memory.New()
	}
	p := &Proxy{
		cfg: cfg, log: cfg.Logger, keys: keyring.New(cfg.Keys, cfg.MoreKeys...), logs: config.NewAccessLogs(),
		start: time.Now(), begun: make(chan struct{}), stop: make(chan struct{}),
	}
	o := engine.Options{
		Config: config.Deps{
			StandAlone: true, Identity: &tls.Identity{}, Trust: &tls.Trust{}, Keys: p.keys, Getenv: cfg.Getenv,
			Filters: cfg.Filters, Dial: cfg.Dial, AccessLogs: p.logs,
		},
		Overload: engine.Overload(cfg.Bootstrap.Overload, p.log),
		Logger:   p.log, Listen: cfg.Listen, DrainTime: cfg.DrainTime, Recorder: telemetry.Tee(),
	}
	if cfg.AdminAddr != "" {
		p.metrics = telemetry.NewMetrics()
		o.Recorder = p.metrics
	}
	p.engine = engine.New(o)
	var err error
	p.ads, err = p.newADS()
	return p, err
}

// Check tells whether the configuration could be put in force, and which of its fields have no effect.
func (p *Proxy) Check() ([]config.Note, error) {
	defer p.closeLogs()
	static := p.cfg.Bootstrap.Static
	if p.ads != nil {
		static = p.ads.Whole() // what it needs of the control plane is empty for once
	}
	notes, err := p.engine.Check(static)
	if err != nil {
		return nil, p.cfg.Bootstrap.Locate(err)
	}
	return append(notes, p.cfg.Bootstrap.Notes...), nil
}

// Run serves until ctx ends or Drain is called, then drains. An error is about the start: a configuration that is refused, an
// address that could not be bound.
func (p *Proxy) Run(ctx context.Context) error {
	defer p.closeLogs()
	p.engine.Start(ctx)
	defer p.engine.Stop()
	if err := p.serveAdmin(); err != nil {
		return err
	}
	if err := p.begin(ctx); err != nil {
		return p.cfg.Bootstrap.Locate(err)
	}
	close(p.begun)
	following, leave := context.WithCancel(p.engine.Serving())
	defer leave()
	if p.ads != nil {
		p.engine.Go(func() { _ = p.ads.Run(following) }) // nil once following ends
	}
	select {
	case <-ctx.Done():
	case <-p.stop:
	}
	leave()
	p.log.Info("draining", "within", p.cfg.DrainTime)
	drain, cancel := context.WithTimeout(context.Background(), p.cfg.DrainTime)
	defer cancel()
	p.engine.Drain(drain)
	return nil
}

// begin puts in force what the file says. Reading it leaves garbage of many times its size, which is given back at once.
func (p *Proxy) begin(ctx context.Context) error {
	for _, n := range p.cfg.Bootstrap.Notes {
		p.log.DebugContext(ctx, "field has no effect", "resource", n.Resource, "path", n.Path, "why", n.Why)
	}
	defer p.engine.Go(debug.FreeOSMemory)
	if p.ads != nil {
		return p.ads.Begin(ctx)
	}
	return p.Apply(ctx, &xdsclient.Update{Resources: p.cfg.Bootstrap.Static})
}

// ReopenLogs opens the files of access logs anew: they were rotated away.
func (p *Proxy) ReopenLogs() error { return p.logs.Reopen() }

func (p *Proxy) closeLogs() {
	if err := p.logs.Close(); err != nil {
		p.log.Error("access logs not closed", "error", err)
	}
}

// Drain makes Run drain and return, as the end of its context does.
func (p *Proxy) Drain() { p.stopOnce.Do(func() { close(p.stop) }) }

// unready are the reasons why the proxy is not ready, none if it is.
func (p *Proxy) unready() []string {
	switch {
	case p.engine.Draining():
		return []string{"draining"}
	case p.failed.Load():
		return []string{"POST /healthcheck/fail asked for this"}
	case p.engine.Graph() == nil:
		return []string{"no configuration in force"}
	case p.ads == nil:
		return nil
	}
	var why []string
	s := p.ads.Status()
	for _, name := range s.Waiting {
		why = append(why, "waiting for "+name)
	}
	if len(why) > 0 && s.LastError != "" {
		why = append(why, s.LastError)
	}
	return why
}
