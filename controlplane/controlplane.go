// Package controlplane wires the control plane: store, world, identity, discovery, xDS and the API, as one thing that runs
// until its context ends.
//
// Everything that decides something is in a package below; here is only who is made from what, and in which order they
// start and stop. Start at ControlPlane.Run, which reads as the table of contents.
package controlplane

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/hauberk-mesh/hauberk/accel/keyprovider"
	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/internal/atomicfile"
	"github.com/hauberk-mesh/hauberk/policy"
)

// Config is what a control plane is made from. DataDir, Keys, Kinds, Policies and DefaultPolicies are required.
type Config struct {
	// DataDir (0700) holds the store, the anchor, the admin credential and the addresses.
	DataDir string
	// Store is bolt (default) or memory, which forgets everything at the end.
	Store string
	// APIAddr and XDSAddr are host:port; port 0 is any free one. Default DefaultAPIAddr and DefaultXDSAddr.
	APIAddr, XDSAddr string
	// Hosts are further names and addresses by which clients reach the ports; they go into the server certificate.
	Hosts []string

	// Kinds are all kinds of resources, those of policies too.
	Kinds []api.Kind
	// Policies edit each proxy in this order.
	Policies []policy.Policy
	// DefaultPolicies are those that come with a new mesh.
	DefaultPolicies func(mesh string) []*api.Resource
	// Keys holds the private keys of the control plane.
	Keys keyprovider.Provider

	Version string
	Logger  *slog.Logger // default: none
}

// ControlPlane is one control plane. Make it with New, Run it once.
type ControlPlane struct {
	cfg   Config
	log   *slog.Logger
	ready chan struct{}
	addrs Addresses
}

// New checks the configuration and touches nothing yet.
func New(cfg Config) (*ControlPlane, error) {
	switch {
	case cfg.DataDir == "":
		return nil, errors.New("control plane: no data dir is given")
	case cfg.Store == "":
		cfg.Store = StoreBolt
	case cfg.Store != StoreBolt && cfg.Store != StoreMemory:
		return nil, fmt.Errorf("control plane: there is no store %q: choose bolt or memory", cfg.Store)
	}
	if cfg.Keys == nil || len(cfg.Kinds) == 0 || cfg.DefaultPolicies == nil {
		return nil, errors.New("control plane: Keys, Kinds and DefaultPolicies must be set")
	}
	if cfg.APIAddr == "" {
		cfg.APIAddr = DefaultAPIAddr
	}
	if cfg.XDSAddr == "" {
		cfg.XDSAddr = DefaultXDSAddr
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &ControlPlane{cfg: cfg, log: cfg.Logger, ready: make(chan struct{})}, nil
}

// Ready is closed once both ports serve.
func (c *ControlPlane) Ready() <-chan struct{} { return c.ready }

// Addresses are where it listens; valid once Ready is closed.
func (c *ControlPlane) Addresses() Addresses { return c.addrs }

// Run serves until ctx ends (nil), or until something fails that it cannot do without. The ports are bound first, so that
// two control planes on one machine find out before either touches its data.
func (c *ControlPlane) Run(ctx context.Context) (err error) {
	if err := atomicfile.PrivateDir(c.cfg.DataDir); err != nil {
		return fmt.Errorf("data dir: %w", err)
	}
	apiPort, err := listen(c.cfg.APIAddr, "API")
	if err != nil {
		return err
	}
	defer apiPort.Close()
	xdsPort, err := listen(c.cfg.XDSAddr, "xDS")
	if err != nil {
		return err
	}
	defer xdsPort.Close()

	data, err := c.openData()
	if err != nil {
		return err
	}
	// Last of all: whoever stops may still write.
	defer func() { err = errors.Join(err, data.store.Close()) }()

	work, ctx := errgroup.WithContext(ctx)
	trust, err := c.openTrust(ctx, data)
	if err != nil {
		return err
	}
	if err := data.meshes.firstStart(ctx, c.log); err != nil {
		return fmt.Errorf("first start: %w", err)
	}
	work.Go(func() error { return data.worlds.Run(ctx) })
	work.Go(func() error { return trust.revocations.Run(ctx) })
	select {
	case <-data.worlds.Ready():
	case <-ctx.Done():
		return work.Wait()
	}
	c.keepAuthorities(ctx, work, data, trust)

	proxies, err := c.newProxies(ctx, work, data)
	if err != nil {
		return errors.Join(err, stop(work))
	}
	c.serveProxies(ctx, work, xdsPort, proxies, trust)
	c.serveAPI(ctx, work, apiPort, c.newAPI(data, trust, proxies), trust)

	c.addrs = Addresses{API: apiPort.Addr().String(), XDS: xdsPort.Addr().String()}
	if err := c.addrs.write(c.cfg.DataDir); err != nil {
		return errors.Join(fmt.Errorf("data dir: %w", err), stop(work))
	}
	c.log.InfoContext(ctx, "control plane is ready", "api", "https://"+c.addrs.API, "xds", "https://"+c.addrs.XDS,
		"store", c.cfg.Store, "dataDir", c.cfg.DataDir, "version", c.cfg.Version)
	close(c.ready)
	return work.Wait()
}

// errStop ends a group whose members wait for its context.
var errStop = errors.New("stop")

func stop(work *errgroup.Group) error {
	work.Go(func() error { return errStop })
	if err := work.Wait(); !errors.Is(err, errStop) {
		return err
	}
	return nil
}

func listen(addr, what string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			return nil, fmt.Errorf("%s port: %s is taken: is another control plane running? choose another address", what, addr)
		}
		return nil, fmt.Errorf("%s port: %w", what, err)
	}
	return l, nil
}
