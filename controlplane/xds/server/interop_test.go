package server_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/delta/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/hauberk-mesh/hauberk/controlplane/xds/server"
	"github.com/hauberk-mesh/hauberk/dataplane/xdsclient"
)

// otherPlane is go-control-plane's delta server with the service around it.
type otherPlane struct {
	discovery.UnimplementedAggregatedDiscoveryServiceServer
	serve delta.Server
}

func (o *otherPlane) DeltaAggregatedResources(s deltaStream) error {
	return o.serve.DeltaStreamHandler(s, resource.AnyType)
}

type deltaStream = discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesServer

// Our client under a control plane that this project did not write.
func TestClientUnderGoControlPlane(t *testing.T) {
	snapshots := cache.NewSnapshotCache(true, cache.IDHash{}, nil)
	set := func(version string, names ...string) {
		t.Helper()
		var clusters []types.Resource
		for _, n := range names {
			clusters = append(clusters, &cluster.Cluster{Name: n})
		}
		s, err := cache.NewSnapshot(version, map[resource.Type][]types.Resource{resource.ClusterType: clusters})
		if err != nil {
			t.Fatal(err)
		}
		if err := snapshots.SetSnapshot(context.Background(), "default/cart-1", s); err != nil {
			t.Fatal(err)
		}
	}
	set("1", "a", "b")

	ctx, cancel := context.WithCancel(context.Background())
	g := grpc.NewServer(server.GRPCOptions()...)
	discovery.RegisterAggregatedDiscoveryServiceServer(g, &otherPlane{serve: delta.NewServer(ctx, snapshots, nil)})
	lis := bufconn.Listen(1 << 20)
	h := &handler{}
	c, err := xdsclient.New(xdsclient.Options{
		Node: &core.Node{Id: "default/cart-1", UserAgentName: xdsclient.UserAgent}, Handler: h,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Dial: func(context.Context) (*grpc.ClientConn, error) {
			return grpc.NewClient("passthrough:///peer",
				grpc.WithTransportCredentials(insecure.NewCredentials()),
				grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return lis.DialContext(ctx) }))
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { _ = g.Serve(lis) })
	wg.Go(func() { _ = c.Run(ctx) })
	t.Cleanup(func() { cancel(); g.Stop(); lis.Close(); wg.Wait() })

	clusters := func(want ...string) func() bool {
		return func() bool {
			has := c.State().Resources[xdsclient.TypeCluster]
			for _, n := range want {
				if has[n] == nil {
					return false
				}
			}
			return len(has) == len(want)
		}
	}
	eventually(t, "first snapshot", clusters("a", "b"))
	set("2", "b", "c")
	eventually(t, "second snapshot", clusters("b", "c"))
	if s := c.Status(); s.NACKs != 0 || s.Attempts != 1 {
		t.Errorf("%+v", s)
	}
}
