package hpack

import "strings"

// policy is how fields of a name are sent.
type policy uint8

const (
	// repeating: indexed once the same value was seen before.
	repeating policy = iota
	// changing: the value is another one nearly each time; looking it up is not worth while. Only the name may be indexed.
	changing
	// secret: must stay out of every table on the way, for a table lets who shares the connection guess what is in it:
	// RFC 7541 section 7.1.3.
	secret
)

// staticPolicy is the policy of the names in the static table that are not repeating.
var staticPolicy = [staticEntries + 1]policy{
	23: secret, // authorization
	32: secret, // cookie
	49: secret, // proxy-authorization
	55: secret, // set-cookie

	21: changing, // age
	28: changing, // content-length
	30: changing, // content-range
	33: changing, // date
	34: changing, // etag
	36: changing, // expires
	39: changing, // if-match
	40: changing, // if-modified-since
	41: changing, // if-none-match
	42: changing, // if-range
	43: changing, // if-unmodified-since
	44: changing, // last-modified
	45: changing, // link
	46: changing, // location
	50: changing, // range
}

const pathEntry = 4

func policyOf(static uint8, name, value string) policy {
	if static == pathEntry && strings.IndexByte(value, '?') >= 0 {
		return changing // a query is rarely the same, and may hold a secret
	}
	if static != 0 {
		return staticPolicy[static]
	}
	switch name {
	case "x-request-id", "x-correlation-id", "traceparent", "tracestate", "grpc-trace-bin", "x-b3-traceid", "x-b3-spanid",
		"x-b3-parentspanid", "b3", "x-envoy-upstream-service-time":
		return changing
	case "grpc-timeout", "x-forwarded-for", "x-envoy-expected-rq-timeout-ms":
		return changing
	}
	// What ends like a secret is one: x-api-key, x-auth-token, x-amz-signature.
	switch name[strings.LastIndexByte(name, '-')+1:] {
	case "key", "apikey", "token", "secret", "password", "signature", "session", "sessionid", "credential", "credentials", "jwt":
		return secret
	}
	return repeating
}
