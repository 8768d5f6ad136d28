package telemetry

import (
	"crypto/tls"
	"net/netip"
	"testing"
	"time"

	"github.com/hauberk-mesh/hauberk/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// request is an ordinary request as the caller's proxy records it.
func request() *Record {
	return &Record{
		Start: time.Date(2026, 5, 4, 3, 2, 1, 123456789, time.UTC), Duration: 7 * time.Millisecond, Direction: Outbound,
		Listener: "outbound|cart|80", Route: "default", Cluster: "outbound|cart|80",
		Protocol: "HTTP/1.1", Method: "GET", Path: "/items?id=1", Authority: "cart", RequestID: "req-1", UserAgent: "curl/8",
		Status: 200, Details: "via_upstream",
		SourceService: "frontend", DestinationService: "cart",
		SourceID: "spiffe://default.default.mesh.local/workload/frontend", DestinationID: "spiffe://default.default.mesh.local/workload/cart",
		TLSVersion:       tls.VersionTLS13,
		DownstreamRemote: netip.MustParseAddrPort("127.0.0.1:50000"), DownstreamLocal: netip.MustParseAddrPort("127.0.0.1:10001"),
		UpstreamHost: netip.MustParseAddrPort("127.0.0.1:15080"), UpstreamLocal: netip.MustParseAddrPort("127.0.0.1:50001"),
		Attempts: 1, BytesIn: 10, BytesOut: 2000, UpstreamTime: 6 * time.Millisecond,
	}
}

// refused is a request as the callee's proxy records it that a permission refused.
func refused() *Record {
	r := request()
	r.Direction, r.Status, r.Flags = Inbound, 403, "UAEX"
	r.Reason, r.Details = reasonPermissionDenied, "rbac_access_denied_matched_policy[MeshTrafficPermission/cart#rules[0].deny[0]]"
	r.Policy, r.Rule = "MeshTrafficPermission/cart", "MeshTrafficPermission/cart#rules[0].deny[0]"
	r.UpstreamHost, r.UpstreamLocal, r.UpstreamTime = netip.AddrPort{}, netip.AddrPort{}, 0
	return r
}

func connection() *Record {
	r := request()
	r.Protocol, r.Method, r.Path, r.Authority, r.RequestID, r.UserAgent, r.Status, r.Details = "TCP", "", "", "", "", "", 0, ""
	return r
}
