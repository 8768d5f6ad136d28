package controlplane

import (
	"context"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hauberk-mesh/hauberk/controlplane/discovery/dataplanes"
	"github.com/hauberk-mesh/hauberk/controlplane/identity"
	"github.com/hauberk-mesh/hauberk/controlplane/ir"
	"github.com/hauberk-mesh/hauberk/controlplane/report"
	"github.com/hauberk-mesh/hauberk/controlplane/resolve"
	"github.com/hauberk-mesh/hauberk/controlplane/rest"
	"github.com/hauberk-mesh/hauberk/controlplane/store"
	"github.com/hauberk-mesh/hauberk/controlplane/why"
	"github.com/hauberk-mesh/hauberk/controlplane/xds/server"
	"github.com/hauberk-mesh/hauberk/controlplane/xds/translate"
	"github.com/hauberk-mesh/hauberk/policy/permission"
)

// proxies is what serves proxies: who is there, what each is to run, and what they tell.
type proxies struct {
	leases   *dataplanes.Manager
	resolver *resolve.Resolver
	xds      *server.Server
	reports  *report.Server
}

func (c *ControlPlane) newProxies(ctx context.Context, work *errgroup.Group, d *data) (*proxies, error) {
	p := &proxies{
		leases:   dataplanes.New(dataplanes.Options{Store: d.store, Registry: d.registry, World: d.worlds, Logger: c.log}),
		resolver: resolve.New(c.cfg.Policies),
	}
	cache := translate.NewCache()
	var err error
	p.xds, err = server.New(server.Options{
		World:      d.worlds,
		Resolve:    p.resolver.Proxy,
		Translate:  func(r *ir.Proxy) (translate.Snapshot, error) { return translate.Proxy(r, cache) },
		Affected:   resolve.Affected,
		Peer:       xdsPeer,
		Registrar:  registrar{p.leases},
		Identifier: "hauberk " + c.cfg.Version,
		Logger:     c.log,
	})
	if err != nil {
		return nil, err
	}
	p.reports = report.NewServer(report.Options{Dataplanes: p.leases, Withdrawn: p.withdrawn, Logger: c.log})
	work.Go(func() error { return p.leases.Run(ctx) })
	work.Go(func() error { return p.xds.Run(ctx) })
	updates := d.worlds.Subscribe(ctx)
	work.Go(func() error {
		forgetMeshes(updates, p.reports.Forget)
		return nil
	})
	return p, nil
}

func xdsPeer(ctx context.Context) (server.Peer, bool) {
	p, ok := identity.PeerFrom(ctx)
	return server.Peer{Mesh: p.Mesh, Dataplane: p.Dataplane, Service: p.Service, Workload: p.Workload, Zone: p.Zone}, ok
}

// withdrawnWithin is how long a dataplane that leaves is kept, for its callers to hear of it. It asks for a second's patience.
const withdrawnWithin = 700 * time.Millisecond

// withdrawn waits until the proxies of a mesh run what was last written of its dataplanes. One that does not answer keeps
// nobody who wants to leave.
func (p *proxies) withdrawn(ctx context.Context, mesh string) {
	ctx, cancel := context.WithTimeout(ctx, withdrawnWithin)
	defer cancel()
	_, _ = p.xds.Wait(ctx, mesh, p.leases.Written())
}

// registrar lets the xDS server publish who connects. It is server.Registrar.
type registrar struct{ leases *dataplanes.Manager }

func (r registrar) Connect(ctx context.Context, g server.Registration) (server.Session, error) {
	s, err := r.leases.Connect(ctx, dataplanes.Registration{
		Mesh: g.Mesh, Dataplane: g.Dataplane, Service: g.Service, Workload: g.Workload, Resource: g.Resource,
	})
	if err != nil {
		return nil, err // a nil *Session in the interface would be no nil
	}
	return s, nil
}

// newAPI gives the API what it leans on.
func (c *ControlPlane) newAPI(d *data, t *trust, p *proxies) http.Handler {
	return rest.Handler(rest.Options{
		Registry:    d.registry,
		Resources:   d.resources,
		Meshes:      d.meshes,
		Worlds:      d.worlds,
		Proxies:     fleet{p.xds},
		Reports:     reports{p.reports},
		Policies:    policies{p.resolver},
		Credentials: users{t.tokens, t.service},
		Version:     c.cfg.Version,
		Logger:      c.log,
	})
}

// fleet is rest.Proxies.
type fleet struct{ xds *server.Server }

func (f fleet) Status(mesh string) []rest.ProxyStatus {
	var all []rest.ProxyStatus
	for _, s := range f.xds.Status(mesh) {
		row := rest.ProxyStatus{
			Dataplane: s.Dataplane, Service: s.Service, Connected: s.Connected,
			Generation: uint64(s.Generation), SentGeneration: uint64(s.SentGeneration), NACK: s.NACK, Version: s.Version,
		}
		if s.Connected {
			row.Since = &s.Since
		}
		all = append(all, row)
	}
	return all
}

// Wait takes the end of ctx for an answer: what is known by then.
func (f fleet) Wait(ctx context.Context, mesh string, generation uint64) (rest.Propagation, error) {
	got, err := f.xds.Wait(ctx, mesh, store.Revision(generation))
	if err != nil && ctx.Err() == nil {
		return rest.Propagation{}, err
	}
	p := rest.Propagation{
		Mesh: mesh, Generation: generation, Done: err == nil,
		Acked: orEmpty(got.ACKed), NACKed: []rest.NACK{}, Waiting: orEmpty(got.Pending), NotConnected: orEmpty(got.NotConnected),
	}
	for _, n := range got.NACKed {
		p.NACKed = append(p.NACKed, rest.NACK{Dataplane: n.Dataplane, Reason: n.Reason})
	}
	return p, nil
}

func orEmpty(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

// reports is rest.Reports.
type reports struct{ *report.Server }

func (r reports) Decisions(ctx context.Context, mesh string, dataplanes []string, q report.Filter) []report.Decision {
	if len(dataplanes) == 0 {
		return nil // none named would be all of them
	}
	return r.Query(ctx, mesh, dataplanes, q).Decisions
}

// policies is rest.Policies.
type policies struct{ *resolve.Resolver }

func (policies) Judge(c why.Call) why.Verdict {
	r := permission.Evaluate(c.Permission, permission.Call{PeerID: c.Identity, HTTP: c.HTTP, Method: c.Method, Path: c.Path})
	rule := r.Rule
	if rule == "" {
		rule = r.Policy // default-deny, as proxies record it
	}
	return why.Verdict{Allow: r.Allowed, Policy: r.Policy, Rule: rule, ShadowRule: r.Shadow}
}
