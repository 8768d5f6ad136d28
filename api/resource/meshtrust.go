package resource

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/hauberk-mesh/hauberk/api"
)

// MeshTrust is the public authorities of one trust domain. The bundled provider writes its own; a user may add others.
type MeshTrust struct {
	TrustDomain string     `json:"trustDomain"`
	CABundles   []CABundle `json:"caBundles"`
}

// CABundle holds certificates. Type is Pem.
type CABundle struct {
	Type string `json:"type"`
	Pem  *Pem   `json:"pem,omitempty"`
}

// Pem is one or more CERTIFICATE blocks.
type Pem struct {
	Value string `json:"value"`
}

// BundlePem is the only type of a CABundle.
const BundlePem = "Pem"

// MeshTrustKind describes MeshTrust.
func MeshTrustKind() api.Kind {
	return short(api.DefineKind("MeshTrust", "meshtrusts", validateMeshTrust), "meshtrust", "mtrust")
}

// Certificates are the authorities of all bundles, each as one PEM block, in the order of the resource.
func (t *MeshTrust) Certificates() []string {
	var out []string
	for _, b := range t.CABundles {
		if b.Pem == nil {
			continue
		}
		for rest := []byte(b.Pem.Value); ; {
			var block *pem.Block
			if block, rest = pem.Decode(rest); block == nil {
				break
			}
			out = append(out, string(pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes})))
		}
	}
	return out
}

func validateMeshTrust(_ api.Meta, t *MeshTrust) (ps api.Problems) {
	if err := api.CheckTrustDomain(t.TrustDomain); err != nil {
		ps.Add("spec.trustDomain", err.Error(), "write it without spiffe://, as default.default.mesh.local")
	}
	if len(t.CABundles) == 0 {
		ps.Add("spec.caBundles", "is empty", "add at least one, as {type: Pem, pem: {value: ...}}")
	}
	for i, b := range t.CABundles {
		at := fmt.Sprintf("spec.caBundles[%d]", i)
		if b.Type != BundlePem {
			ps.Add(at+".type", fmt.Sprintf("%q is not a type of bundle", b.Type), "write "+BundlePem)
		}
		if b.Pem == nil {
			ps.Add(at+".pem", "is missing", "write {value: <certificates in PEM>}")
			continue
		}
		if err := checkCAs(b.Pem.Value); err != nil {
			ps.Add(at+".pem.value", err.Error(), "paste the certificates of the authority in PEM, and nothing else")
		}
	}
	return ps
}

// checkCAs demands certificate authorities and nothing else: text around the blocks may be a key that lost its armour.
func checkCAs(text string) error {
	rest := []byte(text)
	for n := 1; ; n++ {
		var block *pem.Block
		if !strings.HasPrefix(strings.TrimSpace(string(rest)), "-----BEGIN ") {
			if n > 1 && strings.TrimSpace(string(rest)) == "" {
				return nil
			}
			return errors.New("is not PEM")
		}
		if block, rest = pem.Decode(rest); block == nil {
			return errors.New("is not PEM")
		}
		if block.Type != "CERTIFICATE" {
			return fmt.Errorf("holds a %s where certificates belong", block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return fmt.Errorf("holds a damaged certificate (number %d)", n)
		}
		if !cert.IsCA || !cert.BasicConstraintsValid || (cert.KeyUsage != 0 && cert.KeyUsage&x509.KeyUsageCertSign == 0) {
			return fmt.Errorf("holds a certificate that is no authority (number %d, %s)", n, cert.Subject)
		}
	}
}
