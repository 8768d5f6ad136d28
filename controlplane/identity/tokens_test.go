package identity

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/hauberk-mesh/hauberk/api/resource"
	"github.com/hauberk-mesh/hauberk/controlplane/store"
)

func TestTokenBuysWhatItNames(t *testing.T) {
	p := newPlane(t)
	token, issued := p.dataplaneToken(t, DataplaneClaims{Dataplane: "cart-1", Service: "cart"})
	got, err := p.tokens.VerifyDataplane(p.ctx, token)
	if err != nil {
		t.Fatal(err)
	}
	want := DataplaneClaims{Mesh: "default", Dataplane: "cart-1", Service: "cart", Workload: "cart", TokenID: issued.TokenID, Expires: issued.Expires}
	got.Expires = got.Expires.UTC()
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if len(issued.TokenID) != 32 {
		t.Errorf("id %q is not 128 bits", issued.TokenID)
	}
	list, err := p.tokens.List(p.ctx, "default")
	if err != nil || len(list) != 1 || list[0].ID != issued.TokenID || list[0].Type != resource.TokenDataplane {
		t.Errorf("list: %+v, %v", list, err)
	}
	if strings.Contains(p.log.String(), token) {
		t.Error("the token is in the log")
	}
	// A restart reads the signing key again.
	p.start(t)
	if _, err := p.tokens.VerifyDataplane(p.ctx, token); err != nil {
		t.Errorf("after a restart: %v", err)
	}
}

func TestIssueRefuses(t *testing.T) {
	p := newPlane(t)
	for name, c := range map[string]struct {
		claims DataplaneClaims
		life   time.Duration
		want   string
	}{
		"unknown mesh":  {DataplaneClaims{Mesh: "nowhere", Dataplane: "a"}, 0, `mesh "nowhere" does not exist`},
		"no dataplane":  {DataplaneClaims{Service: "cart"}, 0, "dataplane name"},
		"bad service":   {DataplaneClaims{Dataplane: "a", Service: "a/../b"}, 0, "service name"},
		"bad workload":  {DataplaneClaims{Dataplane: "a", Workload: "a/b"}, 0, "workload name"},
		"long name":     {DataplaneClaims{Dataplane: strings.Repeat("a", 65)}, 0, "name"},
		"negative life": {DataplaneClaims{Dataplane: "a"}, -time.Second, "out of range"},
		"endless life":  {DataplaneClaims{Dataplane: "a"}, 2 * MaxTokenLife, "out of range"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := p.tokens.IssueDataplane(p.ctx, c.claims, c.life)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestVerifyRefuses(t *testing.T) {
	p, stranger := newPlane(t), newPlane(t)
	good, _ := p.dataplaneToken(t, DataplaneClaims{Dataplane: "cart-1", Service: "cart"})
	user, _, err := p.tokens.IssueUser(p.ctx, "ann", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	foreign, _ := stranger.dataplaneToken(t, DataplaneClaims{Dataplane: "cart-1", Service: "cart"})
	revoked, rc := p.dataplaneToken(t, DataplaneClaims{Dataplane: "cart-2", Service: "cart"})
	if err := p.tokens.Revoke(p.ctx, rc.TokenID); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	// Properly signed, but not what we issue.
	signed := func(c claims) string {
		s, err := jwt.Signed(p.tokens.signer).Claims(c).Serialize()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	base := func() claims {
		return claims{Claims: jwt.Claims{ID: "x", Issuer: issuer, Audience: jwt.Audience{audienceDataplane},
			IssuedAt: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(time.Hour))}, Mesh: "default", Dataplane: "d", Workload: "d"}
	}
	changed := func(change func(*claims)) string {
		c := base()
		change(&c)
		return signed(c)
	}
	parts := strings.Split(good, ".")
	header := func(h string) string { return base64.RawURLEncoding.EncodeToString([]byte(h)) }
	var payload map[string]any
	raw, _ := base64.RawURLEncoding.DecodeString(parts[1])
	if err := json.Unmarshal(raw, &payload); err != nil {
		t.Fatal(err)
	}
	payload["service"] = "payments"
	forged, _ := json.Marshal(payload)

	// The public key as an HMAC secret: the classic confusion of algorithms.
	hmac, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: []byte(strings.Repeat("k", 32))}, (&jose.SignerOptions{}).WithHeader("kid", p.tokens.keyID))
	if err != nil {
		t.Fatal(err)
	}
	hs256, err := jwt.Signed(hmac).Claims(base()).Serialize()
	if err != nil {
		t.Fatal(err)
	}

	for name, c := range map[string]struct{ token, want string }{
		"empty":              {"", "is not a JWT"},
		"random":             {"abc.def.ghi", "is not a JWT"},
		"huge":               {strings.Repeat("a", maxToken+1), "bytes, more than"},
		"user token":         {user, `it is for ["hauberk-api"]`},
		"other plane":        {foreign, "another control plane"},
		"revoked":            {revoked, "is revoked"},
		"no algorithm":       {header(`{"alg":"none","kid":"`+p.tokens.keyID+`"}`) + "." + parts[1] + ".", "is not a JWT signed with ES256"},
		"HS256":              {hs256, "is not a JWT signed with ES256"},
		"payload changed":    {parts[0] + "." + base64.RawURLEncoding.EncodeToString(forged) + "." + parts[2], "signature is wrong"},
		"signature cut":      {parts[0] + "." + parts[1] + "." + parts[2][:20], "signature is wrong"},
		"no signature":       {parts[0] + "." + parts[1] + ".", "signature is wrong"},
		"issuer":             {changed(func(c *claims) { c.Issuer = "eve" }), `its issuer is "eve"`},
		"two audiences":      {changed(func(c *claims) { c.Audience = jwt.Audience{audienceDataplane, audienceAPI} }), "it is for"},
		"no id":              {changed(func(c *claims) { c.ID = "" }), "no id"},
		"no expiry":          {changed(func(c *claims) { c.Expiry = nil }), "lacks exp or iat"},
		"no iat":             {changed(func(c *claims) { c.IssuedAt = nil }), "lacks exp or iat"},
		"expired":            {changed(func(c *claims) { c.Expiry = jwt.NewNumericDate(now) }), "expired at"},
		"from the future":    {changed(func(c *claims) { c.IssuedAt = jwt.NewNumericDate(now.Add(time.Minute)) }), "in the future"},
		"not valid yet":      {changed(func(c *claims) { c.NotBefore = jwt.NewNumericDate(now.Add(time.Minute)) }), "not valid yet"},
		"no dataplane":       {changed(func(c *claims) { c.Dataplane = "" }), "names no dataplane"},
		"dataplane and user": {changed(func(c *claims) { c.User = "ann" }), "names no dataplane"},
		"no record":          {changed(func(*claims) {}), "unknown to this control plane"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := p.tokens.VerifyDataplane(p.ctx, c.token)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if err != nil && len(c.token) > 40 && strings.Contains(err.Error(), c.token[len(c.token)-20:]) {
				t.Error("the error quotes the token")
			}
		})
	}
	if _, err := p.tokens.VerifyUser(p.ctx, good); err == nil {
		t.Error("a dataplane token opened the API")
	}
	if c, err := p.tokens.VerifyUser(p.ctx, user); err != nil || c.User != "ann" {
		t.Errorf("user token: %+v, %v", c, err)
	}
}

func TestTokenExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlane(t)
		token, _, err := p.tokens.IssueDataplane(p.ctx, DataplaneClaims{Dataplane: "a"}, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute - time.Nanosecond)
		if _, err := p.tokens.VerifyDataplane(p.ctx, token); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Nanosecond)
		if _, err := p.tokens.VerifyDataplane(p.ctx, token); err == nil {
			t.Error("it outlived its expiry")
		}
	})
}

func TestRevokeUnknownToken(t *testing.T) {
	p := newPlane(t)
	if err := p.tokens.Revoke(p.ctx, "nothing"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	_, c := p.dataplaneToken(t, DataplaneClaims{Mesh: "other", Dataplane: "a"})
	for range 2 {
		if err := p.tokens.Revoke(p.ctx, c.TokenID); err != nil {
			t.Error(err)
		}
	}
}

func TestTwoStartsShareOneSigningKey(t *testing.T) {
	p := newPlane(t)
	first := p.tokens
	p.start(t)
	if first.keyID != p.tokens.keyID {
		t.Error("the second start made another key")
	}
}

func TestEnsureAdmin(t *testing.T) {
	p, dir := newPlane(t), t.TempDir()
	path, err := p.tokens.EnsureAdmin(p.ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	first, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	if c, err := p.tokens.VerifyUser(p.ctx, strings.TrimSpace(string(first))); err != nil || c.User != "admin" {
		t.Errorf("%+v, %v", c, err)
	}
	read := func() string {
		t.Helper()
		if _, err := p.tokens.EnsureAdmin(p.ctx, dir); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	p.start(t)
	if read() != string(first) {
		t.Error("a restart replaced a good credential")
	}
	c, _ := p.tokens.VerifyUser(p.ctx, strings.TrimSpace(string(first)))
	if err := p.tokens.Revoke(p.ctx, c.TokenID); err != nil {
		t.Fatal(err)
	}
	second := read()
	if second == string(first) {
		t.Error("a revoked credential was kept")
	}
	if err := os.WriteFile(path, []byte("damaged"), 0o644); err != nil {
		t.Fatal(err)
	}
	if read() == "damaged" {
		t.Error("a damaged credential was kept")
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	// A new control plane in an old data directory.
	other := newPlane(t)
	if _, err := other.tokens.EnsureAdmin(other.ctx, dir); err != nil {
		t.Fatal(err)
	}
	b, _ := os.ReadFile(path)
	if _, err := other.tokens.VerifyUser(other.ctx, strings.TrimSpace(string(b))); err != nil {
		t.Error(err)
	}
}

// Nothing but what Issue signed verifies, and nothing makes the verifier panic or quote its input.
func FuzzVerify(f *testing.F) {
	p := newPlane(f)
	good, _ := p.dataplaneToken(f, DataplaneClaims{Dataplane: "cart-1", Service: "cart"})
	user, _, err := p.tokens.IssueUser(p.ctx, "ann", 0)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(user)
	f.Add(good[:len(good)-1])
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Add("..")
	f.Add(`{"payload":"","signatures":[]}`)
	f.Fuzz(func(t *testing.T, token string) {
		if c, err := p.tokens.VerifyDataplane(t.Context(), token); err == nil && c.Dataplane != "cart-1" {
			t.Errorf("%q bought %+v", token, c)
		}
		if c, err := p.tokens.VerifyUser(t.Context(), token); err == nil && c.User != "ann" {
			t.Errorf("%q bought %+v", token, c)
		}
	})
}
