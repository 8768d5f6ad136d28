package ca

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/api/resource"
)

// trustName is the MeshTrust that the authority writes.
const trustName = "identity"

// ensureTrust makes sure that a MeshTrust of the domain holds the root. What users have added to it stays.
func ensureTrust(ctx context.Context, resources Resources, mesh, domain string, root *x509.Certificate) error {
	list, err := resources.List(ctx, "MeshTrust", mesh)
	if err != nil {
		return fmt.Errorf("read MeshTrust: %w", err)
	}
	name, ours := trustName, (*api.Resource)(nil)
	for _, r := range list {
		trust, ok := r.Spec.(*resource.MeshTrust)
		if !ok {
			continue
		}
		if trust.TrustDomain == domain && holds(trust, root) {
			return nil
		}
		if r.Metadata.Name == trustName && trust.TrustDomain != domain {
			// The mesh has moved to another trust domain. The old bundle stays until a user deletes it: leaves of the
			// old one are in use.
			name = trustName + "-" + shortHash(domain)
		}
	}
	for _, r := range list {
		if r.Metadata.Name == name {
			ours = r.Clone()
		}
	}
	if ours == nil {
		ours = &api.Resource{
			APIVersion: api.APIVersion, Kind: "MeshTrust",
			Metadata: api.Meta{Name: name, Labels: map[string]string{api.LabelMesh: mesh, api.LabelOrigin: api.OriginDefault}},
			Spec:     &resource.MeshTrust{TrustDomain: domain},
		}
	}
	trust := ours.Spec.(*resource.MeshTrust)
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw})
	trust.CABundles = append(trust.CABundles, resource.CABundle{Type: "Pem", Pem: &resource.Pem{Value: string(block)}})
	if _, err := resources.Put(ctx, ours); err != nil {
		return fmt.Errorf("write MeshTrust/%s: %w", name, err)
	}
	return nil
}

func holds(t *resource.MeshTrust, root *x509.Certificate) bool {
	for _, text := range t.Certificates() {
		if block, _ := pem.Decode([]byte(text)); block != nil && bytes.Equal(block.Bytes, root.Raw) {
			return true
		}
	}
	return false
}

func shortHash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:4])
}
