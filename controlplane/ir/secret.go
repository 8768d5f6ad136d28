package ir

// Names under which secrets are asked for on the wire. Only the trust bundle's content is ever sent by xDS; the identity
// is resolved by the proxy's own identity client.
const (
	SecretIdentity = "identity" // the proxy's SVID and key
	SecretTrust    = "trust"    // all trust bundles
)

// TrustBundle is the public authorities of one trust domain.
type TrustBundle struct {
	TrustDomain string   `json:"trustDomain"`
	PEM         []string `json:"pem"` // certificates, PEM, in the order of MeshTrust
}
