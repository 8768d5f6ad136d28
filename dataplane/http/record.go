package http

import (
	"strings"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/filter"
	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
)

// describe notes what is known of a request once its head is read.
func (s *server) describe() {
	r, m := &s.rec, &s.req
	r.Method, r.Authority, r.Path = m.Method, m.Authority, s.fullPath()
	r.Protocol = "HTTP/1.1"
	if m.Minor == 0 {
		r.Protocol = "HTTP/1.0"
	}
	r.UserAgent, r.ForwardedFor = m.Header.Get("user-agent"), m.Header.Get("x-forwarded-for")
}

// describeHop notes what is known of the connection.
func (s *server) describeHop() {
	r := &s.rec
	r.Direction, r.Listener = s.spec.Direction, s.Listener()
	r.DownstreamLocal, r.DownstreamRemote, r.SNI = s.Info.Local, s.Info.Remote, s.Info.SNI
	r.DestinationService = s.spec.Service
	if s.spec.Direction == telemetry.Outbound {
		r.SourceService = s.spec.OwnService
		return
	}
	r.SourceService, r.SourceID, r.TLSVersion = filter.Service(s.Info.PeerID), s.Info.PeerID, s.Info.TLSVersion
	if s.Info.TLSVersion != 0 && s.spec.OwnID != nil {
		r.DestinationID = s.spec.OwnID()
	}
}

// describeUpstream notes what is known of the connection that an attempt got.
func (s *server) describeUpstream() {
	r := &s.rec
	r.UpstreamLocal, r.TransportFailure = s.up.Local, ""
	if s.spec.Direction == telemetry.Outbound {
		r.DestinationID, r.TLSVersion, r.SourceID = s.up.PeerID, s.up.TLSVersion, ""
		if s.up.Proven() && s.spec.OwnID != nil {
			r.SourceID = s.spec.OwnID()
		}
	}
}

// note keeps which rule let the request pass, and which one would have refused it.
func (s *server) note(o filter.Outcome) {
	if o.Allowed != nil {
		s.rec.Policy, s.rec.Rule = o.Allowed.Policy, o.Allowed.Rule
	}
	if o.Shadow != nil {
		s.rec.ShadowRule = o.Shadow.Rule
	}
}

// record hands the finished request to telemetry.
func (s *server) record() {
	s.stopUpload()
	s.rec.BytesIn += s.body.Count()
	s.rec.Duration = time.Since(s.rec.Start)
	s.describeHop()
	if s.route != nil {
		s.rec.Route, s.rec.Cluster = s.route.Name, s.route.Cluster.Name()
		if service := s.route.Cluster.Service(); service != "" && s.spec.Direction == telemetry.Outbound {
			s.rec.DestinationService = service
		}
	}
	s.Recorder.Record(&s.rec)
}

func (s *server) fullPath() string {
	if s.req.Query == "" {
		return s.req.Path
	}
	if o := s.req.Original; len(o) == len(s.req.Path)+len(s.req.Query) && strings.HasPrefix(o, s.req.Path) && strings.HasSuffix(o, s.req.Query) {
		return o // as it came: spares putting it together
	}
	return s.req.Path + s.req.Query
}
