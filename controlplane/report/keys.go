package report

import (
	"strings"

	reportv1 "github.com/hauberk-mesh/hauberk/wire/report/v1"
)

// KeyProvider is where a proxy keeps its private keys, in its own words.
type KeyProvider struct {
	Name    string // batch, memory
	Backend string // ifma: vector kernels; std: Go's own code
	Reason  string // why it is that one
}

// maxWords bounds what is kept of a proxy's words.
const maxWords = 256

func keyProviderOf(k *reportv1.KeyProvider) KeyProvider {
	return KeyProvider{Name: words(k.GetName()), Backend: words(k.GetBackend()), Reason: words(k.GetReason())}
}

func words(s string) string {
	if len(s) > maxWords {
		s = strings.ToValidUTF8(s[:maxWords], "") + "..."
	}
	return strings.Clone(s)
}

// KeyProviders are what the connected proxies of a mesh have told, by dataplane. A proxy that has told nothing is older than this.
func (s *Server) KeyProviders(name string) map[string]KeyProvider {
	out := map[string]KeyProvider{}
	m := s.known(name)
	if m == nil {
		return out
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for dataplane, st := range m.streams {
		if st.keys != nil {
			out[dataplane] = *st.keys
		}
	}
	return out
}
