package telemetry

import (
	"net/netip"
	"strconv"
	"strings"
)

// operator reads one value of a record. Exactly one function is set; none is START_TIME.
type operator struct {
	text   func(*Record) string // "" is absent
	number func(*Record) (int64, bool)
	addr   func(*Record) netip.AddrPort
	part   addrPart
}

type addrPart uint8

const (
	whole addrPart = iota
	withoutPort
	portOnly
)

func (o *operator) appendAddr(dst []byte, a netip.AddrPort) []byte {
	switch o.part {
	case withoutPort:
		return a.Addr().AppendTo(dst)
	case portOnly:
		return strconv.AppendUint(dst, uint64(a.Port()), 10)
	default:
		return a.AppendTo(dst)
	}
}

func textOp(f func(*Record) string) *operator          { return &operator{text: f} }
func numberOp(f func(*Record) (int64, bool)) *operator { return &operator{number: f} }
func addrOp(f func(*Record) netip.AddrPort, p addrPart) *operator {
	return &operator{addr: f, part: p}
}

// requestHeaders are those that a Record has. Names are compared in upper case.
var requestHeaders = map[string]*operator{
	":METHOD":               textOp(func(r *Record) string { return r.Method }),
	":PATH":                 textOp(func(r *Record) string { return r.Path }),
	":AUTHORITY":            textOp(func(r *Record) string { return r.Authority }),
	"HOST":                  textOp(func(r *Record) string { return r.Authority }),
	"X-ENVOY-ORIGINAL-PATH": textOp(func(r *Record) string { return r.OriginalPath }),
	"X-REQUEST-ID":          textOp(func(r *Record) string { return r.RequestID }),
	"X-FORWARDED-FOR":       textOp(func(r *Record) string { return r.ForwardedFor }),
	"USER-AGENT":            textOp(func(r *Record) string { return r.UserAgent }),
}

// responseHeaders are those that a Record has.
var responseHeaders = map[string]*operator{
	"X-ENVOY-UPSTREAM-SERVICE-TIME": textOp(func(r *Record) string {
		if r.UpstreamTime <= 0 {
			return ""
		}
		return strconv.FormatInt(r.UpstreamTime.Milliseconds(), 10)
	}),
	":STATUS": textOp(func(r *Record) string {
		if r.Status == 0 {
			return ""
		}
		return strconv.Itoa(r.Status)
	}),
	"X-REQUEST-ID":     textOp(func(r *Record) string { return r.RequestID }),
	"X-HAUBERK-REASON": textOp(func(r *Record) string { return r.Reason }),
}

// operators are those without a header name: Envoy's own, and ours.
var operators = map[string]*operator{
	"START_TIME": {},
	"PROTOCOL": textOp(func(r *Record) string {
		if isTCP(r) {
			return ""
		}
		return r.Protocol
	}),
	"RESPONSE_CODE":         numberOp(func(r *Record) (int64, bool) { return int64(r.Status), true }),
	"RESPONSE_CODE_DETAILS": textOp(func(r *Record) string { return underscored(r.Details) }),
	"RESPONSE_FLAGS":        textOp(func(r *Record) string { return r.Flags }),
	"CONNECTION_TERMINATION_DETAILS": textOp(func(r *Record) string {
		if !isTCP(r) {
			return ""
		}
		return underscored(r.Details)
	}),
	"UPSTREAM_TRANSPORT_FAILURE_REASON": textOp(func(r *Record) string { return r.TransportFailure }),
	"BYTES_RECEIVED":                    numberOp(func(r *Record) (int64, bool) { return r.BytesIn, true }),
	"BYTES_SENT":                        numberOp(func(r *Record) (int64, bool) { return r.BytesOut, true }),
	"DURATION":                          numberOp(func(r *Record) (int64, bool) { return r.Duration.Milliseconds(), true }),
	"RESPONSE_DURATION": numberOp(func(r *Record) (int64, bool) {
		return r.UpstreamTime.Milliseconds(), r.UpstreamTime > 0
	}),
	"UPSTREAM_REQUEST_ATTEMPT_COUNT": numberOp(func(r *Record) (int64, bool) { return int64(r.Attempts), true }),
	"GRPC_STATUS":                    textOp(grpcCamel),
	"GRPC_STATUS_NUMBER":             numberOp(grpcNumber),
	"ROUTE_NAME":                     textOp(func(r *Record) string { return r.Route }),
	"UPSTREAM_CLUSTER":               textOp(func(r *Record) string { return r.Cluster }),
	"UPSTREAM_CLUSTER_RAW":           textOp(func(r *Record) string { return r.Cluster }),
	"REQUESTED_SERVER_NAME":          textOp(func(r *Record) string { return r.SNI }),
	"TRAFFIC_DIRECTION": textOp(func(r *Record) string {
		if r.Direction == Inbound {
			return "INBOUND"
		}
		return "OUTBOUND"
	}),

	"UPSTREAM_HOST":                                 addrOp(func(r *Record) netip.AddrPort { return r.UpstreamHost }, whole),
	"UPSTREAM_REMOTE_ADDRESS":                       addrOp(func(r *Record) netip.AddrPort { return r.UpstreamHost }, whole),
	"UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT":          addrOp(func(r *Record) netip.AddrPort { return r.UpstreamHost }, withoutPort),
	"UPSTREAM_REMOTE_PORT":                          addrOp(func(r *Record) netip.AddrPort { return r.UpstreamHost }, portOnly),
	"UPSTREAM_LOCAL_ADDRESS":                        addrOp(func(r *Record) netip.AddrPort { return r.UpstreamLocal }, whole),
	"UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT":           addrOp(func(r *Record) netip.AddrPort { return r.UpstreamLocal }, withoutPort),
	"UPSTREAM_LOCAL_PORT":                           addrOp(func(r *Record) netip.AddrPort { return r.UpstreamLocal }, portOnly),
	"DOWNSTREAM_REMOTE_ADDRESS":                     addrOp(func(r *Record) netip.AddrPort { return r.DownstreamRemote }, whole),
	"DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT":        addrOp(func(r *Record) netip.AddrPort { return r.DownstreamRemote }, withoutPort),
	"DOWNSTREAM_REMOTE_PORT":                        addrOp(func(r *Record) netip.AddrPort { return r.DownstreamRemote }, portOnly),
	"DOWNSTREAM_DIRECT_REMOTE_ADDRESS":              addrOp(func(r *Record) netip.AddrPort { return r.DownstreamRemote }, whole),
	"DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT": addrOp(func(r *Record) netip.AddrPort { return r.DownstreamRemote }, withoutPort),
	"DOWNSTREAM_LOCAL_ADDRESS":                      addrOp(func(r *Record) netip.AddrPort { return r.DownstreamLocal }, whole),
	"DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT":         addrOp(func(r *Record) netip.AddrPort { return r.DownstreamLocal }, withoutPort),
	"DOWNSTREAM_LOCAL_PORT":                         addrOp(func(r *Record) netip.AddrPort { return r.DownstreamLocal }, portOnly),

	// On an inbound the downstream is the other proxy; on an outbound it is the own application, which proves nothing.
	"DOWNSTREAM_PEER_URI_SAN": textOp(func(r *Record) string {
		if r.Direction == Outbound {
			return ""
		}
		return r.SourceID
	}),
	"DOWNSTREAM_LOCAL_URI_SAN": textOp(func(r *Record) string {
		if r.Direction == Outbound {
			return ""
		}
		return r.DestinationID
	}),
	"DOWNSTREAM_TLS_VERSION": textOp(func(r *Record) string {
		if r.Direction == Outbound {
			return ""
		}
		return TLSName(r.TLSVersion)
	}),
	"UPSTREAM_PEER_URI_SAN": textOp(func(r *Record) string {
		if r.Direction == Inbound {
			return ""
		}
		return r.DestinationID
	}),
	"UPSTREAM_TLS_VERSION": textOp(func(r *Record) string {
		if r.Direction == Inbound {
			return ""
		}
		return TLSName(r.TLSVersion)
	}),

	"KUMA_SOURCE_SERVICE":      textOp(func(r *Record) string { return r.SourceService }),
	"KUMA_DESTINATION_SERVICE": textOp(func(r *Record) string { return r.DestinationService }),

	"HAUBERK_SOURCE":         textOp(func(r *Record) string { return r.SourceService }),
	"HAUBERK_DESTINATION":    textOp(func(r *Record) string { return r.DestinationService }),
	"HAUBERK_SOURCE_ID":      textOp(func(r *Record) string { return r.SourceID }),
	"HAUBERK_DESTINATION_ID": textOp(func(r *Record) string { return r.DestinationID }),
	"HAUBERK_PEER_ID":        textOp(peerID),
	"HAUBERK_REASON":         textOp(func(r *Record) string { return r.Reason }),
	"HAUBERK_POLICY":         textOp(func(r *Record) string { return r.Policy }),
	"HAUBERK_RULE":           textOp(func(r *Record) string { return r.Rule }),
	"HAUBERK_SHADOW_RULE":    textOp(func(r *Record) string { return r.ShadowRule }),
	"HAUBERK_TLS_VERSION":    textOp(func(r *Record) string { return TLSName(r.TLSVersion) }),
}

// peerID is the identity that the other proxy of the hop has proven.
func peerID(r *Record) string {
	if r.Direction == Inbound {
		return r.SourceID
	}
	return r.DestinationID
}

// underscored replaces spaces, as Envoy does in details, so that columns stay columns.
func underscored(s string) string {
	if strings.IndexByte(s, ' ') < 0 {
		return s
	}
	return strings.ReplaceAll(s, " ", "_")
}
