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
		"{rules: [{default: {}}]}":          "spec.rules[0].default sets nothing: set mode or tlsVersion",
		"{rules: [{default: {mode: Off}}]}": `spec.rules[0].default.mode "Off" is not a mode: write Strict or Permissive`,
		"{rules: [{default: {tlsVersion: {min: TLS13, max: TLS12}}}]}": "spec.rules[0].default.tlsVersion.min TLS13 is above max: write a min that is not above max",
		"{rules: [{default: {tlsVersion: {min: TLS11}}}]}":             `spec.rules[0].default.tlsVersion.min "TLS11" is no longer safe: write TLS13, or TLS12`,
		"{rules: [{default: {tlsVersion: {max: TLSAuto}}}]}":           `spec.rules[0].default.tlsVersion.max "TLSAuto" leaves open which version it is: write TLS13, or TLS12`,
		"{rules: [{default: {tlsVersion: {max: '1.3'}}}]}":             `spec.rules[0].default.tlsVersion.max "1.3" is not a version: write TLS13 or TLS12`,
		"{default: {}}":                                                                                     "spec.default sets nothing: set keyProvider, as {type: batch}",
		"{default: {keyProvider: {}}}":                                                                      "spec.default.keyProvider sets nothing: write type: batch, or type: memory",
		"{default: {keyProvider: {type: Batch}}}":                                                           `spec.default.keyProvider.type "Batch" is not a key provider: write batch`,
		"{default: {keyProvider: {type: tpm}}}":                                                             `spec.default.keyProvider.type "tpm" is not a key provider: write batch or memory`,
		"{default: {keyProvider: {type: cryptomb}}}":                                                        `spec.default.keyProvider.type "cryptomb" is not a key provider of this proxy: write batch, which does that work on the CPU`,
		"{default: {keyProvider: {type: pkcs11}}}":                                                          `spec.default.keyProvider.type "pkcs11" is not in this version: keys are kept in the proxy's own process: write batch or memory`,
		"{default: {keyProvider: {type: guardian}}}":                                                        `spec.default.keyProvider.type "guardian" is not in this version: keys are kept in the proxy's own process: write batch or memory`,
		"{default: {keyProvider: {type: memory, qat: {}}}}":                                                 "spec.default.keyProvider names several providers: keep one of type, cryptomb and qat; cryptomb and qat are type: batch",
		"{default: {keyProvider: {cryptomb: {pollDelay: 0s}}}}":                                             "spec.default.keyProvider.cryptomb.pollDelay is not above zero: remove it: it has no effect",
		"{default: {keyProvider: {cryptomb: {polldelay: 1ms}}}}":                                            "spec.default.keyProvider.cryptomb.polldelay is unknown: write pollDelay",
		"{rules: [{default: {mode: Strict, keyProvider: {type: batch}}}]}":                                  "spec.rules[0].default.keyProvider is unknown: remove it, or write one of mode, tlsVersion",
		"{targetRef: {kind: Dataplane, name: a, sectionName: http}, default: {keyProvider: {type: batch}}}": "spec.default is about the proxy as a whole, and spec.targetRef.sectionName names an inbound: remove sectionName, or write two policies",
		"{rules: [{default: {mode: Strict}}, {default: {mode: Strict}}]}":                                   "spec.rules[1] is about the same calls as spec.rules[0]: put both into one rule",
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
