package http

import (
	"io"
	"strconv"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/filter"
	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
)

// passInterim sends a 1xx on.
func (x *exchange) passInterim() bool {
	stripOwn(&x.resp.Header)
	x.interim = true
	x.armWrite(time.Now())
	if x.down.Respond(&x.resp, false) != nil || x.down.Flush() != nil {
		x.cause = reasonGone
		return false
	}
	return true
}

// relay sends the response's head and content to the client.
func (x *exchange) relay() {
	x.rec.Status, x.rec.Details = x.resp.Status, "via_upstream"
	if x.resp.Status == 101 || x.req.Method == "CONNECT" && x.resp.Status < 300 {
		x.upgrade()
		return
	}
	x.route.RewriteResponse(&x.resp, x.req, x.Info)
	if x.spec.RequestIDInResponse {
		x.resp.Header.Set(headerRequestID, x.rec.RequestID)
	}
	x.noteGRPC(&x.resp.Header)
	if x.req.Major == 1 && x.resp.Major == 2 && x.resp.Length > 0 && x.resp.Header.Has("trailer") {
		x.resp.Length = message.Unknown // HTTP/1.1 has trailers after chunks only
	}
	x.armWrite(x.now)
	end := x.up.Done() && len(x.up.Trailer().Fields) == 0
	err := x.down.Respond(&x.resp, end)
	if err == nil && !end {
		err = x.relayAvailable()
	}
	done := x.up.Done() && x.up.Err() == nil
	if done && err == nil {
		trailer := x.up.Trailer()
		x.noteGRPC(trailer)
		if len(trailer.Fields) == 0 {
			// Before the client is answered: its next request shall find this connection.
			x.finishUpstream(true)
			trailer = nil
		}
		if end {
			err = x.down.Flush()
		} else {
			err = x.down.End(trailer)
		}
	} else if err == nil {
		err = x.down.Flush()
	}
	switch {
	case err != nil:
		x.slow(err)
	case !done:
		x.relayContent()
	}
	x.rec.BytesOut = x.relayed
	x.finishUpstream(err == nil && x.up.IsOpen() && x.up.Done())
}

// relayAvailable sends on what is here already, to leave with the head. A fast server always has more: that is relayContent's,
// which looks at limits.
func (x *exchange) relayAvailable() error {
	for n := x.up.Available(); n > 0 && x.relayed+int64(n) <= watched; n = x.up.Available() {
		if err := x.down.Write(x.up.Take(n)); err != nil {
			return err
		}
		x.relayed += int64(n)
	}
	return nil
}

// heavy is how much content of one message may share its connection with others'.
const heavy = 1 << 20

// watched is how much content may be under way before the exchange is judged again, though it has not lasted for a tick: a
// client that stops to read would keep it from coming to that.
const watched = 32 << 10

// relayContent copies the rest of the content, piece by piece as it comes, and no faster than the client takes it.
func (x *exchange) relayContent() {
	for {
		x.armRead(time.Now())
		err := x.up.Await()
		if err != nil && timeout(err) || x.woken.Load() { // content that never pauses keeps nobody from looking
			x.watch.readArmed = time.Time{}
			if reason := x.overdue(); reason != nil {
				x.end(reason)
				return
			}
			continue
		}
		if err != nil {
			x.cut("UC", "upstream_reset_after_response_started{connection_termination}", reasonUpstreamReset.Code)
			x.rec.TransportFailure = err.Error()
			return
		}
		if !x.joined && x.relayed+int64(x.up.Available()) > watched {
			x.joinJudged(x.interrupt)
		}
		x.armWrite(time.Now())
		n, upErr, err := pass(x.down, x.up.Client)
		if x.relayed += int64(n); x.relayed > heavy {
			x.up.Heavy()
		}
		switch {
		case err != nil:
			x.slow(err)
			return
		case upErr != nil:
			if timeout(upErr) { // a part of a TLS record was there, and no more came
				x.woken.Store(true)
			}
			continue // Await says it again
		case x.up.Done():
			trailer := x.up.Trailer()
			x.noteGRPC(trailer)
			if len(trailer.Fields) == 0 { // as in relay
				x.finishUpstream(true)
				trailer = nil
			}
			if err := x.down.End(trailer); err != nil {
				x.slow(err)
			}
			return
		}
		if err := x.down.Flush(); err != nil {
			x.slow(err)
			return
		}
	}
}

// bulk is a piece that is likely to be one of many, and together how much of those leaves at once. enough is a piece that is
// worth a system call of its own.
const (
	bulk     = 8 << 10
	together = 256 << 10
	enough   = 24 << 10
)

// pass moves what src has, or what one read of it yields, into dst. The end of src is no error; errors of both sides are kept
// apart.
func pass(dst message.Outlet, src message.Content) (n int, srcErr, dstErr error) {
	avail := src.Available()
	if avail >= bulk {
		from, scattered := src.(message.Scattered)
		to, gathers := dst.(message.Gatherer)
		if scattered && gathers {
			pieces := from.TakePieces(together)
			for _, p := range pieces {
				n += len(p)
			}
			return n, nil, to.WritePieces(pieces)
		}
	}
	switch {
	case avail >= bulk && avail < enough: // there may be more behind it: a copy costs less than a system call for each piece
	case avail > 0:
		return avail, nil, dst.Write(src.Take(avail))
	}
	if src.Done() || src.Err() != nil {
		return 0, nil, nil
	}
	room, err := dst.Room()
	if err != nil {
		return 0, nil, err
	}
	n, srcErr = src.Read(room)
	if srcErr == io.EOF {
		srcErr = nil
	}
	return n, srcErr, dst.Send(n)
}

// endGRPC ends a call that is not permitted any more by its status, which says why, and tells whether that could be sent.
func (x *exchange) endGRPC(v *filter.Verdict) bool {
	x.rec.Flags, x.rec.Details, x.rec.Reason = v.Flags, v.Details, v.Reason
	x.rec.GRPCStatus = grpcStatus(403)
	trailer := message.Header{}
	trailer.Add("grpc-status", strconv.Itoa(x.rec.GRPCStatus))
	trailer.Add("grpc-message", reasonPermission.Sentence+", request id "+x.rec.RequestID)
	_ = x.down.SetWriteDeadline(time.Now().Add(tick))
	return x.down.End(&trailer) == nil
}

// slow ends a response that could not be written: the client is gone, or has taken nothing for too long.
func (x *exchange) slow(err error) {
	if timeout(err) {
		reason := x.overdue()
		if reason == nil || reason == reasonGone {
			reason = &reasonIdle
		}
		x.end(reason)
		return
	}
	x.disconnected()
}

// end cuts a response that has begun, for a reason.
func (x *exchange) end(reason *Reason) {
	if reason == reasonDenied {
		v := x.denied
		x.rec.Policy, x.rec.Rule = v.Policy, v.Rule
		if x.rec.GRPC && x.endGRPC(v) {
			return
		}
		x.cut(v.Flags, v.Details, v.Reason)
		return
	}
	x.cut(reason.Flag, reason.Details, reason.Code)
}

// cut ends a response that has begun. Only a reset tells the client that it is not whole.
func (x *exchange) cut(flag, details, reason string) {
	x.rec.Flags, x.rec.Details, x.rec.Reason = flag, details, reason
	x.down.Abort()
}

// finishUpstream gives the upstream exchange back; its connection is lost if the messages are not complete in both directions.
func (x *exchange) finishUpstream(complete bool) {
	if !x.up.IsOpen() {
		return
	}
	if complete = complete && (x.whole || x.upload.running && x.uploadEnded()); !complete {
		x.stopUpload()
	}
	x.closeUpstream(complete)
}

// uploadEnded waits for an upload that has read its whole content to have written it as well; one that has not is still at
// work, and its connection is lost.
func (x *exchange) uploadEnded() bool {
	u := &x.upload
	if !u.read.Load() {
		return false
	}
	// The server has answered completely: it has most likely taken all, and if it does not, the write must end.
	_ = x.up.SetWriteDeadline(time.Now().Add(tick))
	u.wait()
	if u.err == nil {
		_ = x.up.SetWriteDeadline(time.Time{})
	}
	return u.err == nil
}
