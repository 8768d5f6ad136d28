package identity

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/hauberk-mesh/hauberk/accel/keyprovider/memory"
	control "github.com/hauberk-mesh/hauberk/controlplane/identity"
	reportv1 "github.com/hauberk-mesh/hauberk/wire/report/v1"
)

var cart = control.DataplaneClaims{Dataplane: "cart-1", Service: "cart"}

func TestJoin(t *testing.T) {
	p := newPlane(t, time.Hour)
	token, claims := p.token(t, cart)
	x := p.proxy(t, token, func(o *Options) { o.Mesh, o.Dataplane, o.Service = "default", "cart-1", "cart" })
	x.run(t)
	x.waitReady(t)

	s := x.id.Get()
	if s.ID != "spiffe://default.default.mesh.local/workload/cart" {
		t.Errorf("SPIFFE ID %s", s.ID)
	}
	leaf := s.Certificate.Leaf
	if got := leaf.Subject.String(); got != "SERIALNUMBER="+claims.TokenID+",CN=cart-1,OU=cart,O=default" {
		t.Errorf("subject %s", got)
	}
	if left := time.Until(leaf.NotAfter); left > time.Hour || left < 59*time.Minute {
		t.Errorf("leaf lives %s", left)
	}
	if len(s.Certificate.Certificate) != 2 || len(x.trust.Bundles()) != 1 {
		t.Errorf("%d certificates, %d bundles", len(s.Certificate.Certificate), len(x.trust.Bundles()))
	}
	if err := prove(t.Context(), s, &x.trust); err != nil {
		t.Error(err)
	}
	if x.LastError() != nil {
		t.Error(x.LastError())
	}
	for _, log := range []string{p.log.String(), x.log.String()} {
		if strings.Contains(log, token) || strings.Contains(log, "PRIVATE") {
			t.Error("a secret is in the log")
		}
	}
}

// another is package memory under another name.
type another struct{ *memory.Provider }

func (another) Name() string { return "another" }

// TestUseKeys: another provider makes the next key, at once, and the state says whose it is.
func TestUseKeys(t *testing.T) {
	p := newPlane(t, time.Hour)
	token, _ := p.token(t, cart)
	dir := t.TempDir()
	x := p.proxy(t, token, func(o *Options) { o.StateDir = dir })
	x.run(t)
	x.waitReady(t)
	first := x.id.Get()
	eventually(t, "the first provider's key", func() bool { return x.KeyProvider() == "memory" })
	x.UseKeys(memory.New()) // the same as before
	x.UseKeys(another{memory.New()})
	eventually(t, "the other's key", func() bool { return x.KeyProvider() == "another" })
	second := x.id.Get()
	if second.ID != first.ID || bytes.Equal(first.Certificate.Leaf.RawSubjectPublicKeyInfo, second.Certificate.Leaf.RawSubjectPublicKeyInfo) {
		t.Errorf("%s after %s, or the key is the old one", second.ID, first.ID)
	}
	kept := func() bool {
		text, err := os.ReadFile(filepath.Join(dir, stateFile))
		return err == nil && bytes.Contains(text, []byte("Provider: another"))
	}
	eventually(t, "the other's name in the state", kept)
}

func TestJoinIsRefused(t *testing.T) {
	p := newPlane(t, time.Hour)
	good, _ := p.token(t, cart)
	revoked, c := p.token(t, cart)
	if err := p.tokens.Revoke(t.Context(), c.TokenID); err != nil {
		t.Fatal(err)
	}
	user, _, err := p.tokens.IssueUser(t.Context(), "ann", 0)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		token  string
		change func(*Options)
		want   string
		logged bool // the control plane says it too
	}{
		"garbage":           {"garbage", nil, "is not a JWT", true},
		"revoked":           {revoked, nil, "is revoked", true},
		"user token":        {user, nil, "it is for", true},
		"another dataplane": {good, func(o *Options) { o.Dataplane = "cart-2" }, `is for dataplane "cart-1" and this proxy is "cart-2"`, false},
		"another mesh":      {good, func(o *Options) { o.Mesh = "other" }, `is for mesh "default"`, false},
		"wrong anchor":      {good, func(o *Options) { o.CAs = x509.NewCertPool() }, "unknown authority", false},
		"no token": {"", func(o *Options) {
			o.Token = TokenFile(filepath.Join(t.TempDir(), "absent"))
		}, "no such file", false},
	} {
		t.Run(name, func(t *testing.T) {
			x := p.proxy(t, c.token, c.change)
			_, err := x.acquire(t.Context())
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if c.logged && !p.log.contains(c.want) {
				t.Errorf("the control plane's log lacks the reason:\n%s", p.log)
			}
			if x.id.Get() != nil {
				t.Error("it has an SVID")
			}
		})
	}
}

// Leaves of ten seconds: renewed at half life with new keys, never an instant without a valid one.
func TestRenewal(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a leaf's half life in real time")
	}
	p := newPlane(t, 10*time.Second)
	token, claims := p.token(t, cart)
	x := p.proxy(t, token, nil)
	x.run(t)
	x.waitReady(t)
	first := x.id.Get()
	// The token is for joining only; that its life ends changes nothing. Revoking it does, see TestRevokedTokenEndsStreams.
	eventually(t, "a second SVID", func() bool { return x.id.Epoch() >= 2 })
	second := x.id.Get()
	if time.Now().After(first.NotAfter) {
		t.Error("the first SVID ended before the second came")
	}
	if second.ID != first.ID || second.Certificate.Leaf.Subject.SerialNumber != claims.TokenID {
		t.Errorf("renewal made %s of %s", second.ID, first.ID)
	}
	if string(first.Certificate.Leaf.RawSubjectPublicKeyInfo) == string(second.Certificate.Leaf.RawSubjectPublicKeyInfo) {
		t.Error("the key was used again")
	}
	if !p.log.contains("how=renew") {
		t.Error("it joined again instead of renewing")
	}
}

func TestRestartFromState(t *testing.T) {
	p := newPlane(t, time.Hour)
	token, _ := p.token(t, cart)
	dir := filepath.Join(t.TempDir(), "state")
	withState := func(o *Options) { o.StateDir, o.Dataplane = dir, "cart-1" }
	x := p.proxy(t, token, withState)
	stop := x.run(t)
	x.waitReady(t)
	eventually(t, "a state file", func() bool { _, err := os.Stat(filepath.Join(dir, stateFile)); return err == nil })
	stop()
	for path, mode := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, stateFile): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
	}
	p.stop() // and now without a control plane
	defer p.start(t)

	again := p.proxy(t, "no token any more", withState)
	again.run(t)
	again.waitReady(t)
	if !again.id.Get().Certificate.Leaf.Equal(x.id.Get().Certificate.Leaf) {
		t.Error("the kept leaf is another")
	}
	if err := prove(t.Context(), again.id.Get(), &again.trust); err != nil {
		t.Error(err)
	}

	renamed := p.proxy(t, "", func(o *Options) { o.StateDir = t.TempDir() })
	state, err := os.ReadFile(filepath.Join(dir, stateFile))
	if err != nil {
		t.Fatal(err)
	}
	state = []byte(strings.Replace(string(state), "Provider: memory", "Provider: software", 1)) // as versions up to 0.3 wrote it
	if err := os.WriteFile(filepath.Join(renamed.o.StateDir, stateFile), state, 0o600); err != nil {
		t.Fatal(err)
	}
	if due, err := renamed.restore(t.Context()); err != nil || renamed.id.Get() == nil {
		t.Errorf("a state of before the provider was renamed: due %v, %v", due, err)
	}

	other := p.proxy(t, "", func(o *Options) { o.StateDir, o.Dataplane = dir, "payments-1" })
	if _, err := other.restore(t.Context()); err == nil || !strings.Contains(err.Error(), `for dataplane "cart-1"`) {
		t.Errorf("another dataplane took the state: %v", err)
	}
}

func TestDamagedStateIsReportedAndIgnored(t *testing.T) {
	p := newPlane(t, time.Hour)
	token, _ := p.token(t, cart)
	dir := t.TempDir()
	x := p.proxy(t, token, func(o *Options) { o.StateDir = dir })
	if _, err := x.acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, stateFile)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	otherDir := t.TempDir()
	if _, err := p.proxy(t, token, func(o *Options) { o.StateDir = otherDir }).acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	other, _ := os.ReadFile(filepath.Join(otherDir, stateFile))
	leafOf := func(b []byte) string { return string(b[:strings.Index(string(b), "-----END CERTIFICATE-----")+26]) }

	for name, c := range map[string]struct{ content, want string }{
		"empty":           {"", "is damaged"},
		"random":          {"hello", "is damaged"},
		"cut short":       {string(good[:len(good)-300]), "is damaged"},
		"first half":      {string(good[:len(good)/4]), "is damaged"},
		"another's leaf":  {strings.Replace(string(good), leafOf(good), leafOf(other), 1), "the key is not the one"},
		"other provider":  {strings.Replace(string(good), "Provider: memory", "Provider: guardian", 1), `held by the provider "guardian"`},
		"without bundles": {string(good[:strings.Index(string(good), "-----END "+handleType+"-----")+len("-----END "+handleType+"-----\n")]), "did not prove itself"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
				t.Fatal(err)
			}
			y := p.proxy(t, token, func(o *Options) { o.StateDir = dir })
			if _, err := y.restore(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if y.id.Get() != nil || len(y.trust.Bundles()) != 0 {
				t.Error("something of it is in use")
			}
		})
	}
	t.Run("open to others", func(t *testing.T) {
		if err := errors.Join(os.WriteFile(path, good, 0o600), os.Chmod(path, 0o640)); err != nil {
			t.Fatal(err)
		}
		y := p.proxy(t, token, func(o *Options) { o.StateDir = dir })
		if _, err := y.restore(t.Context()); err == nil || !strings.Contains(err.Error(), "open to others") {
			t.Errorf("got %v", err)
		}
		// It joins all the same.
		y.run(t)
		y.waitReady(t)
		eventually(t, "a private state file", func() bool { info, err := os.Stat(path); return err == nil && info.Mode().Perm() == 0o600 })
	})
}

func FuzzState(f *testing.F) {
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
	f.Add([]byte("-----BEGIN HAUBERK KEY HANDLE-----\nProvider: memory\n\nAAAA\n-----END HAUBERK KEY HANDLE-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		chain, handle, _, err := parseState(data)
		if err == nil && (len(chain) == 0 || handle == nil) {
			t.Error("half a state was accepted")
		}
	})
}

// A proxy that comes before its control plane waits for it, and one whose control plane was away goes on.
func TestControlPlaneComesAndGoes(t *testing.T) {
	p := newPlane(t, time.Hour)
	token, _ := p.token(t, cart)
	p.stop()
	x := p.proxy(t, token, nil)
	x.run(t)
	eventually(t, "a failed attempt", func() bool { return x.LastError() != nil })
	p.start(t)
	x.waitReady(t)
	first := x.id.Epoch()
	x.Hurry()
	eventually(t, "a renewal after the restart", func() bool { return x.id.Epoch() > first })
	if !p.log.contains("how=renew") {
		t.Error("it did not renew over mutual TLS")
	}
}

// openReport opens a stream with the proxy's SVID and knows that the server has admitted it.
func openReport(t *testing.T, x *proxy) func() error {
	t.Helper()
	conn, err := x.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	s, err := reportv1.NewReportServiceClient(conn).Report(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send(&reportv1.ProxyMessage{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); err != nil {
		t.Fatal(err)
	}
	return func() error { _, err := s.Recv(); return err }
}

func TestRevokedTokenEndsStreams(t *testing.T) {
	p := newPlane(t, time.Hour)
	token, claims := p.token(t, cart)
	x := p.proxy(t, token, nil)
	if _, err := x.acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	ended := openReport(t, x)
	p.mu.Lock()
	peer := p.reports[0]
	p.mu.Unlock()
	want := control.Peer{Mesh: "default", Dataplane: "cart-1", Service: "cart", Workload: "cart", Zone: "default",
		SPIFFEID: x.id.ID(), TokenID: claims.TokenID, NotAfter: x.id.Get().NotAfter}
	if peer != want {
		t.Errorf("peer %+v, want %+v", peer, want)
	}
	if err := p.tokens.Revoke(t.Context(), claims.TokenID); err != nil {
		t.Fatal(err)
	}
	if err := ended(); status.Code(err) != codes.Unauthenticated || !strings.Contains(err.Error(), "is revoked") {
		t.Errorf("the stream ended with %v", err)
	}
	if _, err := x.acquire(t.Context()); err == nil || !strings.Contains(err.Error(), "is revoked") {
		t.Errorf("renewal after the revocation: %v", err)
	}
}

func TestRevokedIdentity(t *testing.T) {
	p := newPlane(t, time.Hour)
	token, _ := p.token(t, cart)
	otherToken, _ := p.token(t, control.DataplaneClaims{Mesh: "other", Dataplane: "cart-1", Service: "cart"})
	x, y := p.proxy(t, token, nil), p.proxy(t, otherToken, nil)
	for _, one := range []*proxy{x, y} {
		if _, err := one.acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	ended := openReport(t, x)
	if err := p.service.RevokeIdentity(t.Context(), "other", x.id.ID()); err == nil || !strings.Contains(err.Error(), "name the right mesh") {
		t.Errorf("revoked in the wrong mesh: %v", err)
	}
	if err := p.service.RevokeIdentity(t.Context(), "default", x.id.ID()); err != nil {
		t.Fatal(err)
	}
	if err := ended(); status.Code(err) != codes.Unauthenticated || !strings.Contains(err.Error(), "is revoked") {
		t.Errorf("the stream ended with %v", err)
	}
	fresh, _ := p.token(t, cart)
	if _, err := p.proxy(t, fresh, nil).acquire(t.Context()); err == nil || !strings.Contains(err.Error(), "is revoked") {
		t.Errorf("joined with a new token: %v", err)
	}
	if _, err := y.acquire(t.Context()); err != nil {
		t.Errorf("the same name in another mesh: %v", err)
	}
}

// The control plane has lost its store: nobody's SVID is known, and a proxy with a good token joins again.
func TestHurryJoinsANewControlPlane(t *testing.T) {
	old, p := newPlane(t, time.Hour), newPlane(t, time.Hour)
	oldToken, _ := old.token(t, cart)
	x := old.proxy(t, oldToken, nil)
	if _, err := x.acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.authority.EnsureMesh(t.Context(), "default"); err != nil {
		t.Fatal(err)
	}
	token, _ := p.token(t, cart)
	// What the old control plane's configuration stream has said.
	if err := x.trust.SetBundles(x.trust.Bundles()); err != nil {
		t.Fatal(err)
	}
	moved := p.proxy(t, token, func(o *Options) { o.Identity, o.Trust = &x.id, &x.trust })
	if _, err := moved.acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !p.log.contains("it was not signed by the authority of mesh default") {
		t.Errorf("the refusal is not in the log:\n%s", p.log)
	}
}

// An SVID that nobody would accept is not used: here the bundles that the configuration stream has set do not know its
// authority (yet), as can happen for an instant while an authority is rotated.
func TestUnprovenSVIDIsNotUsed(t *testing.T) {
	p := newPlane(t, time.Hour)
	token, _ := p.token(t, cart)
	x := p.proxy(t, token, nil)
	if _, err := x.acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	good := x.trust.Bundles()
	if err := x.trust.SetBundles(nil); err != nil {
		t.Fatal(err)
	}
	if _, err := x.acquire(t.Context()); err == nil || !strings.Contains(err.Error(), "did not prove itself") {
		t.Errorf("got %v", err)
	}
	if x.id.Epoch() != 1 {
		t.Error("it is in use")
	}
	if err := x.trust.SetBundles(good); err != nil {
		t.Fatal(err)
	}
	if _, err := x.acquire(t.Context()); err != nil || x.id.Epoch() != 2 {
		t.Errorf("with the bundles back: %v", err)
	}
}

func TestPause(t *testing.T) {
	x := newPlane(t, time.Hour).proxy(t, "", nil)
	for failures := 1; failures < 100; failures++ {
		if d := x.pause(failures); d < firstPause*8/10 || d > joinPause*12/10 {
			t.Errorf("after %d failures without an SVID: %s", failures, d)
		}
	}
}

func TestAddress(t *testing.T) {
	for in, want := range map[string]string{
		"127.0.0.1:5678": "127.0.0.1:5678", "https://cp.example:5678": "cp.example:5678", "https://[::1]:5678/": "[::1]:5678",
		"cp.example": "", "http://cp.example:5678": "", "https://cp.example": "", "https://cp.example:1/x": "",
	} {
		if got, err := address(in); got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v", in, got, err)
		}
	}
}
