package http

import (
	"errors"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/filter"
	"github.com/hauberk-mesh/hauberk/dataplane/http/http1"
	"github.com/hauberk-mesh/hauberk/dataplane/tcp"
	"github.com/hauberk-mesh/hauberk/internal/buffers"
)

// upgrade sends the 101 on and copies opaque bytes from then on. The request's timeout does not hold any more; its idle time
// and its longest life do, and so does the permission: a change of configuration asks the filters again.
func (s *server) upgrade() {
	s.keep, s.linger, s.abort = false, false, true
	out := http1.AppendResponse(buffers.GetSmall()[:0], &s.resp, true, 1)
	early := s.up.R.Take(s.up.R.Buffered())
	s.rec.BytesOut += int64(len(early))
	err := s.write(append(out, early...))
	buffers.Put(out)
	if err != nil {
		s.slow(err)
		s.dropUpstream()
		return
	}
	if ahead := s.r.Take(s.r.Buffered()); len(ahead) > 0 {
		s.rec.BytesIn += int64(len(ahead))
		_, _ = s.up.Write(ahead)
	}
	s.r.Release()
	s.up.R.Release()
	_ = s.SetDeadline(time.Time{})
	_ = s.up.SetDeadline(time.Time{})

	pipe := tcp.Pipe{Down: s.Conn.Conn, Up: s.up.Conn, Idle: s.limitIdle()}
	if s.route.MaxStream > 0 {
		pipe.Deadline = s.rec.Start.Add(s.route.MaxStream)
	}
	s.Watch(func() *filter.Verdict {
		spec, gone := s.Chain()
		if gone {
			return nil // the listener goes; its connections are drained
		}
		if spec == nil {
			return &filter.Verdict{Refuse: true, Flags: "UAEX", Details: "rbac_access_denied", Reason: reasonPermission.Code}
		}
		return filter.RunHTTP(spec.Filters, s.Info, &s.req.Request).Final
	})
	side, err := pipe.Run()
	denied := s.Watch(nil)
	s.rec.BytesIn += pipe.In.Load()
	s.rec.BytesOut += pipe.Out.Load()
	switch {
	case denied != nil:
		s.rec.Flags, s.rec.Details, s.rec.Reason = denied.Flags, denied.Details, denied.Reason
		s.rec.Policy, s.rec.Rule = denied.Policy, denied.Rule
	case err == nil:
		s.abort = false
	case errors.Is(err, tcp.ErrIdle):
		s.rec.Flags = "SI"
		s.abort = false
	case errors.Is(err, tcp.ErrTooLong):
		s.rec.Flags = "DT"
		s.abort = false
	case side == tcp.Upstream:
		s.rec.Flags = "UC"
	default:
		s.rec.Flags = "DC"
	}
	_ = s.up.Close()
	s.up = nil
}
