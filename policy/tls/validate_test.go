package tls_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/policy/policytest"
	"github.com/hauberk-mesh/hauberk/policy/tls"
)

func TestValidation(t *testing.T) {
	for spec, want := range map[string]string{
		"{}":                                "spec.rules is empty: add one, as {default: {mode: Strict}}",
		"{rules: [{default: {}}]}":          "spec.rules[0].default sets nothing: set mode, tlsVersion or keyProvider",
		"{rules: [{default: {mode: Off}}]}": `spec.rules[0].default.mode "Off" is not a mode: write Strict or Permissive`,
		"{rules: [{default: {tlsVersion: {min: TLS13, max: TLS12}}}]}":                                                 "spec.rules[0].default.tlsVersion.min TLS13 is above max: write a min that is not above max",
		"{rules: [{default: {tlsVersion: {min: TLS11}}}]}":                                                             `spec.rules[0].default.tlsVersion.min "TLS11" is no longer safe: write TLS13, or TLS12`,
		"{rules: [{default: {tlsVersion: {max: TLSAuto}}}]}":                                                           `spec.rules[0].default.tlsVersion.max "TLSAuto" leaves open which version it is: write TLS13, or TLS12`,
		"{rules: [{default: {tlsVersion: {max: '1.3'}}}]}":                                                             `spec.rules[0].default.tlsVersion.max "1.3" is not a version: write TLS13 or TLS12`,
		"{default: {keyProvider: {type: batch}}, rules: [{default: {mode: Strict}}]}":                                  "spec.default is unknown: remove it, or write one of targetRef, rules",
		"{rules: [{default: {keyProvider: {}}}]}":                                                                      "spec.rules[0].default.keyProvider sets nothing: write type: batch, or type: memory",
		"{rules: [{default: {keyProvider: {type: Batch}}}]}":                                                           `spec.rules[0].default.keyProvider.type "Batch" is not a key provider: write batch`,
		"{rules: [{default: {keyProvider: {type: tpm}}}]}":                                                             `spec.rules[0].default.keyProvider.type "tpm" is not a key provider: write batch or memory`,
		"{rules: [{default: {keyProvider: {type: cryptomb}}}]}":                                                        `spec.rules[0].default.keyProvider.type "cryptomb" is not a key provider of this proxy: write batch, which does that work on the CPU`,
		"{rules: [{default: {keyProvider: {type: pkcs11}}}]}":                                                          `spec.rules[0].default.keyProvider.type "pkcs11" is not in this version: keys are kept in the proxy's own process: write batch or memory`,
		"{rules: [{default: {keyProvider: {type: guardian}}}]}":                                                        `spec.rules[0].default.keyProvider.type "guardian" is not in this version: keys are kept in the proxy's own process: write batch or memory`,
		"{rules: [{default: {keyProvider: {type: memory, qat: {}}}}]}":                                                 "spec.rules[0].default.keyProvider names several providers: keep one of type, cryptomb and qat; cryptomb and qat are type: batch",
		"{rules: [{default: {keyProvider: {cryptomb: {pollDelay: 0s}}}}]}":                                             "spec.rules[0].default.keyProvider.cryptomb.pollDelay is not above zero: remove it: it has no effect",
		"{rules: [{default: {keyProvider: {cryptomb: {polldelay: 1ms}}}}]}":                                            "spec.rules[0].default.keyProvider.cryptomb.polldelay is unknown: write pollDelay",
		"{targetRef: {kind: Mesh}, rules: []}":                                                                         "spec.rules is empty: add one, as {default: {mode: Strict}}",
		"{targetRef: {kind: Dataplane, name: a, sectionName: http}, rules: [{default: {keyProvider: {type: batch}}}]}": "spec.rules[0].default.keyProvider is about the proxy as a whole, and spec.targetRef.sectionName names an inbound: remove sectionName, or write two policies",
		"{rules: [{default: {mode: Strict}}, {default: {mode: Strict}}]}":                                              "spec.rules[1] is about the same calls as spec.rules[0]: put both into one rule",
	} {
		t.Run(spec, func(t *testing.T) {
			_, err := policytest.Registry(tls.Policy{}).Decode("", []byte("apiVersion: hauberk.io/v1alpha1\nkind: MeshTLS\nmetadata: {name: x}\nspec: "+spec))
			if err == nil {
				t.Fatal("is valid")
			}
			var got []string
			for _, p := range err.(*api.InvalidError).Problems {
				got = append(got, p.Problem.String())
			}
			if diff := cmp.Diff(want, strings.Join(got, "\n")); diff != "" {
				t.Error(diff)
			}
		})
	}
}
