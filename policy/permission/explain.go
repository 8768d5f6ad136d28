package permission

import (
	"fmt"
	"strings"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/controlplane/ir"
	"github.com/hauberk-mesh/hauberk/policy/target"
)

// describe says in one line what an entry matches.
func describe(e ir.PermissionEntry) string {
	who := "everybody"
	if e.SPIFFEID != nil {
		who = e.SPIFFEID.Value
		if e.SPIFFEID.Type == ir.Prefix {
			who += "*"
		}
	}
	var b strings.Builder
	b.WriteString(who)
	if len(e.Methods) > 0 {
		b.WriteString(" " + strings.Join(e.Methods, ","))
	}
	for i, p := range e.Paths {
		b.WriteString([]string{" ", ","}[min(i, 1)])
		b.WriteString(p.Value)
		if p.Type == ir.Prefix {
			b.WriteString("*")
		}
	}
	return b.String()
}

// Warnings are about entries that can never allow anything, or deny more than they say, because an inbound is not HTTP.
func (Policy) Warnings(r *api.Resource, proxies []*ir.Proxy) []string {
	var all []string
	for _, p := range proxies {
		for _, in := range p.Inbounds {
			if _, ok := target.Inbound(r.Spec.(*Spec).TargetRef, p, in.PortName); !ok || in.Protocol.IsHTTP() {
				continue
			}
			var lists ir.Permission
			collect(r, &lists)
			for _, e := range lists.Allow {
				if len(e.Methods)+len(e.Paths) > 0 {
					all = append(all, fmt.Sprintf("%s lists methods or paths and so never allows anything on %s of dataplane %s, which is tcp: write an entry without them for it",
						e.Rule, in.Name, p.Name))
				}
			}
			for _, e := range lists.Deny {
				if len(e.Methods)+len(e.Paths) > 0 {
					all = append(all, fmt.Sprintf("%s lists methods or paths and so denies every connection of its callers on %s of dataplane %s, which is tcp: choose http inbounds by sectionName if that is not meant",
						e.Rule, in.Name, p.Name))
				}
			}
		}
	}
	return all
}
