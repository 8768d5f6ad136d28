package resource

import "github.com/hauberk-mesh/hauberk/api"

// MeshIdentity is how workloads of a mesh get their SVIDs.
type MeshIdentity struct {
	SpiffeID *SpiffeIDTemplate `json:"spiffeID,omitempty"`
	Provider IdentityProvider  `json:"provider"`
}

// SpiffeIDTemplate holds Go templates over {{ .Mesh }}, {{ .Zone }} and {{ .Workload }}.
type SpiffeIDTemplate struct {
	TrustDomain string `json:"trustDomain,omitempty"` // default "{{ .Mesh }}.{{ .Zone }}.mesh.local"
	Path        string `json:"path,omitempty"`        // default "/workload/{{ .Workload }}"
}

// IdentityProvider is the authority. Type is Bundled in this version.
type IdentityProvider struct {
	Type    string           `json:"type"`
	Bundled *BundledProvider `json:"bundled,omitempty"`
}

// BundledProvider is the authority inside the control plane.
type BundledProvider struct {
	Autogenerate          *Autogenerate          `json:"autogenerate,omitempty"`
	CertificateParameters *CertificateParameters `json:"certificateParameters,omitempty"`
}

// Autogenerate makes root and intermediate on first use. Enabled is the only value of this version.
type Autogenerate struct {
	Enabled bool `json:"enabled"`
}

// CertificateParameters are those of leaves.
type CertificateParameters struct {
	Expiry *api.Duration `json:"expiry,omitempty"` // default 24h, at least 10s, at most 2160h (90 days)
}
