package config

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/types/known/structpb"
)

// metadataDataplane is the key of node.metadata under which the control plane finds the resource that it is to register.
const metadataDataplane = "hauberk.dataplane"

// userAgent is how the control plane tells its own proxies, which stage generations, from others.
const userAgent = "hauberk"

// Node is what the proxy says of itself on the configuration stream. resource is the Dataplane as JSON.
func Node(mesh, name, zone, version string, resource []byte) *corev3.Node {
	return &corev3.Node{
		Id: mesh + "/" + name, Cluster: mesh,
		Locality:             &corev3.Locality{Zone: zone},
		UserAgentName:        userAgent,
		UserAgentVersionType: &corev3.Node_UserAgentVersion{UserAgentVersion: version},
		Metadata: &structpb.Struct{Fields: map[string]*structpb.Value{
			metadataDataplane: structpb.NewStringValue(string(resource)),
		}},
	}
}
