// Package translate turns the intermediate form into Envoy v3 protobufs: what package ir decided, in the words of the wire.
// It decides nothing by itself, and its output is valid for a stock Envoy. Start with Proxy; there is one file a noun.
//
// What Envoy's messages have no field for (which service a cluster is, how a failed endpoint is asked) rides as filter
// metadata under namespace, which a stock Envoy keeps and ignores.
package translate

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/hauberk-mesh/hauberk/controlplane/ir"
)

// namespace is the filter_metadata key of listeners, clusters and endpoints under which our own proxies find what Envoy's
// messages have no field for. dataplane/config reads it: the names are a part of the wire.
const namespace = "hauberk.mesh"

// Its members.
const (
	metaService       = "service"       // destination as users name it (clusters), whose traffic it is (listeners)
	metaPort          = "port"          // of the service
	metaPortName      = "portName"      //
	metaProbe         = "probe"         // connect, mesh or http
	metaProbePath     = "probePath"     // with http
	metaProbeInterval = "probeInterval" // as Go's time.Duration writes it
	metaDataplane     = "dataplane"     // of an endpoint
)

// Proxy translates the whole configuration of one dataplane. The cache shares what many proxies have in common; it may be
// nil.
func Proxy(p *ir.Proxy, cache *Cache) (Snapshot, error) {
	s := Snapshot{}
	for _, c := range p.Clusters {
		if err := addCluster(s, c, cache); err != nil {
			return nil, fmt.Errorf("cluster %q: %w", c.Name, err)
		}
	}
	for _, l := range p.Inbounds {
		if err := addInbound(s, l, cache); err != nil {
			return nil, fmt.Errorf("listener %q: %w", l.Name, err)
		}
	}
	for _, l := range p.Outbounds {
		if err := addOutbound(s, l, cache); err != nil {
			return nil, fmt.Errorf("listener %q: %w", l.Name, err)
		}
	}
	if err := addSettings(s, p, cache); err != nil {
		return nil, err
	}
	return s, addSecrets(s, p, cache)
}

func addCluster(s Snapshot, c *ir.Cluster, cache *Cache) error {
	m, err := cluster(c)
	if err != nil {
		return err
	}
	if err := add(s, c.Name, m, cache); err != nil || isApplication(c) { // an application's endpoint is inline
		return err
	}
	e, err := cache.endpoints(c.Name, c.Endpoints)
	if err != nil {
		return err
	}
	s.Add(e)
	return nil
}

func addInbound(s Snapshot, l *ir.Listener, cache *Cache) error {
	m, err := inbound(l)
	if err != nil {
		return err
	}
	return add(s, l.Name, m, cache)
}

func addOutbound(s Snapshot, l *ir.Listener, cache *Cache) error {
	m, err := outbound(l)
	if err != nil {
		return err
	}
	if err := add(s, l.Name, m, cache); err != nil || !l.Protocol.IsHTTP() {
		return err
	}
	return add(s, l.Name, routeConfiguration(l), cache)
}

func addSecrets(s Snapshot, p *ir.Proxy, cache *Cache) error {
	trust, err := trustSecret(p.Trust)
	if err != nil {
		return fmt.Errorf("secret %q: %w", ir.SecretTrust, err)
	}
	if err := add(s, ir.SecretTrust, trust, cache); err != nil {
		return err
	}
	return add(s, revocationsName, revocations(p.Revoked), cache)
}

func add(s Snapshot, name string, m proto.Message, cache *Cache) error {
	r, err := cache.resource(name, m)
	if err != nil {
		return err
	}
	s.Add(r)
	return nil
}

// packed is m in an Any, with equal bytes for equal content.
func packed(m proto.Message) (*anypb.Any, error) {
	a := &anypb.Any{}
	err := anypb.MarshalFrom(a, m, proto.MarshalOptions{Deterministic: true})
	return a, err
}

// metadata is filter_metadata under namespace; empty values are left out.
func metadata(fields map[string]*structpb.Value) *corev3.Metadata {
	return &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{namespace: {Fields: fields}}}
}

func serviceMetadata(service string, port uint32, portName string) map[string]*structpb.Value {
	fields := map[string]*structpb.Value{}
	if service != "" {
		fields[metaService] = structpb.NewStringValue(service)
	}
	if port != 0 {
		fields[metaPort] = structpb.NewNumberValue(float64(port))
	}
	if portName != "" {
		fields[metaPortName] = structpb.NewStringValue(portName)
	}
	return fields
}

// ads is the source of everything that is not inline: the stream on which this message itself came.
func ads() *corev3.ConfigSource {
	return &corev3.ConfigSource{
		ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}},
		ResourceApiVersion:    corev3.ApiVersion_V3,
	}
}

// always writes a zero too, where leaving the field out would mean a default of Envoy's.
func always(d time.Duration) *durationpb.Duration { return durationpb.New(d) }

// ifSet leaves zero out, where a zero on the wire would not mean off.
func ifSet(d time.Duration) *durationpb.Duration {
	if d <= 0 {
		return nil
	}
	return durationpb.New(d)
}
