package resource

import (
	"fmt"
	"strings"
	"time"

	"github.com/hauberk-mesh/hauberk/api"
)

// What a MeshIdentity means where it says nothing, and the bounds of what it may say.
const (
	DefaultTrustDomain = "{{ .Mesh }}.{{ .Zone }}.mesh.local"
	DefaultPath        = "/workload/{{ .Workload }}"
	DefaultLeafExpiry  = 24 * time.Hour
	MinLeafExpiry      = 10 * time.Second
	MaxLeafExpiry      = 90 * 24 * time.Hour
)

// LeafExpiry is how long a new leaf lives.
func (m *MeshIdentity) LeafExpiry() time.Duration {
	if m == nil || m.Provider.Bundled == nil || m.Provider.Bundled.CertificateParameters == nil ||
		m.Provider.Bundled.CertificateParameters.Expiry == nil {
		return DefaultLeafExpiry
	}
	return m.Provider.Bundled.CertificateParameters.Expiry.Duration
}

// TrustDomainOf is the trust domain of a mesh's workloads in a zone: the template filled in and checked. A nil
// MeshIdentity has the defaults.
func (m *MeshIdentity) TrustDomainOf(mesh, zone string) (string, error) {
	template := DefaultTrustDomain
	if m != nil && m.SpiffeID != nil && m.SpiffeID.TrustDomain != "" {
		template = m.SpiffeID.TrustDomain
	}
	domain, err := expand(template, map[string]string{".Mesh": mesh, ".Zone": zone})
	if err != nil {
		return "", fmt.Errorf("trust domain %q: %w", template, err)
	}
	if err := api.CheckTrustDomain(domain); err != nil {
		return "", err
	}
	return domain, nil
}

// SPIFFEIDOf is the SPIFFE ID of a workload: the templates filled in and checked. A nil MeshIdentity has the defaults.
func (m *MeshIdentity) SPIFFEIDOf(mesh, zone, workload string) (string, error) {
	domain, err := m.TrustDomainOf(mesh, zone)
	if err != nil {
		return "", err
	}
	template := DefaultPath
	if m != nil && m.SpiffeID != nil && m.SpiffeID.Path != "" {
		template = m.SpiffeID.Path
	}
	// A slash would let a workload's name choose another workload's path.
	if strings.Contains(workload, "/") {
		return "", fmt.Errorf("workload %q has a slash", workload)
	}
	path, err := expand(template, map[string]string{".Mesh": mesh, ".Zone": zone, ".Workload": workload})
	if err != nil {
		return "", fmt.Errorf("SPIFFE ID path %q: %w", template, err)
	}
	if !strings.HasPrefix(path, "/") {
		return "", fmt.Errorf("SPIFFE ID path %q does not begin with a slash", path)
	}
	id := "spiffe://" + domain + path
	if err := api.CheckSPIFFEID(id); err != nil {
		return "", err
	}
	return id, nil
}

// expand fills in {{ .Name }}, and knows nothing else of Go's templates: an identity must be readable off its template.
func expand(template string, values map[string]string) (string, error) {
	var out strings.Builder
	for rest := template; ; {
		before, after, found := strings.Cut(rest, "{{")
		out.WriteString(before)
		if !found {
			return out.String(), nil
		}
		action, tail, closed := strings.Cut(after, "}}")
		if !closed {
			return "", fmt.Errorf("{{ is not closed: write }} after it")
		}
		name := strings.TrimSpace(action)
		value, known := values[name]
		if !known {
			return "", fmt.Errorf("{{ %s }} is unknown: write .Mesh, .Zone or, in a path, .Workload", name)
		}
		out.WriteString(value)
		rest = tail
	}
}
