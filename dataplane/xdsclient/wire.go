package xdsclient

import (
	"fmt"
	"slices"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/types/known/anypb"
)

// wire is a stream of one of the two protocols.
type wire interface {
	// recv returns the next response and who sent it.
	recv() (n *news, from string, err error)
	// subscribe asks for the names of a type, or for all of it where it is asked for as a whole, if that is news.
	subscribe(typeURL string, names []string, a *assembly) error
	// answer tells that a response was taken, or why not.
	answer(n *news, a *assembly, refusal error) error
	// broken finds out why a send failed.
	broken(err error) error
}

// news is a response of either protocol.
type news struct {
	typeURL, nonce, version string
	full                    bool // the state of the world
	put                     []sent
	removed                 []string
	err                     error // it cannot be read
}

// sent is one resource of a response.
type sent struct {
	name, version string
	message       *anypb.Any
}

// deltaWire speaks the incremental protocol.
type deltaWire struct {
	stream deltaStream
	node   *core.Node // nil once it needs not be said any more
	once   bool
	asked  map[string][]string
}

func (w *deltaWire) recv() (*news, string, error) {
	r, err := w.stream.Recv()
	if err != nil {
		return nil, "", err
	}
	n := &news{
		typeURL: r.GetTypeUrl(), nonce: r.GetNonce(), version: r.GetSystemVersionInfo(), removed: r.GetRemovedResources(), err: checkResponse(r),
	}
	for _, res := range r.GetResources() {
		n.put = append(n.put, sent{name: res.GetName(), version: res.GetVersion(), message: res.GetResource()})
	}
	return n, r.GetControlPlane().GetIdentifier(), nil
}

func (w *deltaWire) subscribe(typeURL string, names []string, a *assembly) error {
	before, again := w.asked[typeURL]
	req := &discovery.DeltaDiscoveryRequest{TypeUrl: typeURL}
	whole := slices.Contains(a.o.roots(), typeURL)
	if whole {
		if again {
			return nil
		}
		names = nil // the first request without a name asks for all
	}
	for _, name := range names {
		if _, has := slices.BinarySearch(before, name); !has {
			req.ResourceNamesSubscribe = append(req.ResourceNamesSubscribe, name)
		}
	}
	for _, name := range before {
		if _, has := slices.BinarySearch(names, name); !has {
			req.ResourceNamesUnsubscribe = append(req.ResourceNamesUnsubscribe, name)
		}
	}
	if !whole && len(req.ResourceNamesSubscribe) == 0 && len(req.ResourceNamesUnsubscribe) == 0 {
		return nil
	}
	if !again {
		req.InitialResourceVersions = map[string]string{}
		for name, m := range a.sent[typeURL] {
			req.InitialResourceVersions[name] = a.versions[m]
		}
	}
	w.asked[typeURL] = names
	return w.send(req)
}

func (w *deltaWire) answer(n *news, _ *assembly, refusal error) error {
	return w.send(&discovery.DeltaDiscoveryRequest{TypeUrl: n.typeURL, ResponseNonce: n.nonce, ErrorDetail: detail(refusal)})
}

func (w *deltaWire) broken(err error) error { return broken(w.stream, err) }

func (w *deltaWire) send(req *discovery.DeltaDiscoveryRequest) error {
	req.Node = w.node
	if w.once {
		w.node = nil
	}
	return w.stream.Send(req)
}

type sotwStream = discovery.AggregatedDiscoveryService_StreamAggregatedResourcesClient

// sotwWire speaks the protocol that sends the state of the world.
type sotwWire struct {
	stream sotwStream
	node   *core.Node // nil once it needs not be said any more
	once   bool
	asked  map[string][]string
	nonces map[string]string
}

func (w *sotwWire) recv() (*news, string, error) {
	r, err := w.stream.Recv()
	if err != nil {
		return nil, "", err
	}
	n := &news{typeURL: r.GetTypeUrl(), nonce: r.GetNonce(), version: r.GetVersionInfo(), full: true}
	for i, a := range r.GetResources() {
		name, message, err := unwrap(a, r.GetTypeUrl())
		if err != nil {
			n.err = fmt.Errorf("%s: resources[%d]: %w", r.GetTypeUrl(), i, err)
			break
		}
		n.put = append(n.put, sent{name: name, message: message})
	}
	return n, r.GetControlPlane().GetIdentifier(), nil
}

// unwrap finds the name of a resource, which is the first field of all types that there are.
func unwrap(a *anypb.Any, typeURL string) (string, *anypb.Any, error) {
	if a.MessageIs((*discovery.Resource)(nil)) {
		r := &discovery.Resource{}
		if err := a.UnmarshalTo(r); err != nil {
			return "", nil, err
		}
		a = r.GetResource()
	}
	if a.GetTypeUrl() != typeURL {
		return "", nil, fmt.Errorf("has type %s", a.GetTypeUrl())
	}
	m, err := a.UnmarshalNew()
	if err != nil {
		return "", nil, err
	}
	field := m.ProtoReflect().Descriptor().Fields().ByNumber(1)
	name := m.ProtoReflect().Get(field).String()
	if name == "" {
		return "", nil, fmt.Errorf("%s is not set", field.Name())
	}
	return name, a, nil
}

func (w *sotwWire) subscribe(typeURL string, names []string, a *assembly) error {
	before, again := w.asked[typeURL]
	whole := slices.Contains(a.o.roots(), typeURL)
	if again && (whole || slices.Equal(before, names)) || !again && !whole && len(names) == 0 {
		return nil
	}
	return w.ask(typeURL, names, a, nil)
}

func (w *sotwWire) answer(n *news, a *assembly, refusal error) error {
	w.nonces[n.typeURL] = n.nonce
	return w.ask(n.typeURL, a.wanted[n.typeURL], a, refusal)
}

func (w *sotwWire) broken(err error) error { return broken(w.stream, err) }

func (w *sotwWire) ask(typeURL string, names []string, a *assembly, refusal error) error {
	w.asked[typeURL] = names
	req := &discovery.DiscoveryRequest{
		TypeUrl: typeURL, ResourceNames: names, VersionInfo: a.version[typeURL], ResponseNonce: w.nonces[typeURL],
		ErrorDetail: detail(refusal), Node: w.node,
	}
	if w.once {
		w.node = nil
	}
	return w.stream.Send(req)
}

var (
	_ wire = (*deltaWire)(nil)
	_ wire = (*sotwWire)(nil)
)
