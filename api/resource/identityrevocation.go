package resource

import "time"

// IdentityRevocation says that a SPIFFE ID gets no further SVID and that every proxy refuses its handshakes.
// Read-only: "identity revoke" writes it. Its name is the SPIFFE ID's SHA-256 in hex, since names hold no slashes.
type IdentityRevocation struct {
	SpiffeID string    `json:"spiffeID"`
	Revoked  time.Time `json:"revoked"`
}
