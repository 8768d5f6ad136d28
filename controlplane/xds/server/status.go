package server

import (
	"sort"
	"time"

	"github.com/hauberk-mesh/hauberk/controlplane/store"
)

// ProxyStatus is what the server knows of one dataplane.
type ProxyStatus struct {
	Dataplane string `json:"dataplane"`
	Service   string `json:"service,omitempty"`
	Connected bool   `json:"connected"`
	// Since is when it connected or disconnected; zero if it was never seen.
	Since time.Time `json:"since,omitzero"`
	// Generation is the newest one that the proxy is known to run: it acknowledged it, or nothing in it was different.
	// Zero is unknown.
	Generation store.Revision `json:"generation"`
	// SentGeneration is the newest one that was sent to it in this connection; zero is none.
	SentGeneration store.Revision `json:"sentGeneration,omitempty"`
	// NACK is why the proxy refused NACKGeneration, or why that could not be made for it. Empty once it runs a newer one.
	NACK           string         `json:"nack,omitempty"`
	NACKGeneration store.Revision `json:"nackGeneration,omitempty"`
	// Pushes counts generations sent to it in this connection.
	Pushes uint64 `json:"pushes"`
	// Version is what the proxy calls itself: user agent and its version.
	Version string `json:"version,omitempty"`
}

// Status lists the dataplanes of a mesh, connected or not, sorted by name.
func (s *Server) Status(mesh string) []ProxyStatus {
	f := s.fleet
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []ProxyStatus
	m := f.meshes[mesh]
	if m != nil {
		for _, p := range m.proxies {
			list = append(list, ProxyStatus{
				Dataplane:      p.hello.Dataplane,
				Service:        p.hello.Service,
				Connected:      p.connected,
				Since:          p.since,
				Generation:     f.runs(p),
				SentGeneration: p.sent,
				NACK:           p.nack,
				NACKGeneration: p.nacked,
				Pushes:         p.pushes,
				Version:        p.hello.Version,
			})
		}
	}
	if f.world != nil && f.world.Meshes[mesh] != nil {
		for name, dp := range f.world.Meshes[mesh].Dataplanes {
			if m == nil || m.proxies[name] == nil {
				list = append(list, ProxyStatus{Dataplane: name, Service: dp.Service})
			}
		}
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Dataplane < list[j].Dataplane })
	return list
}
