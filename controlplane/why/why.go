// Package why answers one question: would a call from one service to another succeed, and what decides that?
//
// It walks the path of the call as a proxy would (outbound, endpoints, TLS, permission) over one immutable world and the
// resolved configuration of the proxies concerned. It sends nothing and reads no store; what proxies recorded about real
// calls is joined in by package rest. Start at Answerer.Ask.
package why

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hauberk-mesh/hauberk/controlplane/ir"
	"github.com/hauberk-mesh/hauberk/controlplane/report"
	"github.com/hauberk-mesh/hauberk/controlplane/world"
)

// Answerer is what an answer is made from.
type Answerer struct {
	Mesh      *world.Mesh
	Resolve   func(dataplane string) (*ir.Proxy, error)
	Judge     func(Call) Verdict
	Connected func(dataplane string) bool
	// Rejected is why a proxy refused the last configuration that it was sent, "" if it did not.
	Rejected func(dataplane string) string
}

// Call is one request as the permission of an inbound sees it.
type Call struct {
	Permission *ir.Permission
	Identity   string // SPIFFE ID; "" is anonymous
	HTTP       bool
	Method     string
	Path       string
}

// Verdict is what a permission says.
type Verdict struct {
	Allow        bool
	Policy, Rule string
	ShadowRule   string
}

// Ask answers. The error is an inner one (a dataplane that cannot be resolved): whatever a user may have mistyped is an
// obstacle.
func (a Answerer) Ask(q Query) (*Answer, error) {
	ans := &Answer{
		Mesh:        a.Mesh.Name,
		Source:      a.party(q.Source),
		Destination: a.party(q.Destination),
		Verdict:     None,
		Decisions:   []Judged{},
		Observed:    []report.Decision{},
	}
	if !a.known(ans) {
		return ans, nil
	}
	ports, err := a.outbounds(q, ans)
	if err != nil {
		return nil, err
	}
	a.endpoints(ans, ports)
	if err := a.judge(q, ans, ports); err != nil {
		return nil, err
	}
	ans.conclude()
	return ans, nil
}

// party takes a name for a service first, since that is what a caller means.
func (a Answerer) party(name string) Party {
	p := Party{Name: name, Dataplanes: []string{}, SPIFFEIDs: []string{}}
	if d := a.Mesh.Dataplanes[name]; d != nil && a.Mesh.Services[name] == nil {
		p.Service = d.Service
		p.Dataplanes = []string{name}
	} else {
		for _, n := range slices.Sorted(maps.Keys(a.Mesh.Dataplanes)) {
			if a.serves(n, name) {
				p.Dataplanes = append(p.Dataplanes, n)
			}
		}
		if len(p.Dataplanes) > 0 || a.Mesh.Services[name] != nil {
			p.Service = name
		}
	}
	for _, n := range p.Dataplanes {
		if id := a.Mesh.Dataplanes[n].SPIFFEID; !slices.Contains(p.SPIFFEIDs, id) {
			p.SPIFFEIDs = append(p.SPIFFEIDs, id)
		}
	}
	return p
}

// serves tells whether a dataplane belongs to a service, by its label or by the selector of an explicit one.
func (a Answerer) serves(dataplane, service string) bool {
	if a.Mesh.Dataplanes[dataplane].Service == service {
		return true
	}
	svc := a.Mesh.Services[service]
	if svc == nil || svc.Generated {
		return false
	}
	for _, p := range svc.Ports {
		for _, e := range p.Endpoints.List {
			if e.Dataplane == dataplane {
				return true
			}
		}
	}
	return false
}

// known notes what is not there at all; then there is nothing to go on with.
func (a Answerer) known(ans *Answer) bool {
	ok := true
	for _, p := range []Party{ans.Source, ans.Destination} {
		switch {
		case p.Service == "" && len(p.Dataplanes) == 0:
			ans.add("no_such_service", fmt.Sprintf("mesh %s has neither a service nor a dataplane named %s", a.Mesh.Name, p.Name),
				"hauberk get meshservices lists the services; is its dataplane connected (hauberk status)?")
			ok = false
		case len(p.Dataplanes) == 0:
			ans.add("no_dataplane", fmt.Sprintf("no dataplane belongs to service %s", p.Name),
				"start one whose label hauberk.io/service, or the labels that the MeshService selects, fit")
			ok = false
		}
	}
	return ok
}

// outbounds finds the ports of the destination that the source calls.
func (a Answerer) outbounds(q Query, ans *Answer) (map[uint32]bool, error) {
	ports := map[uint32]bool{}
	for _, name := range ans.Source.Dataplanes {
		if a.Connected != nil && !a.Connected(name) {
			ans.add("not_connected", fmt.Sprintf("dataplane %s of the source is not connected: it runs the last configuration that it got", name),
				"start it, or look at its log for why it cannot reach the control plane")
		}
		a.rejected(ans, name)
		p, err := a.Resolve(name)
		if err != nil {
			return nil, fmt.Errorf("dataplane %s: %w", name, err)
		}
		for _, l := range p.Outbounds {
			if l.Service == ans.Destination.Service && l.Service != "" {
				ports[l.ServicePort] = true
			}
		}
	}
	if len(ports) == 0 {
		port := "80"
		if svc := a.Mesh.Services[ans.Destination.Service]; svc != nil && len(svc.Ports) > 0 {
			port = fmt.Sprint(svc.Ports[0].Port)
		}
		ans.add("no_outbound", fmt.Sprintf("%s has no outbound to %s", ans.Source.Name, ans.Destination.Name),
			fmt.Sprintf("add to spec.outbounds of its Dataplane: {port: <free local port>, backendRef: {kind: MeshService, name: %s, port: %s}}", ans.Destination.Service, port))
	}
	if q.Port != 0 {
		return map[uint32]bool{q.Port: true}, nil
	}
	return ports, nil
}

// rejected notes a proxy that does not run what the verdict is made from.
func (a Answerer) rejected(ans *Answer, dataplane string) {
	if a.Rejected == nil {
		return
	}
	if reason := a.Rejected(dataplane); reason != "" {
		ans.add("config_rejected", fmt.Sprintf("dataplane %s refused its configuration (%s) and runs an older one, or none", dataplane, reason),
			"correct what the reason names (hauberk inspect dataplanes "+dataplane+")")
	}
}

// endpoints notes ports of the destination that nobody answers on.
func (a Answerer) endpoints(ans *Answer, ports map[uint32]bool) {
	for _, name := range ans.Destination.Dataplanes {
		if a.Connected != nil && !a.Connected(name) {
			ans.add("not_connected", fmt.Sprintf("dataplane %s of the destination is not connected", name),
				"start it; after its lease of 30 s it is no endpoint any more")
		}
		a.rejected(ans, name)
	}
	svc := a.Mesh.Services[ans.Destination.Service]
	if svc == nil {
		return
	}
	for _, p := range svc.Ports {
		if len(ports) > 0 && !ports[p.Port] {
			continue
		}
		ready := 0
		var unready []string
		for _, e := range p.Endpoints.List {
			if e.Unready {
				unready = append(unready, e.Dataplane)
			} else {
				ready++
			}
		}
		if ready > 0 {
			continue
		}
		message := fmt.Sprintf("port %d of %s has no endpoint", p.Port, svc.Name)
		fix := "start a dataplane with that inbound"
		if len(unready) > 0 {
			message = fmt.Sprintf("port %d of %s has no ready endpoint: the applications of %s do not answer", p.Port, svc.Name, strings.Join(unready, ", "))
			fix = "start them, or correct targetPort or probe of the inbound (hauberk status says what the proxy saw)"
		}
		ans.add("no_ready_endpoint", message, fix)
	}
}

// judge asks every inbound concerned about every identity of the source.
func (a Answerer) judge(q Query, ans *Answer, ports map[uint32]bool) error {
	for _, name := range ans.Destination.Dataplanes {
		p, err := a.Resolve(name)
		if err != nil {
			return fmt.Errorf("dataplane %s: %w", name, err)
		}
		for _, in := range p.Inbounds {
			if len(ports) > 0 && !ports[in.ServicePort] {
				continue
			}
			a.judgeInbound(q, ans, name, in)
		}
	}
	if len(ans.Decisions) == 0 && !ans.has("path_refused") {
		ans.add("no_inbound", fmt.Sprintf("%s has no inbound on the port", ans.Destination.Name), "hauberk describe dataplanes "+ans.Destination.Dataplanes[0]+" shows its inbounds")
	}
	return nil
}

// usualMethod is what a question that names no method is about. A gRPC call is a POST.
func usualMethod(p ir.Protocol) string {
	if p == ir.GRPC {
		return "POST"
	}
	return "GET"
}

func (a Answerer) judgeInbound(q Query, ans *Answer, dataplane string, in *ir.Listener) {
	c := Call{Permission: in.Permission, HTTP: in.Protocol.IsHTTP()}
	if c.HTTP {
		path, err := normalise(cmp.Or(q.Path, "/"))
		if err != nil {
			ans.add("path_refused", fmt.Sprintf("the path %s: every proxy answers 400 before anything is decided", err), "correct the path")
			return
		}
		c.Method, c.Path = cmp.Or(strings.ToUpper(q.Method), usualMethod(in.Protocol)), path
		ans.Method, ans.Path = c.Method, c.Path
	} else if q.Method != "" || q.Path != "" {
		ans.add("not_http", fmt.Sprintf("inbound %s of %s is opaque TCP: method and path are not seen there", in.PortName, dataplane),
			"give the inbound protocol: http, http2 or grpc, if that is what it speaks")
	}
	mode := ""
	if in.TLS != nil {
		mode = string(in.TLS.Mode)
	}
	for _, id := range ans.Source.SPIFFEIDs {
		c.Identity = id
		v := a.Judge(c)
		j := Judged{
			Identity: id, Dataplane: dataplane, Inbound: in.PortName, Port: in.ServicePort, Protocol: string(in.Protocol), TLSMode: mode,
			Verdict: Deny, Policy: v.Policy, Rule: v.Rule, ShadowRule: v.ShadowRule,
		}
		if v.Allow {
			j.Verdict = Allow
		}
		ans.Decisions = append(ans.Decisions, j)
		if slices.Contains(a.Mesh.Revoked, id) {
			ans.add("identity_revoked", id+" is revoked: every proxy refuses its handshake", "give the workload another identity")
		}
	}
}
