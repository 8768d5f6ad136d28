package api_test

import (
	"strings"
	"testing"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/hauberk-mesh/hauberk/api"
)

// FuzzSPIFFEID holds the check against go-spiffe, which every proxy asks: what is valid here must be valid there, or a
// resource would be accepted that no handshake can ever meet. An ID without a path is the one difference.
func FuzzSPIFFEID(f *testing.F) {
	for _, seed := range []string{
		"spiffe://default.default.mesh.local/workload/cart", "spiffe://a/b/../c", "spiffe://a//b", "spiffe://a/b/", "spiffe://A/b",
		"spiffe://a/%41", "spiffe://a", "spiffe:///a", "SPIFFE://a/b", "spiffe://a/b?c", "spiffe://a:1/b", "spiffe://" + strings.Repeat("a", 256) + "/b",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, id string) {
		parsed, theirs := spiffeid.FromString(id)
		ours := api.CheckSPIFFEID(id)
		// Lengths are the specification's (SPIFFE-ID 2.1, 2.3), which go-spiffe does not check everywhere.
		if len(id) > 2048 || len(parsed.TrustDomain().Name()) > 255 || theirs == nil && parsed.Path() == "" {
			if ours == nil {
				t.Fatalf("%q is taken", id)
			}
			return
		}
		if (ours == nil) != (theirs == nil) {
			t.Fatalf("%q: %v, go-spiffe says %v", id, ours, theirs)
		}
	})
}
