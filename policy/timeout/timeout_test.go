package timeout_test

import (
	"testing"

	"github.com/hauberk-mesh/hauberk/controlplane/ir"
	"github.com/hauberk-mesh/hauberk/policy/policytest"
	"github.com/hauberk-mesh/hauberk/policy/timeout"
)

func TestCases(t *testing.T) {
	policytest.Run(t, policytest.Suite{Policy: timeout.Policy{}, View: view})
}

func view(p *ir.Proxy) any {
	type times struct {
		Connect    string `json:"connect"`
		Idle       string `json:"idle"`
		Pool       string `json:"poolIdle"`
		StreamIdle string `json:"streamIdle,omitempty"`
		Headers    string `json:"requestHeaders,omitempty"`
		MaxConn    string `json:"maxConnection,omitempty"`
		Request    string `json:"request,omitempty"`
		MaxStream  string `json:"maxStream,omitempty"`
	}
	out := map[string]times{}
	for _, l := range append(p.Inbounds, p.Outbounds...) {
		v := times{Idle: l.Timeouts.Idle.String()}
		for _, c := range p.Clusters {
			if c.Name == l.Name {
				v.Connect, v.Pool = c.Timeouts.Connect.String(), c.Timeouts.Idle.String()
			}
		}
		if l.Protocol.IsHTTP() {
			v.StreamIdle, v.Headers, v.MaxConn = l.Timeouts.StreamIdle.String(), l.Timeouts.RequestHeaders.String(), l.Timeouts.MaxConnection.String()
			v.Request, v.MaxStream = l.Routes[0].Timeouts.Request.String(), l.Routes[0].Timeouts.MaxStream.String()
		}
		out[l.Name] = v
	}
	return out
}

func TestDefaultResourcesAreWhatIsInForceAnyhow(t *testing.T) {
	registry := policytest.Registry(timeout.Policy{})
	proxies := func() []*ir.Proxy {
		all, err := registry.Decode("test", []byte(`{apiVersion: hauberk.io/v1alpha1, kind: Dataplane, metadata: {name: a},
			spec: {address: 127.0.0.1, inbounds: [{port: 80, targetPort: 81, protocol: http}], outbounds: [{port: 1, backendRef: {name: b, port: 2}}]}}`))
		if err != nil {
			t.Fatal(err)
		}
		return policytest.Proxies(all)
	}
	bare, full := proxies()[0], proxies()[0]
	defaults := timeout.DefaultResources("default")
	for _, r := range defaults {
		b, err := registry.Encode(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := registry.Decode("default", b); err != nil {
			t.Error(err)
		}
	}
	if err := (timeout.Policy{}).Apply(nil, bare); err != nil {
		t.Fatal(err)
	}
	if err := (timeout.Policy{}).Apply(defaults, full); err != nil {
		t.Fatal(err)
	}
	for i := range bare.Inbounds {
		if bare.Inbounds[i].Timeouts != full.Inbounds[i].Timeouts || bare.Outbounds[i].Timeouts != full.Outbounds[i].Timeouts {
			t.Errorf("default resources change what is in force: %+v, %+v", bare.Inbounds[i].Timeouts, full.Inbounds[i].Timeouts)
		}
	}
	for i := range bare.Clusters {
		if bare.Clusters[i].Timeouts != full.Clusters[i].Timeouts {
			t.Errorf("default resources change %s: %+v, %+v", bare.Clusters[i].Name, bare.Clusters[i].Timeouts, full.Clusters[i].Timeouts)
		}
	}
}
