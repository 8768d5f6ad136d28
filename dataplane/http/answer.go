package http

import (
	"errors"
	"io"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/filter"
	"github.com/hauberk-mesh/hauberk/dataplane/http/http1"
	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
	"github.com/hauberk-mesh/hauberk/internal/buffers"
)

// Every response that the mesh makes up is made here.

// refuse answers with a reason.
func (s *server) refuse(r *Reason) {
	if s.rec.Details == "" {
		s.rec.Details = r.Details
	}
	s.rec.Flags, s.rec.Reason = r.Flag, r.Code
	s.answer(r.Status, r.Code, r.Sentence, r.Unprocessed)
}

// verdict answers as a filter has decided.
func (s *server) verdict(v *filter.Verdict) {
	s.rec.Flags, s.rec.Details, s.rec.Reason = v.Flags, v.Details, v.Reason
	s.rec.Policy, s.rec.Rule = v.Policy, v.Rule
	sentence := ""
	if v.Refuse {
		sentence = "refused"
		if r := find(v.Reason); r != nil {
			sentence = r.Sentence
		}
	}
	s.answer(v.Status, v.Reason, sentence, v.Unprocessed)
}

// answer writes a response of the proxy's own: one line, the reason and the request's ID. An empty sentence has no body.
func (s *server) answer(status int, reason, sentence string, unprocessed bool) {
	s.rec.Status, s.rec.Unprocessed = status, unprocessed
	s.settle()
	m := &s.resp
	*m = http1.Response{Declared: -1, Response: m.Response}
	m.Status, m.Reason = status, statusText(status)
	m.Header.Reset()
	if reason != "" {
		m.Header.Add(headerReason, reason)
	}
	if s.rec.RequestID != "" {
		m.Header.Add(headerRequestID, s.rec.RequestID)
	}
	if unprocessed && s.spec.Direction == telemetry.Inbound && s.Info.PeerID != "" { // for the caller's proxy, and nobody else
		m.Header.Add(headerUnprocessed, "1")
	}
	body := ""
	if sentence != "" {
		m.Header.Add("content-type", "text/plain")
		body = sentence + ", request id " + s.rec.RequestID + "\n"
		if s.rec.RequestID == "" {
			body = sentence + "\n"
		}
	}
	m.Body = http1.Framing{Kind: http1.Length, Length: int64(len(body))}
	if s.req.Method == "HEAD" {
		m.Body, m.Declared, body = http1.Framing{}, int64(len(body)), ""
	}
	s.keep = s.keep && !s.ending()
	out := http1.AppendResponse(buffers.GetSmall()[:0], m, s.keep, s.minor())
	defer func() { buffers.Put(out) }()
	out = append(out, body...)
	s.rec.BytesOut = int64(len(body))
	// Not by the request's limits: they may be what has just passed.
	_ = s.SetWriteDeadline(time.Now().Add(answerTime))
	s.watch.writeArmed = time.Time{}
	if _, err := s.Write(out); err != nil {
		s.disconnected()
	}
}

// answerTime bounds the writing of an answer of the proxy's own.
const answerTime = 30 * time.Second

// minor is the client's HTTP/1 version; a request that could not be read counts as 1.1.
func (s *server) minor() int {
	if s.req.Major == 0 {
		return 1
	}
	return s.req.Minor
}

// settle decides what the request's unread body means for the connection: what is here already is thrown away, for more
// nobody waits.
func (s *server) settle() {
	for s.body.Available() > 0 {
		s.body.Take(s.body.Available())
	}
	if !s.body.Done() {
		s.keep, s.linger = false, true
	}
}

// write sends a part of the response downstream, bounded by the request's limits.
func (s *server) write(b []byte) error {
	s.armWrite()
	_, err := s.Write(b)
	return err
}

// disconnected notes that the client is gone: nothing more can be sent, and the connection ends.
func (s *server) disconnected() {
	s.keep, s.linger, s.abort = false, false, true
	if s.rec.Flags == "" {
		s.rec.Flags, s.rec.Details = "DC", "downstream_remote_disconnect"
	}
}

// headTime bounds a head for which no time is configured: Envoy's default is none, and a head that comes byte by byte would
// hold its connection for as long as the sender likes.
const headTime = time.Minute

// readHead reads the request's head within the time for it.
func (s *server) readHead() (*Reason, error) {
	if !s.r.EndsHead() {
		limit := s.spec.RequestHeaders
		if limit == 0 {
			limit = headTime
			if idle := s.spec.StreamIdle; idle > 0 {
				limit = min(limit, idle)
			}
		}
		s.readDeadline(s.rec.Start, limit)
	}
	err := s.r.ReadRequest(&s.req)
	if err == nil {
		s.keep = !s.req.Close
		return nil, nil
	}
	var codec *http1.Error
	switch {
	case timeout(err):
		return &reasonHeaders, err
	case errors.As(err, &codec) && codec.Status == 431:
		return &reasonTooBig, err
	case errors.As(err, &codec):
		return &reasonBad, err
	}
	return nil, err
}

// unreadable ends a connection on which no request could be read; where that is the request's fault it is answered.
func (s *server) unreadable(reason *Reason, err error) bool {
	if reason == nil {
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			return false
		}
		s.rec.Flags, s.rec.Details = "DC", "downstream_remote_disconnect" // cut off in the middle of a head
		s.record()
		return false
	}
	// What was read of the head is not to be trusted for anything, not even its version.
	s.req = http1.Request{Request: s.req.Request}
	s.req.Header.Reset()
	s.req.Major, s.req.Method, s.req.Path, s.req.Query = 0, "", "", ""
	s.keep, s.linger = false, true
	s.rec.RequestID = newID()
	s.rec.Protocol = "HTTP/1.1"
	reply := *reason
	var codec *http1.Error
	if errors.As(err, &codec) {
		reply.Status = codec.Status
		reply.Details = reason.Details + "{" + codec.Text + "}"
	}
	s.refuse(&reply)
	s.linger = true
	s.record()
	return false
}
