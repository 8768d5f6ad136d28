package controlplane

import (
	"context"
	"fmt"
	"net"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/controlplane/identity"
	"github.com/hauberk-mesh/hauberk/controlplane/identity/ca"
	"github.com/hauberk-mesh/hauberk/controlplane/store"
	"github.com/hauberk-mesh/hauberk/controlplane/store/bolt"
	"github.com/hauberk-mesh/hauberk/controlplane/store/memory"
	"github.com/hauberk-mesh/hauberk/controlplane/world"
)

// The stores there are.
const (
	StoreBolt   = "bolt"
	StoreMemory = "memory"
)

// data is what is kept, and the picture of it.
type data struct {
	registry  *api.Registry
	store     store.Store
	resources *store.Resources
	worlds    *world.Watcher
	meshes    *meshes
}

func (c *ControlPlane) openData() (*data, error) {
	d := &data{registry: api.NewRegistry(c.cfg.Kinds...)}
	if c.cfg.Store == StoreMemory {
		d.store = memory.New(memory.Options{})
	} else {
		s, err := bolt.Open(filepath.Join(c.cfg.DataDir, "store.db"))
		if err != nil {
			return nil, err
		}
		d.store = s
	}
	d.resources = store.NewResources(d.store, d.registry)
	d.worlds = world.NewWatcher(d.store, d.registry, c.log)
	d.meshes = &meshes{store: d.store, resources: d.resources, registry: d.registry, policies: c.cfg.DefaultPolicies}
	return d, nil
}

// trust is who is believed: the ports' own anchor, tokens, the authorities of meshes, and what is revoked.
type trust struct {
	anchor      *identity.Anchor
	tokens      *identity.Tokens
	authority   *ca.Builtin
	revocations *identity.Revocations
	service     *identity.Service
}

func (c *ControlPlane) openTrust(ctx context.Context, d *data) (*trust, error) {
	t := &trust{}
	var err error
	t.anchor, err = identity.OpenAnchor(ctx, identity.AnchorOptions{DataDir: c.cfg.DataDir, Keys: c.cfg.Keys, Hosts: c.hosts(), Logger: c.log})
	if err != nil {
		return nil, err
	}
	t.tokens, err = identity.NewTokens(ctx, identity.TokensOptions{Store: d.store, Resources: d.resources, Keys: c.cfg.Keys, Logger: c.log})
	if err != nil {
		return nil, err
	}
	if _, err := t.tokens.EnsureAdmin(ctx, c.cfg.DataDir); err != nil {
		return nil, err
	}
	t.revocations, err = identity.NewRevocations(ctx, d.store, d.registry, c.log)
	if err != nil {
		return nil, err
	}
	t.authority = ca.NewBuiltin(ca.Options{Store: d.store, Resources: d.resources, Keys: c.cfg.Keys, Logger: c.log})
	t.service = identity.NewService(identity.ServiceOptions{Authority: t.authority, Resources: d.resources, Logger: c.log})
	return t, nil
}

// hosts are the names by which clients reach the ports: those of the configuration, and the addresses that are bound.
func (c *ControlPlane) hosts() []string {
	hosts := append([]string{}, c.cfg.Hosts...)
	for _, addr := range []string{c.cfg.APIAddr, c.cfg.XDSAddr} {
		host, _, err := net.SplitHostPort(addr)
		if ip := net.ParseIP(host); err == nil && host != "" && (ip == nil || !ip.IsUnspecified()) {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

func (c *ControlPlane) keepAuthorities(ctx context.Context, work *errgroup.Group, d *data, t *trust) {
	updates := d.worlds.Subscribe(ctx)
	for name := range d.worlds.Current().Meshes {
		if err := t.authority.EnsureMesh(ctx, name); err != nil {
			c.log.ErrorContext(ctx, "the authority of a mesh is not ready", "mesh", name, "error", err)
		}
	}
	work.Go(func() error {
		if err := d.meshes.keepAuthorities(ctx, t.authority, updates, d.worlds.Current, c.log); err != nil {
			return fmt.Errorf("authorities: %w", err)
		}
		return nil
	})
}
