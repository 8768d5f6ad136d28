package config

import (
	"fmt"
	"slices"
	"strings"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	previoushostsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/retry/host/previous_hosts/v3"

	"github.com/hauberk-mesh/hauberk/dataplane/route"
)

// defaultRequestTimeout is what leaving RouteAction.timeout out means.
const defaultRequestTimeout = 15 * time.Second

// maxRetries bounds what a configuration can multiply a request by.
const maxRetries = 100

// table reads a route configuration. It may have been part of a listener or a resource of its own: the reader says which.
func (l *listenerBuild) table(r *reader, m *routev3.RouteConfiguration, path string) (*route.Table, error) {
	hosts := m.GetVirtualHosts()
	if len(hosts) != 1 || !slices.Equal(hosts[0].GetDomains(), []string{"*"}) {
		return nil, fmt.Errorf("%s: only one virtual host, with the domain *, is honoured", join(path, "virtual_hosts"))
	}
	var routes []*route.Route
	for i, rm := range hosts[0].GetRoutes() {
		at := join(path, fmt.Sprintf("virtual_hosts[0].routes[%d]", i))
		one, err := l.route(r, rm, at)
		if err != nil {
			return nil, err
		}
		routes = append(routes, one)
	}
	return route.NewTable(routes), nil
}

func (l *listenerBuild) route(r *reader, m *routev3.Route, path string) (*route.Route, error) {
	prefix, err := pathPrefix(m.GetMatch(), path+".match")
	if err != nil {
		return nil, err
	}
	action, at := m.GetRoute(), path+".route"
	out := &route.Route{Name: m.GetName(), PathPrefix: prefix}
	if out.Cluster, err = l.cluster(action.GetCluster(), at+".cluster"); err != nil {
		return nil, err
	}
	if !out.Cluster.HTTP() {
		return nil, fmt.Errorf("%s.cluster: %q does not speak HTTP", at, action.GetCluster())
	}
	if out.RequestTimeout, err = duration(action.GetTimeout(), defaultRequestTimeout, at+".timeout"); err != nil {
		return nil, err
	}
	if out.StreamIdle, err = duration(action.GetIdleTimeout(), 0, at+".idle_timeout"); err != nil {
		return nil, err
	}
	if action.GetIdleTimeout() != nil && out.StreamIdle == 0 {
		return nil, fmt.Errorf("%s.idle_timeout: zero, to switch the listener's off for one route, is not honoured", at)
	}
	if out.MaxStream, err = duration(action.GetMaxStreamDuration().GetMaxStreamDuration(), 0, at+".max_stream_duration.max_stream_duration"); err != nil {
		return nil, err
	}
	out.Retries, err = retries(r, action.GetRetryPolicy(), at+".retry_policy")
	return out, err
}

// pathPrefix is matched by segment; Envoy's plain prefix is that only for "/".
func pathPrefix(m *routev3.RouteMatch, path string) (string, error) {
	switch p := m.GetPathSpecifier().(type) {
	case *routev3.RouteMatch_Prefix:
		if p.Prefix != "/" {
			return "", fmt.Errorf("%s.prefix: %q is not honoured, only /; by segment there is path_separated_prefix", path, p.Prefix)
		}
		return "/", nil
	case *routev3.RouteMatch_PathSeparatedPrefix:
		if s := p.PathSeparatedPrefix; !strings.HasPrefix(s, "/") || strings.HasSuffix(s, "/") || strings.ContainsAny(s, "?#") {
			return "", fmt.Errorf("%s.path_separated_prefix: %q must begin with / and not end with it", path, s)
		}
		return p.PathSeparatedPrefix, nil
	}
	return "", fmt.Errorf("%s: says nothing of the path", path)
}

// retries reads how often a request that provably did nothing is tried elsewhere. Both conditions have to be there: this
// proxy cannot tell a caller who wants one from one who wants none.
func retries(r *reader, m *routev3.RetryPolicy, path string) (int, error) {
	if m == nil {
		return 0, nil
	}
	on := strings.Split(m.GetRetryOn(), ",")
	for i := range on {
		on[i] = strings.TrimSpace(on[i])
	}
	slices.Sort(on)
	if !slices.Equal(on, []string{"connect-failure", "refused-stream"}) {
		return 0, fmt.Errorf("%s.retry_on: %q is not honoured, only connect-failure,refused-stream", path, m.GetRetryOn())
	}
	if len(m.GetRetryHostPredicate()) != 1 {
		return 0, fmt.Errorf("%s.retry_host_predicate: must be previous_hosts: each attempt goes to another endpoint", path)
	}
	at := path + ".retry_host_predicate[0].typed_config"
	if err := r.any(m.GetRetryHostPredicate()[0].GetTypedConfig(), at, &previoushostsv3.PreviousHostsPredicate{}); err != nil {
		return 0, err
	}
	n := uint32(1) // what leaving num_retries out means
	if m.GetNumRetries() != nil {
		n = m.GetNumRetries().GetValue()
	}
	if n > maxRetries {
		return 0, fmt.Errorf("%s.num_retries: %d is above %d", path, n, maxRetries)
	}
	return int(n), nil
}
