package identity

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/api/resource"
	"github.com/hauberk-mesh/hauberk/controlplane/identity/ca"
	"github.com/hauberk-mesh/hauberk/controlplane/store"
	identityv1 "github.com/hauberk-mesh/hauberk/wire/identity/v1"
)

// Service turns signing requests into SVIDs. It must stand behind a Gate.
type Service struct {
	identityv1.UnimplementedIdentityServiceServer
	authority ca.Authority
	resources Resources
	zone      string
	logger    *slog.Logger
}

// ServiceOptions are what NewService needs. All but Zone are required.
type ServiceOptions struct {
	Authority ca.Authority
	Resources Resources
	Zone      string // default api.DefaultZone
	Logger    *slog.Logger
}

// NewService returns the service.
func NewService(o ServiceOptions) *Service {
	if o.Zone == "" {
		o.Zone = api.DefaultZone
	}
	return &Service{authority: o.Authority, resources: o.Resources, zone: o.Zone, logger: o.Logger}
}

// Join buys the first SVID with a dataplane token.
func (s *Service) Join(ctx context.Context, q *identityv1.JoinRequest) (*identityv1.SVID, error) {
	claims, ok := ctx.Value(joinerKey{}).(DataplaneClaims)
	if !ok {
		return nil, status.Error(codes.Unauthenticated, "no dataplane token was verified for this call")
	}
	return s.issue(ctx, "join", claims, q.GetCsr())
}

// Renew buys the next SVID with the present one. What it is for is read from the record of the token with which it began:
// a leaf buys no more than its token did.
func (s *Service) Renew(ctx context.Context, q *identityv1.RenewRequest) (*identityv1.SVID, error) {
	p, ok := PeerFrom(ctx)
	if !ok {
		return nil, status.Error(codes.Unauthenticated, "no SVID was verified for this call")
	}
	claims := DataplaneClaims{Mesh: p.Mesh, Dataplane: p.Dataplane, Service: p.Service, Workload: p.Workload, TokenID: p.TokenID}
	rec, err := tokenRecord(ctx, s.resources, p.Mesh, p.TokenID)
	if err != nil {
		return nil, s.refuse(ctx, "renew", claims, codes.Unauthenticated, err)
	}
	if rec.Dataplane != p.Dataplane || rec.Service != p.Service {
		return nil, s.refuse(ctx, "renew", claims, codes.Unauthenticated, errors.New("the SVID names somebody else than the record of its token"))
	}
	claims.Workload = rec.Workload
	return s.issue(ctx, "renew", claims, q.GetCsr())
}

// issue is the one place where an SVID comes to be: who (claims, verified), which name (the mesh's template), not revoked,
// which key (the signing request), signed.
func (s *Service) issue(ctx context.Context, how string, c DataplaneClaims, csr []byte) (*identityv1.SVID, error) {
	identity, err := ca.InForce(ctx, s.resources, c.Mesh)
	if err != nil {
		return nil, s.fail(ctx, how, c, err)
	}
	if identity == nil {
		return nil, s.refuse(ctx, how, c, codes.FailedPrecondition, fmt.Errorf("mesh %s has no MeshIdentity, so nobody gets an SVID: apply one", c.Mesh))
	}
	name, err := identity.SPIFFEIDOf(c.Mesh, s.zone, c.Workload)
	if err != nil {
		return nil, s.refuse(ctx, how, c, codes.FailedPrecondition, fmt.Errorf("the MeshIdentity of mesh %s gives no SPIFFE ID: %w", c.Mesh, err))
	}
	id, err := spiffeid.FromString(name)
	if err != nil {
		return nil, s.refuse(ctx, how, c, codes.FailedPrecondition, err)
	}
	revoked, err := s.revoked(ctx, c.Mesh, name)
	if err != nil {
		return nil, s.fail(ctx, how, c, err)
	}
	if revoked {
		return nil, s.refuse(ctx, how, c, codes.PermissionDenied, fmt.Errorf("the identity %s is revoked", name))
	}
	key, err := readCSR(csr, name)
	if err != nil {
		return nil, s.refuse(ctx, how, c, codes.InvalidArgument, err)
	}
	if err := s.authority.EnsureMesh(ctx, c.Mesh); err != nil {
		return nil, s.fail(ctx, how, c, err)
	}
	chain, err := s.authority.Sign(ctx, c.Mesh, ca.Leaf{ID: id, Subject: subjectOf(c), PublicKey: key, Life: identity.LeafExpiry()})
	if err != nil {
		return nil, s.fail(ctx, how, c, err)
	}
	bundles, err := s.bundles(ctx, c.Mesh)
	if err != nil {
		return nil, s.fail(ctx, how, c, err)
	}
	leaf := chain[0]
	s.logger.InfoContext(ctx, "svid issued", "how", how, "mesh", c.Mesh, "dataplane", c.Dataplane, "service", c.Service,
		"identity", name, "serial", leaf.SerialNumber.Text(16), "expires", leaf.NotAfter)
	return answer(name, chain, bundles, time.Now()), nil
}

// subjectOf writes what peerOf reads.
func subjectOf(c DataplaneClaims) pkix.Name {
	s := pkix.Name{CommonName: c.Dataplane, Organization: []string{c.Mesh}, SerialNumber: c.TokenID}
	if c.Service != "" {
		s.OrganizationalUnit = []string{c.Service}
	}
	return s
}

// revoked asks the store itself, so that no SVID is issued once RevokeIdentity has returned.
func (s *Service) revoked(ctx context.Context, mesh, id string) (bool, error) {
	_, err := s.resources.Get(ctx, api.Key{Kind: "IdentityRevocation", Mesh: mesh, Name: resource.RevocationName(id)})
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read whether %s is revoked: %w", id, err)
	}
	return true, nil
}

// bundles are all MeshTrusts of the mesh.
func (s *Service) bundles(ctx context.Context, mesh string) ([]*identityv1.TrustBundle, error) {
	list, err := s.resources.List(ctx, "MeshTrust", mesh)
	if err != nil {
		return nil, fmt.Errorf("read the trust bundles of mesh %s: %w", mesh, err)
	}
	var out []*identityv1.TrustBundle
	for _, r := range list {
		trust, ok := r.Spec.(*resource.MeshTrust)
		if !ok {
			continue
		}
		b := &identityv1.TrustBundle{TrustDomain: trust.TrustDomain}
		for _, text := range trust.Certificates() {
			if block, _ := pem.Decode([]byte(text)); block != nil {
				b.Certificates = append(b.Certificates, block.Bytes)
			}
		}
		out = append(out, b)
	}
	return out, nil
}

// answer says when to come again: at half of what is left of the leaf's life, ten per cent more or less, so that proxies
// that joined together do not renew together.
func answer(id string, chain []*x509.Certificate, bundles []*identityv1.TrustBundle, now time.Time) *identityv1.SVID {
	left := chain[0].NotAfter.Sub(now)
	renew := now.Add(time.Duration(float64(left) * (0.45 + 0.1*rand.Float64())))
	out := &identityv1.SVID{
		SpiffeId: id, Bundles: bundles,
		NotAfter: timestamppb.New(chain[0].NotAfter), RenewAt: timestamppb.New(renew),
	}
	for _, c := range chain {
		out.Certificates = append(out.Certificates, c.Raw)
	}
	return out
}

// refuse is for what the caller did or may not have: it is told why.
func (s *Service) refuse(ctx context.Context, how string, c DataplaneClaims, code codes.Code, reason error) error {
	s.logger.WarnContext(ctx, "svid refused", "how", how, "from", remoteAddr(ctx), "mesh", c.Mesh, "dataplane", c.Dataplane,
		"service", c.Service, "token", c.TokenID, "reason", reason)
	return status.Error(code, reason.Error())
}

// fail is for what went wrong on our side: the caller learns that it may try again, the log has the cause.
func (s *Service) fail(ctx context.Context, how string, c DataplaneClaims, err error) error {
	s.logger.ErrorContext(ctx, "svid not issued", "how", how, "mesh", c.Mesh, "dataplane", c.Dataplane, "service", c.Service, "error", err)
	return status.Error(codes.Unavailable, "the control plane could not issue an SVID now: its log has the cause")
}
