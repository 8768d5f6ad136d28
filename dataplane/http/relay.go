package http

import (
	"io"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/http/http1"
	"github.com/hauberk-mesh/hauberk/internal/buffers"
)

// passInterim sends a 1xx on, to clients that know them (RFC 9110 section 15.2).
func (s *server) passInterim() bool {
	stripOwn(&s.resp.Header)
	if s.minor() == 0 {
		return true
	}
	s.interim = true
	out := http1.AppendResponse(buffers.GetSmall()[:0], &s.resp, true, 1)
	defer func() { buffers.Put(out) }()
	if s.write(out) != nil {
		s.cause = reasonGone
		return false
	}
	return true
}

// relay sends the response's head and body to the client.
func (s *server) relay() {
	s.rec.Status, s.rec.Details = s.resp.Status, "via_upstream"
	if s.resp.Status == 101 {
		s.upgrade()
		return
	}
	s.reply.Reset(s.up.R, s.resp.Body)
	upstreamClose := s.resp.Close
	kind := s.outKind()
	if !s.uploaded() { // an early answer: what the client still sends nobody reads
		s.keep, s.linger = false, true
	}
	s.keep = s.keep && !s.ending()

	out := http1.AppendResponse(buffers.GetSmall()[:0], &s.resp, s.keep, s.minor())
	out = http1.AppendAvailable(out, &s.reply, kind)
	done := s.reply.Done()
	if done {
		// Before the client is answered: its next request shall find this connection.
		s.finishUpstream(!upstreamClose)
	}
	err := s.write(out)
	buffers.Put(out)
	switch {
	case err != nil:
		s.slow(err)
	case !done:
		s.relayBody(kind)
	}
	s.rec.BytesOut = s.reply.Count()
	if s.up != nil {
		s.finishUpstream(err == nil && !s.abort && s.reply.Done() && !upstreamClose)
	}
}

// outKind is how the body leaves. The head is changed accordingly.
func (s *server) outKind() http1.Kind {
	b := &s.resp.Body
	if b.Kind == http1.Chunked || b.Kind == http1.UntilClose {
		// A body whose end is the connection's can not be told from a broken one; chunks can, where the client knows them.
		b.Kind = http1.Chunked
		if s.minor() == 0 {
			b.Kind = http1.UntilClose
			s.keep = false
		}
	}
	return b.Kind
}

// relayBody copies the rest of the body, piece by piece as it comes, and no faster than the client takes it.
func (s *server) relayBody(kind http1.Kind) {
	buf := buffers.GetLarge()
	defer buffers.Put(buf)
	for {
		s.armRead()
		piece, _, err := http1.ReadPiece(buf, &s.reply, kind)
		if err != nil && timeout(err) {
			s.watch.readArmed = time.Time{}
			if reason := s.overdue(); reason != nil {
				s.cut(reason.Flag, reason.Details, reason.Code)
				return
			}
			continue
		}
		if err != nil && err != io.EOF {
			s.cut("UC", "upstream_reset_after_response_started{connection_termination}", reasonUpstreamReset.Code)
			s.rec.TransportFailure = err.Error()
			return
		}
		last := err == io.EOF
		if !last && kind == http1.Chunked && s.reply.Done() {
			piece = http1.AppendLastChunk(piece, &s.reply.Trailer)
			last = true
		}
		s.watch.moved(time.Now())
		if len(piece) > 0 {
			if err := s.write(piece); err != nil {
				s.slow(err)
				return
			}
		}
		if last || s.reply.Done() {
			return
		}
	}
}

// slow ends a response that could not be written: the client is gone, or has taken nothing for too long.
func (s *server) slow(err error) {
	if timeout(err) {
		if reason := s.overdue(); reason != nil && reason != reasonGone {
			s.cut(reason.Flag, reason.Details, reason.Code)
			return
		}
		s.cut(reasonIdle.Flag, reasonIdle.Details, reasonIdle.Code)
		return
	}
	s.disconnected()
}

// cut ends a response that has begun. Only a reset tells the client that it is not whole.
func (s *server) cut(flag, details, reason string) {
	s.rec.Flags, s.rec.Details, s.rec.Reason = flag, details, reason
	s.keep, s.linger, s.abort = false, false, true
}

// finishUpstream gives the upstream connection back, or closes it if its last message is not complete in both directions.
func (s *server) finishUpstream(reusable bool) {
	reusable = reusable && (s.whole || s.upload.running && s.uploadEnded())
	up := s.up
	if !reusable {
		s.stopUpload()
		s.dropUpstream()
		return
	}
	s.up = nil
	s.route.Cluster.Keep(up)
}

// uploadEnded waits for an upload that has read its whole body to have written it as well; one that has not is still at
// work, and its connection is lost.
func (s *server) uploadEnded() bool {
	u := &s.upload
	if !u.read.Load() {
		return false
	}
	// The server has answered completely: it has most likely taken all, and if it does not, the write must end.
	_ = s.up.SetWriteDeadline(time.Now().Add(tick))
	u.wait()
	if u.err == nil {
		_ = s.up.SetWriteDeadline(time.Time{})
	}
	return u.err == nil
}
