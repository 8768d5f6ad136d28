package config

//lint:file-ignore SA1019 total_weight is deprecated, still sent, and means what it meant

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	previoushostsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/retry/host/previous_hosts/v3"

	"github.com/hauberk-mesh/hauberk/dataplane/http"
	"github.com/hauberk-mesh/hauberk/dataplane/route"
)

// defaultRequestTimeout is what leaving RouteAction.timeout out means.
const defaultRequestTimeout = 15 * time.Second

// maxRetries bounds what a configuration can multiply a request by.
const maxRetries = 100

// tableBuild is one route table being read, and what its routes have from the connection manager and the levels above them.
type tableBuild struct {
	*listenerBuild
	spec           *http.Spec    // how paths are normalised, and with them the paths of routes
	remoteIsDirect bool          // use_remote_address: who is connected is the client
	original       bool          // tell the upstream what a rewrite has changed
	maxStream      time.Duration // of common_http_protocol_options
	first, last    edits         // of the connection manager: before and after those of the routes
	config         edits         // of the route configuration
	specificLast   bool          // most_specific_header_mutations_wins
	maxBody        int           // of direct responses
}

// table reads a route configuration. It may have been part of a listener or a resource of its own: the reader says which.
func (t *tableBuild) table(r *reader, m *routev3.RouteConfiguration, path string) (*route.Table, error) {
	if _, err := r.metadata(m.GetMetadata(), join(path, "metadata")); err != nil {
		return nil, err
	}
	var err error
	if t.config, err = t.edits(m, path); err != nil {
		return nil, err
	}
	t.specificLast = m.GetMostSpecificHeaderMutationsWins()
	if t.maxBody = defaultDirectBody; m.GetMaxDirectResponseBodySizeBytes() != nil {
		t.maxBody = int(m.GetMaxDirectResponseBodySizeBytes().GetValue())
	}
	var hosts []route.Host
	for i, h := range m.GetVirtualHosts() {
		host, err := t.host(r, h, join(path, fmt.Sprintf("virtual_hosts[%d]", i)))
		if err != nil {
			return nil, err
		}
		hosts = append(hosts, host)
	}
	table, err := route.New(hosts, route.Options{IgnorePort: m.GetIgnorePortInHostMatching()})
	if err != nil {
		return nil, prefixed(path, err)
	}
	return table, nil
}

// prefixed puts a path before an error that begins with the rest of it.
func prefixed(path string, err error) error {
	if path == "" {
		return err
	}
	return fmt.Errorf("%s.%w", path, err)
}

func (t *tableBuild) host(r *reader, m *routev3.VirtualHost, path string) (route.Host, error) {
	h := route.Host{Name: m.GetName(), Domains: m.GetDomains()}
	if len(h.Domains) == 0 {
		return h, fmt.Errorf("%s.domains: is empty: write * for every authority", path)
	}
	if tls := m.GetRequireTls(); tls != routev3.VirtualHost_NONE {
		return h, fmt.Errorf("%s.require_tls: %s is not honoured, only NONE: redirect with https_redirect in a listener without TLS",
			path, tls)
	}
	if _, err := r.metadata(m.GetMetadata(), path+".metadata"); err != nil {
		return h, err
	}
	own, err := t.edits(m, path)
	if err != nil {
		return h, err
	}
	retries, err := retries(r, m.GetRetryPolicy(), path+".retry_policy")
	if err != nil {
		return h, err
	}
	for i, rm := range m.GetRoutes() {
		one, err := t.route(r, rm, own, fmt.Sprintf("%s.routes[%d]", path, i))
		if err != nil {
			return h, err
		}
		if rm.GetRoute() != nil && rm.GetRoute().GetRetryPolicy() == nil {
			one.Retries = retries
		}
		h.Routes = append(h.Routes, one)
	}
	return h, nil
}

// route reads one route; host are the edits of its virtual host.
func (t *tableBuild) route(r *reader, m *routev3.Route, host edits, path string) (*route.Route, error) {
	if _, err := r.metadata(m.GetMetadata(), path+".metadata"); err != nil {
		return nil, err
	}
	out := &route.Route{Name: m.GetName(), Original: t.original}
	if err := t.match(r, m.GetMatch(), out, path+".match"); err != nil {
		return nil, err
	}
	own, err := t.edits(m, path)
	if err != nil {
		return nil, err
	}
	out.Request, out.Response = t.ordered(own, host)
	switch a := m.GetAction().(type) {
	case *routev3.Route_Route:
		return out, t.action(r, a.Route, out, own, host, path+".route")
	case *routev3.Route_Redirect:
		return out, redirect(a.Redirect, out, path+".redirect")
	case *routev3.Route_DirectResponse:
		return out, t.direct(a.DirectResponse, out, path+".direct_response")
	}
	return nil, fmt.Errorf("%s: says nothing of what is to be done: route, redirect or direct_response", path)
}

// ordered puts the edits of a route in the order in which they are made: the most specific first, so that the others have
// the last word, or the other way round. Those of the connection manager enclose them.
func (t *tableBuild) ordered(specific ...edits) (request, response []route.Edit) {
	levels := append(slices.Clone(specific), t.config)
	if t.specificLast {
		slices.Reverse(levels)
	}
	levels = append(append([]edits{t.first}, levels...), t.last)
	for _, l := range levels {
		request, response = append(request, l.request...), append(response, l.response...)
	}
	return request, response
}

// action reads where requests go and for how long.
func (t *tableBuild) action(r *reader, m *routev3.RouteAction, out *route.Route, own, host edits, path string) error {
	if p := m.GetPriority(); p != 0 {
		return fmt.Errorf("%s.priority: %s is not honoured, only DEFAULT", path, p)
	}
	if m.GetAutoHostRewrite().GetValue() {
		return fmt.Errorf("%s.auto_host_rewrite: must be false: write host_rewrite_literal", path)
	}
	if err := t.clusters(m, out, own, host, path); err != nil {
		return err
	}
	if err := rewrite(m, out, path); err != nil {
		return err
	}
	if err := routeUpgrades(m.GetUpgradeConfigs(), out, path+".upgrade_configs"); err != nil {
		return err
	}
	if err := t.timeouts(m, out, path); err != nil {
		return err
	}
	var err error
	out.Retries, err = retries(r, m.GetRetryPolicy(), path+".retry_policy")
	return err
}

// clusters reads the one cluster, or those among which is drawn.
func (t *tableBuild) clusters(m *routev3.RouteAction, out *route.Route, own, host edits, path string) error {
	var err error
	switch c := m.GetClusterSpecifier().(type) {
	case *routev3.RouteAction_Cluster:
		out.Cluster, err = t.cluster(c.Cluster, path+".cluster")
		return err
	case *routev3.RouteAction_WeightedClusters:
		return t.weighted(c.WeightedClusters, out, own, host, path+".weighted_clusters")
	}
	return fmt.Errorf("%s: names no cluster: write cluster or weighted_clusters", path)
}

func (t *tableBuild) weighted(m *routev3.WeightedCluster, out *route.Route, own, host edits, path string) error {
	total := uint64(0)
	for i, c := range m.GetClusters() {
		at := fmt.Sprintf("%s.clusters[%d]", path, i)
		w := route.Weighted{Weight: c.GetWeight().GetValue(), HostRewrite: strings.ToLower(c.GetHostRewriteLiteral())}
		if w.HostRewrite != "" && !validHost(w.HostRewrite) {
			return fmt.Errorf("%s.host_rewrite_literal: %q is not a host", at, w.HostRewrite)
		}
		var err error
		if w.Cluster, err = t.cluster(c.GetName(), at+".name"); err != nil {
			return err
		}
		specific, err := t.edits(c, at)
		if err != nil {
			return err
		}
		w.Request, w.Response = t.ordered(specific, own, host)
		out.Weighted = append(out.Weighted, w)
		total += uint64(w.Weight)
	}
	switch said := m.GetTotalWeight(); {
	case total == 0:
		return fmt.Errorf("%s.clusters: the weights add up to nothing", path)
	case total > math.MaxUint32:
		return fmt.Errorf("%s.clusters: the weights add up to %d, above %d", path, total, uint32(math.MaxUint32))
	case said != nil && uint64(said.GetValue()) != total:
		return fmt.Errorf("%s.total_weight: is %d, but the weights add up to %d", path, said.GetValue(), total)
	}
	return nil
}

// timeouts of a route; what it leaves out it has from the connection manager.
func (t *tableBuild) timeouts(m *routev3.RouteAction, out *route.Route, path string) error {
	var err error
	if out.RequestTimeout, err = duration(m.GetTimeout(), defaultRequestTimeout, path+".timeout"); err != nil {
		return err
	}
	if out.StreamIdle, err = duration(m.GetIdleTimeout(), 0, path+".idle_timeout"); err != nil {
		return err
	}
	if m.GetIdleTimeout() != nil && out.StreamIdle == 0 {
		out.StreamIdle = -1 // off, whatever the connection manager says
	}
	stream, at := m.GetMaxStreamDuration(), path+".max_stream_duration"
	if out.MaxStream, err = duration(stream.GetMaxStreamDuration(), t.maxStream, at+".max_stream_duration"); err != nil {
		return err
	}
	out.GRPCTimeout = stream.GetGrpcTimeoutHeaderMax() != nil
	out.GRPCTimeoutMax, err = duration(stream.GetGrpcTimeoutHeaderMax(), 0, at+".grpc_timeout_header_max")
	return err
}

// routeUpgrades reads to which protocols a request may change, where the route says so itself.
func routeUpgrades(list []*routev3.RouteAction_UpgradeConfig, out *route.Route, path string) error {
	for i, u := range list {
		to := route.Off
		if u.GetEnabled() == nil || u.GetEnabled().GetValue() {
			to = route.On
		}
		websocket := strings.EqualFold(u.GetUpgradeType(), "websocket")
		switch {
		case websocket && u.GetConnectConfig() != nil:
			return fmt.Errorf("%s[%d].connect_config: is for CONNECT alone", path, i)
		case websocket:
			out.WebSocket = to
		case strings.EqualFold(u.GetUpgradeType(), "CONNECT"):
			out.Connect, out.ConnectTerminate = to, u.GetConnectConfig() != nil
		default:
			return fmt.Errorf("%s[%d].upgrade_type: %q is not honoured, only websocket and CONNECT", path, i, u.GetUpgradeType())
		}
	}
	return nil
}

// retries reads how often a request that provably did nothing is tried elsewhere: one whose connection could not be made, and
// one that the other side has refused unread, are the same here, so that who asks for one has the other as well.
func retries(r *reader, m *routev3.RetryPolicy, path string) (int, error) {
	if m == nil {
		return 0, nil
	}
	for on := range strings.SplitSeq(m.GetRetryOn(), ",") {
		if on = strings.TrimSpace(on); on != "connect-failure" && on != "refused-stream" {
			return 0, fmt.Errorf("%s.retry_on: %q is not honoured, only connect-failure and refused-stream", path, on)
		}
	}
	if len(m.GetRetryHostPredicate()) > 1 {
		return 0, fmt.Errorf("%s.retry_host_predicate: only previous_hosts is honoured: each attempt goes to another endpoint", path)
	}
	for _, p := range m.GetRetryHostPredicate() {
		at := path + ".retry_host_predicate[0].typed_config"
		if err := r.any(p.GetTypedConfig(), at, &previoushostsv3.PreviousHostsPredicate{}); err != nil {
			return 0, err
		}
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

// fromManager reads what the connection manager does to all routes: the fields that it edits, and how long a stream may be.
func (t *tableBuild) fromManager(m *hcmv3.HttpConnectionManager, path string) error {
	var err error
	at := path + ".common_http_protocol_options.max_stream_duration"
	if t.maxStream, err = duration(m.GetCommonHttpProtocolOptions().GetMaxStreamDuration(), 0, at); err != nil {
		return err
	}
	switch f := m.GetForwardClientCertDetails(); f {
	case hcmv3.HttpConnectionManager_SANITIZE: // whoever believes the field must not find a client's own word in it
		t.first.request = append(t.first.request, route.Edit{Op: route.Remove, Name: "x-forwarded-client-cert"})
	case hcmv3.HttpConnectionManager_ALWAYS_FORWARD_ONLY:
	default:
		return fmt.Errorf("%s.forward_client_cert_details: %s is not honoured, only SANITIZE and ALWAYS_FORWARD_ONLY", path, f)
	}
	if err := t.serverHeader(m, path); err != nil {
		return err
	}
	if via := m.GetVia(); via != "" {
		e, err := literal(route.Append, "via", via)
		if err != nil {
			return fmt.Errorf("%s.via: %w", path, err)
		}
		t.last.request, t.last.response = append(t.last.request, e), append(t.last.response, e)
	}
	return nil
}

// serverHeader reads what becomes of the server field of responses. Envoy writes its own name over it unless it is told
// otherwise; this proxy names itself only where a name is configured.
func (t *tableBuild) serverHeader(m *hcmv3.HttpConnectionManager, path string) error {
	op := route.Overwrite
	switch a := m.GetServerHeaderTransformation(); a {
	case hcmv3.HttpConnectionManager_OVERWRITE:
	case hcmv3.HttpConnectionManager_APPEND_IF_ABSENT:
		op = route.AddIfAbsent
	case hcmv3.HttpConnectionManager_PASS_THROUGH:
		return nil
	default:
		return fmt.Errorf("%s.server_header_transformation: %s is not honoured", path, a)
	}
	if m.GetServerName() == "" && op == route.Overwrite {
		return nil
	}
	e, err := literal(op, "server", cmp.Or(m.GetServerName(), "envoy"))
	if err != nil {
		return fmt.Errorf("%s.server_name: %w", path, err)
	}
	t.last.response = append(t.last.response, e)
	return nil
}
