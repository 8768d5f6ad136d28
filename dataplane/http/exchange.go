package http

import (
	"errors"
	"net"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/http/http1"
	"github.com/hauberk-mesh/hauberk/dataplane/resilience"
	"github.com/hauberk-mesh/hauberk/dataplane/route"
	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
	"github.com/hauberk-mesh/hauberk/dataplane/upstream"
	"github.com/hauberk-mesh/hauberk/internal/buffers"
)

// exchange is one request and its response. It lives in server and is reused, so that a request costs no allocation for it.
type exchange struct {
	req   http1.Request
	resp  http1.Response
	body  http1.Body // of the request
	reply http1.Body // of the response
	route *route.Route
	rec   telemetry.Record
	keep  bool // the downstream connection

	up      *upstream.Conn
	tried   []*upstream.Endpoint
	last    *upstream.Endpoint
	sent    time.Time // when the request was sent on
	out     []byte    // the request's head and the beginning of its body, as sent; kept for a further attempt
	whole   bool      // out is all of the request
	interim bool      // an interim response was passed on: the attempt can not be made again
	cause   *Reason   // of a failed attempt
	upload  upload
	watch   watch
}

func (x *exchange) reset(now time.Time) {
	x.route, x.up, x.last, x.cause = nil, nil, nil, nil
	x.tried = x.tried[:0]
	x.keep, x.whole, x.interim = false, false, false
	x.body.Reset(nil, http1.Framing{})
	x.upload.read.Store(false)
	x.rec = telemetry.Record{Start: now}
	x.watch = watch{}
}

// forward sends the request to its cluster and the response back.
func (s *server) forward() {
	s.compose()
	if s.body.Err() != nil {
		s.dropHead()
		s.refuse(&reasonBad)
		return
	}
	outcome, n := resilience.Run(s, s.route.Retries)
	s.rec.Attempts = n
	switch outcome {
	case resilience.Answered, resilience.Unprocessed: // nobody else was left to try: the refusal is passed on as it came
		s.dropHead()
		s.relay()
	default:
		s.stopUpload()
		s.dropHead()
		s.giveUp(outcome)
	}
}

// dropHead gives the buffer of the request back once no attempt needs it any more.
func (s *server) dropHead() {
	buffers.Put(s.out)
	s.out = nil
}

// compose writes the request's head and, with it, what of its body is here already: small requests leave in one write and
// can be sent again.
func (s *server) compose() {
	m := &s.req
	if s.spec.Direction == telemetry.Inbound && s.Info.PeerID != "" { // the filters have read them; others' went before
		stripOwn(&m.Header)
	}
	if m.Authority == "" { // HTTP/1.0 needs none, HTTP/1.1 does
		m.Authority = s.route.Cluster.Service()
	}
	s.out = http1.AppendRequest(buffers.GetSmall()[:0], m)
	s.out = http1.AppendAvailable(s.out, &s.body, m.Body.Kind)
	s.whole = s.body.Done() && s.body.Err() == nil
	if s.whole {
		s.watch.received = time.Now()
	}
}

// Try is resilience.Attempter.
func (s *server) Try(_ int, fresh bool) resilience.Outcome {
	cluster := s.route.Cluster
	e := s.last
	if !fresh {
		if e = cluster.Pick(s.tried); e == nil {
			return resilience.NoEndpoint
		}
		s.tried = append(s.tried, e)
	}
	s.dropUpstream()
	s.last = e
	s.rec.Reason, s.rec.Unprocessed = "", false // of the attempt before
	s.rec.UpstreamHost = e.Addr()
	if s.sick(e) {
		return resilience.ConnectFailed
	}
	up, err := cluster.Connect(s.ctx, e, fresh)
	if err != nil {
		s.rec.TransportFailure = err.Error()
		s.cause = &reasonConnect
		return resilience.ConnectFailed
	}
	s.up = up
	e.Begin()
	s.describeUpstream()
	outcome := s.attempt()
	e.End(outcome == resilience.Failed || outcome == resilience.Stale)
	return outcome
}

// sick tells whether it is not worth while to try: the application behind an inbound has a probe of its own, has failed,
// and the probe has not passed since. A caller that knows of other endpoints gets its answer at once.
func (s *server) sick(e *upstream.Endpoint) bool {
	if s.spec.Direction != telemetry.Inbound || !e.Down() || s.route.Cluster.Spec().Probe.Kind != upstream.ProbeHTTP {
		return false
	}
	s.rec.TransportFailure = "the application's probe has not passed since it failed"
	return true
}

// Replayable is resilience.Attempter.
func (s *server) Replayable() bool {
	return !s.interim && (s.whole || s.stopUpload() == 0)
}

// Repeatable is resilience.Attempter: RFC 9110 section 9.2.2.
func (s *server) Repeatable() bool {
	switch s.req.Method {
	case "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE":
		return s.whole && s.body.Count() == 0
	}
	return false
}

// attempt sends the request on the connection and waits for a response's head.
func (s *server) attempt() resilience.Outcome {
	s.sent = time.Now()
	s.watch.moved(s.sent)
	s.watch.readArmed = time.Time{} // what was armed is the connection of an earlier attempt
	s.send()
	if !s.whole {
		s.startUpload()
	}
	for {
		err := s.readResponse()
		if err != nil {
			return s.failed(err)
		}
		if s.resp.Status >= 200 || s.resp.Status == 101 {
			break
		}
		if !s.passInterim() {
			return resilience.Failed
		}
	}
	if s.resp.Status == 101 && s.req.Upgrade == "" {
		return s.failed(&http1.Error{Status: 502, Text: "101 that nobody asked for"})
	}
	s.rec.UpstreamTime = time.Since(s.sent)
	return s.judge()
}

// atOnce is what a connection without a request takes without a wait for its peer: no socket's buffer is smaller.
const atOnce = 8 << 10

// send writes the request's head and what goes with it, bounded by the request's limits. A failure is not judged: a server
// may answer early and close, and its answer says more.
func (s *server) send() {
	if len(s.out) <= atOnce {
		_, _ = s.up.Write(s.out)
		return
	}
	_ = s.up.SetWriteDeadline(s.earliest(time.Time{}))
	_, _ = s.up.Write(s.out)
	_ = s.up.SetWriteDeadline(time.Time{})
}

// judge tells an answer of the application from one of a proxy that did not reach it.
func (s *server) judge() resilience.Outcome {
	h := &s.resp.Header
	reason := ""
	if !s.up.Proven() {
		stripOwn(h)
	} else {
		reason = known(h.Get(headerReason))
	}
	s.rec.Reason = reason
	if s.up.Proven() && h.Has(headerUnprocessed) {
		h.Del(headerUnprocessed)
		s.rec.Unprocessed = true
		if reason != reasonExpired.Code { // that is about our leaf, not about the endpoint
			s.route.Cluster.MarkDown(s.last, "answered unprocessed: "+reason)
		}
		s.cause = &reasonConnect
		return resilience.Unprocessed
	}
	s.rec.Unprocessed = false
	s.route.Cluster.MarkUp(s.last)
	return resilience.Answered
}

// failed judges an attempt that got no response.
func (s *server) failed(err error) resilience.Outcome {
	nothing := s.up.R.Buffered() == 0 && !s.interim
	var codec *http1.Error
	var op *net.OpError
	switch {
	case s.cause != nil && timeout(err): // watch.go has said why
		return resilience.Failed
	case errors.As(err, &codec):
		s.cause = &reasonProtocol
		s.rec.Details = reasonProtocol.Details + "{" + codec.Text + "}"
		return resilience.Failed
	case nothing && !s.up.Reused && errors.As(err, &op) && op.Op == "remote error":
		// In TLS 1.3 the client's handshake ends before the server has judged its certificate: the refusal arrives in place
		// of the response. The request was not read.
		s.rec.TransportFailure = "TLS handshake with " + s.last.String() + ": " + err.Error()
		s.route.Cluster.MarkDown(s.last, s.rec.TransportFailure)
		s.cause = &reasonConnect
		return resilience.ConnectFailed
	}
	s.cause = &reasonUpstreamReset
	s.rec.TransportFailure = err.Error()
	if nothing && s.up.Reused {
		return resilience.Stale
	}
	return resilience.Failed
}

// giveUp answers a request for which no response could be had.
func (s *server) giveUp(o resilience.Outcome) {
	s.dropUpstream()
	inbound := s.spec.Direction == telemetry.Inbound
	switch {
	case s.cause == reasonGone:
		s.disconnected()
	case inbound && (o == resilience.NoEndpoint || o == resilience.ConnectFailed):
		s.refuse(&reasonApp)
	case o == resilience.NoEndpoint:
		s.refuse(&reasonNoEndpoint)
	case s.cause != nil:
		s.refuse(s.cause)
	default:
		s.refuse(&reasonConnect)
	}
}

// dropUpstream closes the connection of an attempt that came to nothing.
func (s *server) dropUpstream() {
	if s.up != nil {
		s.up.R.Discard()
		_ = s.up.Close()
		s.up = nil
	}
}
