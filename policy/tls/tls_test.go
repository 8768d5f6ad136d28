package tls_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hauberk-mesh/hauberk/controlplane/ir"
	"github.com/hauberk-mesh/hauberk/policy/policytest"
	"github.com/hauberk-mesh/hauberk/policy/tls"
)

func TestCases(t *testing.T) {
	policytest.Run(t, policytest.Suite{Policy: tls.Policy{}, View: func(p *ir.Proxy) any {
		out := map[string]any{}
		if p.KeyProvider != "" {
			out["keyProvider"] = p.KeyProvider
		}
		for _, in := range p.Inbounds {
			out[in.Name] = in.TLS
		}
		return out
	}})
}

func TestDefaultResourcesAreValid(t *testing.T) {
	registry := policytest.Registry(tls.Policy{})
	for _, r := range tls.DefaultResources("blue") {
		b, err := registry.Encode(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := registry.Decode("default", b); err != nil {
			t.Error(err)
		}
	}
}

func TestWarnings(t *testing.T) {
	for spec, want := range map[string][]string{
		"{rules: [{default: {mode: Strict}}]}":                              nil,
		"{rules: [{default: {keyProvider: {type: batch}}}]}":                nil,
		"{rules: [{default: {keyProvider: {cryptomb: {fallback: true}}}}]}": nil,
		"{rules: [{default: {keyProvider: {cryptomb: {}}}}]}":               nil,
		"{rules: [{default: {keyProvider: {qat: {}}}}]}":                    {"MeshTLS/x: spec.rules[0].default.keyProvider.qat asks for a card, and gets the CPU's vector kernels (type: batch)"},
		"{rules: [{default: {keyProvider: {cryptomb: {pollDelay: 10ms, fallback: false}}}}]}": {
			"MeshTLS/x: spec.rules[0].default.keyProvider.cryptomb.pollDelay has no effect: an operation never waits for others to come",
			"MeshTLS/x: spec.rules[0].default.keyProvider.cryptomb.fallback: false has no effect: a proxy whose CPU has no vector kernels computes without them; hauberk check says which do",
		},
	} {
		docs, err := policytest.Registry(tls.Policy{}).Decode("", []byte("apiVersion: hauberk.io/v1alpha1\nkind: MeshTLS\nmetadata: {name: x}\nspec: "+spec))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, (tls.Policy{}).Warnings(docs[0], nil)); diff != "" {
			t.Errorf("%s: %s", spec, diff)
		}
	}
}
