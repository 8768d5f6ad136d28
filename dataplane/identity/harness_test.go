package identity

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	keymemory "github.com/hauberk-mesh/hauberk/accel/keyprovider/memory"
	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/api/resource"
	control "github.com/hauberk-mesh/hauberk/controlplane/identity"
	"github.com/hauberk-mesh/hauberk/controlplane/identity/ca"
	"github.com/hauberk-mesh/hauberk/controlplane/store"
	"github.com/hauberk-mesh/hauberk/controlplane/store/memory"
	"github.com/hauberk-mesh/hauberk/dataplane/tls"
	"github.com/hauberk-mesh/hauberk/internal/leak"
	identityv1 "github.com/hauberk-mesh/hauberk/wire/identity/v1"
	reportv1 "github.com/hauberk-mesh/hauberk/wire/report/v1"
)

func TestMain(m *testing.M) { leak.Main(m) }

// plane is the identity side of a real control plane with its port.
type plane struct {
	dir       string
	store     store.Store
	resources *store.Resources
	tokens    *control.Tokens
	service   *control.Service
	authority *ca.Builtin
	anchor    *control.Anchor
	addr      string
	log       *logBuffer
	stop      func()

	mu      sync.Mutex
	reports []control.Peer // of open report streams
}

// newPlane has the meshes default and other, whose leaves live for life.
func newPlane(t *testing.T, life time.Duration) *plane {
	t.Helper()
	p := &plane{dir: t.TempDir(), log: &logBuffer{}, addr: "127.0.0.1:0"}
	p.store = memory.New(memory.Options{})
	registry := api.NewRegistry(resource.Kinds()...)
	p.resources = store.NewResources(p.store, registry)
	for _, mesh := range []string{"default", "other"} {
		p.put(t, &api.Resource{APIVersion: api.APIVersion, Kind: "Mesh", Metadata: api.Meta{Name: mesh}, Spec: &resource.Mesh{}})
		p.put(t, &api.Resource{
			APIVersion: api.APIVersion, Kind: "MeshIdentity",
			Metadata: api.Meta{Name: "identity", Labels: map[string]string{api.LabelMesh: mesh}},
			Spec: &resource.MeshIdentity{Provider: resource.IdentityProvider{Type: "Bundled", Bundled: &resource.BundledProvider{
				CertificateParameters: &resource.CertificateParameters{Expiry: &api.Duration{Duration: life}},
			}}},
		})
	}
	p.start(t)
	t.Cleanup(func() {
		p.stop()
		p.store.Close()
	})
	return p
}

func (p *plane) put(t *testing.T, r *api.Resource) {
	t.Helper()
	if _, err := p.resources.Put(context.Background(), r); err != nil {
		t.Fatal(err)
	}
}

// start serves on the address of the last start, on the same store and data directory.
func (p *plane) start(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	logger := slog.New(slog.NewTextHandler(p.log, nil))
	keys := keymemory.New()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	p.tokens, err = control.NewTokens(ctx, control.TokensOptions{Store: p.store, Resources: p.resources, Keys: keys, Logger: logger})
	must(err)
	p.authority = ca.NewBuiltin(ca.Options{Store: p.store, Resources: p.resources, Keys: keys, Logger: logger})
	p.service = control.NewService(control.ServiceOptions{Authority: p.authority, Resources: p.resources, Logger: logger})
	p.anchor, err = control.OpenAnchor(ctx, control.AnchorOptions{DataDir: p.dir, Keys: keys, Logger: logger})
	must(err)
	revocations, err := control.NewRevocations(ctx, p.store, api.NewRegistry(resource.Kinds()...), logger)
	must(err)
	gate := control.NewGate(control.GateOptions{Tokens: p.tokens, Revocations: revocations, Logger: logger})

	l, err := net.Listen("tcp", p.addr)
	must(err)
	p.addr = l.Addr().String()
	server := grpc.NewServer(
		grpc.Creds(credentials.NewTLS(p.anchor.XDSTLS(p.authority, logger))),
		grpc.UnaryInterceptor(gate.Unary()), grpc.StreamInterceptor(gate.Stream()),
	)
	identityv1.RegisterIdentityServiceServer(server, p.service)
	reportv1.RegisterReportServiceServer(server, &reports{plane: p})
	var running sync.WaitGroup
	running.Go(func() { revocations.Run(ctx) })
	running.Go(func() { server.Serve(l) })
	p.stop = func() {
		server.Stop()
		cancel()
		running.Wait()
	}
}

// reports is a stream to be ended.
type reports struct {
	reportv1.UnimplementedReportServiceServer
	plane *plane
}

func (r *reports) Report(s grpc.BidiStreamingServer[reportv1.ProxyMessage, reportv1.ControlMessage]) error {
	peer, _ := control.PeerFrom(s.Context())
	r.plane.mu.Lock()
	r.plane.reports = append(r.plane.reports, peer)
	r.plane.mu.Unlock()
	for {
		if _, err := s.Recv(); err != nil {
			return err
		}
		if err := s.Send(&reportv1.ControlMessage{}); err != nil {
			return err
		}
	}
}

func (p *plane) token(t *testing.T, c control.DataplaneClaims) (string, control.DataplaneClaims) {
	t.Helper()
	token, c, err := p.tokens.IssueDataplane(context.Background(), c, 0)
	if err != nil {
		t.Fatal(err)
	}
	return token, c
}

// proxy is a Client with what it feeds.
type proxy struct {
	*Client
	id    tls.Identity
	trust tls.Trust
	log   logBuffer
}

func (p *plane) proxy(t *testing.T, token string, change func(*Options)) *proxy {
	t.Helper()
	x := &proxy{}
	o := Options{
		ControlPlane: "https://" + p.addr, CAs: p.anchor.Pool(), Keys: keymemory.New(),
		Token:    func() (string, error) { return token, nil },
		Identity: &x.id, Trust: &x.trust,
		Logger: slog.New(slog.NewTextHandler(&x.log, nil)),
	}
	if change != nil {
		change(&o)
	}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	x.Client = c
	return x
}

// run runs the proxy's client until the test, or the returned function, ends it.
func (x *proxy) run(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := x.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	stop = func() {
		cancel()
		running.Wait()
	}
	t.Cleanup(stop)
	return stop
}

func (x *proxy) waitReady(t *testing.T) {
	t.Helper()
	select {
	case <-x.Ready():
	case <-time.After(20 * time.Second):
		t.Fatalf("no SVID; last error: %v", x.LastError())
	}
}

// eventually polls what other goroutines do over real sockets.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("never: " + what)
		}
	}
}

type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logBuffer) contains(s string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.buf.String(), s)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
