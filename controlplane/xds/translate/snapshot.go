package translate

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// The type URLs that the control plane serves, in the order in which a client must learn them (make before break).
const (
	TypeCluster     = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
	TypeEndpoints   = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
	TypeListener    = "type.googleapis.com/envoy.config.listener.v3.Listener"
	TypeRoute       = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
	TypeSecret      = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
	TypeRevocations = "type.googleapis.com/hauberk.trust.v1.Revocations"
	TypeSettings    = "type.googleapis.com/hauberk.proxy.v1.Settings"
)

// Types are all type URLs in the order in which they are sent.
func Types() []string {
	return []string{TypeCluster, TypeEndpoints, TypeListener, TypeRoute, TypeSecret, TypeRevocations, TypeSettings}
}

// Resource is one xDS resource as it goes over the wire. It is immutable and shared by all proxies that have it.
type Resource struct {
	Name string
	// Version is a short hash of the content: equal versions of one name mean equal bytes.
	Version string
	Any     *anypb.Any
}

// Snapshot is all that one proxy is to have: type URL -> name -> resource.
type Snapshot map[string]map[string]*Resource

// Add puts a resource under its type, over an older one of the same name.
func (s Snapshot) Add(r *Resource) {
	byName := s[r.Any.TypeUrl]
	if byName == nil {
		byName = map[string]*Resource{}
		s[r.Any.TypeUrl] = byName
	}
	byName[r.Name] = r
}

// NewResource marshals m deterministically, so that equal content has an equal version in every process of this build.
func NewResource(name string, m proto.Message) (*Resource, error) {
	value, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("marshal %s %q: %w", m.ProtoReflect().Descriptor().FullName(), name, err)
	}
	sum := sha256.Sum256(value)
	return &Resource{
		Name:    name,
		Version: base64.RawURLEncoding.EncodeToString(sum[:12]),
		Any: &anypb.Any{
			TypeUrl: "type.googleapis.com/" + string(m.ProtoReflect().Descriptor().FullName()),
			Value:   value,
		},
	}, nil
}
