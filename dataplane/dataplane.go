// Package dataplane is the proxy as a member of a mesh: an engine (package engine), and around it what joins the mesh, follows
// its control plane and reports to it. It is the wiring, not the work. It knows no policy and no control plane's resources;
// filter factories and the Dataplane resource, as bytes, are handed in. The proxy without a mesh is package standalone.
//
// Start with Proxy.Run, then Proxy.Apply in apply.go.
package dataplane

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/hauberk-mesh/hauberk/accel/keyprovider"
	"github.com/hauberk-mesh/hauberk/dataplane/config"
	"github.com/hauberk-mesh/hauberk/dataplane/engine"
	"github.com/hauberk-mesh/hauberk/dataplane/filter"
	"github.com/hauberk-mesh/hauberk/dataplane/identity"
	"github.com/hauberk-mesh/hauberk/dataplane/keyring"
	"github.com/hauberk-mesh/hauberk/dataplane/report"
	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
	"github.com/hauberk-mesh/hauberk/dataplane/tls"
	"github.com/hauberk-mesh/hauberk/dataplane/xdsclient"
)

// Node is who this proxy is. The control plane compares it with the token and with the SVID.
type Node struct {
	Mesh     string
	Name     string // of the Dataplane
	Service  string // may be empty
	Workload string
	Zone     string
}

// Config is what a Proxy is made from. Fields without a default must be set.
type Config struct {
	Node Node
	// Resource is the Dataplane as JSON; the control plane registers it.
	Resource []byte

	ControlPlane string // https://host:port or host:port
	CA           []byte // the control plane's anchor, PEM
	TokenFile    string // read at each join, so that it may be replaced
	// StateDir keeps SVID, key handle and the last good configuration over restarts (made with mode 0700). Empty keeps
	// nothing, and a restart needs the control plane.
	StateDir string
	// AdminAddr is where /ready and its kin are served; empty: nowhere.
	AdminAddr string

	Filters []filter.Factory
	// Keys keeps the proxy's private keys, until a MeshTLS names one of MoreKeys.
	Keys     keyprovider.Provider
	MoreKeys []keyprovider.Provider
	// PostQuantum is tls.Options'.
	PostQuantum bool

	// AccessLog takes a line a request; nil: none. The caller closes it when Run has returned.
	AccessLog *telemetry.LogWriter
	// AccessLogFormat is "text" (default: Envoy's default format), "json", or a format string of Envoy's operators.
	AccessLogFormat string

	Logger *slog.Logger
	// LogLevel is what POST /logging changes; nil: it cannot be changed.
	LogLevel *slog.LevelVar

	// Listen and Dial default to the net package's. Dial is used for endpoints and for the control plane.
	Listen func(ctx context.Context, network, addr string) (net.Listener, error)
	Dial   func(ctx context.Context, network, addr string) (net.Conn, error)

	// DrainTime is how long requests in flight may take to end, when the proxy stops and when a listener goes. Default 30s.
	DrainTime time.Duration
	// Version is told to the control plane and shown by /config_dump.
	Version string

	// Instance is by which name of a process the control plane knows this one; a process that takes over from another has
	// that one's. Default a new random string.
	Instance string
	// Upgrade is what POST /upgrade of the admin port does. Nil: it answers that this process cannot.
	Upgrade func() (any, error)
}

const (
	defaultDrainTime = 30 * time.Second
	// withdrawTime is how long a leaving proxy goes on accepting, once the control plane knows: the others are being told.
	withdrawTime = 300 * time.Millisecond
)

// Proxy is one running proxy. Make it with New and Run it once.
type Proxy struct {
	cfg Config
	log *slog.Logger

	id       *tls.Identity
	trust    *tls.Trust
	keys     *keyring.Ring
	engine   *engine.Engine
	identity *identity.Client
	xds      *xdsclient.Client
	report   *report.Client
	sinks    sinks

	telling      sync.Mutex // orders calls of setReadiness
	setReadiness func(inbound string, ready bool, reason string)

	succeeded atomic.Bool   // another process goes on under this one's name
	restored  bool          // a configuration was found in the state directory
	stop      chan struct{} // closed by Drain
	stopOnce  sync.Once
}

// New checks the configuration and connects to nothing. A state that cannot be read is logged and not used.
func New(cfg Config) (*Proxy, error) {
	if err := defaults(&cfg); err != nil {
		return nil, err
	}
	p := &Proxy{
		cfg: cfg, log: cfg.Logger, id: &tls.Identity{}, trust: &tls.Trust{}, keys: keyring.New(cfg.Keys, cfg.MoreKeys...), stop: make(chan struct{}),
	}
	var err error
	if p.sinks, err = newSinks(cfg); err != nil {
		return nil, err
	}
	p.engine = engine.New(engine.Options{
		Config: config.Deps{
			Identity: p.id, Trust: p.trust, Keys: p.keys, PostQuantum: cfg.PostQuantum, Service: cfg.Node.Service, Filters: cfg.Filters, Dial: cfg.Dial,
		},
		Overload: engine.Overload(nil, p.log),
		Trust:    p.trust, Recorder: p.sinks.recorder, OnHealth: p.tellReadiness, Logger: p.log,
		Listen: cfg.Listen, DrainTime: cfg.DrainTime,
	})
	if p.identity, err = newIdentity(p); err != nil {
		return nil, err
	}
	p.report, err = report.New(report.Options{
		Dial: p.identity.Dial, Edges: p.sinks.edges, Ring: p.sinks.ring, Refusals: p.sinks.refusals, Logger: p.log,
	})
	if err != nil {
		return nil, err
	}
	p.setReadiness = p.report.SetReadiness
	p.tellKeys()
	p.xds, err = newXDS(p)
	return p, err
}

func defaults(cfg *Config) error {
	switch {
	case cfg.Node.Mesh == "" || cfg.Node.Name == "":
		return errors.New("dataplane: mesh and name must be set")
	case cfg.ControlPlane == "":
		return errors.New("dataplane: the control plane's address must be set")
	case cfg.TokenFile == "":
		return errors.New("dataplane: a token file must be set; \"hauberk token create dataplane\" makes a token")
	case cfg.Keys == nil:
		return errors.New("dataplane: no key provider")
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
		cfg.DrainTime = defaultDrainTime
	}
	return nil
}

func newIdentity(p *Proxy) (*identity.Client, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(p.cfg.CA) {
		return nil, errors.New("dataplane: the control plane's CA holds no PEM certificate")
	}
	return identity.New(identity.Options{
		ControlPlane: p.cfg.ControlPlane, CAs: pool, Token: identity.TokenFile(p.cfg.TokenFile), Keys: p.cfg.Keys,
		StateDir: p.cfg.StateDir, Mesh: p.cfg.Node.Mesh, Dataplane: p.cfg.Node.Name, Service: p.cfg.Node.Service,
		Identity: p.id, Trust: p.trust, Logger: p.log,
		Dial: func(ctx context.Context, addr string) (net.Conn, error) { return p.cfg.Dial(ctx, "tcp", addr) },
	})
}

func newXDS(p *Proxy) (*xdsclient.Client, error) {
	kept := p.restore()
	p.restored = kept != nil
	return xdsclient.New(xdsclient.Options{
		Instance: p.cfg.Instance,
		Node:     config.Node(p.cfg.Node.Mesh, p.cfg.Node.Name, p.cfg.Node.Zone, p.cfg.Version, p.cfg.Resource),
		Dial:     p.dial, Handler: p, Initial: kept, Adopted: p.keep, Logger: p.log.With("address", p.cfg.ControlPlane),
	})
}

// dial connects to the control plane. One that does not know this proxy's SVID, because it has lost its store, is asked for
// a new one: there is no way back to it with the old.
func (p *Proxy) dial(ctx context.Context) (*grpc.ClientConn, error) {
	if reason := p.xds.Status().LastError; strings.HasPrefix(reason, codes.Unauthenticated.String()) || strings.Contains(reason, "remote error: tls:") {
		p.identity.Hurry()
	}
	return p.identity.Dial(ctx)
}

// Run holds the proxy until ctx ends or Drain is called, then drains it. An error is about the start (the admin port could
// not be bound); what happens later is logged, and lived with.
func (p *Proxy) Run(ctx context.Context) error {
	p.engine.Start(ctx)
	defer p.engine.Stop()
	if err := p.serveAdmin(); err != nil {
		return err
	}
	serving := p.engine.Serving()
	following, leave := context.WithCancel(serving)
	defer leave()
	p.engine.Go(func() { p.logEnd("identity", p.identity.Run(serving)) })
	p.engine.Go(func() { p.follow(following) })

	select {
	case <-ctx.Done():
	case <-p.stop:
	}
	p.drain(leave)
	return nil
}

// follow waits for an identity, without which there is nothing to serve, and then holds the two streams. The kept
// configuration comes into force here, before the control plane is asked.
func (p *Proxy) follow(ctx context.Context) {
	select {
	case <-p.identity.Ready():
	case <-ctx.Done():
		return
	}
	p.engine.Go(func() { p.logEnd("reports", p.report.Run(ctx)) })
	p.logEnd("configuration", p.xds.Run(ctx))
}

func (p *Proxy) logEnd(what string, err error) {
	if err != nil && !errors.Is(err, context.Canceled) {
		p.log.Error("client ended", "client", what, "error", err)
	}
}

// Drain makes Run drain and return, as the end of its context does.
func (p *Proxy) Drain() { p.stopOnce.Do(func() { close(p.stop) }) }

// drain: the control plane withdraws this proxy, callers hear of it, then accepting ends and what is in flight is waited
// for. A proxy that leaves follows no configuration any more, so that nobody waits for its acknowledgement.
func (p *Proxy) drain(leave func()) {
	p.engine.BeginDrain()
	p.log.Info("draining", "within", p.cfg.DrainTime)
	ctx, cancel := context.WithTimeout(context.Background(), p.cfg.DrainTime)
	defer cancel()
	// A proxy that is not the registered one of its name (its stream was refused) has nothing to withdraw.
	if p.succeeded.Load() {
		p.log.Info("leaving without a word", "reason", "another process has taken over")
	} else if !p.xds.Status().Connected && !p.xds.Paused() {
		p.log.Info("leaving without a word", "reason", "not connected")
	} else if err := p.report.Leaving(ctx); err != nil {
		p.log.Info("leaving without a word", "reason", err)
	} else {
		sleep(ctx, withdrawTime)
	}
	leave()
	p.engine.Drain(ctx)
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// Identity is the present SPIFFE ID, empty before the first SVID.
func (p *Proxy) Identity() string { return p.id.ID() }

// Generation is the one in force; zero before the first.
func (p *Proxy) Generation() uint64 {
	if g := p.engine.Graph(); g != nil {
		return g.Generation
	}
	return 0
}
