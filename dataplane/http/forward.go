package http

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
	"github.com/hauberk-mesh/hauberk/dataplane/resilience"
	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
	"github.com/hauberk-mesh/hauberk/dataplane/upstream"
	"github.com/hauberk-mesh/hauberk/internal/buffers"
)

// forward sends the request to its cluster and the response back.
func (x *exchange) forward() {
	x.compose()
	if x.down.Err() != nil {
		x.dropFirst()
		x.refuse(&reasonBad)
		return
	}
	if x.route.ConnectTerminate && x.req.Method == "CONNECT" {
		x.connectTCP()
		return
	}
	outcome, n := resilience.Run(x, x.route.Retries)
	x.rec.Attempts = n
	if x.retrying {
		x.cluster.ReleaseRetry()
		x.retrying = false
	}
	switch outcome {
	case resilience.Answered, resilience.Unprocessed:
		if x.up.IsOpen() && x.resp.Status != 0 { // of Unprocessed: nobody else was left to try, the refusal is passed on
			x.dropFirst()
			x.relay()
			return
		}
		fallthrough
	default:
		x.stopUpload()
		x.dropFirst()
		x.giveUp(outcome)
	}
}

// compose puts the request in the form in which it is sent, and takes what of its content is here already: small requests
// leave in one write and can be sent again.
func (x *exchange) compose() {
	if x.spec.Direction == telemetry.Inbound && x.Info.PeerID != "" { // the filters have read them; others' went before
		stripOwn(&x.req.Header)
	}
	if x.req.Authority == "" { // HTTP/1.0 needs none, HTTP/1.1 does
		x.req.Authority = x.cluster.Service()
	}
	x.now = time.Now()
	x.watch.moved(x.now)
	if x.tunnels() {
		x.whole = true
		x.watch.received = x.now
		return
	}
	for n := x.down.Available(); n > 0; n = min(x.down.Available(), cap(x.first)-len(x.first)) {
		if x.first == nil {
			x.first = buffers.GetSmall()[:0]
			n = min(n, cap(x.first))
		}
		x.first = append(x.first, x.down.Take(n)...)
	}
	x.whole = x.down.Done() && x.down.Err() == nil
	if x.whole {
		x.watch.received = x.now
	}
}

// dropFirst gives the buffer back once no attempt needs it any more.
func (x *exchange) dropFirst() {
	if x.first != nil {
		buffers.Put(x.first)
		x.first = nil
	}
}

// Try is resilience.Attempter.
func (x *exchange) Try(n int, fresh bool) resilience.Outcome {
	if n == 2 {
		if !x.cluster.AcquireRetry() {
			return resilience.NoEndpoint
		}
		x.retrying = true
	}
	e := x.last
	if !fresh {
		if e = x.pick(); e == nil {
			return resilience.NoEndpoint
		}
		x.tried = append(x.tried, e)
	}
	x.dropUpstream()
	x.last = e
	x.rec.Reason, x.rec.Unprocessed = "", false // of the attempt before
	x.rec.UpstreamHost = e.Addr()
	if x.sick(e) {
		return resilience.ConnectFailed
	}
	up, err := x.open(e, fresh)
	if err != nil {
		return x.unconnected(err)
	}
	x.setUpstream(up)
	e.Begin()
	x.describeUpstream()
	outcome := x.attempt(n > 1)
	e.End(outcome == resilience.Failed || outcome == resilience.Stale)
	return outcome
}

// unconnected notes why there is no connection, and tells whether another endpoint may be tried.
func (x *exchange) unconnected(err error) resilience.Outcome {
	x.rec.TransportFailure = err.Error()
	if errors.Is(err, context.DeadlineExceeded) {
		if x.cause = x.overdue(); x.cause != nil {
			return resilience.Failed
		}
	}
	x.cause = &reasonConnect
	if upstream.Overflow(err) {
		x.cause = &reasonOverflow
		return resilience.Failed
	}
	return resilience.ConnectFailed
}

// open begins an exchange with e.
func (x *exchange) open(e *upstream.Endpoint, fresh bool) (upstream.Stream, error) {
	if !fresh {
		if up, ok := x.cluster.Kept(e); ok {
			return up, nil
		}
	}
	ctx, cancel := x.connecting()
	defer cancel()
	return x.cluster.Open(ctx, e, fresh)
}

// connecting is the context in which a connection is made: that takes no longer than the request may last.
func (x *exchange) connecting() (context.Context, context.CancelFunc) {
	if at := x.earliest(time.Time{}); !at.IsZero() {
		return context.WithDeadline(x.caller(), at)
	}
	return x.caller(), func() {}
}

// pick chooses an endpoint that was not tried yet.
func (x *exchange) pick() *upstream.Endpoint {
	if o := x.cluster.OriginalDst(); o != nil {
		return x.pickOriginal(o)
	}
	return x.cluster.Pick(x.tried)
}

// caller is the context in which connections are made; it says for whom where that goes on the wire.
func (x *exchange) caller() context.Context {
	if x.cluster.SpeaksForCallers() {
		return upstream.WithCaller(x.ctx, x.Info.Remote, x.Info.Local)
	}
	return x.ctx
}

// sick tells whether it is not worth while to try: the application behind an inbound has a probe of its own, has failed,
// and the probe has not passed since. A caller that knows of other endpoints gets its answer at once.
func (x *exchange) sick(e *upstream.Endpoint) bool {
	if x.spec.Direction != telemetry.Inbound || !e.Down() || x.cluster.ProbeKind() != upstream.ProbeHTTP {
		return false
	}
	x.rec.TransportFailure = "the application's probe has not passed since it failed"
	return true
}

// Replayable is resilience.Attempter.
func (x *exchange) Replayable() bool {
	return !x.interim && (x.whole || x.stopUpload() == 0)
}

// Repeatable is resilience.Attempter: RFC 9110 section 9.2.2.
func (x *exchange) Repeatable() bool {
	switch x.req.Method {
	case "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE":
		return x.whole && x.down.Count() == 0 && !x.tunnels()
	}
	return false
}

// attempt sends the request and waits for a response's head.
func (x *exchange) attempt(again bool) resilience.Outcome {
	if again { // the first one begins at once
		x.now = time.Now()
	}
	x.sent = x.now
	x.watch.moved(x.now)
	if err := x.send(); err != nil {
		if timeout(err) {
			x.cause = x.overdue()
		}
		return x.failed(err)
	}
	if !x.whole {
		x.startUpload()
	}
	for {
		err := x.readResponse()
		if err != nil {
			return x.failed(err)
		}
		if x.resp.Status >= 200 || x.resp.Status == 101 {
			break
		}
		if !x.passInterim() {
			return resilience.Failed
		}
	}
	if x.resp.Status == 101 && x.req.Upgrade == "" {
		return x.failed(&message.Malformed{Status: 502, Text: "101 that nobody asked for"})
	}
	x.now = time.Now()
	x.rec.UpstreamTime = x.now.Sub(x.sent)
	return x.judge()
}

// send writes the request's head and what of its content is at hand, bounded by the request's limits. It fails if nothing was
// sent at all. What fails later is not judged: a server may answer early and close, and its answer says more.
func (x *exchange) send() error {
	_ = x.up.SetWriteDeadline(x.earliest(time.Time{}))
	end := x.whole && len(x.first) == 0 && !x.tunnels() && len(x.down.Trailer().Fields) == 0
	if err := x.up.Request(x.req, end); err != nil {
		return err
	}
	if len(x.first) > 0 && x.up.Write(x.first) != nil {
		return nil
	}
	if x.whole && !end && !x.tunnels() {
		_ = x.up.End(x.down.Trailer())
		return nil
	}
	_ = x.up.Flush()
	return nil
}

// judge tells an answer of the application from one of a proxy that did not reach it.
func (x *exchange) judge() resilience.Outcome {
	h := &x.resp.Header
	reason := ""
	if !x.up.Proven() {
		stripOwn(h)
	} else {
		reason = known(h.Get(headerReason))
	}
	x.rec.Reason = reason
	if x.up.Proven() && h.Has(headerUnprocessed) {
		h.Del(headerUnprocessed)
		return x.unprocessed(reason)
	}
	x.rec.Unprocessed = false
	x.cluster.MarkUp(x.last)
	return resilience.Answered
}

// unprocessed notes that the other side has not handed the request on.
func (x *exchange) unprocessed(reason string) resilience.Outcome {
	x.rec.Unprocessed = true
	if reason != reasonExpired.Code { // that is about our leaf, not about the endpoint
		x.cluster.MarkDown(x.last, "answered unprocessed: "+reason)
	}
	x.cause = &reasonConnect
	return resilience.Unprocessed
}

// failed judges an attempt that got no response.
func (x *exchange) failed(err error) resilience.Outcome {
	nothing := !x.up.Begun() && !x.interim
	x.resp.Status = 0
	var malformed *message.Malformed
	var op *net.OpError
	switch {
	case x.cause != nil && timeout(err): // watch.go has said why
		return resilience.Failed
	case errors.As(err, &malformed):
		x.cause = &reasonProtocol
		x.rec.Details = reasonProtocol.Details + "{" + malformed.Text + "}"
		return resilience.Failed
	case errors.Is(err, message.ErrUnprocessed): // REFUSED_STREAM, or a GOAWAY that came before the request
		x.rec.TransportFailure = err.Error()
		x.rec.Unprocessed, x.cause = true, &reasonConnect
		if x.up.Closing() { // the endpoint has refused nothing: it may be asked on another connection
			x.tried = x.tried[:len(x.tried)-1]
		}
		return resilience.Unprocessed
	case nothing && x.up.Fresh() && errors.As(err, &op) && op.Op == "remote error":
		// In TLS 1.3 the client's handshake ends before the server has judged its certificate: the refusal arrives in place
		// of the response. The request was not read.
		x.rec.TransportFailure = "TLS handshake with " + x.last.String() + ": " + err.Error()
		x.cluster.MarkDown(x.last, x.rec.TransportFailure)
		x.cause = &reasonConnect
		return resilience.ConnectFailed
	}
	x.cause = &reasonUpstreamReset
	x.rec.TransportFailure = err.Error()
	if nothing && x.up.Stale() {
		return resilience.Stale
	}
	return resilience.Failed
}

// giveUp answers a request for which no response could be had.
func (x *exchange) giveUp(o resilience.Outcome) {
	x.dropUpstream()
	inbound := x.spec.Direction == telemetry.Inbound
	switch {
	case x.cause == reasonGone:
		x.disconnected()
	case x.cause == reasonDenied:
		x.verdict(x.denied)
	case inbound && (o == resilience.NoEndpoint || o == resilience.ConnectFailed || o == resilience.Unprocessed):
		x.refuse(&reasonApp)
	case o == resilience.NoEndpoint:
		x.refuse(&reasonNoEndpoint)
	case x.cause != nil:
		x.refuse(x.cause)
	default:
		x.refuse(&reasonConnect)
	}
}

// dropUpstream ends the exchange with an endpoint that came to nothing.
func (x *exchange) dropUpstream() {
	x.closeUpstream(false)
}

func (x *exchange) closeUpstream(complete bool) {
	if !x.up.IsOpen() {
		return
	}
	x.mu.Lock()
	x.waits = nil
	x.mu.Unlock()
	x.up.Close(x.cluster, complete)
}
