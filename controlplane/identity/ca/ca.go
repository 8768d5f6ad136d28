// Package ca signs leaves for the workloads of a mesh. Each mesh has an authority of its own, so that no mesh can speak for
// another.
//
// What it is not: it decides nothing about who gets an identity (package identity does); it writes what it is told and
// bounds how long that lasts.
//
// Start at Authority; Builtin is the one whose keys are in the control plane.
package ca

import (
	"context"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/api/resource"
	"github.com/hauberk-mesh/hauberk/controlplane/store"
)

// Authority is who signs. It is safe for concurrent use.
type Authority interface {
	// EnsureMesh makes what a mesh needs before anybody can get a leaf of it, its trust bundle included, and renews what
	// ages. It is cheap where nothing is to be done.
	EnsureMesh(ctx context.Context, mesh string) error
	// Sign returns the leaf and the intermediates behind it, without the root. EnsureMesh must have succeeded once.
	Sign(ctx context.Context, mesh string, l Leaf) ([]*x509.Certificate, error)
	// Roots are what chains of Sign lead to, and the trust domain in which they do.
	Roots(ctx context.Context, mesh string) (trustDomain string, roots []*x509.Certificate, err error)
}

// Leaf is what a certificate shall say. PublicKey has been proven to be the caller's.
type Leaf struct {
	ID        spiffeid.ID
	Subject   pkix.Name
	PublicKey crypto.PublicKey
	Life      time.Duration // the authority shortens it where its own certificate ends before
}

// Resources is what this package needs of store.Resources.
type Resources interface {
	// Get returns store.ErrNotFound where there is none.
	Get(ctx context.Context, key api.Key) (*api.Resource, error)
	// List returns the resources of a kind, sorted by key; mesh "" is all meshes.
	List(ctx context.Context, kind, mesh string) ([]*api.Resource, error)
	// Put writes one. With metadata.resourceVersion set it returns store.ErrConflict if the stored one is another.
	Put(ctx context.Context, r *api.Resource) (store.Revision, error)
}

// InForce is the MeshIdentity of a mesh, nil without one: of several the one whose name sorts first.
func InForce(ctx context.Context, r Resources, mesh string) (*resource.MeshIdentity, error) {
	list, err := r.List(ctx, "MeshIdentity", mesh)
	if err != nil {
		return nil, fmt.Errorf("mesh %s: read its MeshIdentity: %w", mesh, err)
	}
	for _, one := range list {
		if spec, ok := one.Spec.(*resource.MeshIdentity); ok {
			return spec, nil
		}
	}
	return nil, nil
}
