// Package tls is MeshTLS: whether an inbound takes plaintext beside mutual TLS, which versions of TLS, and where a proxy keeps
// its private keys. Without any resource it is Strict and TLS 1.3, and the keys are where the proxy was started with. It is no
// chain element: it sets fields of inbounds and of the proxy that the engine reads.
package tls

import (
	"fmt"
	"strings"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/controlplane/ir"
	"github.com/hauberk-mesh/hauberk/policy"
	"github.com/hauberk-mesh/hauberk/policy/target"
)

// KindName is the kind as users write it.
const KindName = "MeshTLS"

// Spec of a MeshTLS.
type Spec struct {
	TargetRef *api.TargetRef `json:"targetRef,omitempty"` // whose proxies, or which inbounds; default the whole mesh
	Default   *ProxyConf     `json:"default,omitempty"`   // about the proxy as a whole
	Rules     []Rule         `json:"rules,omitempty"`     // about its inbounds
}

// Rule is about calls that come in.
type Rule struct {
	Default Conf `json:"default"`
}

// Conf is what an inbound asks of its callers. What is left out comes from less specific policies.
type Conf struct {
	Mode       *ir.TLSMode `json:"mode,omitempty"`       // Strict (default) or Permissive
	TLSVersion *Version    `json:"tlsVersion,omitempty"` // default TLS13 alone
}

// Version bounds, both ends included: TLS12 or TLS13.
type Version struct {
	Min *string `json:"min,omitempty"`
	Max *string `json:"max,omitempty"`
}

const tls12, tls13 = "TLS12", "TLS13"

// Target is whose proxies the policy is for.
func (s *Spec) Target() *api.TargetRef { return s.TargetRef }

// Policy is MeshTLS.
type Policy struct{}

// Kind describes the resource.
func (Policy) Kind() api.Kind {
	k := api.DefineKind(KindName, "meshtlses", validate)
	k.IsPolicy, k.Short = true, []string{"meshtls", "mtls"}
	return k
}

// Apply sets the proxy's key provider, and mode and versions of every inbound.
func (Policy) Apply(resources []*api.Resource, p *ir.Proxy) error {
	if t := keys(resources, p).Value.KeyProvider.Type; t != nil {
		p.KeyProvider = *t
	}
	for _, in := range p.Inbounds {
		conf := inForce(resources, p, in).Value
		out := &ir.InboundTLS{Mode: ir.Strict, MinVersion: tls13, MaxVersion: tls13}
		if conf.Mode != nil {
			out.Mode = *conf.Mode
		}
		if v := conf.TLSVersion; v != nil {
			bounds(out, v)
		}
		in.TLS = out
	}
	return nil
}

// bounds: min and max may come from different resources. Where they then exclude each other, the higher one is safe.
func bounds(out *ir.InboundTLS, v *Version) {
	if v.Max != nil {
		out.MaxVersion = *v.Max
	}
	if v.Min != nil {
		out.MinVersion = *v.Min
	} else if out.MaxVersion == tls12 {
		out.MinVersion = tls12
	}
	if out.MinVersion > out.MaxVersion {
		out.MaxVersion = out.MinVersion
	}
}

// Explain lists the fields that resources set.
func (Policy) Explain(resources []*api.Resource, p *ir.Proxy) []policy.Contribution {
	all := keys(resources, p).Contributions(wholeProxy)
	for _, in := range p.Inbounds {
		all = append(all, inForce(resources, p, in).Contributions(in.Name)...)
	}
	return all
}

func inForce(resources []*api.Resource, p *ir.Proxy, in *ir.Listener) target.Merged[Conf] {
	var candidates []target.Candidate[Conf]
	for _, r := range resources {
		spec := r.Spec.(*Spec)
		rank, ok := target.Inbound(spec.TargetRef, p, in.PortName)
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

// DefaultResources come with a new mesh. They say what is in force anyhow, where a user can see and edit it.
func DefaultResources(mesh string) []*api.Resource {
	mode := ir.Strict
	return []*api.Resource{{
		APIVersion: api.APIVersion, Kind: KindName,
		Metadata: api.Meta{
			Name:   "mesh-tls-all-" + mesh,
			Labels: map[string]string{api.LabelMesh: mesh, api.LabelOrigin: api.OriginDefault},
		},
		Spec: &Spec{TargetRef: &api.TargetRef{Kind: "Mesh"}, Rules: []Rule{{Default: Conf{Mode: &mode}}}},
	}}
}

func validate(_ api.Meta, s *Spec) (ps api.Problems) {
	ps = append(ps, target.ValidateTop(s.TargetRef, true)...)
	if len(s.Rules) == 0 && s.Default == nil {
		ps.Add("spec.rules", "is empty", "add one, as {default: {mode: Strict}}")
	}
	if s.Default != nil {
		ps = append(ps, validateProxyConf(s.TargetRef, s.Default)...)
	}
	for i, r := range s.Rules {
		at := fmt.Sprintf("spec.rules[%d]", i)
		if i > 0 {
			ps.Add(at, "is about the same calls as spec.rules[0]", "put both into one rule")
		}
		ps = append(ps, validateConf(at+".default", r.Default)...)
	}
	return ps
}

func validateProxyConf(ref *api.TargetRef, c *ProxyConf) (ps api.Problems) {
	if ref != nil && ref.SectionName != "" {
		ps.Add(inDefault, "is about the proxy as a whole, and spec.targetRef.sectionName names an inbound",
			"remove sectionName, or write two policies")
	}
	if c.KeyProvider == nil {
		ps.Add(inDefault, "sets nothing", "set keyProvider, as {type: batch}")
		return ps
	}
	return append(ps, validateKeyProvider(inDefault+".keyProvider", c.KeyProvider)...)
}

func validateConf(at string, c Conf) (ps api.Problems) {
	if c.Mode == nil && (c.TLSVersion == nil || *c.TLSVersion == (Version{})) {
		ps.Add(at, "sets nothing", "set mode or tlsVersion")
	}
	if c.Mode != nil && *c.Mode != ir.Strict && *c.Mode != ir.Permissive {
		fix := "write Strict or Permissive"
		for _, m := range []ir.TLSMode{ir.Strict, ir.Permissive} {
			if strings.EqualFold(string(m), string(*c.Mode)) {
				fix = "write " + string(m)
			}
		}
		ps.Add(at+".mode", fmt.Sprintf("%q is not a mode", *c.Mode), fix)
	}
	v := c.TLSVersion
	if v == nil {
		return ps
	}
	checkVersion(&ps, at+".tlsVersion.min", v.Min)
	checkVersion(&ps, at+".tlsVersion.max", v.Max)
	if v.Min != nil && v.Max != nil && *v.Min > *v.Max {
		ps.Add(at+".tlsVersion.min", fmt.Sprintf("%s is above max", *v.Min), "write a min that is not above max")
	}
	return ps
}

func checkVersion(ps *api.Problems, field string, v *string) {
	switch {
	case v == nil || *v == tls12 || *v == tls13:
	case *v == "TLSAuto":
		ps.Add(field, `"TLSAuto" leaves open which version it is`, "write TLS13, or TLS12")
	case *v == "TLS10" || *v == "TLS11":
		ps.Add(field, fmt.Sprintf("%q is no longer safe", *v), "write TLS13, or TLS12")
	default:
		ps.Add(field, fmt.Sprintf("%q is not a version", *v), "write TLS13 or TLS12")
	}
}
