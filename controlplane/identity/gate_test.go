package identity

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/hauberk-mesh/hauberk/accel/keyprovider"
	"github.com/hauberk-mesh/hauberk/controlplane/identity/ca"
	identityv1 "github.com/hauberk-mesh/hauberk/wire/identity/v1"
)

// port is the plane's port 5678.
type port struct {
	addr   string
	anchor *Anchor
}

func (p *plane) serve(t *testing.T) *port {
	t.Helper()
	anchor, err := p.openAnchor(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	revocations, err := NewRevocations(ctx, p.store, p.registry, p.logger)
	if err != nil {
		t.Fatal(err)
	}
	gate := NewGate(GateOptions{Tokens: p.tokens, Revocations: revocations, Logger: p.logger})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(anchor.XDSTLS(p.authority, p.logger))), grpc.InTapHandle(gate.Tap()),
		grpc.UnaryInterceptor(gate.Unary()), grpc.StreamInterceptor(gate.Stream()))
	identityv1.RegisterIdentityServiceServer(server, p.service)
	var running sync.WaitGroup
	running.Go(func() { revocations.Run(ctx) })
	running.Go(func() { server.Serve(l) })
	t.Cleanup(func() {
		server.Stop()
		cancel()
		running.Wait()
	})
	return &port{addr: l.Addr().String(), anchor: anchor}
}

// client connects with a certificate, or without one where cert is nil.
func (o *port) client(t *testing.T, cert *tls.Certificate) identityv1.IdentityServiceClient {
	t.Helper()
	config := &tls.Config{RootCAs: o.anchor.Pool()}
	if cert != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	}
	conn, err := grpc.NewClient("passthrough:///"+o.addr, grpc.WithTransportCredentials(credentials.NewTLS(config)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return identityv1.NewIdentityServiceClient(conn)
}

func (p *plane) key(t *testing.T) keyprovider.Key {
	t.Helper()
	k, err := p.keys.Generate(p.ctx, keyprovider.ECDSAP256)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// svid signs what the service would sign for claims, with the authority of signedBy.
func (p *plane) svid(t *testing.T, signedBy, id string, c DataplaneClaims, life time.Duration) *tls.Certificate {
	t.Helper()
	if err := p.authority.EnsureMesh(p.ctx, signedBy); err != nil {
		t.Fatal(err)
	}
	key := p.key(t)
	chain, err := p.authority.Sign(p.ctx, signedBy, ca.Leaf{ID: spiffeid.RequireFromString(id), Subject: subjectOf(c), PublicKey: key.Public(), Life: life})
	if err != nil {
		t.Fatal(err)
	}
	return certificate(chain, key)
}

func certificate(chain []*x509.Certificate, key crypto.Signer) *tls.Certificate {
	out := &tls.Certificate{PrivateKey: key}
	for _, c := range chain {
		out.Certificate = append(out.Certificate, c.Raw)
	}
	return out
}

func bearer(ctx context.Context, tokens ...string) context.Context {
	for _, token := range tokens {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	}
	return ctx
}

func TestCSRForAnotherIsRefused(t *testing.T) {
	p := newPlane(t)
	o := p.serve(t)
	token, _ := p.dataplaneToken(t, DataplaneClaims{Dataplane: "cart-1", Service: "cart"})
	other, _ := url.Parse("spiffe://default.default.mesh.local/workload/payments")
	csr := newCSR(t, p.key(t), func(r *x509.CertificateRequest) { r.URIs = []*url.URL{other} })
	_, err := o.client(t, nil).Join(bearer(p.ctx, token), &identityv1.JoinRequest{Csr: csr})
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("got %v", err)
	}
	log := p.log.String()
	for _, want := range []string{"svid refused", "workload/payments", "may have " + ownID + " alone", "dataplane=cart-1", "service=cart", "mesh=default"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %q:\n%s", want, log)
		}
	}
	if strings.Contains(log, token) {
		t.Error("the token is in the log")
	}
}

func TestJoinNeedsOneGoodToken(t *testing.T) {
	p := newPlane(t)
	o := p.serve(t)
	good, _ := p.dataplaneToken(t, DataplaneClaims{Dataplane: "cart-1", Service: "cart"})
	for name, c := range map[string]struct {
		ctx  context.Context
		want string
	}{
		"none":        {p.ctx, "0 authorization headers"},
		"two":         {bearer(p.ctx, good, good), "2 authorization headers"},
		"other words": {metadata.AppendToOutgoingContext(p.ctx, "authorization", "Basic "+good), "not a bearer token"},
		"garbage":     {bearer(p.ctx, "x"), "is not a JWT"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := o.client(t, nil).Join(c.ctx, &identityv1.JoinRequest{Csr: newCSR(t, p.key(t), nil)})
			if status.Code(err) != codes.Unauthenticated || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if !strings.Contains(p.log.String(), c.want) {
				t.Errorf("the log lacks %q", c.want)
			}
		})
	}
}

// Who comes with which certificate, and what the control plane's log says of it.
func TestRenewNeedsAnSVIDOfItsOwnMesh(t *testing.T) {
	p, stranger := newPlane(t), newPlane(t)
	o := p.serve(t)
	_, claims := p.dataplaneToken(t, DataplaneClaims{Dataplane: "cart-1", Service: "cart"})
	inOther := claims
	inOther.Mesh = "other"
	payments := claims
	payments.Dataplane, payments.Service = "payments-1", "payments"
	unknown := claims
	unknown.TokenID = "unknown"
	_, ofRevoked := p.dataplaneToken(t, DataplaneClaims{Dataplane: "cart-2", Service: "cart"})
	if err := p.tokens.Revoke(p.ctx, ofRevoked.TokenID); err != nil {
		t.Fatal(err)
	}
	key := p.key(t)
	if err := p.authority.EnsureMesh(p.ctx, "default"); err != nil {
		t.Fatal(err)
	}
	selfSigned, err := signCertificate(&x509.Certificate{
		Subject: subjectOf(claims), URIs: []*url.URL{{Scheme: "spiffe", Host: "default.default.mesh.local", Path: "/workload/cart"}},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Minute), KeyUsage: x509.KeyUsageDigitalSignature,
	}, &x509.Certificate{}, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	const otherID = "spiffe://other.default.mesh.local/workload/cart"

	for name, c := range map[string]struct {
		cert *tls.Certificate
		want string // in the log; "" is accepted
	}{
		"own SVID":                     {p.svid(t, "default", ownID, claims, time.Hour), ""},
		"no certificate":               {nil, "no client certificate"},
		"another control plane":        {stranger.svid(t, "default", ownID, claims, time.Hour), "not signed by the authority of mesh default"},
		"another mesh, saying default": {p.svid(t, "other", otherID, claims, time.Hour), "not signed by the authority of mesh default"},
		"another mesh, default's name": {p.svid(t, "other", ownID, claims, time.Hour), "not signed by the authority of mesh default"},
		"its own mesh, token of here":  {p.svid(t, "other", otherID, inOther, time.Hour), "is unknown to this control plane"},
		"self-signed":                  {certificate([]*x509.Certificate{selfSigned}, key), "not signed by the authority of mesh default"},
		// A leaf's times are whole seconds, cut off: it ended when this one began.
		"expired":                       {p.svid(t, "default", ownID, claims, time.Nanosecond), "the leaf expired at"},
		"unknown token":                 {p.svid(t, "default", ownID, unknown, time.Hour), "is unknown to this control plane"},
		"revoked token":                 {p.svid(t, "default", ownID, ofRevoked, time.Hour), "is revoked"},
		"names another than its token":  {p.svid(t, "default", ownID, payments, time.Hour), "names somebody else"},
		"the anchor's own, as a client": {mustServe(t, o.anchor), "URI SANs"},
	} {
		t.Run(name, func(t *testing.T) {
			answer, err := o.client(t, c.cert).Renew(p.ctx, &identityv1.RenewRequest{Csr: newCSR(t, p.key(t), nil)})
			if c.want == "" {
				if err != nil || answer.GetSpiffeId() != ownID {
					t.Errorf("%v, %v", answer.GetSpiffeId(), err)
				}
				return
			}
			if err == nil {
				t.Fatal("renewed")
			}
			if !strings.Contains(p.log.String(), c.want) {
				t.Errorf("%v; the log lacks %q:\n%s", err, c.want, p.log)
			}
		})
	}
}

func mustServe(t *testing.T, a *Anchor) *tls.Certificate {
	t.Helper()
	c, err := a.serverCertificate()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestMeshWithoutIdentityIssuesNothing(t *testing.T) {
	p := newPlane(t)
	list, err := p.resources.List(p.ctx, "MeshIdentity", "other")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.resources.Delete(p.ctx, list[0].Key()); err != nil {
		t.Fatal(err)
	}
	token, _ := p.dataplaneToken(t, DataplaneClaims{Mesh: "other", Dataplane: "a"})
	_, err = p.serve(t).client(t, nil).Join(bearer(p.ctx, token), &identityv1.JoinRequest{Csr: newCSR(t, p.key(t), nil)})
	if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "has no MeshIdentity") {
		t.Errorf("got %v", err)
	}
}
