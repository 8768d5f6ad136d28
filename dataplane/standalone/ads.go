package standalone

import (
	"context"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/hauberk-mesh/hauberk/dataplane/config"
	"github.com/hauberk-mesh/hauberk/dataplane/xdsclient"
)

// A control plane that has died without a word is found within the sum of these.
const (
	pingAfter   = 30 * time.Second
	pingTimeout = 10 * time.Second
)

// newADS makes the client of the control plane that the bootstrap names; nil where it names none.
func (p *Proxy) newADS() (*xdsclient.Client, error) {
	d := p.cfg.Bootstrap.Dynamic
	if d == nil {
		return nil, nil
	}
	return xdsclient.New(xdsclient.Options{
		Node: p.cfg.Bootstrap.Introduce(p.cfg.Version), Dial: p.dialADS, Handler: p, Logger: p.log.With("cluster", d.Cluster),
		Stock: &xdsclient.Stock{
			Delta: d.Delta, NodeOnce: d.NodeOnce, Metadata: d.Metadata, Listeners: d.Listeners, Clusters: d.Clusters,
			Static: p.cfg.Bootstrap.Static, Needs: needs, StandIn: config.StandIn,
			Check: func(r map[string]map[string]*anypb.Any) error {
				_, err := p.engine.Check(r)
				return err
			},
		},
	})
}

func needs(a *anypb.Any) ([]xdsclient.Need, error) {
	found, err := config.Needs(a)
	out := make([]xdsclient.Need, len(found))
	for i, n := range found {
		out[i] = xdsclient.Need(n)
	}
	return out, err
}

// Apply is the xdsclient's Handler.
func (p *Proxy) Apply(ctx context.Context, u *xdsclient.Update) error {
	if _, err := p.engine.Apply(u.Generation, u.Resources); err != nil {
		return err
	}
	g := p.engine.Graph()
	p.log.InfoContext(ctx, "configuration in force", "listeners", len(g.Listeners), "clusters", len(g.Clusters))
	return nil
}

// dialADS connects to the control plane by the cluster of the bootstrap that says where it is: its endpoints in turn, with its
// TLS. gRPC is told that the connection is secured already.
func (p *Proxy) dialADS(context.Context) (*grpc.ClientConn, error) {
	d := p.cfg.Bootstrap.Dynamic
	authority := d.Authority
	if authority == "" {
		authority = d.Cluster
	}
	return grpc.NewClient("passthrough:///"+d.Cluster,
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return p.connectADS(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority(authority),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingAfter, Timeout: pingTimeout}),
	)
}

func (p *Proxy) connectADS(ctx context.Context) (net.Conn, error) {
	name := p.cfg.Bootstrap.Dynamic.Cluster
	g := p.engine.Graph()
	if g == nil || g.Clusters[name] == nil {
		return nil, fmt.Errorf("cluster %q, where the control plane is, is not in force", name)
	}
	c := g.Clusters[name]
	e := c.Pick(nil)
	if e == nil {
		return nil, fmt.Errorf("cluster %q, where the control plane is, has no endpoint", name)
	}
	return c.ConnectHTTP(ctx, e)
}
