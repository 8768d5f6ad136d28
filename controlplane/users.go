package controlplane

import (
	"context"

	"github.com/hauberk-mesh/hauberk/controlplane/identity"
	"github.com/hauberk-mesh/hauberk/controlplane/rest"
)

// users lets the API use what package identity does. It is rest.Credentials.
type users struct {
	tokens  *identity.Tokens
	service *identity.Service
}

func (c users) User(ctx context.Context, bearer string) (string, error) {
	claims, err := c.tokens.VerifyUser(ctx, bearer)
	return claims.User, err
}

func (c users) Issue(ctx context.Context, t rest.TokenRequest) (rest.IssuedToken, error) {
	if t.Type == "user" {
		token, claims, err := c.tokens.IssueUser(ctx, t.Name, t.ValidFor.Duration)
		return rest.IssuedToken{ID: claims.TokenID, Token: token, Expires: claims.Expires}, err
	}
	token, claims, err := c.tokens.IssueDataplane(ctx,
		identity.DataplaneClaims{Mesh: t.Mesh, Dataplane: t.Name, Service: t.Service, Workload: t.Workload}, t.ValidFor.Duration)
	return rest.IssuedToken{ID: claims.TokenID, Token: token, Expires: claims.Expires}, err
}

func (c users) RevokeToken(ctx context.Context, id string) error { return c.tokens.Revoke(ctx, id) }

func (c users) RevokeIdentity(ctx context.Context, mesh, spiffeID string) error {
	return c.service.RevokeIdentity(ctx, mesh, spiffeID)
}
