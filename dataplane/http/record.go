package http

import (
	"strconv"
	"strings"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/filter"
	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
)

// describe notes what is known of a request once its head is read.
func (x *exchange) describe() {
	r, m := &x.rec, x.req
	r.Method, r.Authority, r.Path = m.Method, m.Authority, x.fullPath()
	switch {
	case m.Major == 2:
		r.Protocol = "HTTP/2"
	case m.Minor == 0:
		r.Protocol = "HTTP/1.0"
	default:
		r.Protocol = "HTTP/1.1"
	}
	r.GRPC = isGRPC(m.Header.Get("content-type"))
	r.GRPCStatus = telemetry.NoGRPCStatus
	r.UserAgent, r.ForwardedFor = m.Header.Get("user-agent"), m.Header.Get("x-forwarded-for")
}

// describeHop notes what is known of the connection.
func (x *exchange) describeHop() {
	r := &x.rec
	r.Direction, r.Listener = x.spec.Direction, x.Listener()
	r.DownstreamLocal, r.DownstreamRemote, r.SNI = x.Info.Local, x.Info.Remote, x.Info.SNI
	r.DestinationService = x.spec.Service
	if x.spec.Direction == telemetry.Outbound {
		r.SourceService = x.spec.OwnService
		return
	}
	r.SourceService, r.SourceID, r.TLSVersion = filter.Service(x.Info.PeerID), x.Info.PeerID, x.Info.TLSVersion
	if x.Info.TLSVersion != 0 && x.spec.OwnID != nil {
		r.DestinationID = x.spec.OwnID()
	}
}

// describeUpstream notes what is known of the connection that an attempt got.
func (x *exchange) describeUpstream() {
	r := &x.rec
	r.UpstreamLocal, r.TransportFailure = x.up.Local, ""
	if x.spec.Direction == telemetry.Outbound {
		r.DestinationID, r.TLSVersion, r.SourceID = x.up.PeerID, x.up.TLSVersion, ""
		if x.up.Proven() && x.spec.OwnID != nil {
			r.SourceID = x.spec.OwnID()
		}
	}
}

// note keeps which rule let the request pass, and which one would have refused it.
func (x *exchange) note(o filter.Outcome) {
	if o.Allowed != nil {
		x.rec.Policy, x.rec.Rule = o.Allowed.Policy, o.Allowed.Rule
	}
	if o.Shadow != nil {
		x.rec.ShadowRule = o.Shadow.Rule
	}
}

// record hands the finished request to telemetry.
func (x *exchange) record() {
	x.stopUpload()
	x.rec.BytesIn += x.down.Count()
	x.rec.Duration = time.Since(x.rec.Start)
	x.describeHop()
	if x.route != nil {
		x.rec.Route = x.route.Name
	}
	if x.cluster != nil {
		x.rec.Cluster = x.cluster.Name()
		if service := x.cluster.Service(); service != "" && x.spec.Direction == telemetry.Outbound {
			x.rec.DestinationService = service
		}
	}
	x.inferGRPC()
	x.Recorder.Record(&x.rec)
	if x.spec.AccessLog != nil {
		x.spec.AccessLog.Record(&x.rec)
	}
}

func (x *exchange) fullPath() string {
	if x.req.Query == "" {
		return x.req.Path
	}
	if o := x.req.Original; len(o) == len(x.req.Path)+len(x.req.Query) && strings.HasPrefix(o, x.req.Path) && strings.HasSuffix(o, x.req.Query) {
		return o // as it came: spares putting it together
	}
	return x.req.Path + x.req.Query
}

// noteGRPC keeps the status of a gRPC call, which comes with the trailers, or with the head if there is nothing else.
func (x *exchange) noteGRPC(h *message.Header) {
	if !x.rec.GRPC || x.rec.GRPCStatus != telemetry.NoGRPCStatus {
		return
	}
	if code, err := strconv.Atoi(h.Get("grpc-status")); err == nil && code >= 0 && code <= 16 {
		x.rec.GRPCStatus = code
	}
}

// inferGRPC is for a gRPC call that was answered without a status: its client makes one of the HTTP status, as gRPC's mapping
// has it (200 without trailers is UNKNOWN). Who went away himself has read none.
func (x *exchange) inferGRPC() {
	if r := &x.rec; r.GRPC && r.GRPCStatus == telemetry.NoGRPCStatus && r.Status != 0 && r.Flags != "DC" {
		r.GRPCStatus = grpcStatus(r.Status)
	}
}
