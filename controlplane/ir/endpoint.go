package ir

// Endpoints are those of one service port or of one application.
type Endpoints struct {
	Cluster string     `json:"cluster"` // the cluster's name
	List    []Endpoint `json:"list"`    // sorted by address and port
}

// Endpoint is one address behind a cluster.
type Endpoint struct {
	Dataplane string `json:"dataplane,omitempty"` // whose inbound it is; empty for the application
	Address   string `json:"address"`             // IP; or unix:///path with port 0
	Port      uint32 `json:"port"`
	// Unready endpoints have said that their application does not answer. They are used only if no other is left.
	Unready bool `json:"unready,omitempty"`
	// Labels of the dataplane, for subsets.
	Labels map[string]string `json:"labels,omitempty"`
}
