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
	Rules     []Rule         `json:"rules"`
}

// Rule is about all calls that come in.
type Rule struct {
	Default Conf `json:"default"`
}

// Conf is what an inbound asks of its callers, and where the proxy behind it keeps its keys. What is left out comes from less
// specific policies.
type Conf struct {
	Mode        *ir.TLSMode  `json:"mode,omitempty"`        // Strict (default) or Permissive
	TLSVersion  *Version     `json:"tlsVersion,omitempty"`  // default TLS13 alone
	KeyProvider *KeyProvider `json:"keyProvider,omitempty"` // of the proxy as a whole, whatever its inbounds
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

// inDefault is where a rule says it.
func inDefault(rule int) string { return fmt.Sprintf("spec.rules[%d].default", rule) }

// inForce is what an inbound asks of its callers: all but the keys, which are not an inbound's and are never merged.
func inForce(resources []*api.Resource, p *ir.Proxy, in *ir.Listener) target.Merged[Conf] {
	var candidates []target.Candidate[Conf]
	for _, r := range resources {
		spec := r.Spec.(*Spec)
		rank, ok := target.Inbound(spec.TargetRef, p, in.PortName)
		for i, rule := range spec.Rules {
			if ok {
				conf := &Conf{Mode: rule.Default.Mode, TLSVersion: rule.Default.TLSVersion}
				candidates = append(candidates, target.Candidate[Conf]{
					Rank: rank, Resource: r, Rule: fmt.Sprintf("spec.rules[%d]", i), Default: conf,
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
	if len(s.Rules) == 0 {
		ps.Add("spec.rules", "is empty", "add one, as {default: {mode: Strict}}")
	}
	for i, r := range s.Rules {
		at := fmt.Sprintf("spec.rules[%d]", i)
		if i > 0 {
			ps.Add(at, "is about the same calls as spec.rules[0]", "put both into one rule")
		}
		ps = append(ps, validateConf(inDefault(i), r.Default)...)
		if k := r.Default.KeyProvider; k != nil {
			ps = append(ps, validateKeyProvider(inDefault(i)+".keyProvider", s.TargetRef, k)...)
		}
	}
	return ps
}

func validateConf(at string, c Conf) (ps api.Problems) {
	if c.Mode == nil && (c.TLSVersion == nil || *c.TLSVersion == (Version{})) && c.KeyProvider == nil {
		ps.Add(at, "sets nothing", "set mode, tlsVersion or keyProvider")
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
