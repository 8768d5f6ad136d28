package tls_test

import (
	"testing"

	"github.com/hauberk-mesh/hauberk/controlplane/ir"
	"github.com/hauberk-mesh/hauberk/policy/policytest"
	"github.com/hauberk-mesh/hauberk/policy/tls"
)

func TestCases(t *testing.T) {
	policytest.Run(t, policytest.Suite{Policy: tls.Policy{}, View: func(p *ir.Proxy) any {
		out := map[string]*ir.InboundTLS{}
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
