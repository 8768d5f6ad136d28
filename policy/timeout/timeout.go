// Package timeout is MeshTimeout: how long a proxy waits, for connections and for requests, on the way out (to[]) and on
// the way in (rules[]). It is no chain element: it sets fields of listeners, routes and clusters that the engine reads.
//
// Start at Spec; the values that are in force where no resource says anything are in defaults.go.
package timeout

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/controlplane/ir"
	"github.com/hauberk-mesh/hauberk/policy"
	"github.com/hauberk-mesh/hauberk/policy/target"
)

// KindName is the kind as users write it.
const KindName = "MeshTimeout"

// Spec of a MeshTimeout. One resource has either To or Rules.
type Spec struct {
	TargetRef *api.TargetRef `json:"targetRef,omitempty"` // whose proxies; default the whole mesh
	To        []To           `json:"to,omitempty"`
	Rules     []Rule         `json:"rules,omitempty"`
}

// To is about calls to a destination.
type To struct {
	TargetRef *api.TargetRef `json:"targetRef"` // Mesh (all) or MeshService by name, sectionName one of its ports
	Default   Conf           `json:"default"`
}

// Rule is about calls that come in.
type Rule struct {
	Default Conf `json:"default"`
}

// Conf holds times; 0s is off, and what is left out comes from less specific policies.
type Conf struct {
	ConnectionTimeout *api.Duration `json:"connectionTimeout,omitempty"` // to open a connection, handshake included; never off
	IdleTimeout       *api.Duration `json:"idleTimeout,omitempty"`       // connection without a request (HTTP) or bytes (TCP)
	HTTP              *HTTP         `json:"http,omitempty"`
}

// HTTP are the times of requests.
type HTTP struct {
	RequestTimeout        *api.Duration `json:"requestTimeout,omitempty"`        // request received whole, to the end of its response
	StreamIdleTimeout     *api.Duration `json:"streamIdleTimeout,omitempty"`     // request or response without progress
	MaxStreamDuration     *api.Duration `json:"maxStreamDuration,omitempty"`     // whole life of a request and its response
	MaxConnectionDuration *api.Duration `json:"maxConnectionDuration,omitempty"` // age at which a connection is drained
	RequestHeadersTimeout *api.Duration `json:"requestHeadersTimeout,omitempty"` // first byte of a request to the end of its headers
}

// Target is whose proxies the policy is for.
func (s *Spec) Target() *api.TargetRef { return s.TargetRef }

// Policy is MeshTimeout.
type Policy struct{}

// Kind describes the resource.
func (Policy) Kind() api.Kind {
	k := api.DefineKind(KindName, "meshtimeouts", validate)
	k.IsPolicy, k.Short = true, []string{"meshtimeout", "mto"}
	return k
}

// Apply sets the times of every listener, its routes and their clusters.
func (Policy) Apply(resources []*api.Resource, p *ir.Proxy) error {
	for _, in := range p.Inbounds {
		if err := set(p, in, inForce(inbound(resources, p, in), defaultInbound)); err != nil {
			return err
		}
	}
	for _, out := range p.Outbounds {
		if err := set(p, out, inForce(outbound(resources, p, out), defaultOutbound)); err != nil {
			return err
		}
	}
	return nil
}

// Explain lists the fields that resources set.
func (Policy) Explain(resources []*api.Resource, p *ir.Proxy) []policy.Contribution {
	var all []policy.Contribution
	for _, in := range p.Inbounds {
		all = append(all, explain(inbound(resources, p, in), in)...)
	}
	for _, out := range p.Outbounds {
		all = append(all, explain(outbound(resources, p, out), out)...)
	}
	return all
}

// explain leaves out what has no effect: the times of requests where there are none.
func explain(m target.Merged[Conf], l *ir.Listener) []policy.Contribution {
	return slices.DeleteFunc(m.Contributions(l.Name), func(c policy.Contribution) bool {
		return !l.Protocol.IsHTTP() && strings.HasPrefix(c.Field, "http.")
	})
}

func inbound(resources []*api.Resource, p *ir.Proxy, l *ir.Listener) target.Merged[Conf] {
	var candidates []target.Candidate[Conf]
	for _, r := range resources {
		spec := r.Spec.(*Spec)
		rank, ok := target.Inbound(spec.TargetRef, p, l.PortName)
		for i := range spec.Rules {
			if ok {
				candidates = append(candidates, target.Candidate[Conf]{
					Rank: rank, Resource: r, Rule: fmt.Sprintf("spec.rules[%d]", i), Default: &spec.Rules[i].Default,
				})
			}
		}
	}
	return target.Merge(candidates)
}

func outbound(resources []*api.Resource, p *ir.Proxy, l *ir.Listener) target.Merged[Conf] {
	var candidates []target.Candidate[Conf]
	for _, r := range resources {
		spec := r.Spec.(*Spec)
		for i := range spec.To {
			if rank, ok := target.Outbound(spec.TargetRef, spec.To[i].TargetRef, p, l.Service, l.PortName); ok {
				candidates = append(candidates, target.Candidate[Conf]{
					Rank: rank, Resource: r, Rule: fmt.Sprintf("spec.to[%d]", i), Default: &spec.To[i].Default,
				})
			}
		}
	}
	return target.Merge(candidates)
}

// times are a Conf with every field decided.
type times struct {
	connect, idle, request, streamIdle, maxStream, maxConnection, requestHeaders time.Duration
}

func inForce(m target.Merged[Conf], t times) times {
	take(&t.connect, m.Value.ConnectionTimeout)
	take(&t.idle, m.Value.IdleTimeout)
	if h := m.Value.HTTP; h != nil {
		take(&t.request, h.RequestTimeout)
		take(&t.streamIdle, h.StreamIdleTimeout)
		take(&t.maxStream, h.MaxStreamDuration)
		take(&t.maxConnection, h.MaxConnectionDuration)
		take(&t.requestHeaders, h.RequestHeadersTimeout)
	}
	return t
}

func take(t *time.Duration, d *api.Duration) {
	if d != nil {
		*t = d.Duration
	}
}

// set writes t into a listener and what it leads to. Two listeners never lead to the same cluster.
func set(p *ir.Proxy, l *ir.Listener, t times) error {
	l.Timeouts = ir.ListenerTimeouts{Idle: t.idle}
	if l.Protocol.IsHTTP() {
		l.Timeouts = ir.ListenerTimeouts{Idle: t.idle, StreamIdle: t.streamIdle, RequestHeaders: t.requestHeaders, MaxConnection: t.maxConnection}
	}
	clusters := []string{l.Cluster}
	if l.Protocol.IsHTTP() {
		clusters = nil
		for _, r := range l.Routes {
			r.Timeouts = ir.RouteTimeouts{Request: t.request, MaxStream: t.maxStream}
			clusters = append(clusters, r.Cluster)
		}
	}
	for _, name := range clusters {
		c := cluster(p, name)
		if c == nil {
			return fmt.Errorf("%s leads to cluster %s, which is not there", l.Name, name)
		}
		c.Timeouts = ir.ClusterTimeouts{Connect: t.connect, Idle: t.idle}
	}
	return nil
}

func cluster(p *ir.Proxy, name string) *ir.Cluster {
	for _, c := range p.Clusters {
		if c.Name == name {
			return c
		}
	}
	return nil
}
