package translate

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	healthcheckv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/health_check/v3"
	httprbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"

	"github.com/hauberk-mesh/hauberk/controlplane/ir"
)

const (
	managerFilter     = "envoy.filters.network.http_connection_manager"
	routerFilter      = "envoy.filters.http.router"
	healthCheckFilter = "envoy.filters.http.health_check"

	// probeHeader marks the request by which another proxy asks whether the application answers.
	probeHeader = "hauberk-probe"

	// maxStreams is how many requests share a connection between two proxies; more get another one (DESIGN section 5).
	maxStreams = 100
)

// inboundHTTP judges before it forwards. The health check comes first: another proxy may ask whether the application
// answers, whoever may call it.
func inboundHTTP(l *ir.Listener, r permissionRules) (*listenerv3.Filter, error) {
	var chain httpChain
	chain.add(healthCheckFilter, healthCheck(l))
	if r.deny != nil || r.shadow != nil {
		chain.add(denyFilter, &httprbacv3.RBAC{Rules: r.deny, ShadowRules: r.shadow})
	}
	chain.add(allowFilter, &httprbacv3.RBAC{Rules: r.allow})
	m, err := chain.manager(l)
	if err != nil {
		return nil, err
	}
	m.RouteSpecifier = &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: routeConfiguration(l)}
	return networkFilter(managerFilter, m)
}

// outboundHTTP has its routes as a resource of their own, so that a change of them is small.
func outboundHTTP(l *ir.Listener) (*listenerv3.Filter, error) {
	var chain httpChain
	m, err := chain.manager(l)
	if err != nil {
		return nil, err
	}
	m.RouteSpecifier = &hcmv3.HttpConnectionManager_Rds{Rds: &hcmv3.Rds{ConfigSource: ads(), RouteConfigName: l.Name}}
	return networkFilter(managerFilter, m)
}

// healthCheck answers for the clusters that the routes of this inbound lead to: each must have its one endpoint healthy.
func healthCheck(l *ir.Listener) *healthcheckv3.HealthCheck {
	percentages := map[string]*typev3.Percent{}
	for _, r := range l.Routes {
		percentages[r.Cluster] = &typev3.Percent{Value: 100}
	}
	return &healthcheckv3.HealthCheck{
		PassThroughMode: wrapperspb.Bool(false),
		Headers: []*routev3.HeaderMatcher{{
			Name:                 probeHeader,
			HeaderMatchSpecifier: &routev3.HeaderMatcher_PresentMatch{PresentMatch: true},
		}},
		ClusterMinHealthyPercentages: percentages,
	}
}

// httpChain collects filters and the first error.
type httpChain struct {
	filters []*hcmv3.HttpFilter
	err     error
}

func (c *httpChain) add(name string, config proto.Message) {
	a, err := packed(config)
	if err != nil && c.err == nil {
		c.err = err
	}
	c.filters = append(c.filters, &hcmv3.HttpFilter{Name: name, ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: a}})
}

// manager closes the chain with the router. The path is normalised before anything decides on it (DESIGN section 5), and
// timeouts are written even where they are off, since Envoy's defaults are not off.
func (c *httpChain) manager(l *ir.Listener) (*hcmv3.HttpConnectionManager, error) {
	c.add(routerFilter, &routerv3.Router{})
	return &hcmv3.HttpConnectionManager{
		StatPrefix:                   l.Name,
		CodecType:                    hcmv3.HttpConnectionManager_AUTO,
		HttpFilters:                  c.filters,
		NormalizePath:                wrapperspb.Bool(true),
		MergeSlashes:                 true,
		PathWithEscapedSlashesAction: hcmv3.HttpConnectionManager_REJECT_REQUEST,
		PreserveExternalRequestId:    true, // both sides of a hop are joined by it
		HttpProtocolOptions:          &corev3.Http1ProtocolOptions{AcceptHttp_10: true},
		Http2ProtocolOptions:         &corev3.Http2ProtocolOptions{MaxConcurrentStreams: wrapperspb.UInt32(maxStreams)},
		UpgradeConfigs:               []*hcmv3.HttpConnectionManager_UpgradeConfig{{UpgradeType: "websocket"}},
		StreamIdleTimeout:            always(l.Timeouts.StreamIdle),
		RequestHeadersTimeout:        ifSet(l.Timeouts.RequestHeaders),
		CommonHttpProtocolOptions: &corev3.HttpProtocolOptions{
			IdleTimeout:           always(l.Timeouts.Idle),
			MaxConnectionDuration: ifSet(l.Timeouts.MaxConnection),
		},
	}, c.err
}
