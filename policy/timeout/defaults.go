package timeout

import (
	"time"

	"github.com/hauberk-mesh/hauberk/api"
)

// What is in force where no resource sets a field: the values of Kuma. On the way in everything is twice as long or off,
// so that the caller's proxy, which knows the destination, gives up first and can say so.
var (
	defaultOutbound = times{connect: 5 * time.Second, idle: time.Hour, request: 15 * time.Second, streamIdle: 30 * time.Minute}
	defaultInbound  = times{connect: 10 * time.Second, idle: 2 * time.Hour, streamIdle: time.Hour}
)

// DefaultResources come with a new mesh. They hold the values that are in force anyhow, where a user can see and edit them.
func DefaultResources(mesh string) []*api.Resource {
	return []*api.Resource{
		resource(mesh, "mesh-timeout-all-"+mesh, &Spec{
			TargetRef: &api.TargetRef{Kind: "Mesh"},
			Rules:     []Rule{{Default: conf(defaultInbound)}},
		}),
		resource(mesh, "mesh-timeout-to-all-"+mesh, &Spec{
			TargetRef: &api.TargetRef{Kind: "Mesh"},
			To:        []To{{TargetRef: &api.TargetRef{Kind: "Mesh"}, Default: conf(defaultOutbound)}},
		}),
	}
}

func conf(t times) Conf {
	d := func(v time.Duration) *api.Duration { return &api.Duration{Duration: v} }
	return Conf{
		ConnectionTimeout: d(t.connect), IdleTimeout: d(t.idle),
		HTTP: &HTTP{
			RequestTimeout: d(t.request), StreamIdleTimeout: d(t.streamIdle), MaxStreamDuration: d(t.maxStream),
			MaxConnectionDuration: d(t.maxConnection), RequestHeadersTimeout: d(t.requestHeaders),
		},
	}
}

func resource(mesh, name string, spec *Spec) *api.Resource {
	return &api.Resource{
		APIVersion: api.APIVersion, Kind: KindName, Spec: spec,
		Metadata: api.Meta{Name: name, Labels: map[string]string{api.LabelMesh: mesh, api.LabelOrigin: api.OriginDefault}},
	}
}
