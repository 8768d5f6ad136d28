package resource

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
