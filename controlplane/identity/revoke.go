package identity

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/api/resource"
	"github.com/hauberk-mesh/hauberk/controlplane/identity/ca"
)

// RevokeIdentity ends issuing to a SPIFFE ID of the mesh, and by the configuration that follows makes every proxy of the
// mesh refuse its handshakes. Nobody needs to hold the identity at this moment. To revoke it twice is no error.
func (s *Service) RevokeIdentity(ctx context.Context, mesh, id string) error {
	if mesh == "" {
		mesh = api.DefaultMesh
	}
	parsed, err := spiffeid.FromString(id)
	if err != nil {
		return fmt.Errorf("revoke identity %q: is no SPIFFE ID: %w", id, err)
	}
	if parsed.Path() == "" {
		return fmt.Errorf("revoke identity %s: that is a trust domain, not a workload", id)
	}
	if _, err := s.resources.Get(ctx, api.Key{Kind: "Mesh", Name: mesh}); err != nil {
		return fmt.Errorf("revoke identity %s: mesh %s: %w", id, mesh, err)
	}
	domains, err := s.trustDomains(ctx, mesh)
	if err != nil {
		return fmt.Errorf("revoke identity %s: %w", id, err)
	}
	if !slices.Contains(domains, parsed.TrustDomain().Name()) {
		return fmt.Errorf("revoke identity %s: it is of the trust domain %s, and mesh %s has %s: name the right mesh",
			id, parsed.TrustDomain().Name(), mesh, strings.Join(domains, ", "))
	}
	if done, err := s.revoked(ctx, mesh, id); done || err != nil {
		return err // the time of the first revocation stands
	}
	r := &api.Resource{
		APIVersion: api.APIVersion, Kind: "IdentityRevocation",
		Metadata: api.Meta{Name: resource.RevocationName(id), Labels: map[string]string{api.LabelMesh: mesh}},
		Spec:     &resource.IdentityRevocation{SpiffeID: id, Revoked: time.Now().UTC().Truncate(time.Second)},
	}
	if _, err := s.resources.Put(ctx, r); err != nil {
		return fmt.Errorf("revoke identity %s: %w", id, err)
	}
	s.logger.WarnContext(ctx, "identity revoked", "mesh", mesh, "identity", id)
	return nil
}

// trustDomains are those whose identities count in a mesh: the present one first, then those of its MeshTrusts. Among them is
// the former one after a change, as long as its leaves may be in use.
func (s *Service) trustDomains(ctx context.Context, mesh string) ([]string, error) {
	identity, err := ca.InForce(ctx, s.resources, mesh)
	if err != nil {
		return nil, err
	}
	present, err := identity.TrustDomainOf(mesh, s.zone)
	if err != nil {
		return nil, err
	}
	trusts, err := s.resources.List(ctx, "MeshTrust", mesh)
	if err != nil {
		return nil, fmt.Errorf("read MeshTrust: %w", err)
	}
	domains := []string{present}
	for _, r := range trusts {
		if trust, ok := r.Spec.(*resource.MeshTrust); ok && !slices.Contains(domains, trust.TrustDomain) {
			domains = append(domains, trust.TrustDomain)
		}
	}
	return domains, nil
}
