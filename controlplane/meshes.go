package controlplane

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/api/resource"
	"github.com/hauberk-mesh/hauberk/controlplane/identity/ca"
	"github.com/hauberk-mesh/hauberk/controlplane/store"
	"github.com/hauberk-mesh/hauberk/controlplane/world"
)

// meshes makes what comes with a mesh, and removes a mesh with all that is in it. It is rest.Meshes.
type meshes struct {
	store     store.Store
	resources *store.Resources
	registry  *api.Registry
	policies  func(mesh string) []*api.Resource // the default policies
}

// Defaults are the resources that come with a new mesh: how its workloads get identities, and the default policies but
// for those that it says to leave out. They are ordinary resources: nothing falls back to them once they are deleted.
// The trust bundle is not among them: it is the authority's to write.
func (m *meshes) Defaults(mesh *api.Resource) ([]*api.Resource, error) {
	spec, ok := mesh.Spec.(*resource.Mesh)
	if !ok {
		return nil, fmt.Errorf("mesh %s: its spec is a %T", mesh.Metadata.Name, mesh.Spec)
	}
	all := []*api.Resource{{
		APIVersion: api.APIVersion, Kind: "MeshIdentity",
		Metadata: api.Meta{Name: "identity", Labels: map[string]string{api.LabelMesh: mesh.Metadata.Name, api.LabelOrigin: api.OriginDefault}},
		Spec: &resource.MeshIdentity{Provider: resource.IdentityProvider{
			Type: resource.ProviderBundled,
			Bundled: &resource.BundledProvider{
				Autogenerate:          &resource.Autogenerate{Enabled: true},
				CertificateParameters: &resource.CertificateParameters{Expiry: &api.Duration{Duration: resource.DefaultLeafExpiry}},
			},
		}},
	}}
	for _, p := range m.policies(mesh.Metadata.Name) {
		if !spec.Skips(p.Kind) {
			all = append(all, p)
		}
	}
	return all, nil
}

// firstStart creates the mesh "default" in a store that has no mesh at all. One that was deleted while others are left
// does not come back.
func (m *meshes) firstStart(ctx context.Context, log *slog.Logger) error {
	have, err := m.resources.List(ctx, "Mesh", "")
	if err != nil || len(have) > 0 {
		return err
	}
	mesh := &api.Resource{
		APIVersion: api.APIVersion, Kind: "Mesh",
		Metadata: api.Meta{Name: api.DefaultMesh, Labels: map[string]string{api.LabelOrigin: api.OriginDefault}},
		Spec:     &resource.Mesh{},
	}
	more, err := m.Defaults(mesh)
	if err != nil {
		return err
	}
	if _, err := m.resources.Apply(ctx, append([]*api.Resource{mesh}, more...)); err != nil {
		return err
	}
	log.InfoContext(ctx, "created the mesh", "mesh", api.DefaultMesh)
	return nil
}

// Remove deletes the Mesh and every record that belongs to it, its keys and tokens too, in one transaction. Tokens of users
// are stored under the default mesh but belong to none; they stay.
func (m *meshes) Remove(ctx context.Context, mesh string) (store.Revision, error) {
	if mesh == "" {
		return 0, errors.New("remove mesh: it has no name") // an empty selector would choose everything
	}
	for {
		revision, err := m.remove(ctx, mesh)
		if err == nil {
			return revision, m.sweep(ctx, mesh)
		}
		if !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrConflict) {
			return 0, err
		}
		// Something went or changed between our reading and our writing, unless it is the mesh itself that is gone.
		if _, err := m.resources.Get(ctx, api.Key{Kind: "Mesh", Name: mesh}); err != nil {
			return 0, err
		}
	}
}

func (m *meshes) remove(ctx context.Context, mesh string) (store.Revision, error) {
	ops, err := m.deletions(ctx, mesh)
	if err != nil {
		return 0, err
	}
	return m.store.Txn(ctx, append(ops, store.Op{Key: api.Key{Kind: "Mesh", Name: mesh}})...)
}

// sweep deletes what an authority or a registration wrote of a mesh while it was being removed, so that a later mesh of
// that name inherits nothing. Whoever writes for a mesh outside its removal calls it too: one of the two comes last.
func (m *meshes) sweep(ctx context.Context, mesh string) error {
	for {
		_, err := m.resources.Get(ctx, api.Key{Kind: "Mesh", Name: mesh})
		if !errors.Is(err, store.ErrNotFound) {
			return err // it is there, and what it has is its own
		}
		ops, err := m.deletions(ctx, mesh)
		if err != nil || len(ops) == 0 {
			return err
		}
		if _, err := m.store.Txn(ctx, ops...); err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}

// deletions are the ops that delete all records of a mesh but the Mesh itself.
func (m *meshes) deletions(ctx context.Context, mesh string) ([]store.Op, error) {
	records, _, err := m.store.List(ctx, store.Selector{Mesh: mesh})
	if err != nil {
		return nil, err
	}
	var ops []store.Op
	for _, rec := range records {
		keep, err := m.isUserToken(rec)
		if err != nil {
			return nil, err
		}
		if !keep {
			ops = append(ops, store.Op{Key: rec.Key, If: store.IfRevision(rec.Revision)})
		}
	}
	return ops, nil
}

func (m *meshes) isUserToken(rec store.Record) (bool, error) {
	if rec.Key.Kind != "Token" {
		return false, nil
	}
	r, err := m.registry.DecodeJSON(rec.Value)
	if err != nil {
		return false, err
	}
	t, ok := r.Spec.(*resource.Token)
	return ok && t.Type == resource.TokenUser, nil
}

// forgetMeshes has forget drop what is kept in memory of a mesh, once it is deleted, by whomever.
func forgetMeshes(updates <-chan *world.Update, forget func(mesh string)) {
	for u := range updates {
		for name := range u.Changed {
			if u.New.Meshes[name] == nil {
				forget(name)
			}
		}
	}
}

// keepAuthorities makes sure that each mesh has its authority and that what ages is renewed: when a mesh appears or its
// identity changes, and every hour.
func (m *meshes) keepAuthorities(ctx context.Context, authority ca.Authority, updates <-chan *world.Update, current func() *world.World, log *slog.Logger) error {
	hourly := time.NewTicker(time.Hour)
	defer hourly.Stop()
	ensure := func(mesh string) {
		// A mesh whose authority cannot be made is no reason to stop all others; a join says so again.
		err := errors.Join(authority.EnsureMesh(ctx, mesh), m.sweep(ctx, mesh))
		if err != nil && ctx.Err() == nil {
			log.ErrorContext(ctx, "the authority of a mesh is not ready", "mesh", mesh, "error", err)
		}
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case u, ok := <-updates:
			if !ok {
				return nil
			}
			for name, change := range u.Changed {
				if change.MeshWide && u.New.Meshes[name] != nil {
					ensure(name)
				}
			}
		case <-hourly.C:
			for name := range current().Meshes {
				ensure(name)
			}
		}
	}
}
