package server

import (
	"fmt"
	"slices"
	"strconv"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/hauberk-mesh/hauberk/controlplane/store"
	"github.com/hauberk-mesh/hauberk/controlplane/xds/translate"
)

// What one client can make us remember: names in all, the length of each and of its version, and responses to subscriptions
// that it has not answered. None of our names and versions comes near.
const (
	maxNames       = 100_000
	maxNameLength  = 512
	maxOutstanding = 1_000
)

// conversation is the protocol's state on one stream, without the stream: requests and snapshots go in, responses come
// out. It belongs to one goroutine.
//
// At most one generation (flight.go) is in flight. To one of our own proxies it goes in parts that are taken or refused
// together. A stock client gets it type by type, each after the ACK of the one before; what it subscribes to meanwhile is
// answered at once, since its taking of one type may wait for another.
type conversation struct {
	ours     bool
	expected []string // types that must have been asked for before anything is sent (our own proxies)
	counters *counters

	subs        map[string]*subscription
	outstanding map[string]*response // by nonce
	sequence    uint64               // of nonces to stock clients

	flight     *flight        // nil: nothing in flight
	generation store.Revision // of the last start
	started    bool
	greeted    bool   // a generation was finished on this stream
	refused    string // why the client is not at generation; "" if it is or will be
	// target is the snapshot that a stock client is being brought to, for what it subscribes to later.
	target translate.Snapshot
	// resync asks for another round: our own proxy changed its subscriptions.
	resync bool
}

// response is one sent message that was not answered yet.
type response struct {
	typeURL string
	items   []item
}

// outcome is how a flight ended.
type outcome struct {
	generation store.Revision
	nack       string // "": the client has all of the generation
	again      bool   // nack is an older one that still stands
}

func newConversation(h hello, c *counters) *conversation {
	v := &conversation{
		ours:        h.Ours,
		counters:    c,
		subs:        map[string]*subscription{},
		outstanding: map[string]*response{},
	}
	if h.Ours {
		v.expected = h.Types
		if len(v.expected) == 0 {
			v.expected = translate.Types()
		}
	}
	return v
}

// ready tells whether a generation may be started.
func (v *conversation) ready() bool {
	if v.flight != nil {
		return false
	}
	for _, t := range v.expected {
		if v.subs[t] == nil {
			return false
		}
	}
	return true
}

func served(typeURL string) bool {
	for _, t := range translate.Types() {
		if t == typeURL {
			return true
		}
	}
	return false
}

// request takes one request and returns what to send, and how the flight ended if it did.
func (v *conversation) request(req *discovery.DeltaDiscoveryRequest) ([]*discovery.DeltaDiscoveryResponse, *outcome, error) {
	if !served(req.GetTypeUrl()) {
		v.counters.unknownTypes.Add(1)
		return nil, nil, nil
	}
	if err := checkNames(req); err != nil {
		return nil, nil, err
	}
	v.answer(req)
	out, err := v.subscribe(req)
	if err != nil {
		return nil, nil, err
	}
	more, end := v.proceed()
	return append(out, more...), end, nil
}

// checkNames refuses names and versions that cannot be ours before any of them is kept.
func checkNames(req *discovery.DeltaDiscoveryRequest) error {
	long := func(s string) bool { return len(s) > maxNameLength }
	bad := slices.ContainsFunc(req.GetResourceNamesSubscribe(), long)
	for name, version := range req.GetInitialResourceVersions() {
		bad = bad || long(name) || long(version)
	}
	if bad {
		return status.Errorf(codes.InvalidArgument, "a resource's name or version has more than %d bytes", maxNameLength)
	}
	return nil
}

// answer takes the ACK or NACK that a request may carry.
func (v *conversation) answer(req *discovery.DeltaDiscoveryRequest) {
	nonce := req.GetResponseNonce()
	r := v.outstanding[nonce]
	if nonce == "" || r == nil || r.typeURL != req.GetTypeUrl() {
		return // not an answer, or one to an older stream's response
	}
	delete(v.outstanding, nonce)
	refused := req.GetErrorDetail() != nil
	if refused {
		v.counters.nacks.Add(1)
	} else {
		v.counters.acks.Add(1)
	}
	if v.flight != nil && v.flight.waiting[nonce] {
		delete(v.flight.waiting, nonce)
		if refused && v.flight.nack == "" {
			v.flight.nack = nackReason(req)
		}
		if v.flight.atomic {
			v.flight.answered = append(v.flight.answered, answered{nonce: nonce, response: r})
			return
		}
	}
	if refused {
		v.subs[r.typeURL].dropped(nonce, r.items, false)
	} else {
		v.subs[r.typeURL].acked(nonce, r.items)
	}
}

func nackReason(req *discovery.DeltaDiscoveryRequest) string {
	if m := req.GetErrorDetail().GetMessage(); m != "" {
		return printable(m)
	}
	return "refused without a reason"
}

// subscribe takes the subscriptions that a request may carry, and answers a stock client at once.
func (v *conversation) subscribe(req *discovery.DeltaDiscoveryRequest) ([]*discovery.DeltaDiscoveryResponse, error) {
	sub := v.subs[req.GetTypeUrl()]
	var a asked
	if sub == nil {
		sub = newSubscription(req.GetTypeUrl())
		sub.open(req)
		v.subs[sub.typeURL] = sub
		a.all = true
	} else {
		a = sub.change(req)
	}
	total := 0
	for _, s := range v.subs {
		total += s.size()
	}
	if total > maxNames {
		return nil, status.Errorf(codes.ResourceExhausted, "the stream names %d resources: at most %d are taken", total, maxNames)
	}
	if len(v.outstanding) > maxOutstanding {
		return nil, status.Errorf(codes.ResourceExhausted, "%d responses were not answered: acknowledge them before you ask for more", len(v.outstanding))
	}
	if a.nothing() {
		return nil, nil
	}
	if v.ours {
		v.resync = v.started
		return nil, nil
	}
	if v.flight != nil {
		v.flight.arrived(sub)
	}
	if v.target == nil {
		return nil, nil
	}
	if v.flight != nil {
		return v.push(sub, step{typeURL: sub.typeURL, updates: true, removals: true}, a), nil
	}
	v.flight = &flight{generation: v.generation, waiting: map[string]bool{}, onDemand: true}
	out := v.push(sub, step{typeURL: sub.typeURL, updates: true, removals: true}, a)
	if len(out) == 0 {
		v.flight = nil
	}
	return out, nil
}

// push makes the responses that bring the names in a, of one type of a stock client, to the target. While a generation is
// in flight only what was asked for may go: the rest has its turn.
func (v *conversation) push(sub *subscription, s step, a asked) []*discovery.DeltaDiscoveryResponse {
	snapshot := v.target[sub.typeURL]
	var d difference
	d.typeURL = sub.typeURL
	if s.updates {
		d.resources = sub.update(snapshot, a)
	}
	if s.removals {
		d.removed = sub.gone(snapshot, a)
	}
	if len(d.resources) == 0 && len(d.removed) == 0 && !(sub.greet && s.updates) {
		return nil
	}
	var out []*discovery.DeltaDiscoveryResponse
	for _, part := range d.split(maxPart) {
		v.sequence++
		out = append(out, v.send(part, "s"+strconv.FormatUint(v.sequence, 10)))
	}
	return out
}

// send turns a difference into a response that is waited for.
func (v *conversation) send(d difference, nonce string) *discovery.DeltaDiscoveryResponse {
	m := &discovery.DeltaDiscoveryResponse{
		TypeUrl:          d.typeURL,
		Nonce:            nonce,
		RemovedResources: d.removed,
		Resources:        make([]*discovery.Resource, 0, len(d.resources)),
	}
	items := make([]item, 0, len(d.resources)+len(d.removed))
	for _, r := range d.resources {
		m.Resources = append(m.Resources, &discovery.Resource{Name: r.Name, Version: r.Version, Resource: r.Any})
		items = append(items, item{r.Name, r.Version})
	}
	for _, name := range d.removed {
		items = append(items, item{name, absent})
	}
	if sub := v.subs[d.typeURL]; sub != nil {
		sub.sent(nonce, items)
	}
	v.outstanding[nonce] = &response{typeURL: d.typeURL, items: items}
	if v.flight != nil {
		v.flight.waiting[nonce] = true
		m.SystemVersionInfo = strconv.FormatUint(uint64(v.flight.generation), 10)
	}
	v.counters.pushes[d.typeURL].Add(1)
	v.counters.resources.Add(uint64(len(d.resources)))
	v.counters.removed.Add(uint64(len(d.removed)))
	return m
}

// nonce of one part of a generation; the client knows its form.
func partNonce(generation store.Revision, part, parts int) string {
	return fmt.Sprintf("%d.%d/%d", generation, part, parts)
}
