package resource

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/hauberk-mesh/hauberk/api"
)

// IdentityRevocation says that a SPIFFE ID gets no further SVID and that every proxy refuses its handshakes.
// Read-only: "identity revoke" writes it. Its name is the SPIFFE ID's SHA-256 in hex, since names hold no slashes.
type IdentityRevocation struct {
	SpiffeID string    `json:"spiffeID"`
	Revoked  time.Time `json:"revoked"`
}

// RevocationName is the name of a SPIFFE ID's IdentityRevocation.
func RevocationName(spiffeID string) string {
	sum := sha256.Sum256([]byte(spiffeID))
	return hex.EncodeToString(sum[:])
}

// IdentityRevocationKind describes IdentityRevocation.
func IdentityRevocationKind() api.Kind {
	validate := func(_ api.Meta, r *IdentityRevocation) (ps api.Problems) {
		if err := api.CheckSPIFFEID(r.SpiffeID); err != nil {
			ps.Add("spec.spiffeID", "is not a SPIFFE ID: "+err.Error(), "write it whole, as spiffe://default.default.mesh.local/workload/cart")
		}
		return ps
	}
	return readOnly(short(api.DefineKind("IdentityRevocation", "identityrevocations", validate), "identityrevocation"))
}
