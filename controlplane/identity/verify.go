package identity

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/api/resource"
	"github.com/hauberk-mesh/hauberk/controlplane/store"
)

const (
	issuer            = "hauberk"
	audienceDataplane = "hauberk-dataplane"
	audienceAPI       = "hauberk-api"

	// maxToken bounds what is parsed for strangers. Our own tokens have under 1 KB.
	maxToken = 8 << 10
	// maxSkew is how far the clock of a control plane that issued a token may be ahead of this one's.
	maxSkew = 10 * time.Second
)

// claims are the payload of a token. Service and Workload are never empty by omission: what issues them fills them in.
type claims struct {
	jwt.Claims
	Mesh      string `json:"mesh,omitempty"`
	Dataplane string `json:"dataplane,omitempty"`
	Service   string `json:"service,omitempty"`
	Workload  string `json:"workload,omitempty"`
	User      string `json:"user,omitempty"`
}

func typeOf(audience string) string {
	if audience == audienceAPI {
		return resource.TokenUser
	}
	return resource.TokenDataplane
}

// VerifyDataplane returns what a dataplane token buys. The error says why it buys nothing, and never contains the token.
func (t *Tokens) VerifyDataplane(ctx context.Context, token string) (DataplaneClaims, error) {
	c, err := t.verify(ctx, token, audienceDataplane)
	if err != nil {
		return DataplaneClaims{}, fmt.Errorf("dataplane token: %w", err)
	}
	return DataplaneClaims{
		Mesh: c.Mesh, Dataplane: c.Dataplane, Service: c.Service, Workload: c.Workload,
		TokenID: c.ID, Expires: c.Expiry.Time(),
	}, nil
}

// VerifyUser returns whose a token for the API is. The error says why it is nobody's, and never contains the token.
func (t *Tokens) VerifyUser(ctx context.Context, token string) (UserClaims, error) {
	c, err := t.verify(ctx, token, audienceAPI)
	if err != nil {
		return UserClaims{}, fmt.Errorf("user token: %w", err)
	}
	return UserClaims{User: c.User, TokenID: c.ID, Expires: c.Expiry.Time()}, nil
}

// verify trusts nothing before the signature: one algorithm, our key, then every claim.
func (t *Tokens) verify(ctx context.Context, token, audience string) (claims, error) {
	c, err := t.parse(token)
	if err != nil {
		return claims{}, err
	}
	if err := c.check(audience, time.Now()); err != nil {
		return claims{}, err
	}
	return c, t.checkRecord(ctx, c)
}

// signed checks all of a token but its record, which is the store's to tell.
func (t *Tokens) signed(token, audience string) error {
	c, err := t.parse(token)
	if err == nil {
		err = c.check(audience, time.Now())
	}
	if err != nil {
		return fmt.Errorf("dataplane token: %w", err)
	}
	return nil
}

// parse returns the claims of a token that this control plane signed.
func (t *Tokens) parse(token string) (claims, error) {
	if len(token) > maxToken {
		return claims{}, fmt.Errorf("has %d bytes, more than %d", len(token), maxToken)
	}
	signed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return claims{}, errors.New("is not a JWT signed with ES256") // the cause could quote the token
	}
	if len(signed.Headers) != 1 || signed.Headers[0].KeyID != t.keyID {
		return claims{}, errors.New("was signed by another control plane, or by this one before it lost its store: make a new one")
	}
	var c claims
	if err := signed.Claims(t.public, &c); err != nil {
		return claims{}, errors.New("its signature is wrong")
	}
	return c, nil
}

// check judges signed claims.
func (c *claims) check(audience string, now time.Time) error {
	switch {
	case c.Issuer != issuer:
		return fmt.Errorf("its issuer is %q instead of %q", c.Issuer, issuer)
	case len(c.Audience) != 1 || c.Audience[0] != audience:
		return fmt.Errorf("it is for %q and not for %q", c.Audience, audience)
	case c.ID == "":
		return errors.New("it has no id (jti)")
	case c.Expiry == nil || c.IssuedAt == nil:
		return errors.New("it lacks exp or iat")
	case !now.Before(c.Expiry.Time()):
		return fmt.Errorf("it (id %s) expired at %s: make a new one", c.ID, c.Expiry.Time().UTC().Format(time.RFC3339))
	case c.IssuedAt.Time().After(now.Add(maxSkew)):
		return fmt.Errorf("it (id %s) was issued at %s, which is in the future: compare the clocks", c.ID, c.IssuedAt.Time().UTC().Format(time.RFC3339))
	case c.NotBefore != nil && c.NotBefore.Time().After(now):
		return fmt.Errorf("it (id %s) is not valid yet", c.ID)
	case audience == audienceDataplane && (c.Mesh == "" || c.Dataplane == "" || c.Workload == "" || c.User != ""):
		return fmt.Errorf("it (id %s) names no dataplane", c.ID)
	case audience == audienceAPI && (c.User == "" || c.Dataplane != ""):
		return fmt.Errorf("it (id %s) names no user", c.ID)
	}
	return nil
}

func (t *Tokens) checkRecord(ctx context.Context, c claims) error {
	rec, err := tokenRecord(ctx, t.resources, tokenMesh(c.Mesh), c.ID)
	if err != nil {
		return err
	}
	if rec.Dataplane != c.Dataplane || rec.User != c.User {
		return fmt.Errorf("it (id %s) names somebody else than its record", c.ID)
	}
	return nil
}

// tokenRecord returns the record of a token that is not revoked.
func tokenRecord(ctx context.Context, resources Resources, mesh, id string) (*resource.Token, error) {
	r, err := resources.Get(ctx, api.Key{Kind: "Token", Mesh: mesh, Name: id})
	if errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("token %s is unknown to this control plane: make a new one", id)
	}
	if err != nil {
		return nil, fmt.Errorf("token %s: look for its record: %w", id, err)
	}
	rec, ok := r.Spec.(*resource.Token)
	if !ok {
		return nil, fmt.Errorf("token %s: its record is a %T", id, r.Spec)
	}
	if rec.Revoked {
		return nil, fmt.Errorf("token %s is revoked", id)
	}
	return rec, nil
}
