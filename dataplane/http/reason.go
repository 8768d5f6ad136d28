package http

import "sort"

// Reason is why the mesh made up a response by itself: the stable code that callers get in x-hauberk-reason, and what goes
// with it. docs/reasons.md lists the same table.
type Reason struct {
	Code   string
	Status int
	// Flag is Envoy's response flag, Details its %RESPONSE_CODE_DETAILS%.
	Flag, Details string
	// Sentence is the body's line, without the full stop. It names no policy: the caller is not to learn them.
	Sentence string
	// Unprocessed: the application has certainly not seen the request, so the caller's proxy may try elsewhere.
	Unprocessed bool
}

// The reasons of this version, which are not to be changed.
var (
	reasonPermission = Reason{"permission_denied", 403, "UAEX", "rbac_access_denied", "the mesh does not permit this call", false}
	reasonNoRoute    = Reason{"no_route", 404, "NR", "route_not_found", "no route matches this path", false}
	reasonNoEndpoint = Reason{"no_healthy_endpoint", 503, "UH", "no_healthy_upstream", "the service has no endpoint", false}
	reasonConnect    = Reason{"connect_failed", 503, "UF", "upstream_reset_before_response_started{connection_failure}",
		"no connection to the service could be made", false}
	reasonUpstreamReset = Reason{"upstream_reset", 503, "UC", "upstream_reset_before_response_started{connection_termination}",
		"the service closed the connection before it answered", false}
	reasonProtocol = Reason{"upstream_protocol_error", 502, "UPE", "upstream_reset_before_response_started{protocol_error}",
		"the service sent something that is not HTTP", false}
	reasonTimeout = Reason{"request_timeout", 504, "UT", "response_timeout", "the service did not answer in time", false}
	reasonMaxTime = Reason{"request_timeout", 504, "DT", "max_duration_timeout", "the request took longer than a stream may last", false}
	reasonIdle    = Reason{"stream_idle_timeout", 504, "SI", "stream_idle_timeout", "nothing moved on the request for too long", false}
	reasonIdleIn  = Reason{"stream_idle_timeout", 408, "SI", "stream_idle_timeout", "nothing moved on the request for too long", false}
	reasonHeaders = Reason{"request_headers_timeout", 408, "", "request_header_timeout", "the request's head did not arrive in time", false}
	reasonBad     = Reason{"bad_request", 400, "DPE", "http1.codec_error", "the request is not valid HTTP", false}
	reasonTooBig  = Reason{"headers_too_large", 431, "DPE", "http1.headers_too_large", "the request's head is too large", false}
	reasonPath    = Reason{"path_refused", 400, "DPE", "path_normalization_failed", "the path can be read in more than one way", false}
	reasonDrain   = Reason{"draining", 503, "", "draining", "this proxy is shutting down", true}
	reasonApp     = Reason{"app_unreachable", 503, "UF", "upstream_reset_before_response_started{connection_failure}",
		"the application behind this proxy does not answer", true}
	reasonNoCluster = Reason{"no_cluster", 503, "NC", "cluster_not_found", "the route leads to no cluster that exists", false}
	reasonOverflow  = Reason{"upstream_overflow", 503, "UO", "upstream_reset_before_response_started{overflow}",
		"the service has as much in hand as its circuit breakers let it", true}
	reasonOverload   = Reason{"overloaded", 503, "OM", "overload", "this proxy is short of memory", true}
	reasonUnderscore = Reason{"bad_request", 400, "DPE", "http.unexpected_underscore", "a header field has an underscore in its name", false}
	reasonArrival    = Reason{"request_timeout", 408, "", "request_overall_timeout", "the request did not arrive in time", false}
	reasonUpgrade    = Reason{"upgrade_refused", 403, "", "upgrade_failed", "this protocol may not be changed to", false}
	reasonExpired    = Reason{"peer_expired", 503, "", "peer_certificate_expired", "the certificate of this connection has expired", true}
)

// table is all of them.
func table() [23]*Reason {
	return [...]*Reason{&reasonPermission, &reasonNoRoute, &reasonNoEndpoint, &reasonConnect, &reasonUpstreamReset, &reasonProtocol,
		&reasonTimeout, &reasonMaxTime, &reasonIdle, &reasonIdleIn, &reasonHeaders, &reasonBad, &reasonTooBig, &reasonPath,
		&reasonDrain, &reasonApp, &reasonExpired, &reasonNoCluster, &reasonOverflow, &reasonOverload, &reasonUpgrade,
		&reasonUnderscore, &reasonArrival}
}

// Reasons is the table of all reasons, sorted by code; a code that answers with more than one status is there more than once.
func Reasons() []Reason {
	var all []Reason
	for _, r := range table() {
		all = append(all, *r)
	}
	sort.SliceStable(all, func(i, j int) bool { return all[i].Code < all[j].Code })
	return all
}

// find returns the first reason of a code, or nil.
func find(code string) *Reason {
	for _, r := range table() {
		if r.Code == code {
			return r
		}
	}
	return nil
}

// known returns the code if it is one of ours: what a peer says is a label in metrics only if it is in the table.
func known(code string) string {
	if r := find(code); r != nil {
		return r.Code
	}
	return ""
}
