package all_test

import (
	"os"
	"testing"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/api/resource"
	"github.com/hauberk-mesh/hauberk/policy"
	"github.com/hauberk-mesh/hauberk/policy/all"
)

// Everything that a policy is must be there for each: NewRegistry panics on words that are taken twice.
func TestEveryPolicyIsWhole(t *testing.T) {
	api.NewRegistry(append(resource.Kinds(), all.Kinds()...)...)
	for _, p := range all.Policies() {
		k := p.Kind()
		if !k.IsPolicy {
			t.Errorf("%s does not say that it is a policy", k.Name)
		}
		if _, ok := k.New().(policy.Targeted); !ok {
			t.Errorf("the spec of %s has no Target: a change of it would touch every proxy", k.Name)
		}
	}
	entries, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	folders := 0
	for _, e := range entries {
		if _, err := os.Stat("../" + e.Name() + "/README.md"); e.IsDir() && err == nil {
			folders++
		}
	}
	if folders != len(all.Policies()) {
		t.Errorf("%d folders have a README.md and %d policies are listed", folders, len(all.Policies()))
	}
}
