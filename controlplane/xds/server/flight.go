package server

import (
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"

	"github.com/hauberk-mesh/hauberk/controlplane/store"
	"github.com/hauberk-mesh/hauberk/controlplane/xds/translate"
)

// followUp is how long a stock client that was told of a new cluster is given to ask for its endpoints before routes to
// it are sent all the same.
const followUp = 2 * time.Second

// flight is one generation on its way to one client.
type flight struct {
	generation store.Revision
	atomic     bool // to our own proxy: all parts or none
	onDemand   bool // not a generation, but what a stock client asked for between two
	waiting    map[string]bool
	nack       string
	answered   []answered // atomic: kept until the last part's answer

	// Of a stock client: what is still to be sent, and the new clusters whose endpoints it has not asked for.
	steps  []step
	expect map[string]bool
}

type answered struct {
	nonce    string
	response *response
}

// step is one type's turn. Clusters and endpoints are removed only when nothing refers to them any more.
type step struct {
	typeURL           string
	updates, removals bool
}

func makeBeforeBreak() []step {
	return []step{
		{translate.TypeCluster, true, false},
		{translate.TypeEndpoints, true, false},
		{translate.TypeListener, true, true},
		{translate.TypeRoute, true, true},
		{translate.TypeSecret, true, true},
		{translate.TypeRevocations, true, true},
		{translate.TypeSettings, true, true},
		{translate.TypeCluster, false, true},
		{translate.TypeEndpoints, false, true},
	}
}

// start begins to bring the client to a snapshot. It may be called only when ready. An outcome without responses means
// that the client had everything.
func (v *conversation) start(generation store.Revision, target translate.Snapshot) ([]*discovery.DeltaDiscoveryResponse, *outcome) {
	v.flight = &flight{generation: generation, atomic: v.ours, waiting: map[string]bool{}}
	v.generation, v.started, v.resync = generation, true, false
	if v.ours {
		return v.startParts(target)
	}
	v.target = target
	v.flight.steps = makeBeforeBreak()
	return v.proceed()
}

// startParts sends a whole generation at once to one of our own proxies.
func (v *conversation) startParts(target translate.Snapshot) ([]*discovery.DeltaDiscoveryResponse, *outcome) {
	var parts []difference
	everything := asked{all: true}
	for _, t := range translate.Types() {
		sub := v.subs[t]
		if sub == nil {
			continue
		}
		d := difference{typeURL: t, resources: sub.update(target[t], everything), removed: sub.gone(target[t], everything)}
		if len(d.resources) > 0 || len(d.removed) > 0 {
			parts = append(parts, d.split(maxPart)...)
		}
	}
	if len(parts) == 0 {
		if v.greeted {
			return nil, v.end()
		}
		// A proxy that has just connected must learn that it is up to date.
		parts = []difference{{typeURL: translate.TypeListener}}
	}
	out := make([]*discovery.DeltaDiscoveryResponse, 0, len(parts))
	for i, d := range parts {
		out = append(out, v.send(d, partNonce(v.flight.generation, i+1, len(parts))))
	}
	return out, nil
}

// proceed takes the next steps that need not wait for an answer, and ends the flight when nothing is left.
func (v *conversation) proceed() ([]*discovery.DeltaDiscoveryResponse, *outcome) {
	f := v.flight
	if f == nil || len(f.waiting) > 0 {
		return nil, nil
	}
	if f.nack != "" {
		return nil, v.end()
	}
	for len(f.steps) > 0 {
		next := f.steps[0]
		if next.typeURL != translate.TypeEndpoints && len(f.expect) > 0 {
			return nil, nil
		}
		f.steps = f.steps[1:]
		sub := v.subs[next.typeURL]
		if sub == nil {
			continue
		}
		if next.typeURL == translate.TypeCluster && next.updates {
			f.expect = v.newClusters()
		}
		if out := v.push(sub, next, asked{all: true}); len(out) > 0 {
			return out, nil
		}
	}
	return nil, v.end()
}

// newClusters are those that the client is about to learn of, and whose endpoints it will want and did not ask for yet.
func (v *conversation) newClusters() map[string]bool {
	clusters, endpoints := v.subs[translate.TypeCluster], v.subs[translate.TypeEndpoints]
	names := map[string]bool{}
	for _, r := range clusters.update(v.target[translate.TypeCluster], asked{all: true}) {
		isNew := clusters.known(r.Name) == "" || clusters.known(r.Name) == absent
		asked := endpoints != nil && endpoints.wants(r.Name)
		if isNew && !asked && v.target[translate.TypeEndpoints][r.Name] != nil {
			names[r.Name] = true
		}
	}
	return names
}

// arrived notes what a client has subscribed to meanwhile.
func (f *flight) arrived(sub *subscription) {
	if sub.typeURL != translate.TypeEndpoints {
		return
	}
	for name := range f.expect {
		if sub.wants(name) {
			delete(f.expect, name)
		}
	}
}

// stalls tells whether the flight waits for a subscription alone, which may never come.
func (v *conversation) stalls() bool {
	return v.flight != nil && len(v.flight.waiting) == 0 && len(v.flight.expect) > 0
}

// giveUp ends the wait that stalls tells of.
func (v *conversation) giveUp() ([]*discovery.DeltaDiscoveryResponse, *outcome) {
	if v.flight != nil {
		v.flight.expect = nil
	}
	return v.proceed()
}

// end finishes the flight.
func (v *conversation) end() *outcome {
	f := v.flight
	v.flight = nil
	for _, a := range f.answered {
		if f.nack == "" {
			v.subs[a.response.typeURL].acked(a.nonce, a.response.items)
		} else {
			v.subs[a.response.typeURL].dropped(a.nonce, a.response.items, true)
		}
	}
	if f.nack == "" {
		v.greeted = true
	}
	if f.nack != "" || !f.onDemand {
		v.refused = f.nack // what was taken on demand does not mend what was refused before
	}
	return &outcome{generation: f.generation, nack: v.refused, again: f.nack == ""}
}
