package tls

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/controlplane/ir"
	"github.com/hauberk-mesh/hauberk/policy/target"
)

// KeyProvider is where a proxy keeps its private keys and who computes with them. One of the three is set. It is never merged from
// several policies: the most specific one that has a keyProvider decides.
type KeyProvider struct {
	Type *string `json:"type,omitempty"` // batch (default) or memory
	// CryptoMB and QAT are Istio's and Envoy's words for an accelerator. Both are batch here.
	CryptoMB *Accelerator `json:"cryptomb,omitempty"`
	QAT      *Accelerator `json:"qat,omitempty"`
}

// Accelerator has the fields of Istio's privateKeyProvider.
type Accelerator struct {
	PollDelay *api.Duration `json:"pollDelay,omitempty"` // without effect: a batch waits for nobody
	Fallback  *bool         `json:"fallback,omitempty"`  // without effect: where the CPU can't, the proxy always falls back
}

// asked is what a resource asks for: the part of it that is merged and explained.
type asked struct {
	KeyProvider struct {
		Type *ir.KeyProvider `json:"type"`
	} `json:"keyProvider"`
}

// wholeProxy is what inspect calls the proxy as a whole.
const wholeProxy = "proxy"

// keys are what is in force on a proxy.
func keys(resources []*api.Resource, p *ir.Proxy) target.Merged[asked] {
	var candidates []target.Candidate[asked]
	for _, r := range resources {
		spec := r.Spec.(*Spec)
		rank, ok := target.Whole(spec.TargetRef, p)
		for i, rule := range spec.Rules {
			if k := rule.Default.KeyProvider; ok && k != nil {
				a, provider := &asked{}, k.provider()
				a.KeyProvider.Type = &provider
				candidates = append(candidates, target.Candidate[asked]{Rank: rank, Resource: r, Rule: inDefault(i), Default: a})
			}
		}
	}
	return target.Merge(candidates)
}

func (k *KeyProvider) provider() ir.KeyProvider {
	if k.Type != nil {
		return ir.KeyProvider(*k.Type)
	}
	return ir.KeysBatched
}

// Warnings say what of an accelerator's settings means nothing here. That it falls back has to be said: in Envoy the other value
// keeps a proxy from starting.
func (Policy) Warnings(r *api.Resource, _ []*ir.Proxy) (all []string) {
	for i, rule := range r.Spec.(*Spec).Rules {
		if k := rule.Default.KeyProvider; k != nil {
			all = append(all, k.warnings(r.Kind+"/"+r.Metadata.Name+": "+inDefault(i)+".keyProvider")...)
		}
	}
	return all
}

func (k *KeyProvider) warnings(at string) (all []string) {
	for _, a := range k.accelerators(at) {
		if a.conf.PollDelay != nil {
			all = append(all, a.at+".pollDelay has no effect: an operation never waits for others to come")
		}
		if f := a.conf.Fallback; f != nil && !*f {
			all = append(all, a.at+".fallback: false has no effect: a proxy whose CPU has no vector kernels "+
				"computes without them; hauberk check says which do")
		}
	}
	if k.QAT != nil {
		all = append(all, at+".qat asks for a card, and gets the CPU's vector kernels (type: batch)")
	}
	return all
}

// accelerator is one of Envoy's words, and where it stands.
type accelerator struct {
	at   string
	conf *Accelerator
}

func (k *KeyProvider) accelerators(at string) []accelerator {
	all := []accelerator{{at + ".cryptomb", k.CryptoMB}, {at + ".qat", k.QAT}}
	return slices.DeleteFunc(all, func(a accelerator) bool { return a.conf == nil })
}

func validateKeyProvider(at string, ref *api.TargetRef, k *KeyProvider) (ps api.Problems) {
	if ref != nil && ref.SectionName != "" {
		ps.Add(at, "is about the proxy as a whole, and spec.targetRef.sectionName names an inbound",
			"remove sectionName, or write two policies")
	}
	accelerators := k.accelerators(at)
	count := len(accelerators)
	if k.Type != nil {
		count++
		checkType(&ps, at+".type", *k.Type)
	}
	switch {
	case count == 0:
		ps.Add(at, "sets nothing", "write type: batch, or type: memory")
	case count > 1:
		ps.Add(at, "names several providers", "keep one of type, cryptomb and qat; cryptomb and qat are type: batch")
	}
	for _, a := range accelerators {
		if d := a.conf.PollDelay; d != nil && d.Duration <= 0 {
			ps.Add(a.at+".pollDelay", "is not above zero", "remove it: it has no effect")
		}
	}
	return ps
}

func checkType(ps *api.Problems, field, name string) {
	const fix = "write batch or memory"
	switch strings.ToLower(name) {
	case string(ir.KeysBatched), string(ir.KeysInMemory):
		if name != strings.ToLower(name) {
			ps.Add(field, fmt.Sprintf("%q is not a key provider", name), "write "+strings.ToLower(name))
		}
	case "pkcs11", "guardian":
		ps.Add(field, fmt.Sprintf("%q is not in this version: keys are kept in the proxy's own process", name), fix)
	case "cryptomb", "qat":
		ps.Add(field, fmt.Sprintf("%q is not a key provider of this proxy", name), "write batch, which does that work on the CPU")
	default:
		ps.Add(field, fmt.Sprintf("%q is not a key provider", name), fix)
	}
}
