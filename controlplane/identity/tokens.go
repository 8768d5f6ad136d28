package identity

import (
	"context"
	"crypto"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/cryptosigner"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/hauberk-mesh/hauberk/accel/keyprovider"
	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/api/resource"
	"github.com/hauberk-mesh/hauberk/controlplane/identity/secret"
	"github.com/hauberk-mesh/hauberk/controlplane/store"
)

// Tokens issues, verifies and revokes bearer tokens: signed JWTs (ES256, RFC 7519), each with a record in the store that
// says whether it still counts. A token without a record counts for nothing.
type Tokens struct {
	resources Resources
	logger    *slog.Logger
	signer    jose.Signer
	public    crypto.PublicKey
	keyID     string
}

// TokensOptions are what NewTokens needs. All are required.
type TokensOptions struct {
	Store     store.Store // keeps the signing key
	Resources Resources
	Keys      keyprovider.Provider
	Logger    *slog.Logger
}

// signingKey is where the key is stored with which tokens are signed.
var signingKey = secret.Key("", "token-signing-key")

// NewTokens loads the signing key, or makes it. Of two control planes that start at once on one store both use one key.
func NewTokens(ctx context.Context, o TokensOptions) (*Tokens, error) {
	key, err := loadSigningKey(ctx, o.Store, o.Keys)
	if err != nil {
		return nil, fmt.Errorf("token signing key: %w", err)
	}
	jwk := jose.JSONWebKey{Key: key.Public(), Algorithm: string(jose.ES256)}
	thumbprint, err := jwk.Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("token signing key: %w", err)
	}
	keyID := hex.EncodeToString(thumbprint[:8])
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.ES256, Key: cryptosigner.Opaque(key)},
		(&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", keyID),
	)
	if err != nil {
		return nil, fmt.Errorf("token signing key: %w", err)
	}
	return &Tokens{resources: o.Resources, logger: o.Logger, signer: signer, public: key.Public(), keyID: keyID}, nil
}

func loadSigningKey(ctx context.Context, s store.Store, keys keyprovider.Provider) (keyprovider.Key, error) {
	rec, err := s.Get(ctx, signingKey)
	if errors.Is(err, store.ErrNotFound) {
		if err := makeSigningKey(ctx, s, keys); err != nil && !errors.Is(err, store.ErrConflict) {
			return nil, err
		}
		rec, err = s.Get(ctx, signingKey)
	}
	if err != nil {
		return nil, err
	}
	key, _, err := secret.Open(ctx, rec, keys)
	return key, err
}

func makeSigningKey(ctx context.Context, s store.Store, keys keyprovider.Provider) error {
	key, err := keys.Generate(ctx, keyprovider.ECDSAP256)
	if err != nil {
		return err
	}
	op, err := secret.Op(signingKey, keys.Name(), key, nil, store.IfAbsent)
	if err != nil {
		return err
	}
	_, err = s.Txn(ctx, op)
	return err
}

// DataplaneClaims is what a dataplane token buys.
type DataplaneClaims struct {
	Mesh      string
	Dataplane string
	Service   string // "" for a dataplane without a service
	Workload  string // default the service, or else the dataplane
	// TokenID and Expires are set by Issue and Verify.
	TokenID string
	Expires time.Time
}

// UserClaims is whom a user token names.
type UserClaims struct {
	User    string
	TokenID string
	Expires time.Time
}

// TokenInfo is a token without its secret.
type TokenInfo struct {
	ID   string
	Mesh string
	resource.Token
}

// Bounds of a token's life.
const (
	DefaultTokenLife = 24 * time.Hour
	MaxTokenLife     = 10 * 365 * 24 * time.Hour
)

// IssueDataplane makes a token with which one dataplane can join. validFor 0 is DefaultTokenLife.
func (t *Tokens) IssueDataplane(ctx context.Context, c DataplaneClaims, validFor time.Duration) (token string, _ DataplaneClaims, _ error) {
	if err := t.checkDataplane(ctx, &c); err != nil {
		return "", c, fmt.Errorf("dataplane token: %w", err)
	}
	token, rec, err := t.issue(ctx, claims{Mesh: c.Mesh, Dataplane: c.Dataplane, Service: c.Service, Workload: c.Workload}, audienceDataplane, validFor)
	if err != nil {
		return "", c, fmt.Errorf("dataplane token: %w", err)
	}
	c.TokenID, c.Expires = rec.ID, rec.Expires
	return token, c, nil
}

func (t *Tokens) checkDataplane(ctx context.Context, c *DataplaneClaims) error {
	if c.Mesh == "" {
		c.Mesh = api.DefaultMesh
	}
	if c.Workload == "" {
		c.Workload = c.Service
	}
	if c.Workload == "" {
		c.Workload = c.Dataplane
	}
	if problem, fix := api.CheckName(c.Dataplane); problem != "" {
		return fmt.Errorf("dataplane name %s: %s", problem, fix)
	}
	if c.Service != "" {
		if problem, fix := api.CheckName(c.Service); problem != "" {
			return fmt.Errorf("service name %s: %s", problem, fix)
		}
	}
	if problem, fix := api.CheckName(c.Workload); problem != "" {
		return fmt.Errorf("workload name %s: %s", problem, fix)
	}
	// The subject of a leaf holds at most 64 characters in each of these (RFC 5280 appendix A.1).
	for what, s := range map[string]string{"mesh": c.Mesh, "dataplane": c.Dataplane, "service": c.Service} {
		if len(s) > maxSubject {
			return fmt.Errorf("%s name %q is longer than the %d characters that a certificate's subject holds", what, s, maxSubject)
		}
	}
	if _, err := t.resources.Get(ctx, api.Key{Kind: "Mesh", Name: c.Mesh}); err != nil {
		if errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("mesh %q does not exist: apply it first", c.Mesh)
		}
		return err
	}
	return nil
}

// IssueUser makes a token for the API. validFor 0 is DefaultTokenLife.
func (t *Tokens) IssueUser(ctx context.Context, name string, validFor time.Duration) (token string, _ UserClaims, _ error) {
	c := UserClaims{User: name}
	if problem, fix := api.CheckName(name); problem != "" {
		return "", c, fmt.Errorf("user token: user name %s: %s", problem, fix)
	}
	token, rec, err := t.issue(ctx, claims{User: name}, audienceAPI, validFor)
	if err != nil {
		return "", c, fmt.Errorf("user token: %w", err)
	}
	c.TokenID, c.Expires = rec.ID, rec.Expires
	return token, c, nil
}

// issue records the token and signs it. The record comes first: a signed token always has one.
func (t *Tokens) issue(ctx context.Context, c claims, audience string, validFor time.Duration) (string, TokenInfo, error) {
	if validFor == 0 {
		validFor = DefaultTokenLife
	}
	if validFor < time.Second || validFor > MaxTokenLife {
		return "", TokenInfo{}, fmt.Errorf("life of %s is out of range: choose 1s to %s", validFor, MaxTokenLife)
	}
	now := time.Now().UTC().Truncate(time.Second) // JWT times are whole seconds
	info := TokenInfo{ID: newTokenID(), Mesh: tokenMesh(c.Mesh), Token: resource.Token{
		Type: typeOf(audience), Dataplane: c.Dataplane, Service: c.Service, Workload: c.Workload, User: c.User,
		Issued: now, Expires: now.Add(validFor),
	}}
	c.Claims = jwt.Claims{
		ID: info.ID, Issuer: issuer, Audience: jwt.Audience{audience},
		IssuedAt: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(info.Expires),
	}
	signed, err := jwt.Signed(t.signer).Claims(c).Serialize()
	if err != nil {
		return "", TokenInfo{}, fmt.Errorf("sign: %w", err)
	}
	if _, err := t.resources.Put(ctx, info.resource()); err != nil {
		return "", TokenInfo{}, fmt.Errorf("record: %w", err)
	}
	t.logger.InfoContext(ctx, "token issued", "type", info.Type, "id", info.ID, "mesh", c.Mesh, "dataplane", c.Dataplane,
		"service", c.Service, "user", c.User, "expires", info.Expires)
	return signed, info, nil
}

// newTokenID is 128 random bits.
func newTokenID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// tokenMesh is the mesh under which a token's record is stored.
func tokenMesh(mesh string) string {
	if mesh == "" {
		return api.DefaultMesh
	}
	return mesh
}

func (i TokenInfo) resource() *api.Resource {
	spec := i.Token
	return &api.Resource{
		APIVersion: api.APIVersion, Kind: "Token",
		Metadata: api.Meta{Name: i.ID, Labels: map[string]string{api.LabelMesh: i.Mesh}},
		Spec:     &spec,
	}
}

// List returns the tokens of a mesh; mesh "" is all. User tokens are under the default mesh.
func (t *Tokens) List(ctx context.Context, mesh string) ([]TokenInfo, error) {
	list, err := t.resources.List(ctx, "Token", mesh)
	if err != nil {
		return nil, fmt.Errorf("list tokens: %w", err)
	}
	var out []TokenInfo
	for _, r := range list {
		if spec, ok := r.Spec.(*resource.Token); ok {
			out = append(out, TokenInfo{ID: r.Metadata.Name, Mesh: r.Mesh(), Token: *spec})
		}
	}
	return out, nil
}

// Revoke ends a token, and with it the streams of whoever joined with it and their renewal. To revoke a revoked token is
// no error; an unknown one is store.ErrNotFound.
func (t *Tokens) Revoke(ctx context.Context, id string) error {
	list, err := t.resources.List(ctx, "Token", "")
	if err != nil {
		return fmt.Errorf("revoke token: %w", err)
	}
	for _, r := range list {
		if r.Metadata.Name != id {
			continue
		}
		changed := r.Clone()
		changed.Spec.(*resource.Token).Revoked = true
		// Only ever false to true: whatever was written meanwhile, this is right.
		changed.Metadata.ResourceVersion = ""
		if _, err := t.resources.Put(ctx, changed); err != nil {
			return fmt.Errorf("revoke token %s: %w", id, err)
		}
		t.logger.InfoContext(ctx, "token revoked", "id", id, "mesh", r.Mesh())
		return nil
	}
	return fmt.Errorf("revoke token %s: %w: see token list", strconv.Quote(id), store.ErrNotFound)
}
