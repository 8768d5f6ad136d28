package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	hhttp "github.com/hauberk-mesh/hauberk/dataplane/http"
	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
	"github.com/hauberk-mesh/hauberk/dataplane/route"
)

// routes builds the route configuration of the YAML, in a chain that normalises paths.
func routes(t testing.TB, text, more string) (*route.Table, error) {
	t.Helper()
	s, _, err := manager(t, "normalize_path: true\nmerge_slashes: true\nroute_config: "+text+"\n"+more)
	if err != nil {
		return nil, err
	}
	return s.Routes, nil
}

// one is a configuration with one route.
func one(text string) string {
	return `{virtual_hosts: [{name: v, domains: ["*"], routes: [` + text + `]}]}`
}

// routeSeeds are configurations that are honoured, by what they show.
var routeSeeds = map[string]string{
	one(`{match: {prefix: /}, route: {cluster: up}}`):                                                                                            "all",
	one(`{match: {safe_regex: {regex: "/v[0-9]+/.*"}}, redirect: {https_redirect: true, prefix_rewrite: /x}}`):                                   "redirect",
	one(`{match: {path_separated_prefix: /a}, route: {cluster: up, prefix_rewrite: /b, regex_rewrite: {pattern: {regex: a}, substitution: b}}}`): "two rewrites",
	one(`{match: {prefix: /a}, route: {cluster: up, regex_rewrite: {pattern: {regex: "/(.*)/x"}, substitution: '\1'}}}`):                         "relative",
	one(`{match: {prefix: /a}, route: {cluster: up, prefix_rewrite: /b/}}`):                                                                      "prefix",
	`{virtual_hosts: [{name: v, domains: ["*.example", "a.*", "b"], routes: [{match: {prefix: /, headers: [{name: a, range_match: {start: 1, end: 2}}],
		query_parameters: [{name: c, string_match: {exact: d}}]}, direct_response: {status: 200, body: {inline_string: x}},
		response_headers_to_add: [{header: {key: a, value: "%REQ(:path)% %PROTOCOL%"}}]}]}]}`: "hosts",
	one(`{match: {prefix: /}, route: {weighted_clusters: {clusters: [{name: up, weight: 1}]}, timeout: 1s, max_stream_duration: {grpc_timeout_header_max: 1s}}}`): "weighted",
}

// TestRouteMatches: each line of want is method, authority, target and fields, then the name of the route.
func TestRouteMatches(t *testing.T) {
	named := func(match string) string {
		return `{virtual_hosts: [{name: v, domains: ["*"], routes: [{name: "yes", match: {` + match + `}, route: {cluster: up}}, {name: "no", match: {prefix: /}, route: {cluster: other}}]}]}`
	}
	for text, want := range map[string][]string{
		named(`prefix: /a`):                                       {"/a yes", "/ab yes", "/a/b yes", "/A no", "/b no", "/ no"},
		named(`prefix: /A, case_sensitive: false`):                {"/a yes", "/Ab yes", "/b no"},
		named(`path: /a`):                                         {"/a yes", "/a?x=y yes", "/a/ no", "/ab no", "/A no"},
		named(`path: /a, case_sensitive: false`):                  {"/A yes"},
		named(`path_separated_prefix: /a`):                        {"/a yes", "/a/ yes", "/a/b yes", "/ab no", "/A no"},
		named(`path_separated_prefix: /a, case_sensitive: false`): {"/A/b yes", "/AB no"},
		named(`safe_regex: {google_re2: {}, regex: "/v[0-9]+"}`):  {"/v12 yes", "/v12/ no", "/xv1 no", "/v1?q yes"},

		named(`prefix: /, headers: [{name: X-A}]`):                                                                                            {"/ x-a=1 yes", "/ no"},
		named(`prefix: /, headers: [{name: x-a, present_match: true}]`):                                                                       {"/ X-A=1 yes", "/ no"},
		named(`prefix: /, headers: [{name: x-a, present_match: false}]`):                                                                      {"/ x-a=1 no", "/ yes"},
		named(`prefix: /, headers: [{name: x-a, present_match: true, invert_match: true}]`):                                                   {"/ x-a=1 no", "/ yes"},
		named(`prefix: /, headers: [{name: x-a, present_match: false, invert_match: true}]`):                                                  {"/ x-a=1 yes", "/ no"},
		named(`prefix: /, headers: [{name: x-a, exact_match: one}]`):                                                                          {"/ x-a=one yes", "/ x-a=One no", "/ x-a=one x-a=two no", "/ no"},
		named(`prefix: /, headers: [{name: x-a, exact_match: "one,two"}]`):                                                                    {"/ x-a=one x-a=two yes"},
		named(`prefix: /, headers: [{name: x-a, exact_match: one, invert_match: true}]`):                                                      {"/ x-a=one no", "/ x-a=two yes", "/ no"},
		named(`prefix: /, headers: [{name: x-a, exact_match: one, invert_match: true, treat_missing_header_as_empty: true}]`):                 {"/ yes"},
		named(`prefix: /, headers: [{name: x-a, prefix_match: "on"}]`):                                                                        {"/ x-a=one yes", "/ x-a=no no"},
		named(`prefix: /, headers: [{name: x-a, suffix_match: ne}]`):                                                                          {"/ x-a=one yes", "/ x-a=nene yes", "/ x-a=new no"},
		named(`prefix: /, headers: [{name: x-a, contains_match: "n"}]`):                                                                       {"/ x-a=one yes", "/ x-a=x no"},
		named(`prefix: /, headers: [{name: x-a, safe_regex_match: {regex: "o.e"}}]`):                                                          {"/ x-a=one yes", "/ x-a=ones no"},
		named(`prefix: /, headers: [{name: x-a, range_match: {start: -10, end: 0}}]`):                                                         {"/ x-a=-1 yes", "/ x-a=0 no", "/ x-a=-10 yes", "/ x-a=x no", "/ x-a=-1x no", "/ no"},
		named(`prefix: /, headers: [{name: x-a, range_match: {start: 0, end: 10}, invert_match: true, treat_missing_header_as_empty: true}]`): {"/ yes"},
		named(`prefix: /, headers: [{name: x-a, string_match: {prefix: "ON", ignore_case: true}}]`):                                           {"/ x-a=one yes", "/ x-a=no no"},
		named(`prefix: /, headers: [{name: x-a, string_match: {contains: "N", ignore_case: true}}]`):                                          {"/ x-a=one yes"},
		named(`prefix: /, headers: [{name: x-a, string_match: {exact: ONE, ignore_case: true}}]`):                                             {"/ x-a=one yes", "/ x-a=ones no"},
		named(`prefix: /, headers: [{name: x-a, string_match: {suffix: NE, ignore_case: true}}]`):                                             {"/ x-a=one yes"},
		named(`prefix: /, headers: [{name: ":method", exact_match: POST}]`):                                                                   {"/ no", "POST / yes"},
		named(`prefix: /, headers: [{name: ":path", exact_match: "/a?b"}]`):                                                                   {"/a?b yes", "/a no"},
		named(`prefix: /, headers: [{name: ":authority", exact_match: "h"}]`):                                                                 {"/ yes"},
		named(`prefix: /, headers: [{name: host, prefix_match: "x"}]`):                                                                        {"/ no"},
		named(`prefix: /, headers: [{name: cookie, exact_match: "a=1; b=2"}]`):                                                                {"/ cookie=a=1 cookie=b=2 yes"},
		named(`prefix: /, grpc: {}`): {"/ content-type=application/grpc yes", "/ content-type=application/grpc+proto yes", "/ content-type=application/grpc-web no", "/ no"},

		named(`prefix: /, query_parameters: [{name: a}]`):                                                {"/?a yes", "/?a=1 yes", "/?b=a no", "/?b&a=2 yes", "/ no", "/?A no"},
		named(`prefix: /, query_parameters: [{name: a, present_match: false}]`):                          {"/?a no", "/?b yes", "/ yes"},
		named(`prefix: /, query_parameters: [{name: a, string_match: {exact: "1"}}]`):                    {"/?a=1 yes", "/?a=2&a=1 no", "/?a=1&a=2 yes", "/?a=%31 no", "/ no"},
		named(`prefix: /, query_parameters: [{name: a, string_match: {safe_regex: {regex: "[0-9]+"}}}]`): {"/?a=17 yes", "/?a=1x no"},

		named(`prefix: /, runtime_fraction: {default_value: {numerator: 100}, runtime_key: k}`):     {"/ yes"},
		named(`prefix: /, runtime_fraction: {default_value: {numerator: 0, denominator: MILLION}}`): {"/ no"},
		named(`connect_matcher: {}`): {"CONNECT h:443 yes", "/ no"},
		named(`prefix: /`):           {"CONNECT h:443 none", "* yes"},
		`{virtual_hosts: [{name: v, domains: ["*"], routes: [{name: "yes", match: {prefix: /a}, route: {cluster: up}}]}]}`: {"/b none"},
	} {
		table, err := routes(t, text, "")
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		for _, line := range want {
			parts := strings.Fields(line)
			q := request("GET", "h", "")
			for _, p := range parts[:len(parts)-1] {
				name, value, isField := strings.Cut(p, "=")
				switch {
				case p[0] == '/' || p == "*":
					q.Path, q.Query, _ = strings.Cut(p, "?")
					if strings.Contains(p, "?") {
						q.Query = "?" + q.Query
					}
					q.Asterisk = p == "*"
				case isField:
					q.Header.Add(name, value)
				case strings.Contains(p, ":"):
					q.Authority = p
				default:
					q.Method = p
				}
			}
			got := "none"
			if r := table.Match(q); r != nil {
				got = r.Name
			}
			if want := parts[len(parts)-1]; got != want {
				t.Errorf("%s\n%s: %s", text, line, got)
			}
		}
	}
}

// TestVirtualHosts: exact, then the longest suffix, then the longest prefix, then *.
func TestVirtualHosts(t *testing.T) {
	host := func(domains string) string {
		return `{name: x, domains: [` + domains + `], routes: [{name: '` + strings.ReplaceAll(domains, `"`, "") + `', match: {prefix: /}, route: {cluster: up}}]}`
	}
	hosts := `virtual_hosts: [` + strings.Join([]string{host(`"*"`), host(`"*.example"`), host(`"*.b.example"`), host(`"*-b.example"`), host(`"www.*"`),
		host(`"www.b.*"`), host(`"A.Example"`), host(`"ported.example:8080"`)}, ",") + `]`
	for ignore, cases := range map[string]map[string]string{
		"false": {
			"a.example": "A.Example", "x.example": "*.example", "x.b.example": "*.b.example", ".b.example": "*.example", "x-b.example": "*-b.example",
			"-b.example": "*.example", "-b.examples": "*", "www.com": "www.*", "www.b.com": "www.b.*", "www.": "*", "www.example": "*.example", "other": "*", "": "*",
			"a.example:80": "*", "ported.example:8080": "ported.example:8080", "ported.example": "*.example",
		},
		"true": {"a.example:80": "A.Example", "a.example": "A.Example", "[::1]:80": "*", "x.example:x": "*"},
	} {
		table, err := routes(t, `{`+hosts+`, ignore_port_in_host_matching: `+ignore+`}`, "")
		if err != nil {
			t.Fatal(err)
		}
		for authority, want := range cases {
			if got := table.Match(request("GET", authority, "/")).Name; got != want {
				t.Errorf("ignore port %s: %q: %s, want %s", ignore, authority, got, want)
			}
		}
	}
}

// TestRouteActions: what is sent upstream, or answered. want is "authority target fields -> cluster | response fields" or
// "status location body".
func TestRouteActions(t *testing.T) {
	const up = `route: {cluster: up`
	for _, c := range []struct{ text, in, want string }{
		{one(`{match: {prefix: /a}, ` + up + `}}`), "h /a?b", "h /a?b"},
		{one(`{match: {prefix: /a/}, ` + up + `, prefix_rewrite: /}}`), "h /a/b?c", "h /b?c x-envoy-original-path: /a/b?c"},
		{one(`{match: {prefix: /a}, ` + up + `, prefix_rewrite: /}}`), "h /a/b", "h //b x-envoy-original-path: /a/b"},
		{one(`{match: {path_separated_prefix: /a}, ` + up + `, prefix_rewrite: /b}}`), "h /a/x", "h /b/x x-envoy-original-path: /a/x"},
		{one(`{match: {path_separated_prefix: /a}, ` + up + `, prefix_rewrite: /b}}`), "h /a", "h /b x-envoy-original-path: /a"},
		{one(`{match: {path: /a}, ` + up + `, prefix_rewrite: /b}}`), "h /a?q", "h /b?q x-envoy-original-path: /a?q"},
		{one(`{match: {prefix: /}, ` + up + `, prefix_rewrite: /b/}}`), "h /a", "h /b/a x-envoy-original-path: /a"},
		{one(`{match: {safe_regex: {regex: "/.*"}}, ` + up + `, prefix_rewrite: /b}}`), "h /a/x", "h /b x-envoy-original-path: /a/x"},
		{one(`{match: {prefix: /}, ` + up + `, regex_rewrite: {pattern: {regex: "^/service/([^/]+)(/.*)$"}, substitution: '\2/instance/\1'}}}`),
			"h /service/foo/v1/api?q", "h /v1/api/instance/foo?q x-envoy-original-path: /service/foo/v1/api?q"},
		{one(`{match: {prefix: /}, ` + up + `, host_rewrite_literal: New.Example}}`), "h /", "new.example / x-envoy-original-host: h"},
		{one(`{match: {prefix: /}, ` + up + `, host_rewrite_literal: h}}`), "h /", "h /"},
		// A rewrite must not make of a path one that nobody has decided on.
		{one(`{match: {prefix: /files}, ` + up + `, prefix_rewrite: /data/}}`), "h /files../x", "refused"},
		{one(`{match: {prefix: /files}, ` + up + `, prefix_rewrite: /data/}}`), "h /files..;a/x", "refused"},
		{one(`{match: {prefix: /files}, ` + up + `, prefix_rewrite: /data/}}`), "h /files.x/x", "h /data/.x/x x-envoy-original-path: /files.x/x"},
		{one(`{match: {prefix: /}, ` + up + `, regex_rewrite: {pattern: {regex: "^/a"}, substitution: ''}}}`), "h /ab", "refused"},
		{one(`{match: {prefix: /files}, redirect: {prefix_rewrite: /data/}}`), "h /files../x", "refused"},

		{one(`{match: {prefix: /}, redirect: {https_redirect: true}}`), "h:80 /a?b", "301 https://h/a?b"},
		{one(`{match: {prefix: /}, redirect: {https_redirect: true}}`), "h:8080 /", "301 https://h:8080/"},
		{one(`{match: {prefix: /}, redirect: {https_redirect: true, port_redirect: 8443}}`), "h:8080 /", "301 https://h:8443/"},
		{one(`{match: {prefix: /}, redirect: {scheme_redirect: HTTPS, host_redirect: new, response_code: FOUND}}`), "h:80 /", "302 https://new/"},
		{one(`{match: {prefix: /}, redirect: {host_redirect: new, port_redirect: 81, strip_query: true, response_code: SEE_OTHER}}`), "h /a?b", "303 http://new:81/a"},
		{one(`{match: {prefix: /}, redirect: {path_redirect: /x, response_code: TEMPORARY_REDIRECT}}`), "h /a?b", "307 http://h/x?b"},
		{one(`{match: {prefix: /}, redirect: {path_redirect: "/x?y", response_code: PERMANENT_REDIRECT}}`), "h /a?b", "308 http://h/x?y"},
		{one(`{match: {prefix: /a}, redirect: {prefix_rewrite: /x}}`), "h /a/b?c", "301 http://h/x/b?c"},
		{one(`{match: {prefix: /}, redirect: {regex_rewrite: {pattern: {regex: "a"}, substitution: b}}}`), "h /aa", "301 http://h/bb"},
		{one(`{match: {prefix: /}, direct_response: {status: 418, body: {inline_string: tea}}, response_headers_to_add: [{header: {key: x, value: "%REQ(:path)%"}}]}`),
			"h /a?b", "418 content-type: text/plain, x: /a?b tea"},
		{one(`{match: {prefix: /}, direct_response: {status: 204}}`), "h /", "204"},

		{one(`{match: {prefix: /}, ` + up + `}, request_headers_to_add: [{header: {key: x-ip, value: "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%"}},
			{header: {key: x-all, value: "%% %PROTOCOL% %REQUESTED_SERVER_NAME% %DOWNSTREAM_LOCAL_PORT% %REQ(x-no?:method)% %REQ(:path):2%"}}]}`),
			"h /abc", "h /abc x-ip: 10.0.0.2, x-all: % HTTP/1.1 sni.example 443 GET /a"},
		{one(`{match: {prefix: /}, ` + up + `}, request_headers_to_add: [{header: {key: x-empty, value: "%REQ(x-no)%"}}, {header: {key: x-kept, value: ""}, keep_empty_value: true}]}`),
			"h /", "h / x-kept: "},
		{one(`{match: {prefix: /}, ` + up + `}, request_headers_to_remove: [X-Was], request_headers_to_add: [{header: {key: x-a, value: "1"}, append_action: ADD_IF_ABSENT},
			{header: {key: x-a, value: "2"}, append_action: ADD_IF_ABSENT}, {header: {key: x-a, value: "3"}}, {header: {key: x-a, value: "4"}, append_action: OVERWRITE_IF_EXISTS},
			{header: {key: x-b, value: "5"}, append_action: OVERWRITE_IF_EXISTS}, {header: {key: x-c, raw_value: "Ng=="}, append_action: OVERWRITE_IF_EXISTS_OR_ADD}]}`),
			"h / x-was=1", "h / x-a: 4, x-c: 6"},
		{one(`{match: {prefix: /}, ` + up + `}, request_headers_to_add: [{header: {key: x, value: "1"}, append: false}, {header: {key: x, value: "2"}, append: true}]}`),
			"h / x=0", "h / x: 1, x: 2"},
		{one(`{match: {prefix: /}, route: {weighted_clusters: {clusters: [{name: other, weight: 0}, {name: up, weight: 3, host_rewrite_literal: w,
			request_headers_to_add: [{header: {key: x, value: "w"}}]}], total_weight: 3}}, request_headers_to_add: [{header: {key: x, value: "r"}}]}`),
			"h /", "w / x: w, x: r, x-envoy-original-host: h"},
		// The last word has the most general level, unless the configuration says otherwise.
		{`{request_headers_to_add: [{header: {key: x, value: config}, append_action: OVERWRITE_IF_EXISTS_OR_ADD}], virtual_hosts: [{name: v, domains: ["*"],
			request_headers_to_add: [{header: {key: x, value: host}, append_action: OVERWRITE_IF_EXISTS_OR_ADD}],
			routes: [{match: {prefix: /}, route: {cluster: up}, request_headers_to_add: [{header: {key: x, value: route}, append_action: OVERWRITE_IF_EXISTS_OR_ADD}]}]}]}`,
			"h /", "h / x: config"},
		{`{most_specific_header_mutations_wins: true, request_headers_to_add: [{header: {key: x, value: config}}], virtual_hosts: [{name: v, domains: ["*"],
			request_headers_to_add: [{header: {key: x, value: host}}], routes: [{match: {prefix: /}, route: {cluster: up}, request_headers_to_add: [{header: {key: x, value: route}}]}]}]}`,
			"h /", "h / x: config, x: host, x: route"},
	} {
		table, err := routes(t, c.text, "")
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if got := act(table, c.in); got != c.want {
			t.Errorf("%s\n%s: %s\nwant %s", c.text, c.in, got, c.want)
		}
	}
}

func act(table *route.Table, in string) string {
	parts := strings.Fields(in)
	q := request("GET", parts[0], parts[1])
	for _, f := range parts[2:] {
		name, value, _ := strings.Cut(f, "=")
		q.Header.Add(name, value)
	}
	r := table.Match(q)
	if l := r.Local(q, conn); l != nil {
		if l.Refused {
			return "refused"
		}
		rest := fields(l.Header)
		return strings.TrimSpace(fmt.Sprint(l.Status) + " " + strings.TrimPrefix(rest, "location: ") + " " + l.Body)
	}
	r.Rewrite(q, conn)
	if r.Choose() == nil {
		return "no cluster"
	}
	out := q.Authority + " " + q.Path + q.Query
	if len(q.Header.Fields) > 0 {
		out += " " + fields(q.Header)
	}
	return out
}

// TestSuppress: what the proxy would tell of a rewrite is left out where the router says so.
func TestSuppress(t *testing.T) {
	table, err := routes(t, one(`{match: {prefix: /a}, route: {cluster: up, prefix_rewrite: /b, host_rewrite_literal: x}}`),
		`http_filters: [{name: r, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router, suppress_envoy_headers: true}}]`)
	if err != nil {
		t.Fatal(err)
	}
	if got := act(table, "h /a"); got != "x /b" {
		t.Error(got)
	}
}

func TestRouteTimeouts(t *testing.T) {
	for text, want := range map[string]string{
		`route: {cluster: up}`:                                                     "15s 0s 20s false 0s 0",
		`route: {cluster: up, timeout: 0s, idle_timeout: 3s}`:                      "0s 3s 20s false 0s 0",
		`route: {cluster: up, timeout: 1s, idle_timeout: 0s}`:                      "1s -1ns 20s false 0s 0",
		`route: {cluster: up, max_stream_duration: {max_stream_duration: 0s}}`:     "15s 0s 0s false 0s 0",
		`route: {cluster: up, max_stream_duration: {grpc_timeout_header_max: 4s}}`: "15s 0s 20s true 4s 0",
		`route: {cluster: up, retry_policy: {retry_on: "refused-stream, connect-failure", num_retries: 4, retry_host_predicate: [{name: p, typed_config: {"@type":
			type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate}}]}}`: "15s 0s 20s false 0s 4",
	} {
		table, err := routes(t, one(`{match: {prefix: /}, `+text+`}`), "common_http_protocol_options: {max_stream_duration: 20s}")
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		r := table.Match(request("GET", "h", "/"))
		if got := fmt.Sprint(r.RequestTimeout, r.StreamIdle, r.MaxStream, r.GRPCTimeout, r.GRPCTimeoutMax, r.Retries); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	table, err := routes(t, one(`{match: {prefix: /}, route: {cluster: up, max_stream_duration: {grpc_timeout_header_max: 4s, max_stream_duration: 9s}}}`), "")
	if err != nil {
		t.Fatal(err)
	}
	for header, want := range map[string]time.Duration{"": 9 * time.Second, "1S": time.Second, "5S": 4 * time.Second, "300m": 300 * time.Millisecond, "x": 9 * time.Second,
		"123456789S": 9 * time.Second, "99999999H": 4 * time.Second, "0S": 4 * time.Second, "7u": 7 * time.Microsecond, "-1S": 9 * time.Second} {
		q := request("POST", "h", "/")
		if header != "" {
			q.Header.Add("grpc-timeout", header)
		}
		if got := table.Match(q).Limit(q); got != want {
			t.Errorf("%s: %s, want %s", header, got, want)
		}
	}
}

func TestRouteUpgrades(t *testing.T) {
	table, err := routes(t, one(`{match: {connect_matcher: {}}, route: {cluster: up, upgrade_configs: [{upgrade_type: CONNECT, connect_config: {}}, {upgrade_type: websocket, enabled: false}]}}`), "")
	if err != nil {
		t.Fatal(err)
	}
	r := table.Match(&message.Request{Method: "CONNECT", Authority: "a:1"})
	if r == nil || !r.ConnectTerminate || !r.Connect.Or(false) || r.WebSocket.Or(true) || route.Inherit.Or(false) || !route.Inherit.Or(true) {
		t.Errorf("%+v", r)
	}
}

// TestWeights: a draw follows the weights.
func TestWeights(t *testing.T) {
	table, err := routes(t, one(`{match: {prefix: /}, route: {weighted_clusters: {clusters: [{name: up, weight: 1}, {name: other, weight: 3}]}}}`), "")
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for range 4000 {
		count[table.Match(request("GET", "h", "/")).Choose().Name()]++
	}
	if count["up"] < 800 || count["up"] > 1200 || count["up"]+count["other"] != 4000 {
		t.Error(count)
	}
}

// TestRoutesRefuse: what is not honoured is refused with its path.
func TestRoutesRefuse(t *testing.T) {
	const in = "virtual_hosts[0].routes[0]."
	match := func(m string) string { return one(`{match: {` + m + `}, route: {cluster: up}}`) }
	action := func(a string) string { return one(`{match: {prefix: /}, route: {cluster: up, ` + a + `}}`) }
	add := func(h string) string {
		return one(`{match: {prefix: /}, route: {cluster: up}, request_headers_to_add: [` + h + `]}`)
	}
	for text, want := range map[string]string{
		`{virtual_hosts: [{name: v, domains: []}]}`:                               `virtual_hosts[0].domains: is empty: write * for every authority`,
		`{virtual_hosts: [{name: v, domains: [a, A]}]}`:                           `virtual_hosts[0].domains[1]: "a" is there twice; a domain belongs to one virtual host`,
		`{virtual_hosts: [{name: v, domains: ["*"]}, {name: w, domains: ["*"]}]}`: `virtual_hosts[1].domains[0]: "*" is there twice; a domain belongs to one virtual host`,
		`{virtual_hosts: [{name: v, domains: ["a.*.b"]}]}`:                        `virtual_hosts[0].domains[0]: "a.*.b": one * is allowed, at the beginning or at the end`,
		`{virtual_hosts: [{name: v, domains: ["*a*"]}]}`:                          `virtual_hosts[0].domains[0]: "*a*": one * is allowed, at the beginning or at the end`,
		`{virtual_hosts: [{name: v, domains: [""]}]}`:                             `virtual_hosts[0].domains[0]: is empty`,
		`{virtual_hosts: [{name: v, domains: [a], require_tls: ALL}]}`:            `virtual_hosts[0].require_tls: ALL is not honoured, only NONE: redirect with https_redirect in a listener without TLS`,
		`{virtual_hosts: [{name: v, domains: [a], rate_limits: [{}]}]}`:           `virtual_hosts[0].rate_limits: is not honoured`,
		`{vhds: {}}`:                             `vhds: is not honoured`,
		`{internal_only_headers: [x]}`:           `internal_only_headers: is not honoured`,
		`{response_headers_to_remove: ["a b"]}`:  `response_headers_to_remove[0]: "a b" is not the name of a header field`,
		one(`{match: {prefix: /}}`):              `virtual_hosts[0].routes[0]: says nothing of what is to be done: route, redirect or direct_response`,
		one(`{match: {}, route: {cluster: up}}`): in + `match: says nothing of the path`,
		match(`prefix: ""`):                      in + `match.prefix: "" must begin with /`,
		match(`prefix: a`):                       in + `match.prefix: "a" must begin with /`,
		match(`path: "/a?b"`):                    in + `match.path: "/a?b" holds a ? or #, and a path ends before those`,
		match(`path: /%61`):                      in + `match.path: "/%61": no request can have this path: it is normalised to "/a" first; write that`,
		match(`prefix: /a/../b`):                 in + `match.prefix: "/a/../b": no request can have this path: it is normalised to "/b" first; write that`,
		match(`prefix: //a`):                     in + `match.prefix: "//a": no request can have this path: it is normalised to "/a" first; write that`,
		match(`path: /a%`):                       in + `match.path: "/a%": no request can have this path: malformed percent escape in path`,
		match(`path_separated_prefix: /a/`):      in + `match.path_separated_prefix: "/a/" must begin with / and not end with it`,
		match(`safe_regex: {regex: "("}`):        in + "match.safe_regex.regex: error parsing regexp: missing closing ): `(`",
		match(`safe_regex: {regex: ""}`):         in + `match.safe_regex.regex: is empty`,
		match(`safe_regex: {regex: "a", google_re2: {max_program_size: 1}}`):                                in + `match.safe_regex.google_re2.max_program_size: is not honoured`,
		match(`safe_regex: {regex: "a"}, case_sensitive: false`):                                            in + `match.case_sensitive: has no effect on safe_regex: begin the expression with (?i)`,
		match(`prefix: /, cookies: [{name: a}]`):                                                            in + `match.cookies: is not honoured`,
		match(`prefix: /, tls_context: {}`):                                                                 in + `match.tls_context: is not honoured`,
		match(`prefix: /, headers: [{name: "a b"}]`):                                                        in + `match.headers[0].name: "a b" is not the name of a header field`,
		match(`prefix: /, headers: [{name: Connection}]`):                                                   in + `match.headers[0].name: "Connection" belongs to one hop, and is not part of the request that is routed`,
		match(`prefix: /, headers: [{name: ":other"}]`):                                                     in + `match.headers[0].name: ":other" is not the name of a header field`,
		match(`prefix: /, headers: [{name: a, prefix_match: ""}]`):                                          in + `match.headers[0].prefix_match: is empty, and would hold for everything`,
		match(`prefix: /, headers: [{name: a, string_match: {}}]`):                                          in + `match.headers[0].string_match: has no pattern`,
		match(`prefix: /, headers: [{name: a, string_match: {safe_regex: {regex: a}, ignore_case: true}}]`): in + `match.headers[0].string_match.ignore_case: has no effect on safe_regex: begin the expression with (?i)`,
		match(`prefix: /, headers: [{name: a, treat_missing_header_as_empty: true}]`):                       in + `match.headers[0].treat_missing_header_as_empty: says nothing beside present_match`,
		match(`prefix: /, query_parameters: [{name: ""}]`):                                                  in + `match.query_parameters[0].name: is empty`,
		match(`prefix: /, runtime_fraction: {runtime_key: a}`):                                              in + `match.runtime_fraction.default_value: is required: there is no runtime here that could say it`,
		action(`hash_policy: [{terminal: true}]`):                                                           in + `route.hash_policy: is not honoured`,
		action(`request_mirror_policies: [{cluster: other}]`):                                               in + `route.request_mirror_policies: is not honoured`,
		action(`priority: HIGH`):                                                                            in + `route.priority: HIGH is not honoured, only DEFAULT`,
		action(`auto_host_rewrite: true`):                                                                   in + `route.auto_host_rewrite: must be false: write host_rewrite_literal`,
		action(`host_rewrite_literal: "a b"`):                                                               in + `route.host_rewrite_literal: "a b" is not a host`,
		action(`host_rewrite_literal: "a:0"`):                                                               in + `route.host_rewrite_literal: "a:0" is not a host`,
		action(`host_rewrite_header: x`):                                                                    in + `route.host_rewrite_header: is not honoured`,
		action(`prefix_rewrite: a`):                                                                         in + `route.prefix_rewrite: "a" must begin with /`,
		action(`prefix_rewrite: "/a b"`):                                                                    in + `route.prefix_rewrite: "/a b" holds ' ', which can not stand in a path: write it percent-encoded`,
		action(`prefix_rewrite: "/a?b"`):                                                                    in + `route.prefix_rewrite: "/a?b" holds '?', which can not stand in a path: write it percent-encoded`,
		action(`prefix_rewrite: /a, regex_rewrite: {pattern: {regex: a}, substitution: b}`):                 in + `route.regex_rewrite: can not be set beside prefix_rewrite`,
		action(`regex_rewrite: {pattern: {regex: a}, substitution: '\1'}`):                                  in + `route.regex_rewrite: replacement: \1: the pattern has 0 groups`,
		action(`upgrade_configs: [{upgrade_type: h2c}]`):                                                    in + `route.upgrade_configs[0].upgrade_type: "h2c" is not honoured, only websocket and CONNECT`,
		action(`upgrade_configs: [{upgrade_type: websocket, connect_config: {}}]`):                          in + `route.upgrade_configs[0].connect_config: is for CONNECT alone`,
		action(`upgrade_configs: [{upgrade_type: CONNECT, connect_config: {allow_post: true}}]`):            in + `route.upgrade_configs[0].connect_config.allow_post: is not honoured`,
		action(`max_stream_duration: {grpc_timeout_header_offset: 1s}`):                                     in + `route.max_stream_duration.grpc_timeout_header_offset: is not honoured`,
		action(`retry_policy: {retry_on: 5xx}`):                                                             in + `route.retry_policy.retry_on: "5xx" is not honoured, only connect-failure and refused-stream`,
		one(`{match: {prefix: /}, route: {cluster_header: x}}`):                                             in + `route.cluster_header: is not honoured`,
		one(`{match: {prefix: /}, route: {timeout: 1s}}`):                                                   in + `route: names no cluster: write cluster or weighted_clusters`,
		one(`{match: {prefix: /}, route: {cluster: nowhere}}`):                                              in + `route.cluster: cluster "nowhere" was not sent`,
		one(`{match: {prefix: /}, route: {weighted_clusters: {clusters: [{name: up}]}}}`):                   in + `route.weighted_clusters.clusters: the weights add up to nothing`,
		one(`{match: {prefix: /}, route: {weighted_clusters: {clusters: [{name: up, weight: 4294967295}, {name: up, weight: 1}]}}}`): in + `route.weighted_clusters.clusters: the weights add up to 4294967296, above 4294967295`,
		one(`{match: {prefix: /}, route: {weighted_clusters: {clusters: [{name: up, weight: 1}], total_weight: 2}}}`):                in + `route.weighted_clusters.total_weight: is 2, but the weights add up to 1`,
		one(`{match: {prefix: /}, route: {weighted_clusters: {clusters: [{name: up, weight: 1}], header_name: x}}}`):                 in + `route.weighted_clusters.header_name: is not honoured`,
		one(`{match: {prefix: /}, redirect: {port_redirect: 65536}}`):                                                                in + `redirect.port_redirect: 65536 is above 65535`,
		one(`{match: {prefix: /}, redirect: {port_redirect: 1, host_redirect: "a:2"}}`):                                              in + `redirect.port_redirect: host_redirect "a:2" has a port already`,
		one(`{match: {prefix: /}, redirect: {scheme_redirect: "a b"}}`):                                                              in + `redirect.scheme_redirect: "a b" is not a scheme`,
		one(`{match: {prefix: /}, redirect: {host_redirect: "a/b"}}`):                                                                in + `redirect.host_redirect: "a/b" is not a host`,
		one(`{match: {prefix: /}, redirect: {path_redirect: "//a b"}}`):                                                              in + `redirect.path_redirect: "//a b" is not a path that begins with /`,
		one(`{match: {prefix: /}, direct_response: {status: 100}}`):                                                                  in + `direct_response.status: 100 is not between 200 and 599`,
		one(`{match: {prefix: /}, direct_response: {status: 204, body: {inline_string: a}}}`):                                        in + `direct_response.body: a response 204 has none`,
		one(`{match: {prefix: /}, direct_response: {status: 200, body: {inline_string: "` + strings.Repeat("a", 4097) + `"}}}`):      in + `direct_response.body: has 4097 bytes, above the limit of 4096: see max_direct_response_body_size_bytes`,
		one(`{match: {prefix: /}, direct_response: {status: 200, body: {filename: /nowhere/at/all}}}`):                               in + `direct_response.body.filename: stat /nowhere/at/all: no such file or directory`,
		one(`{match: {prefix: /}, direct_response: {status: 200, body: {filename: /dev/zero}}}`):                                     in + `direct_response.body.filename: /dev/zero is not a regular file`,
		one(`{match: {prefix: /}, direct_response: {status: 200, body: {environment_variable: HOME}}}`):                              in + `direct_response.body.environment_variable: is not honoured`,
		one(`{match: {prefix: /}, direct_response: {status: 200, body_format: {text_format: a}}}`):                                   in + `direct_response.body_format: is not honoured`,
		one(`{match: {prefix: /}, non_forwarding_action: {}}`):                                                                       in + `non_forwarding_action: is not honoured`,
		add(`{header: {key: ":path", value: a}}`):                                                                                    in + `request_headers_to_add[0].header.key: ":path" can not be edited: see host_rewrite_literal and prefix_rewrite`,
		add(`{header: {key: Host, value: a}}`):                                                                                       in + `request_headers_to_add[0].header.key: "Host" can not be edited: see host_rewrite_literal and prefix_rewrite`,
		add(`{header: {key: Transfer-Encoding, value: a}}`):                                                                          in + `request_headers_to_add[0].header.key: "Transfer-Encoding" can not be edited: it says where the message ends, or belongs to one hop`,
		add(`{header: {key: Content-Length, value: a}}`):                                                                             in + `request_headers_to_add[0].header.key: "Content-Length" can not be edited: it says where the message ends, or belongs to one hop`,
		add(`{header: {key: X-Hauberk-Reason, value: a}}`):                                                                           in + `request_headers_to_add[0].header.key: fields of hauberk- and x-hauberk- are the mesh's own`,
		add("{header: {key: a, value: \"b\\r\\nc: d\"}}"):                                                                            in + `request_headers_to_add[0].header.value: "b\r\nc: d" holds a control character`,
		add(`{header: {key: a, value: "%NOTHING%"}}`):                                                                                in + `request_headers_to_add[0].header.value: "%NOTHING%": %NOTHING% is not honoured in a header (docs/envoy-compat.md lists what is)`,
		add(`{header: {key: a, value: "100%"}}`):                                                                                     in + `request_headers_to_add[0].header.value: "100%": a percent sign has no second one: write %% for a percent sign`,
		add(`{header: {key: a, value: "%REQ(b):x%"}}`):                                                                               in + `request_headers_to_add[0].header.value: "%REQ(b):x%": %REQ(b):x%: ":x" is not a length: write :n`,
		add(`{header: {key: a, value: b, raw_value: Yg==}}`):                                                                         in + `request_headers_to_add[0].header.raw_value: can not be set beside value`,
		add(`{header: {key: a, value: b}, append: true, append_action: ADD_IF_ABSENT}`):                                              in + `request_headers_to_add[0].append: can not be set beside append_action`,
		add(`{header: {key: a, value: "%DOWNSTREAM_REMOTE_ADDRESS%"}}`): in + `request_headers_to_add[0].header.value: "%DOWNSTREAM_REMOTE_ADDRESS%": without use_remote_address, ` +
			`%DOWNSTREAM_REMOTE_...% would be what x-forwarded-for says; write %DOWNSTREAM_DIRECT_REMOTE_...% for who is connected, or set use_remote_address`,
	} {
		_, err := routes(t, text, "")
		if err == nil || strings.ReplaceAll(err.Error(), "\u00a0", " ") != `listener "l": `+inManager+"route_config."+want {
			t.Errorf("%s:\ngot  %v\nwant %s", text, err, want)
		}
	}
}

// TestRemoteAddress: with use_remote_address the caller's address is the one that is connected.
func TestRemoteAddress(t *testing.T) {
	table, err := routes(t, one(`{match: {prefix: /}, route: {cluster: up}, request_headers_to_add: [{header: {key: x-real-ip, value: "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"}}]}`),
		"use_remote_address: true")
	if err != nil {
		t.Fatal(err)
	}
	if got := act(table, "h /"); got != "h / x-real-ip: 10.0.0.2" {
		t.Error(got)
	}
}

// TestDirectBodyFromFile: in stand-alone mode alone, and not above the limit.
func TestDirectBodyFromFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "body")
	if err := os.WriteFile(file, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	text := func(limit string) string {
		return `{` + limit + `virtual_hosts: [{name: v, domains: ["*"], routes: [{match: {prefix: /}, direct_response: {status: 200, body: {filename: "` + file + `"}}}]}]}`
	}
	table, err := routes(t, text(""), "")
	if err != nil {
		t.Fatal(err)
	}
	if got := act(table, "h /"); got != "200 content-type: text/plain hello" {
		t.Error(got)
	}
	if _, err := routes(t, text("max_direct_response_body_size_bytes: 4, "), ""); err == nil || !strings.Contains(err.Error(), "has 5 bytes, above the limit of 4") {
		t.Error(err)
	}
}

// TestSpellings: no spelling of a path gets past a rule for it. Each is refused, or meets the rule, in every way in which a
// chain can be told to normalise; and what is forwarded is what was decided on.
func TestSpellings(t *testing.T) {
	spellings := []string{
		"/admin/x", "/admin/./x", "/admin//x", "//admin/x", "/./admin/x", "/%61dmin/x", "/%61%64%6d%69%6e/x", "/a/../admin/x", "/a/%2e%2e/admin/x",
		"/a/.%2e/admin/x", "/a/%2E./admin/x", "/a/b/../../admin/x", "/admin/../admin/x", "/admin%2fx", "/admin%2Fx", "/a%2f..%2fadmin/x", "/a/..%2fadmin/x",
		"/a%2f%2e%2e%2fadmin/x", "/admin%5cx", "/a\\..\\admin\\x", "/a/..;/admin/x", "/a/..;v=1/admin/x", "/admin/x%00", "/%00/admin/x", "/admin/%2e/x",
		"/a/b/..//../admin/x", "/../admin/x", "/a//../admin/x", "/admin/x/../x", "/%2e/admin/x", "/%2f/admin/x", "/%2fadmin/x", "/%252e/../admin/x", "/admin/x?y", "/admin/%",
	}
	for _, rule := range []string{`prefix: /admin/`, `path_separated_prefix: /admin`, `safe_regex: {regex: "/admin(/.*)?"}`, `prefix: /ADMIN, case_sensitive: false`} {
		for _, slashes := range []string{"REJECT_REQUEST", "UNESCAPE_AND_FORWARD", "UNESCAPE_AND_REDIRECT"} {
			s, _, err := manager(t, "normalize_path: true\nmerge_slashes: true\npath_with_escaped_slashes_action: "+slashes+`
route_config: {virtual_hosts: [{name: v, domains: ["*"], routes: [{name: rule, match: {`+rule+`}, direct_response: {status: 403}}, {name: rest, match: {prefix: /}, route: {cluster: up}}]}]}`)
			if err != nil {
				t.Fatal(err)
			}
			met := 0
			for _, spelling := range spellings {
				q := request("GET", "h", spelling)
				if q.Path, err = hhttp.Normalise(q.Path, s.NormalizePath, s.MergeSlashes, s.EscapedSlashes); err != nil {
					continue
				}
				if r := s.Routes.Match(q); r.Name != "rule" {
					t.Errorf("%s, %s: %q goes on as %q", rule, slashes, spelling, q.Path)
				}
				met++
			}
			if met < len(spellings)/3 {
				t.Errorf("%s, %s: only %d of %d spellings met the rule", rule, slashes, met, len(spellings))
			}
		}
	}
}
