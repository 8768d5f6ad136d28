// Package engine runs configurations: it builds what the resources say, binds the listeners, swaps one pointer and takes away
// what is gone, and in the end it drains.
//
// It knows neither where a configuration comes from nor who the proxy is: package dataplane adds the mesh to it, package
// standalone a bootstrap file. Start at New, then Engine.Apply in apply.go.
package engine

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/admission"
	"github.com/hauberk-mesh/hauberk/dataplane/config"
	"github.com/hauberk-mesh/hauberk/dataplane/overload"
	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
	"github.com/hauberk-mesh/hauberk/dataplane/tls"
)

// defaultDrainTime is also how long clients of Envoy and its like are used to wait.
const defaultDrainTime = 30 * time.Second

// Options are what an engine leans on. Fields without a default must be set.
type Options struct {
	// Config is handed to the builder. The engine fills in ClusterReady, OnHealth, OnReload, Overload and, if it is nil, Dial.
	Config config.Deps
	// Trust takes over whom a configuration trusts; nil: a configuration is not asked.
	Trust *tls.Trust

	// Recorder is told of each request and connection.
	Recorder telemetry.Recorder
	// Overload says when to do less; the engine runs it. Nil: never.
	Overload *overload.Manager
	// Handshakes bound the TLS handshakes of all listeners together; the zero value is what suits the machine.
	Handshakes admission.Options
	// OnHealth hears that an endpoint stopped or began to answer. Nil: it is only logged.
	OnHealth func(cluster string)
	Logger   *slog.Logger

	// Listen opens the sockets; default the net package's. What it returns may be a socket that is open already.
	Listen func(ctx context.Context, network, addr string) (net.Listener, error)
	// DrainTime is how long requests in flight may take to end when a listener goes. Default 30s.
	DrainTime time.Duration
}

// Engine is one that runs, or will: Start begins, Drain and Stop end it.
type Engine struct {
	o   Options
	log *slog.Logger

	builder *config.Builder
	// current is the whole configuration in force: one store is the swap.
	current atomic.Pointer[config.Graph]
	sockets sockets
	gate    *admission.Gate // of the TLS handshakes of all sockets

	draining atomic.Bool
	refused  limiter // of log lines about refused handshakes

	serving context.Context // set by Start, before anything listens
	end     context.CancelFunc
	running sync.WaitGroup // what runs on serving
}

// New makes an engine without a configuration. It binds and dials nothing.
func New(o Options) *Engine {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Listen == nil {
		o.Listen = (&net.ListenConfig{}).Listen
	}
	if o.DrainTime <= 0 {
		o.DrainTime = defaultDrainTime
	}
	e := &Engine{o: o, log: o.Logger, gate: admission.New(o.Handshakes)}
	e.sockets.byAddr = map[string]*socket{}
	deps := o.Config
	if deps.Dial == nil {
		deps.Dial = (&net.Dialer{}).DialContext
	}
	deps.ClusterReady, deps.OnHealth, deps.OnReload, deps.Overload = e.ClusterReady, e.onHealth, e.onReload, o.Overload
	e.builder = config.New(deps)
	return e
}

// Start makes the engine ready for Apply. It serves until Stop, whatever becomes of ctx, whose values it takes.
func (e *Engine) Start(ctx context.Context) {
	e.serving, e.end = context.WithCancel(context.WithoutCancel(ctx))
	if e.o.Overload != nil {
		e.Go(func() { e.o.Overload.Run(e.serving) })
	}
}

// Serving ends with Stop. What lives as long as the engine runs on it, with Go.
func (e *Engine) Serving() context.Context { return e.serving }

// Go runs f, which Stop waits for.
func (e *Engine) Go(f func()) { e.running.Go(f) }

// Graph is the configuration in force; nil before the first.
func (e *Engine) Graph() *config.Graph { return e.current.Load() }

// Draining is true from BeginDrain on.
func (e *Engine) Draining() bool { return e.draining.Load() }

// BeginDrain refuses configurations from now on. What listens goes on accepting until Drain.
func (e *Engine) BeginDrain() { e.draining.Store(true) }

// Drain ends accepting and waits for what is in flight; what is left when ctx is done is cut.
func (e *Engine) Drain(ctx context.Context) {
	e.BeginDrain()
	if n := e.sockets.drainAll(ctx); n > 0 {
		e.log.Warn("drain ended with connections open", "listeners", n)
	}
	if g := e.current.Load(); g != nil {
		g.Release(nil)
	}
}

// DrainListeners stops accepting and goes on with the connections that there are; gracefully, they are asked to end.
func (e *Engine) DrainListeners(graceful, inboundOnly bool) {
	for _, s := range e.sockets.open() {
		if spec := s.source(); inboundOnly && (spec == nil || spec.Direction != telemetry.Inbound) {
			continue
		}
		s.listener.Close()
		if graceful {
			e.Go(func() { _ = s.listener.Drain(e.serving) }) // it cuts nothing before the end
		}
	}
}

// Stop cuts what is still there, and returns when everything has ended.
func (e *Engine) Stop() {
	e.end()
	e.running.Wait()
}

// ClusterReady tells whether a cluster of the configuration in force has an endpoint that answered last time.
func (e *Engine) ClusterReady(name string) bool {
	g := e.current.Load()
	if g == nil {
		return false
	}
	c := g.Clusters[name]
	return c != nil && c.Ready()
}

// onHealth hears that an endpoint stopped or began to answer.
func (e *Engine) onHealth(cluster, endpoint string, up bool, reason string) {
	level := e.log.Info
	if !up {
		level = e.log.Warn
	}
	level("endpoint", "cluster", cluster, "endpoint", endpoint, "up", up, "reason", reason)
	if e.o.OnHealth != nil {
		e.o.OnHealth(cluster)
	}
}

// onReload hears that files of certificates could not be read anew.
func (e *Engine) onReload(resource string, err error) {
	e.log.Error("certificates not read anew, those from before stay in force", "resource", resource, "error", err)
}

// errDraining is what a configuration is refused with when it comes too late.
var errDraining = errors.New("the proxy is draining")
