package report

import (
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
	reportv1 "github.com/hauberk-mesh/hauberk/wire/report/v1"
)

// maxDecisions is the most that one question is answered with.
const maxDecisions = 1000

// answer asks the ring.
func (c *Client) answer(q *reportv1.DecisionsQuery) *reportv1.ProxyMessage {
	reply := &reportv1.DecisionsReply{Id: q.Id}
	if c.opts.Ring != nil {
		found := c.opts.Ring.Query(telemetry.Filter{
			RequestID: q.RequestId, Peer: q.Peer, Path: q.Path, Method: q.Method, Limit: int(min(q.Limit, maxDecisions)),
		})
		for i := range found {
			reply.Decisions = append(reply.Decisions, toWire(&found[i]))
		}
	}
	return &reportv1.ProxyMessage{Message: &reportv1.ProxyMessage_Decisions{Decisions: reply}}
}

func edgesToWire(counts []telemetry.EdgeCount) *reportv1.Edges {
	all := &reportv1.Edges{Edges: make([]*reportv1.Edge, 0, len(counts))}
	for i := range counts {
		n := &counts[i]
		buckets := make(map[uint32]uint64, len(n.Latency))
		for _, b := range n.Latency {
			buckets[b.Bucket] = b.Count
		}
		all.Edges = append(all.Edges, &reportv1.Edge{
			Outbound: n.Outbound, Source: valid(n.Source), Destination: valid(n.Destination),
			SourceId: valid(n.SourceID), DestinationId: valid(n.DestinationID),
			TlsVersion: telemetry.TLSName(n.TLSVersion), Protocol: n.Protocol,
			Requests: n.Requests, Errors: n.Errors, Denied: n.Denied, BytesIn: n.BytesIn, BytesOut: n.BytesOut,
			Latency: &reportv1.Histogram{Buckets: buckets},
		})
	}
	return all
}

func toWire(d *telemetry.Decision) *reportv1.Decision {
	w := &reportv1.Decision{
		Time: timestamppb.New(d.Time), Outbound: d.Outbound, RequestId: valid(d.RequestID),
		Source: valid(d.Source), Destination: valid(d.Destination), SourceId: valid(d.SourceID), DestinationId: valid(d.DestinationID),
		Protocol: valid(d.Protocol), Method: valid(d.Method), Path: valid(d.Path), Status: uint32(max(d.Status, 0)),
		Flags: valid(d.Flags), Details: valid(d.Details), Reason: valid(d.Reason), Policy: valid(d.Policy), Rule: valid(d.Rule),
		ShadowRule: valid(d.ShadowRule), Route: valid(d.Route), Attempts: uint32(max(d.Attempts, 0)),
		Duration: durationpb.New(d.Duration), TransportFailure: valid(d.TransportFailure), TlsVersion: telemetry.TLSName(d.TLSVersion),
	}
	if d.GRPCStatus != telemetry.NoGRPCStatus {
		w.GrpcStatus = proto.Uint32(uint32(max(d.GRPCStatus, 0)))
	}
	if d.Upstream.IsValid() {
		w.Upstream = d.Upstream.String()
	}
	return w
}

// valid keeps a request with bytes that are no UTF-8 from being a message that cannot be sent.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
