package config_test

import (
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"sigs.k8s.io/yaml"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"github.com/hauberk-mesh/hauberk/dataplane/config"
	"github.com/hauberk-mesh/hauberk/dataplane/filter"
	hhttp "github.com/hauberk-mesh/hauberk/dataplane/http"
	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
	"github.com/hauberk-mesh/hauberk/dataplane/tls"
	"github.com/hauberk-mesh/hauberk/policy/all/filters"
)

// standAlone is a Builder as stand-alone mode has it, whose logs end with the test.
func standAlone(t testing.TB) *config.Builder {
	logs := config.NewAccessLogs()
	t.Cleanup(func() {
		if err := logs.Close(); err != nil {
			t.Error(err)
		}
	})
	return config.New(config.Deps{
		Identity: &tls.Identity{}, Trust: &tls.Trust{}, Service: "own", Filters: filters.Factories(), AccessLogs: logs, StandAlone: true,
		ClusterReady: func(string) bool { return true },
	})
}

// parse reads YAML into a message.
func parse(t testing.TB, text string, m proto.Message) {
	t.Helper()
	j, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	if err := protojson.Unmarshal(j, m); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
}

func packed(t testing.TB, m proto.Message) *anypb.Any {
	t.Helper()
	a, err := anypb.New(m)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

const (
	justRouter = `http_filters: [{name: router, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}]`
	toUp       = `route_config: {virtual_hosts: [{name: all, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: up}}]}]}`
	inManager  = "filter_chains[0].filters[0].typed_config."
)

// manager builds a listener with the HTTP connection manager of the YAML; what it needs and does not say is added.
func manager(t testing.TB, text string) (*hhttp.Spec, []config.Note, error) {
	t.Helper()
	text = strings.TrimLeft(text, "\n")
	if !strings.Contains(text, "http_filters") {
		text += "\n" + justRouter
	}
	if !strings.Contains(text, "route_config") {
		text += "\n" + toUp
	}
	m := &hcmv3.HttpConnectionManager{}
	parse(t, text, m)
	l := &listenerv3.Listener{}
	parse(t, `{name: l, address: {socket_address: {address: 127.0.0.1, port_value: 1}}, traffic_direction: OUTBOUND}`, l)
	l.FilterChains = []*listenerv3.FilterChain{{Filters: []*listenerv3.Filter{{
		Name: "hcm", ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: packed(t, m)},
	}}}}
	in := config.Resources{config.TypeListener: {"l": packed(t, l)}, config.TypeCluster: {}}
	for i, name := range []string{"up", "other", "third"} {
		c := &clusterv3.Cluster{}
		parse(t, strings.NewReplacer("NAME", name, "PORT", string(rune('1'+i))).Replace(`{name: NAME, type: STATIC, load_assignment: {cluster_name: NAME,
			endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: PORT}}}}]}]}}`), c)
		in[config.TypeCluster][name] = packed(t, c)
	}
	g, err := standAlone(t).Build(nil, 1, in)
	if err != nil {
		return nil, nil, err
	}
	return g.Listeners["l"].Chains[0].HTTP, g.Accepted(), nil
}

// TestManager: each field that is honoured arrives where the engine reads it.
func TestManager(t *testing.T) {
	usual := func() hhttp.Spec {
		s := hhttp.Spec{
			OwnService: "own", GenerateRequestID: true, PreserveRequestID: true,
			IdleTimeout: time.Hour, StreamIdle: 5 * time.Minute, Drain: 5 * time.Second, CloseDelay: time.Second,
		}
		return s
	}
	for text, change := range map[string]func(*hhttp.Spec){
		``:                  func(*hhttp.Spec) {},
		`codec_type: AUTO`:  func(*hhttp.Spec) {},
		`codec_type: HTTP1`: func(s *hhttp.Spec) { s.Codec = hhttp.HTTP1 },
		`codec_type: HTTP2`: func(s *hhttp.Spec) { s.Codec = hhttp.HTTP2 },

		`max_request_headers_kb: 96`: func(s *hhttp.Spec) { s.MaxHead, s.HTTP2.MaxHeader = 96<<10, 96<<10 },
		`stream_idle_timeout: 0s`:    func(s *hhttp.Spec) { s.StreamIdle = 0 },
		`stream_idle_timeout: 7s`:    func(s *hhttp.Spec) { s.StreamIdle = 7 * time.Second },
		`request_timeout: 7s`:        func(s *hhttp.Spec) { s.RequestTime = 7 * time.Second },
		`request_headers_timeout: 7s`: func(s *hhttp.Spec) {
			s.RequestHeaders = 7 * time.Second
		},
		`drain_timeout: 7s`:                       func(s *hhttp.Spec) { s.Drain = 7 * time.Second },
		`delayed_close_timeout: 7s`:               func(s *hhttp.Spec) { s.CloseDelay = 7 * time.Second },
		`delayed_close_timeout: 0s`:               func(s *hhttp.Spec) { s.CloseDelay = -1 },
		`generate_request_id: false`:              func(s *hhttp.Spec) { s.GenerateRequestID = false },
		`always_set_request_id_in_response: true`: func(s *hhttp.Spec) { s.RequestIDInResponse = true },
		`use_remote_address: false`:               func(*hhttp.Spec) {},
		`use_remote_address: true`:                func(s *hhttp.Spec) { s.Edge, s.AppendForwardedFor, s.PreserveRequestID = true, true, false },
		"use_remote_address: true\nskip_xff_append: true": func(s *hhttp.Spec) {
			s.Edge, s.PreserveRequestID = true, false
		},
		"use_remote_address: true\npreserve_external_request_id: true": func(s *hhttp.Spec) { s.Edge, s.AppendForwardedFor = true, true },
		`normalize_path: true`:      func(s *hhttp.Spec) { s.NormalizePath = true },
		`merge_slashes: true`:       func(s *hhttp.Spec) { s.MergeSlashes = true },
		`strip_any_host_port: true`: func(s *hhttp.Spec) { s.StripPort = hhttp.StripAny },
		`strip_matching_host_port: true`: func(s *hhttp.Spec) {
			s.StripPort = hhttp.StripMatching
		},
		`strip_trailing_host_dot: true`:                          func(s *hhttp.Spec) { s.StripDot = true },
		`path_with_escaped_slashes_action: KEEP_UNCHANGED`:       func(*hhttp.Spec) {},
		`path_with_escaped_slashes_action: REJECT_REQUEST`:       func(s *hhttp.Spec) { s.EscapedSlashes = hhttp.RejectEscapedSlashes },
		`path_with_escaped_slashes_action: UNESCAPE_AND_FORWARD`: func(s *hhttp.Spec) { s.EscapedSlashes = hhttp.UnescapeAndForward },
		`path_with_escaped_slashes_action: UNESCAPE_AND_REDIRECT`: func(s *hhttp.Spec) {
			s.EscapedSlashes = hhttp.UnescapeAndRedirect
		},

		`upgrade_configs: [{upgrade_type: websocket}, {upgrade_type: CONNECT}]`: func(s *hhttp.Spec) {
			s.Upgrades = hhttp.Upgrades{WebSocket: true, Connect: true}
		},
		`upgrade_configs: [{upgrade_type: WebSocket, enabled: false}]`: func(*hhttp.Spec) {},

		`common_http_protocol_options: {idle_timeout: 7s}`:                                func(s *hhttp.Spec) { s.IdleTimeout = 7 * time.Second },
		`common_http_protocol_options: {idle_timeout: 0s}`:                                func(s *hhttp.Spec) { s.IdleTimeout = 0 },
		`common_http_protocol_options: {max_connection_duration: 7s}`:                     func(s *hhttp.Spec) { s.MaxConnection = 7 * time.Second },
		`common_http_protocol_options: {max_headers_count: 7}`:                            func(s *hhttp.Spec) { s.MaxFields, s.HTTP2.MaxFields = 7, 7 },
		`common_http_protocol_options: {max_requests_per_connection: 7}`:                  func(s *hhttp.Spec) { s.MaxRequests = 7 },
		`common_http_protocol_options: {headers_with_underscores_action: REJECT_REQUEST}`: func(s *hhttp.Spec) { s.Underscores = hhttp.RejectUnderscores },
		`common_http_protocol_options: {headers_with_underscores_action: DROP_HEADER}`:    func(s *hhttp.Spec) { s.Underscores = hhttp.DropUnderscores },
		`http_protocol_options: {accept_http_10: true, default_host_for_http_10: "Old.Example:81"}`: func(s *hhttp.Spec) {
			s.HTTP10, s.DefaultHost = true, "old.example:81"
		},
		`http_protocol_options: {allow_absolute_url: true, enable_trailers: true}`: func(*hhttp.Spec) {},
		`http_protocol_options: {header_key_format: {stateful_formatter: {name: x, typed_config: {"@type":
			type.googleapis.com/envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig}}}}`: func(*hhttp.Spec) {},

		`http2_protocol_options: {max_concurrent_streams: 7}`:                                     func(s *hhttp.Spec) { s.HTTP2.MaxStreams = 7 },
		`http2_protocol_options: {initial_stream_window_size: 70000}`:                             func(s *hhttp.Spec) { s.HTTP2.StreamWindow, s.HTTP2.MaxWindow = 70000, 70000 },
		`http2_protocol_options: {initial_connection_window_size: 70000, hpack_table_size: 4096}`: func(*hhttp.Spec) {},
		`http2_protocol_options: {allow_connect: true}`:                                           func(s *hhttp.Spec) { s.HTTP2.ExtendedConnect = true },
		`http2_protocol_options: {max_outbound_frames: 10000, max_outbound_control_frames: 1000}`: func(*hhttp.Spec) {},
		`http2_protocol_options: {connection_keepalive: {interval: 7s, timeout: 3s, interval_jitter: {value: 5}}}`: func(s *hhttp.Spec) {
			s.HTTP2.Ping, s.HTTP2.PingTimeout = 7*time.Second, 3*time.Second
		},
	} {
		got, _, err := manager(t, text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		want := usual()
		change(&want)
		got.Routes, got.OwnID, got.Service = nil, nil, ""
		if !reflect.DeepEqual(*got, want) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", text, *got, want)
		}
	}
}

// TestManagerRefuses: what is not honoured is refused with its path.
func TestManagerRefuses(t *testing.T) {
	for text, want := range map[string]string{
		`codec_type: HTTP3`: `codec_type: HTTP3 is not honoured, only AUTO, HTTP1 and HTTP2`,
		`tracing: {}`:       `tracing: is not honoured`,
		`http1_safe_max_connection_duration: true`:                                    `http1_safe_max_connection_duration: is not honoured`,
		`local_reply_config: {}`:                                                      `local_reply_config: is not honoured`,
		`xff_num_trusted_hops: 1`:                                                     `xff_num_trusted_hops: is not honoured`,
		`scheme_header_transformation: {scheme_to_overwrite: https}`:                  `scheme_header_transformation: is not honoured`,
		`max_request_headers_kb: 0`:                                                   `max_request_headers_kb: 0 is not between 1 and 8192`,
		`max_request_headers_kb: 8193`:                                                `max_request_headers_kb: 8193 is not between 1 and 8192`,
		`stream_idle_timeout: -1s`:                                                    `stream_idle_timeout: -1s is negative`,
		`forward_client_cert_details: APPEND_FORWARD`:                                 `forward_client_cert_details: APPEND_FORWARD is not honoured, only SANITIZE and ALWAYS_FORWARD_ONLY`,
		`upgrade_configs: [{upgrade_type: h2c}]`:                                      `upgrade_configs[0].upgrade_type: "h2c" is not honoured, only websocket and CONNECT`,
		`upgrade_configs: [{upgrade_type: websocket, filters: [{name: x}]}]`:          `upgrade_configs[0].filters: is not honoured`,
		"via: \"a\\nb\"":                                                              `via: "a\nb" holds a control character`,
		"server_name: \"a\\rb\"":                                                      `server_name: "a\rb" holds a control character`,
		`common_http_protocol_options: {max_headers_count: 0}`:                        `common_http_protocol_options.max_headers_count: must be 1 or more`,
		`common_http_protocol_options: {max_response_headers_kb: 1}`:                  `common_http_protocol_options.max_response_headers_kb: is not honoured`,
		`http_protocol_options: {allow_absolute_url: false}`:                          `http_protocol_options.allow_absolute_url: must be true: a proxy has to take them (RFC 9112 section 3.2.2)`,
		`http_protocol_options: {allow_chunked_length: true}`:                         `http_protocol_options.allow_chunked_length: is not honoured`,
		`http_protocol_options: {default_host_for_http_10: "a b"}`:                    `http_protocol_options.default_host_for_http_10: "a b" is not a host`,
		`http_protocol_options: {header_key_format: {proper_case_words: {}}}`:         `http_protocol_options.header_key_format.proper_case_words: is not honoured`,
		`http2_protocol_options: {max_concurrent_streams: 0}`:                         `http2_protocol_options.max_concurrent_streams: 0 is not between 1 and 2147483647`,
		`http2_protocol_options: {initial_stream_window_size: 1}`:                     `http2_protocol_options.initial_stream_window_size: 1 is not between 65535 and 2147483647`,
		`http2_protocol_options: {initial_connection_window_size: 1}`:                 `http2_protocol_options.initial_connection_window_size: 1 is not between 65535 and 2147483647`,
		`http2_protocol_options: {hpack_table_size: 0}`:                               `http2_protocol_options.hpack_table_size: 0 is not honoured: the table has 4096 bytes, and no fewer`,
		`http2_protocol_options: {allow_metadata: true}`:                              `http2_protocol_options.allow_metadata: is not honoured`,
		`http2_protocol_options: {max_outbound_frames: 10}`:                           `http2_protocol_options.max_outbound_frames: 10 is not honoured: the limit is 1000, over all frames that move nothing`,
		`http2_protocol_options: {connection_keepalive: {interval: 1s}}`:              `http2_protocol_options.connection_keepalive.timeout: is required, and 1ms or more`,
		`http2_protocol_options: {connection_keepalive: {interval: 0s, timeout: 1s}}`: `http2_protocol_options.connection_keepalive.interval: must be 1ms or more; leave it out to send no pings`,
		`http_filters: []`:                                                            `http_filters: does not end with the router`,
		`http_filters: [{name: router, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router, strict_check_headers: [x-envoy-max-retries]}}]`: `http_filters[0].typed_config.strict_check_headers: is not honoured`,
	} {
		_, _, err := manager(t, text)
		if err == nil || strings.ReplaceAll(err.Error(), "\u00a0", " ") != `listener "l": `+inManager+want {
			t.Errorf("%s:\ngot  %v\nwant %s", text, err, want)
		}
	}
}

// TestManagerNotes: what has no effect is told.
func TestManagerNotes(t *testing.T) {
	for text, want := range map[string]string{
		`stat_prefix: x`: `stat_prefix`,
		`http2_protocol_options: {initial_connection_window_size: 70000}`:        `http2_protocol_options.initial_connection_window_size`,
		`http2_protocol_options: {max_inbound_priority_frames_per_stream: 2000}`: `http2_protocol_options.max_inbound_priority_frames_per_stream`,
		`http2_protocol_options: {hpack_table_size: 4097}`:                       `http2_protocol_options.hpack_table_size`,
		`http_protocol_options: {enable_trailers: true}`:                         `http_protocol_options.enable_trailers`,
		`stream_error_on_invalid_http_message: true`:                             `stream_error_on_invalid_http_message`,
	} {
		_, notes, err := manager(t, text)
		if err != nil || len(notes) != 1 || notes[0].Path != inManager+want || notes[0].Why == "" {
			t.Errorf("%s: %+v, %v", text, notes, err)
		}
	}
}

// TestManagerEdits: what the connection manager does to headers reaches every route.
func TestManagerEdits(t *testing.T) {
	for text, want := range map[string]string{
		``:                  ` | server: app`,
		`via: hop`:          `via: hop | server: app, via: hop`,
		`server_name: mine`: ` | server: mine`,
		"server_name: mine\nserver_header_transformation: APPEND_IF_ABSENT": ` | server: app`,
		"server_name: mine\nserver_header_transformation: PASS_THROUGH":     ` | server: app`,
		`forward_client_cert_details: ALWAYS_FORWARD_ONLY`:                  `x-forwarded-client-cert: forged | server: app`,
	} {
		s, _, err := manager(t, text)
		if err != nil {
			t.Fatal(err)
		}
		q := request("GET", "h", "/")
		q.Header.Add("x-forwarded-client-cert", "forged")
		r := s.Routes.Match(q)
		r.Rewrite(q, conn)
		m := &message.Response{Status: 200}
		m.Header.Add("server", "app")
		r.RewriteResponse(m, q, conn)
		if got := fields(q.Header) + " | " + fields(m.Header); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

var conn = &filter.Conn{Local: netip.MustParseAddrPort("10.0.0.1:443"), Remote: netip.MustParseAddrPort("10.0.0.2:5555"), SNI: "sni.example"}

func request(method, authority, target string) *message.Request {
	path, query, has := strings.Cut(target, "?")
	if has {
		query = "?" + query
	}
	return &message.Request{Method: method, Authority: authority, Path: path, Query: query, Original: target, Major: 1, Minor: 1, Length: message.Absent}
}

func fields(h message.Header) string {
	var all []string
	for _, f := range h.Fields {
		all = append(all, f.Name+": "+f.Value)
	}
	return strings.Join(all, ", ")
}

// FuzzHTTP builds a listener and a route configuration of any bytes: an error or a graph, never a panic, and a request through
// what was built does not panic either.
func FuzzHTTP(f *testing.F) {
	managers := []string{toUp, "via: x\n" + toUp, "http2_protocol_options: {max_concurrent_streams: 1}\n" + toUp}
	for _, text := range slices.Sorted(maps.Keys(routeSeeds)) {
		managers = append(managers, "normalize_path: true\nroute_config: "+text)
	}
	for _, text := range managers {
		m := &hcmv3.HttpConnectionManager{}
		parse(f, text+"\n"+justRouter, m)
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, "/a/b?c=d", "www.example:80")
	}
	b := standAlone(f)
	c := &clusterv3.Cluster{}
	parse(f, `{name: up, type: STATIC}`, c)
	f.Fuzz(func(t *testing.T, value []byte, target, authority string) {
		l := &listenerv3.Listener{}
		parse(t, `{name: l, address: {socket_address: {address: 127.0.0.1, port_value: 1}}, traffic_direction: OUTBOUND}`, l)
		m := &hcmv3.HttpConnectionManager{}
		if proto.Unmarshal(value, m) == nil && len(m.GetAccessLog()) > 0 {
			return // it would write to files of any name
		}
		l.FilterChains = []*listenerv3.FilterChain{{Filters: []*listenerv3.Filter{{ConfigType: &listenerv3.Filter_TypedConfig{
			TypedConfig: &anypb.Any{TypeUrl: "type.googleapis.com/" + string(m.ProtoReflect().Descriptor().FullName()), Value: value},
		}}}}}
		g, err := b.Build(nil, 1, config.Resources{config.TypeListener: {"l": packed(t, l)}, config.TypeCluster: {"up": packed(t, c)}})
		if (g == nil) == (err == nil) {
			t.Fatalf("neither or both of graph and error: %v", err)
		}
		if err != nil || !strings.HasPrefix(target, "/") {
			return
		}
		q := request("GET", strings.ToLower(authority), target)
		if r := g.Listeners["l"].Chains[0].HTTP.Routes.Match(q); r != nil && r.Local(q, conn) == nil {
			r.Rewrite(q, conn)
			r.RewriteResponse(&message.Response{}, q, conn)
			if !strings.HasPrefix(q.Path, "/") {
				t.Fatalf("%q was made %q", target, q.Path)
			}
		}
	})
}
