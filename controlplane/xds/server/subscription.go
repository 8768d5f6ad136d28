package server

import (
	"sort"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"

	"github.com/hauberk-mesh/hauberk/controlplane/xds/translate"
)

// wildcard is the name that stands for all resources of a type.
const wildcard = "*"

// absent is the version of a resource of which the client was told that it does not exist. No real version is like it.
const absent = "\x00absent"

// subscription is what one client wants and has of one type.
//
// What it has is known for certain only from ACKs, so there are two layers: has is acknowledged, pending was sent and not
// answered. Differences are taken against both; a NACK drops the pending layer, and the next difference is against has.
type subscription struct {
	typeURL  string
	wildcard bool
	names    map[string]bool // subscribed by name

	has     map[string]string // name -> version or absent
	pending map[string]pendingVersion
	// again are names that must be sent whatever the client seems to have.
	again map[string]bool
	// greet asks for a response even if it is empty: a client that subscribed to all waits for the first one.
	greet bool
}

type pendingVersion struct{ version, nonce string }

// item is one resource of a response: sent with this version, or absent.
type item struct{ name, version string }

func newSubscription(typeURL string) *subscription {
	return &subscription{
		typeURL: typeURL,
		names:   map[string]bool{},
		has:     map[string]string{},
		pending: map[string]pendingVersion{},
		again:   map[string]bool{},
	}
}

// legacyWildcard tells for which types a first request without names means all resources.
func legacyWildcard(typeURL string) bool {
	return typeURL == translate.TypeCluster || typeURL == translate.TypeListener
}

// open takes the first request of a type on a stream.
func (s *subscription) open(req *discovery.DeltaDiscoveryRequest) {
	for name, version := range req.GetInitialResourceVersions() {
		s.has[name] = version
	}
	for _, name := range req.GetResourceNamesSubscribe() {
		if name == wildcard {
			s.wildcard = true
			continue
		}
		s.names[name] = true
	}
	if len(req.GetResourceNamesSubscribe()) == 0 && legacyWildcard(s.typeURL) {
		s.wildcard = true
	}
	s.greet = s.wildcard && len(s.has) == 0
	for name := range s.has {
		if !s.wants(name) {
			delete(s.has, name) // it will drop what it did not subscribe to
		}
	}
}

// asked are the names that a request wants an answer for.
type asked struct {
	all   bool
	names map[string]bool
}

func (a *asked) add(name string) {
	if a.names == nil {
		a.names = map[string]bool{}
	}
	a.names[name] = true
}

func (a asked) nothing() bool        { return !a.all && len(a.names) == 0 }
func (a asked) has(name string) bool { return a.all || a.names[name] }

// change takes a later request. Subscribing comes first: a name that moves under the wildcard in one request stays known.
func (s *subscription) change(req *discovery.DeltaDiscoveryRequest) (a asked) {
	for _, name := range req.GetResourceNamesSubscribe() {
		if name == wildcard {
			s.greet = s.greet || !s.wildcard
			s.wildcard = true
			a.all = true
			continue
		}
		a.add(name)
		s.names[name] = true
		// The client may have dropped it and asked again before we heard of the first.
		s.again[name] = true
	}
	for _, name := range req.GetResourceNamesUnsubscribe() {
		if name == wildcard {
			s.wildcard = false
			for known := range s.has {
				s.forget(known)
			}
			for known := range s.pending {
				s.forget(known)
			}
			continue
		}
		if !s.names[name] {
			continue
		}
		delete(s.names, name)
		if s.wildcard {
			// The client may have dropped it, and cannot know whether the wildcard covers it: it has to be told.
			s.again[name] = true
			a.add(name)
			continue
		}
		s.forget(name)
	}
	return a
}

// forget drops what is known of a name that is not subscribed to any more. An answer to what was sent before counts no
// more either: the client may have thrown it away.
func (s *subscription) forget(name string) {
	if s.wants(name) {
		return
	}
	delete(s.has, name)
	delete(s.pending, name)
	delete(s.again, name)
}

func (s *subscription) wants(name string) bool { return s.wildcard || s.names[name] }

// size is how many names it holds, for the bound on what a client can make us remember.
func (s *subscription) size() int { return len(s.names) + len(s.has) + len(s.again) }

// known is the version that the client has or is about to have; "" is none.
func (s *subscription) known(name string) string {
	if p, ok := s.pending[name]; ok {
		return p.version
	}
	return s.has[name]
}

// update returns what the client lacks of a snapshot, of the names in a, sorted by name.
func (s *subscription) update(snapshot map[string]*translate.Resource, a asked) []*translate.Resource {
	var out []*translate.Resource
	add := func(r *translate.Resource) {
		if !a.has(r.Name) {
			return
		}
		if s.again[r.Name] || s.known(r.Name) != r.Version {
			out = append(out, r)
		}
	}
	if s.wildcard {
		for _, r := range snapshot {
			add(r)
		}
	} else {
		for name := range s.names {
			if r := snapshot[name]; r != nil {
				add(r)
			}
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out
}

// gone returns the names in a that the client must be told do not exist, sorted.
func (s *subscription) gone(snapshot map[string]*translate.Resource, a asked) []string {
	missing := map[string]bool{}
	consider := func(name string) {
		if a.has(name) && snapshot[name] == nil && s.wants(name) && (s.again[name] || s.known(name) != absent) {
			missing[name] = true
		}
	}
	for name := range s.has {
		consider(name)
	}
	for name := range s.pending {
		consider(name)
	}
	for name := range s.names {
		consider(name)
	}
	for name := range s.again {
		consider(name)
	}
	out := make([]string, 0, len(missing))
	for name := range missing {
		out = append(out, name)
	}
	sort.Strings(out)
	return out
}

// sent notes that a response carried the items.
func (s *subscription) sent(nonce string, items []item) {
	s.greet = false
	for _, it := range items {
		s.pending[it.name] = pendingVersion{version: it.version, nonce: nonce}
		delete(s.again, it.name)
	}
}

// acked notes that the client took a response. What a later response carries, too, is left for the answer to that.
func (s *subscription) acked(nonce string, items []item) {
	for _, it := range items {
		if s.pending[it.name].nonce != nonce {
			continue
		}
		delete(s.pending, it.name)
		if it.version == absent && !s.names[it.name] {
			delete(s.has, it.name)
		} else {
			s.has[it.name] = it.version
		}
	}
}

// dropped notes that the client refused a response. If certain it has what it had before; otherwise another response with
// the name may have been under way, so that only sending it again makes sure.
func (s *subscription) dropped(nonce string, items []item, certain bool) {
	for _, it := range items {
		if s.pending[it.name].nonce != nonce {
			continue
		}
		delete(s.pending, it.name)
		if !certain {
			s.again[it.name] = true
		}
	}
}
