package server_test

import (
	"context"
	"io"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"

	"github.com/hauberk-mesh/hauberk/controlplane/xds/server"
	"github.com/hauberk-mesh/hauberk/controlplane/xds/translate"
)

// desk is a server in a synctest bubble, where minutes take no time, and one proxy whose words the test chooses.
type desk struct {
	grpc.ServerStream
	worlds    *worlds
	registrar *registrar
	xds       *server.Server
	ctx       context.Context
	in        chan *discovery.DeltaDiscoveryRequest
	out       chan *discovery.DeltaDiscoveryResponse
}

func (d *desk) Context() context.Context { return d.ctx }

func (d *desk) Send(m *discovery.DeltaDiscoveryResponse) error {
	d.out <- m
	return nil
}

func (d *desk) Recv() (*discovery.DeltaDiscoveryRequest, error) {
	select {
	case req := <-d.in:
		return req, nil
	case <-d.ctx.Done():
		return nil, d.ctx.Err()
	}
}

// atDesk runs a test with the proxy frontend-0, which has subscribed to everything.
func atDesk(t *testing.T, test func(t *testing.T, d *desk)) {
	synctest.Test(t, func(t *testing.T) {
		d := &desk{
			worlds: shop(1), registrar: newRegistrar(),
			in: make(chan *discovery.DeltaDiscoveryRequest), out: make(chan *discovery.DeltaDiscoveryResponse, 100),
		}
		var err error
		d.xds, err = server.New(server.Options{
			World: d.worlds, Resolve: resolve, Translate: toXDS, Affected: affected, Registrar: d.registrar,
			Peer:   func(context.Context) (server.Peer, bool) { return frontend, true },
			Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		})
		if err != nil {
			t.Fatal(err)
		}
		var cancel context.CancelFunc
		d.ctx, cancel = context.WithCancel(t.Context())
		ended := make(chan error, 2)
		go func() { ended <- d.xds.Run(d.ctx) }()
		go func() { ended <- d.xds.DeltaAggregatedResources(d) }()
		for i, typeURL := range translate.Types() {
			req := &discovery.DeltaDiscoveryRequest{TypeUrl: typeURL, ResourceNamesSubscribe: []string{"*"}}
			if i == 0 {
				req.Node = node(frontend)
			}
			d.in <- req
		}
		test(t, d)
		cancel()
		<-ended
		<-ended
	})
}

// told is what the proxy was sent since it was asked last.
func (d *desk) told() []*discovery.DeltaDiscoveryResponse {
	synctest.Wait()
	var all []*discovery.DeltaDiscoveryResponse
	for len(d.out) > 0 {
		all = append(all, <-d.out)
	}
	return all
}

func (d *desk) answer(refusal string, all ...*discovery.DeltaDiscoveryResponse) {
	for _, m := range all {
		req := &discovery.DeltaDiscoveryRequest{TypeUrl: m.GetTypeUrl(), ResponseNonce: m.GetNonce()}
		if refusal != "" {
			req.ErrorDetail = &rpcstatus.Status{Message: refusal}
		}
		d.in <- req
	}
	synctest.Wait()
}

// next waits until something is sent, and says how long that took.
func (d *desk) next() ([]*discovery.DeltaDiscoveryResponse, time.Duration) {
	begin := time.Now()
	first := <-d.out
	return append([]*discovery.DeltaDiscoveryResponse{first}, d.told()...), time.Since(begin)
}

func (d *desk) status() server.ProxyStatus {
	synctest.Wait()
	for _, s := range d.xds.Status("default") {
		if s.Dataplane == "frontend-0" {
			return s
		}
	}
	return server.ProxyStatus{}
}
