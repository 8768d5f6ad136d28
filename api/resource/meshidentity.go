package resource

import (
	"fmt"
	"strings"

	"github.com/hauberk-mesh/hauberk/api"
)

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

// ProviderBundled is the only type of an IdentityProvider.
const ProviderBundled = "Bundled"

// MeshIdentityKind describes MeshIdentity.
func MeshIdentityKind() api.Kind {
	return short(api.DefineKind("MeshIdentity", "meshidentities", validateMeshIdentity), "meshidentity", "mid")
}

func validateMeshIdentity(_ api.Meta, m *MeshIdentity) (ps api.Problems) {
	ps = append(ps, checkTemplates(m)...)
	switch m.Provider.Type {
	case ProviderBundled:
	case "":
		ps.Add("spec.provider.type", "is missing", "write "+ProviderBundled)
	default:
		ps.Add("spec.provider.type", fmt.Sprintf("%q is not a provider", m.Provider.Type), "write "+ProviderBundled)
	}
	bundled := m.Provider.Bundled
	if bundled == nil {
		return ps
	}
	if bundled.Autogenerate != nil && !bundled.Autogenerate.Enabled {
		ps.Add("spec.provider.bundled.autogenerate.enabled", "is false, and this version takes no authority from outside", "write true, or leave autogenerate out")
	}
	if e := m.LeafExpiry(); e < MinLeafExpiry || e > MaxLeafExpiry {
		ps.Add("spec.provider.bundled.certificateParameters.expiry", fmt.Sprintf("%s is out of range", api.Duration{Duration: e}.Short()), "write 10s to 2160h")
	}
	return ps
}

// checkTemplates fills the templates in for workloads that differ in one part, and wants valid, different identities.
func checkTemplates(m *MeshIdentity) (ps api.Problems) {
	const domain, path = "spec.spiffeID.trustDomain", "spec.spiffeID.path"
	td, err := m.TrustDomainOf("mesh", "zone")
	if err != nil {
		ps.Add(domain, "gives no trust domain: "+err.Error(), "use {{ .Mesh }} and {{ .Zone }}, as "+DefaultTrustDomain)
		return ps
	}
	if other, _ := m.TrustDomainOf("other", "zone"); other == td && strings.Contains(m.SpiffeID.TrustDomain, "{{") {
		ps.Add(domain, "is the same in every mesh", "use {{ .Mesh }} in it, as "+DefaultTrustDomain)
	}
	id, err := m.SPIFFEIDOf("mesh", "zone", "workload")
	if err != nil {
		ps.Add(path, "gives no SPIFFE ID: "+err.Error(), "begin it with '/' and use {{ .Workload }}, as "+DefaultPath)
		return ps
	}
	if other, _ := m.SPIFFEIDOf("mesh", "zone", "other"); other == id {
		ps.Add(path, "gives all workloads the same identity", "use {{ .Workload }} in it, as "+DefaultPath)
	} else if !strings.HasSuffix(id, "/workload") {
		// The control plane reads the workload off a certificate there, and would take every proxy for another one.
		ps.Add(path, "does not end in the workload alone", "end it with /{{ .Workload }}, as "+DefaultPath)
	}
	return ps
}
