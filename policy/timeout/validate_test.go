package timeout_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/policy/policytest"
	"github.com/hauberk-mesh/hauberk/policy/timeout"
)

func TestValidation(t *testing.T) {
	for spec, want := range map[string]string{
		"{}": "spec has neither to nor rules: write to for calls that go out, or rules for those that come in",
		"{to: [{targetRef: {kind: Mesh}, default: {idleTimeout: 1s}}], rules: [{default: {idleTimeout: 0s}}]}": "spec.rules stands beside to: make two resources: to is for calls that go out, rules for those that come in",
		"{rules: [{default: {}}]}":                                              "spec.rules[0].default sets nothing: set connectionTimeout, idleTimeout or one of http",
		"{rules: [{default: {http: {}}}]}":                                      "spec.rules[0].default sets nothing: set connectionTimeout, idleTimeout or one of http",
		"{rules: [{default: {connectionTimeout: 0s}}]}":                         "spec.rules[0].default.connectionTimeout cannot be off: write 5s, or another time from 1ms on",
		"{rules: [{default: {idleTimeout: 1us}}]}":                              "spec.rules[0].default.idleTimeout 1µs is below a millisecond: write 1ms or more, or 0s for off",
		"{rules: [{default: {idleTimeout: 9000h}}]}":                            "spec.rules[0].default.idleTimeout 9000h0m0s is longer than a year: write 8760h or less, or 0s for off",
		"{rules: [{default: {idleTimeout: -1s}}]}":                              `spec.rules[0].default.idleTimeout "-1s" is negative: write 0s or more`,
		"{rules: [{default: {idleTimeout: 1s}}, {default: {idleTimeout: 1s}}]}": "spec.rules[1] is about the same calls as spec.rules[0]: put both into one rule",
		"{to: [{default: {idleTimeout: 1s}}]}":                                  "spec.to[0].targetRef is missing: write {kind: Mesh} for all destinations, or {kind: MeshService, name: cart}",
		"{to: [{targetRef: {kind: Mesh}, default: {idleTimeout: 1s}}, {targetRef: {kind: Mesh}, default: {idleTimeout: 1s}}]}": "spec.to[1].targetRef is the same as that of spec.to[0]: put both into one entry",
		"{rules: [{matches: [], default: {idleTimeout: 1s}}]}":                                                                 "spec.rules[0].matches is unknown: remove it, or write default",
	} {
		t.Run(spec, func(t *testing.T) {
			_, err := policytest.Registry(timeout.Policy{}).Decode("", []byte("apiVersion: hauberk.io/v1alpha1\nkind: MeshTimeout\nmetadata: {name: x}\nspec: "+spec))
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
