package config

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"google.golang.org/protobuf/types/known/anypb"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"

	"github.com/hauberk-mesh/hauberk/dataplane/listener"
	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
	"github.com/hauberk-mesh/hauberk/dataplane/upstream"
)

// listeners builds all, taking over what did not change.
func (w *build) listeners() error {
	w.g.Listeners = map[string]*listener.Spec{}
	w.g.parts.listeners = map[string]*listenerPart{}
	for _, name := range sorted(w.in[TypeListener]) {
		message := w.in[TypeListener][name]
		part := w.prev.parts.listeners[name]
		if part == nil || !w.unchanged(part, message) {
			l := &listenerBuild{build: w, part: &listenerPart{
				message: message, routes: map[string]*anypb.Any{}, uses: map[string]*upstream.Cluster{},
			}}
			if err := l.read(name); err != nil {
				return fmt.Errorf("listener %q: %w", name, err)
			}
			part = l.part
		}
		w.g.parts.listeners[name] = part
		w.g.Listeners[name] = part.spec
	}
	return nil
}

// unchanged tells whether a part is still right: its message, the routes that it names and the clusters behind them.
func (w *build) unchanged(part *listenerPart, message *anypb.Any) bool {
	if !same(part.message, message) || !w.holds(part.secrets) || part.trusts && !w.deps.StandAlone && w.in[TypeSecret][secretTrust] == nil {
		return false
	}
	for name, a := range part.routes {
		if !same(a, w.in[TypeRoute][name]) {
			return false
		}
	}
	for name, c := range part.uses {
		if w.g.Clusters[name] != c {
			return false
		}
	}
	return true
}

// listenerBuild is one listener being read.
type listenerBuild struct {
	*build
	part      *listenerPart
	direction telemetry.Direction
	service   string // from the metadata
}

func (l *listenerBuild) read(name string) error {
	r := l.reader("listener", name)
	m := &listenerv3.Listener{}
	if err := r.any(l.part.message, "", m); err != nil {
		return err
	}
	if m.GetName() != name {
		return fmt.Errorf("name: is %q", m.GetName())
	}
	spec := &listener.Spec{Name: name}
	var err error
	if err := bindTo(m, spec); err != nil {
		return err
	}
	if l.direction, err = l.directionOf(m); err != nil {
		return err
	}
	spec.Direction = l.direction
	own, err := r.metadata(m.GetMetadata(), "metadata", metaService, metaPort, metaPortName)
	if err != nil {
		return err
	}
	l.service = own.text(metaService)
	if err := l.inspectors(r, m, spec); err != nil {
		return err
	}
	if err := l.chains(r, m, spec); err != nil {
		return err
	}
	l.part.spec, l.part.notes, l.part.secrets = spec, r.notes, r.secrets
	return nil
}

// bindTo reads where to listen, and how.
func bindTo(m *listenerv3.Listener, spec *listener.Spec) (err error) {
	switch address := m.GetAddress(); {
	case address.GetSocketAddress() != nil:
		spec.Addr, err = socketAddress(address.GetSocketAddress(), "address.socket_address")
	case address.GetPipe() != nil:
		spec.Unix, spec.UnixMode = address.GetPipe().GetPath(), address.GetPipe().GetMode()
		if spec.Unix == "" || spec.UnixMode > 0o777 {
			err = fmt.Errorf("address.pipe: %q with mode %o is no socket", spec.Unix, spec.UnixMode)
		}
	default:
		err = errors.New("address: only socket_address and pipe are honoured")
	}
	if err != nil {
		return err
	}
	if b := m.GetBindToPort(); b != nil && !b.GetValue() {
		return errors.New("bind_to_port: must be true: no other listener hands connections on to this one")
	}
	if b := m.GetUseOriginalDst(); b.GetValue() {
		return errors.New("use_original_dst: is not honoured; use the listener filter original_dst, with filter chains that match on the destination")
	}
	if n := m.GetTcpBacklogSize(); n != nil {
		if n.GetValue() == 0 || n.GetValue() > math.MaxInt32 {
			return fmt.Errorf("tcp_backlog_size: %d is not between 1 and %d", n.GetValue(), math.MaxInt32)
		}
		spec.Backlog = int(n.GetValue())
	}
	spec.IgnoreGlobalLimit = m.GetIgnoreGlobalConnLimit()
	return nil
}

// directionOf is the side on which a listener stands; what is believed of a caller depends on it. An operator who does not say
// it means by a chain that ends TLS that it is entered from outside.
func (l *listenerBuild) directionOf(m *listenerv3.Listener) (telemetry.Direction, error) {
	switch m.GetTrafficDirection() {
	case corev3.TrafficDirection_INBOUND:
		return telemetry.Inbound, nil
	case corev3.TrafficDirection_OUTBOUND:
		return telemetry.Outbound, nil
	}
	if !l.deps.StandAlone {
		return 0, errors.New("traffic_direction: must be INBOUND or OUTBOUND: what is believed of a caller depends on it")
	}
	for _, c := range append(slices.Clone(m.GetFilterChains()), m.GetDefaultFilterChain()) {
		if c.GetTransportSocket() != nil {
			return telemetry.Inbound, nil
		}
	}
	return telemetry.Outbound, nil
}

// chains reads all, and the one for connections that fit none.
func (l *listenerBuild) chains(r *reader, m *listenerv3.Listener, spec *listener.Spec) error {
	if len(m.GetFilterChains()) == 0 && m.GetDefaultFilterChain() == nil {
		return errors.New("filter_chains: is empty, and every connection would be closed")
	}
	for i, c := range m.GetFilterChains() {
		chain, err := l.chain(r, c, fmt.Sprintf("filter_chains[%d]", i))
		if err != nil {
			return err
		}
		spec.Chains = append(spec.Chains, chain)
	}
	if c := m.GetDefaultFilterChain(); c != nil {
		if c.GetFilterChainMatch() != nil {
			return errors.New("default_filter_chain.filter_chain_match: must not be set: this chain is for what fits no other")
		}
		chain, err := l.chain(r, c, "default_filter_chain")
		if err != nil {
			return err
		}
		spec.Default = chain
	}
	return distinct(spec.Chains)
}

// cluster finds a cluster of this configuration and remembers that the listener leads to it.
func (l *listenerBuild) cluster(name, path string) (*upstream.Cluster, error) {
	c := l.g.Clusters[name]
	if c == nil {
		return nil, fmt.Errorf("%s: cluster %q was not sent", path, name)
	}
	l.part.uses[name] = c
	return c, nil
}
