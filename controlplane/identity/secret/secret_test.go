package secret

import (
	"crypto"
	"encoding/json"
	"strings"
	"testing"

	"github.com/hauberk-mesh/hauberk/accel/keyprovider"
	"github.com/hauberk-mesh/hauberk/accel/keyprovider/memory"
	"github.com/hauberk-mesh/hauberk/controlplane/store"
)

// Stores of before the provider was renamed still open; keys of another provider do not.
func TestOpenByProvider(t *testing.T) {
	keys := memory.New()
	key, err := keys.Generate(t.Context(), keyprovider.ECDSAP256)
	if err != nil {
		t.Fatal(err)
	}
	op, err := Op(Key("", "signing"), keys.Name(), key, nil, store.Condition{})
	if err != nil {
		t.Fatal(err)
	}
	for provider, want := range map[string]string{"memory": "", "software": "", "guardian": `by the provider "guardian"`} {
		var s Secret
		if err := json.Unmarshal(op.Value, &s); err != nil {
			t.Fatal(err)
		}
		s.Provider = provider
		value, _ := json.Marshal(s)
		found, _, err := Open(t.Context(), store.Record{Key: op.Key, Value: value}, keys)
		switch {
		case want != "":
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v, want an error with %q", provider, err, want)
			}
		case err != nil:
			t.Errorf("%s: %v", provider, err)
		case !found.Public().(interface{ Equal(x crypto.PublicKey) bool }).Equal(key.Public()):
			t.Errorf("%s: found another key", provider)
		}
	}
}
