package identity

import (
	"strings"
	"testing"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/api/resource"
	"github.com/hauberk-mesh/hauberk/controlplane/store"
)

// A revocation that a newer control plane has written again, in words that this one can't read, stays in force.
func TestARevocationIsNotLostByReading(t *testing.T) {
	p := newPlane(t)
	_, claims := p.dataplaneToken(t, DataplaneClaims{Dataplane: "cart-1", Service: "cart"})
	if err := p.service.RevokeIdentity(p.ctx, "default", ownID); err != nil {
		t.Fatal(err)
	}
	r, err := NewRevocations(p.ctx, p.store, p.registry, p.logger)
	if err != nil {
		t.Fatal(err)
	}
	peer := Peer{Mesh: "default", Dataplane: "cart-1", SPIFFEID: ownID, TokenID: claims.TokenID}
	if r.Check(peer) == nil {
		t.Fatal("the identity counts")
	}
	key := api.Key{Kind: "IdentityRevocation", Mesh: "default", Name: resource.RevocationName(ownID)}
	old, err := p.store.Get(p.ctx, key)
	if err != nil {
		t.Fatal(err)
	}
	newer := old
	newer.Value = []byte(`{"apiVersion": "hauberk.io/v2"}`)
	r.take(p.ctx, store.Change{Key: key, Old: &old, New: &newer})
	if r.Check(peer) == nil {
		t.Error("it counts again, since its revocation is unreadable")
	}
	r.take(p.ctx, store.Change{Key: key, Old: &old})
	if err := r.Check(peer); err != nil {
		t.Errorf("after the revocation is deleted: %v", err)
	}
}

// After a change of the trust domain the identities of the former one are in use for a leaf's life, and can be revoked.
func TestIdentityOfAFormerTrustDomainIsRevoked(t *testing.T) {
	p := newPlane(t)
	if err := p.authority.EnsureMesh(p.ctx, "default"); err != nil {
		t.Fatal(err)
	}
	p.put(t, &api.Resource{
		APIVersion: api.APIVersion, Kind: "MeshIdentity", Metadata: api.Meta{Name: "identity"},
		Spec: &resource.MeshIdentity{
			SpiffeID: &resource.SpiffeIDTemplate{TrustDomain: "new.example"}, Provider: resource.IdentityProvider{Type: "Bundled"},
		},
	})
	if err := p.authority.EnsureMesh(p.ctx, "default"); err != nil {
		t.Fatal(err)
	}
	for id, ok := range map[string]bool{
		ownID:                                true,
		"spiffe://new.example/workload/cart": true,
		"spiffe://other.default.mesh.local/workload/cart": false,
	} {
		err := p.service.RevokeIdentity(p.ctx, "default", id)
		if (err == nil) != ok {
			t.Errorf("%s: %v", id, err)
		}
		if !ok && (!strings.Contains(err.Error(), "new.example, default.default.mesh.local")) {
			t.Errorf("the refusal does not name what there is: %v", err)
		}
	}
}
