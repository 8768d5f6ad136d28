package translate

import (
	"strings"

	"google.golang.org/protobuf/types/known/wrapperspb"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	previoushostsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/retry/host/previous_hosts/v3"

	"github.com/hauberk-mesh/hauberk/controlplane/ir"
)

const (
	previousHosts = "envoy.retry_host_predicates.previous_hosts"
	// retryOn is what provably did nothing: a connect that failed, a request that the other side says it did not process.
	retryOn = "connect-failure,refused-stream"
	// hostAttempts is how often Envoy draws anew to find an endpoint that was not tried yet.
	hostAttempts = 5
)

// routeConfiguration has one virtual host for any Host: an outbound port is one service, whatever the caller calls it.
func routeConfiguration(l *ir.Listener) *routev3.RouteConfiguration {
	host := &routev3.VirtualHost{Name: l.Name, Domains: []string{"*"}}
	for _, r := range l.Routes {
		host.Routes = append(host.Routes, route(r))
	}
	return &routev3.RouteConfiguration{Name: l.Name, VirtualHosts: []*routev3.VirtualHost{host}}
}

func route(r *ir.Route) *routev3.Route {
	action := &routev3.RouteAction{
		ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: r.Cluster},
		Timeout:          always(r.Timeouts.Request), // left out it would be 15 s
		RetryPolicy:      retryPolicy(r.Retry),
	}
	if r.Timeouts.MaxStream > 0 {
		action.MaxStreamDuration = &routev3.RouteAction_MaxStreamDuration{MaxStreamDuration: always(r.Timeouts.MaxStream)}
	}
	return &routev3.Route{
		Name:   r.Name,
		Match:  pathMatch(r.PathPrefix),
		Action: &routev3.Route_Route{Route: action},
	}
}

// pathMatch matches by segment. "/" has to be a plain prefix, since path_separated_prefix must not end in a slash.
func pathMatch(prefix string) *routev3.RouteMatch {
	prefix = strings.TrimRight(prefix, "/")
	if prefix == "" {
		return &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}}
	}
	return &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_PathSeparatedPrefix{PathSeparatedPrefix: prefix}}
}

func retryPolicy(r ir.Retry) *routev3.RetryPolicy {
	if r.Attempts == 0 {
		return nil
	}
	config, err := packed(&previoushostsv3.PreviousHostsPredicate{})
	if err != nil {
		return nil // an empty message always marshals
	}
	return &routev3.RetryPolicy{
		RetryOn:    retryOn,
		NumRetries: wrapperspb.UInt32(r.Attempts),
		RetryHostPredicate: []*routev3.RetryPolicy_RetryHostPredicate{{
			Name:       previousHosts,
			ConfigType: &routev3.RetryPolicy_RetryHostPredicate_TypedConfig{TypedConfig: config},
		}},
		HostSelectionRetryMaxAttempts: hostAttempts,
	}
}
