package server_test

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/hauberk-mesh/hauberk/controlplane/world"
	"github.com/hauberk-mesh/hauberk/controlplane/xds/server"
	"github.com/hauberk-mesh/hauberk/controlplane/xds/translate"
	"github.com/hauberk-mesh/hauberk/dataplane/xdsclient"
	"github.com/hauberk-mesh/hauberk/internal/memconn"
)

// A second process under the name of a live one is refused, hears why, and gets in when the first has gone.
func TestTwoProxiesOfOneName(t *testing.T) {
	p := newPlane(t, shop(1))
	first := p.connect("frontend-0", "frontend")
	p.connected("frontend-0")
	since := p.status("frontend-0").Since

	second := p.connect("frontend-0", "frontend")
	eventually(t, "the second is refused more than once", func() bool { return second.client.Status().Attempts > 2 })
	eventually(t, "and knows why", func() bool {
		e := second.client.Status().LastError
		return strings.HasPrefix(e, codes.AlreadyExists.String()) && strings.Contains(e, "is connected from bufconn since "+since.UTC().Format(time.RFC3339)) &&
			strings.Contains(e, "a name and a token of its own")
	})
	if s := first.client.Status(); s.Attempts != 1 || !s.Connected {
		t.Errorf("the first was disturbed: %+v", s)
	}
	if n := p.registrar.sessions("frontend-0"); n != 1 {
		t.Errorf("%d sessions", n)
	}
	first.stop()
	eventually(t, "the second gets in", func() bool { return second.client.Status().Connected })
	p.connected("frontend-0")
}

func instanceNode(instance string) *core.Node {
	n := node(frontend)
	n.Metadata.Fields[xdsclient.MetadataInstance] = structpb.NewStringValue(instance)
	return n
}

// A process gets past its own connection that has died unnoticed.
func TestAnInstanceTakesOverFromItself(t *testing.T) {
	p := newPlane(t, shop(1))
	begin := func(instance string) *raw {
		s := p.raw(&frontend)
		s.send(&discovery.DeltaDiscoveryRequest{TypeUrl: translate.TypeCluster, Node: instanceNode(instance)})
		return s
	}
	first := begin("a")
	eventually(t, "first connected", func() bool { return p.status("frontend-0").Connected })
	other := begin("b")
	if _, err := other.Recv(); status.Code(err) != codes.AlreadyExists {
		t.Errorf("another: %v", err)
	}
	begin("a")
	if _, err := first.Recv(); status.Code(err) != codes.Aborted {
		t.Errorf("the same: %v", err)
	}
	long := begin(strings.Repeat("x", 1000))
	if _, err := long.Recv(); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a long one: %v", err)
	}
}

// A proxy that has left and drains on its stream is not sent away to be registered again; one that did not leave is.
func TestLeftProxyKeepsItsStream(t *testing.T) {
	for _, left := range []bool{true, false} {
		atDesk(t, func(t *testing.T, d *desk) {
			d.answer("", d.told()...)
			d.registrar.mu.Lock()
			d.registrar.left["frontend-0"] = left
			d.registrar.mu.Unlock()
			d.worlds.change("default", func(m *world.Mesh, c *world.Change) {
				delete(m.Dataplanes, "frontend-0")
				c.Dataplanes["frontend-0"] = true
			})
			time.Sleep(time.Minute)
			synctest.Wait()
			if open := d.registrar.sessions("frontend-0") == 1; open != left {
				t.Errorf("left %v: its stream is open: %v", left, open)
			}
		})
	}
}

// frozen is a connection whose host is gone: nothing comes any more, and nothing arrives, but nobody says so.
type frozen struct {
	net.Conn
	gone, closed chan struct{}
	once         sync.Once
}

func (f *frozen) Read(b []byte) (int, error) {
	n, err := f.Conn.Read(b)
	select {
	case <-f.gone:
		<-f.closed
		return 0, net.ErrClosed
	default:
		return n, err
	}
}

func (f *frozen) Write(b []byte) (int, error) {
	select {
	case <-f.gone:
		return len(b), nil
	default:
		return f.Conn.Write(b)
	}
}

func (f *frozen) Close() error {
	f.once.Do(func() { close(f.closed) })
	return f.Conn.Close()
}

// The name of a proxy whose host died is free again within 15 seconds.
func TestDeadConnectionIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var network memconn.Network
		socket, err := network.Listen("10.0.0.1:5678")
		if err != nil {
			t.Fatal(err)
		}
		silent := &silence{ended: make(chan struct{})}
		g := grpc.NewServer(server.GRPCOptions()...)
		discovery.RegisterAggregatedDiscoveryServiceServer(g, silent)
		go func() { _ = g.Serve(socket) }()
		defer g.Stop()
		line := &frozen{gone: make(chan struct{}), closed: make(chan struct{})}
		conn, err := grpc.NewClient("passthrough:///10.0.0.1:5678", grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, addr string) (c net.Conn, err error) {
				line.Conn, err = network.Dial(ctx, "tcp", addr)
				return line, err
			}))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := discovery.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		begin := time.Now()
		close(line.gone)
		<-silent.ended
		if d := time.Since(begin); d > 16*time.Second {
			t.Errorf("found after %s", d)
		}
	})
}

// silence is a discovery service that only notes the end of a stream.
type silence struct {
	discovery.UnimplementedAggregatedDiscoveryServiceServer
	ended chan struct{}
}

func (s *silence) DeltaAggregatedResources(wire discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	<-wire.Context().Done()
	close(s.ended)
	return nil
}
