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
		"{rules: [{default: {tlsVersion: {min: TLS13, max: TLS12}}}]}":    "spec.rules[0].default.tlsVersion.min TLS13 is above max: write a min that is not above max",
		"{rules: [{default: {tlsVersion: {min: TLS11}}}]}":                `spec.rules[0].default.tlsVersion.min "TLS11" is no longer safe: write TLS13, or TLS12`,
		"{rules: [{default: {tlsVersion: {max: TLSAuto}}}]}":              `spec.rules[0].default.tlsVersion.max "TLSAuto" leaves open which version it is: write TLS13, or TLS12`,
		"{rules: [{default: {tlsVersion: {max: '1.3'}}}]}":                `spec.rules[0].default.tlsVersion.max "1.3" is not a version: write TLS13 or TLS12`,
		"{rules: [{default: {mode: Strict}}, {default: {mode: Strict}}]}": "spec.rules[1] is about the same calls as spec.rules[0]: put both into one rule",
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
