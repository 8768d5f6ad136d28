package resource

// MeshService is what callers name. The label hauberk.io/service on dataplanes yields one by itself; an explicit one of the
// same name overrides it.
type MeshService struct {
	Selector Selector      `json:"selector"`
	Ports    []ServicePort `json:"ports"`
	// Identities are the SPIFFE IDs one of which a server of this service must prove. Default: those of the selected
	// dataplanes.
	Identities []ServiceIdentity `json:"identities,omitempty"`
}

// Selector chooses dataplanes.
type Selector struct {
	DataplaneLabels LabelSelector `json:"dataplaneLabels"`
}

// LabelSelector holds where all labels are present with these values. An empty one holds nowhere.
type LabelSelector struct {
	MatchLabels map[string]string `json:"matchLabels"`
}

// ServicePort is one port of a service.
type ServicePort struct {
	Name string `json:"name,omitempty"`
	Port uint32 `json:"port"`
	// TargetPort is the name of the inbound; default Name.
	TargetPort  string `json:"targetPort,omitempty"`
	AppProtocol string `json:"appProtocol,omitempty"` // default: the inbound's protocol
}

// ServiceIdentity is Kuma's form. Type is SpiffeID.
type ServiceIdentity struct {
	Type  string `json:"type"`
	Value string `json:"value"`
}
