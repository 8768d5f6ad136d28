package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/anypb"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tlsinspectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/tls_inspector/v3"

	"github.com/hauberk-mesh/hauberk/dataplane/listener"
	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
	"github.com/hauberk-mesh/hauberk/dataplane/upstream"
)

// defaultSniffTimeout is what leaving listener_filters_timeout out means.
const defaultSniffTimeout = 15 * time.Second

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
	if !same(part.message, message) || part.trusts && w.in[TypeSecret][secretTrust] == nil {
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
	if m.GetAddress().GetSocketAddress() == nil {
		return errors.New("address: only socket_address is honoured")
	}
	if spec.Addr, err = socketAddress(m.GetAddress().GetSocketAddress(), "address.socket_address"); err != nil {
		return err
	}
	switch m.GetTrafficDirection() {
	case corev3.TrafficDirection_INBOUND:
		l.direction = telemetry.Inbound
	case corev3.TrafficDirection_OUTBOUND:
		l.direction = telemetry.Outbound
	default:
		return errors.New("traffic_direction: must be INBOUND or OUTBOUND: what is believed of a caller depends on it")
	}
	spec.Direction = l.direction
	own, err := r.metadata(m.GetMetadata(), "metadata", metaService, metaPort, metaPortName)
	if err != nil {
		return err
	}
	l.service = own.text(metaService)
	if err := l.sniffing(r, m, spec); err != nil {
		return err
	}
	if err := l.chains(r, m, spec); err != nil {
		return err
	}
	l.part.spec, l.part.notes = spec, r.notes
	return nil
}

// sniffing reads the one listener filter that is honoured: looking for a TLS ClientHello.
func (l *listenerBuild) sniffing(r *reader, m *listenerv3.Listener, spec *listener.Spec) error {
	if len(m.GetListenerFilters()) > 1 {
		return errors.New("listener_filters: more than one is not honoured")
	}
	for i, f := range m.GetListenerFilters() {
		if err := r.any(f.GetTypedConfig(), fmt.Sprintf("listener_filters[%d].typed_config", i), &tlsinspectorv3.TlsInspector{}); err != nil {
			return err
		}
		spec.Sniff = true
	}
	var err error
	spec.SniffTimeout, err = duration(m.GetListenerFiltersTimeout(), defaultSniffTimeout, "listener_filters_timeout")
	spec.PlaintextOnSniffIdle = m.GetContinueOnListenerFiltersTimeout()
	return err
}

// chains reads all and puts the one that fits everything last: Envoy takes the most specific one, this proxy the first.
func (l *listenerBuild) chains(r *reader, m *listenerv3.Listener, spec *listener.Spec) error {
	if len(m.GetFilterChains()) == 0 {
		return errors.New("filter_chains: is empty, and every connection would be closed")
	}
	for i, c := range m.GetFilterChains() {
		path := fmt.Sprintf("filter_chains[%d]", i)
		chain, err := l.chain(r, c, path)
		if err != nil {
			return err
		}
		if chain.Match != listener.MatchAny && !spec.Sniff {
			return fmt.Errorf("%s.filter_chain_match.transport_protocol: needs the listener filter tls_inspector", path)
		}
		if slices.ContainsFunc(spec.Chains, func(o *listener.Chain) bool { return o.Match == chain.Match }) {
			return fmt.Errorf("%s.filter_chain_match: fits the same connections as a chain before it", path)
		}
		spec.Chains = append(spec.Chains, chain)
	}
	slices.SortStableFunc(spec.Chains, func(a, b *listener.Chain) int {
		return cmp.Compare(specificity(a.Match), specificity(b.Match))
	})
	return nil
}

func specificity(m listener.Match) int {
	if m == listener.MatchAny {
		return 1
	}
	return 0
}

func chainMatch(m *listenerv3.FilterChainMatch, path string) (listener.Match, error) {
	switch p := m.GetTransportProtocol(); p {
	case "":
		return listener.MatchAny, nil
	case "tls":
		return listener.MatchTLS, nil
	case "raw_buffer":
		return listener.MatchPlaintext, nil
	default:
		return 0, fmt.Errorf("%s.transport_protocol: %q is not honoured, only tls and raw_buffer", path, p)
	}
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
