// Package tcp proxies opaque connections: filters, one endpoint, and bytes copied both ways until both sides have ended.
//
// It does not look at the bytes. Accepting, TLS and the choice of a chain are the listener's. Start at Serve.
package tcp

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/filter"
	"github.com/hauberk-mesh/hauberk/dataplane/resilience"
	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
	"github.com/hauberk-mesh/hauberk/dataplane/upstream"
	"github.com/hauberk-mesh/hauberk/internal/sock"
)

// connectAttempts bounds how many endpoints are tried for one connection where nothing is configured: Envoy's
// max_connect_attempts has 1, but a failed connect has provably done nothing.
const connectAttempts = 5

// Conn is a downstream connection whose handshake, if any, is done.
type Conn struct {
	net.Conn
	Info     *filter.Conn
	Listener func() string // its present name
	Recorder telemetry.Recorder
	// Network are the chain's filters; they have not been asked yet.
	Network []filter.Network
	// Denied is asked when the connection has ended: the verdict of a later configuration that had it reset, or nil.
	Denied func() *filter.Verdict
}

// Serve proxies c and closes it.
func Serve(ctx context.Context, c *Conn, spec *Spec) {
	s := session{Conn: c, spec: spec, cluster: spec.choose()}
	s.begin()
	refused := s.judge()
	if !refused && s.connect(ctx) {
		s.copy()
	}
	s.finish()
}

type session struct {
	*Conn
	spec    *Spec
	cluster *upstream.Cluster
	rec     telemetry.Record
	up      *upstream.Conn
	tried   []*upstream.Endpoint
	ctx     context.Context
	reset   bool // end with a reset, not with an orderly close
}

func (s *session) begin() {
	r := &s.rec
	r.Start, r.Direction, r.Listener, r.Protocol = time.Now(), s.spec.Direction, s.Listener(), "TCP"
	r.Cluster = s.cluster.Name()
	r.DownstreamLocal, r.DownstreamRemote, r.SNI = s.Info.Local, s.Info.Remote, s.Info.SNI
	if r.DestinationService = s.spec.Service; r.DestinationService == "" {
		r.DestinationService = s.cluster.Service()
	}
	ownID := ""
	if s.spec.OwnID != nil {
		ownID = s.spec.OwnID()
	}
	if s.spec.Direction == telemetry.Inbound {
		r.SourceID, r.TLSVersion = s.Info.PeerID, s.Info.TLSVersion
		r.SourceService = filter.Service(s.Info.PeerID)
		if s.Info.TLSVersion != 0 {
			r.DestinationID = ownID
		}
	} else {
		r.SourceService = s.spec.OwnService
	}
}

// judge asks the filters. A refusal is a reset: there is no other way to tell an opaque client.
func (s *session) judge() (refused bool) {
	judged := filter.RunNetwork(s.Network, s.Info)
	if judged.Allowed != nil {
		s.rec.Policy, s.rec.Rule = judged.Allowed.Policy, judged.Allowed.Rule
	}
	if judged.Shadow != nil {
		s.rec.ShadowRule = judged.Shadow.Rule
	}
	s.Recorder.Opened(&s.rec)
	if s.spec.AccessLog != nil {
		s.spec.AccessLog.Opened(&s.rec)
	}
	if judged.Final == nil || !judged.Final.Refuse {
		return false
	}
	s.deny(judged.Final)
	return true
}

func (s *session) deny(v *filter.Verdict) {
	s.reset = true
	s.rec.Flags, s.rec.Details, s.rec.Reason = v.Flags, v.Details, v.Reason
	s.rec.Policy, s.rec.Rule = v.Policy, v.Rule
}

// connect finds an endpoint that takes the connection.
func (s *session) connect(ctx context.Context) bool {
	s.ctx = ctx
	most := s.spec.ConnectAttempts
	if most == 0 {
		most = connectAttempts
	}
	outcome, n := resilience.Run(s, most-1)
	s.rec.Attempts = n
	switch outcome {
	case resilience.Answered:
		return true
	case resilience.NoEndpoint:
		s.rec.Flags, s.rec.Details, s.rec.Reason = "UH", "no_healthy_upstream", "no_healthy_endpoint"
	default:
		s.rec.Flags, s.rec.Reason = "UF", "connect_failed"
		s.rec.Details = "upstream_reset_before_response_started{connection_failure}"
	}
	s.reset = true
	return false
}

// Try is resilience.Attempter.
func (s *session) Try(int, bool) resilience.Outcome {
	e := s.pick()
	if e == nil {
		return resilience.NoEndpoint
	}
	s.tried = append(s.tried, e)
	s.rec.UpstreamHost = e.Addr()
	ctx := s.ctx
	if s.cluster.SpeaksForCallers() {
		ctx = upstream.WithCaller(ctx, s.Info.Remote, s.Info.Local)
	}
	up, err := s.cluster.Connect(ctx, e)
	if err != nil {
		s.rec.TransportFailure = err.Error()
		return resilience.ConnectFailed
	}
	s.up = up
	s.rec.UpstreamLocal = up.Local
	s.rec.TransportFailure = ""
	if s.spec.Direction == telemetry.Outbound {
		s.rec.DestinationID, s.rec.TLSVersion = up.PeerID, up.TLSVersion
		if up.Proven() && s.spec.OwnID != nil {
			s.rec.SourceID = s.spec.OwnID()
		}
	}
	s.cluster.MarkUp(e)
	return resilience.Answered
}

// pick chooses an endpoint. Where the caller has chosen it (ORIGINAL_DST) there is no other to try.
func (s *session) pick() *upstream.Endpoint {
	if s.cluster.OriginalDst() == nil {
		return s.cluster.Pick(s.tried)
	}
	// A connection that was not redirected wanted to go to this listener: it would be its own endpoint, again and again.
	if len(s.tried) > 0 || s.Info.Local == filter.AddrPort(s.LocalAddr()) {
		return nil
	}
	return s.cluster.PickFor(s.Info.Local)
}

// Replayable is resilience.Attempter: nothing is read before a connection is there.
func (s *session) Replayable() bool { return true }

// Repeatable is resilience.Attempter.
func (s *session) Repeatable() bool { return false }

func (s *session) copy() {
	s.up.Endpoint.Begin()
	p := Pipe{Down: s.Conn.Conn, Up: s.up.Conn, Idle: s.spec.IdleTimeout}
	if s.spec.MaxConnection > 0 {
		p.Deadline = s.rec.Start.Add(s.spec.MaxConnection)
	}
	side, err := p.Run()
	s.rec.BytesIn, s.rec.BytesOut = p.In.Load(), p.Out.Load()
	s.reset = side != Neither
	switch {
	case err == nil:
	case errors.Is(err, ErrIdle):
		s.rec.Flags, s.rec.Details, s.rec.Reason = "SI", "idle_timeout", "stream_idle_timeout"
	case errors.Is(err, ErrTooLong):
		s.rec.Flags, s.rec.Details, s.rec.Reason = "DT", "max_duration_timeout", "request_timeout"
	case side == Upstream:
		s.rec.Flags, s.rec.Details, s.rec.Reason = "UC", "upstream_reset", "upstream_reset"
		if p.Out.Load() == 0 && s.up.Proven() {
			// In TLS 1.3 the client's handshake ends before the server has judged its certificate: a refusal is only read here.
			s.rec.TransportFailure = err.Error()
		}
	case side == Downstream:
		s.rec.Flags, s.rec.Details = "DC", "downstream_remote_disconnect"
	}
	s.up.Endpoint.End(side == Upstream)
}

func (s *session) finish() {
	if s.Denied != nil {
		if v := s.Denied(); v != nil {
			s.deny(v)
		}
	}
	for _, c := range []net.Conn{s.upConn(), s.Conn.Conn} {
		switch {
		case c == nil:
		case s.reset:
			sock.Reset(c)
		}
		if c != nil {
			_ = c.Close()
		}
	}
	s.rec.Duration = time.Since(s.rec.Start)
	s.Recorder.Record(&s.rec)
	if s.spec.AccessLog != nil {
		s.spec.AccessLog.Record(&s.rec)
	}
}

func (s *session) upConn() net.Conn {
	if s.up == nil {
		return nil
	}
	return s.up
}
