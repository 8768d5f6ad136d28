// Package http serves HTTP on a downstream connection: it is the spine that a request goes along.
//
// # The path of a request
//
//  1. listener accepts, sniffs, chooses a chain and shakes hands; Serve (conn.go) waits for the first byte.
//  2. http1.Reader reads the head; hop-by-hop fields end there.
//  3. serve (this file) loads the chain once, normalises the path once (normalise.go), matches the route and asks the filters.
//  4. forward (exchange.go) drives resilience.Run: each attempt picks an endpoint (upstream/lb), gets a connection from its
//     pool and sends head and body (upload.go).
//  5. relay (relay.go) sends the response's head and copies its body as it comes; upgrade.go takes over after a 101.
//  6. whatever the mesh answers by itself goes through answer (answer.go), with a Reason (reason.go).
//  7. record (record.go) hands what is known to telemetry.
//
// Waiting is bounded in one place, watch.go. The package knows no wire format (http1), makes no connection (upstream) and
// decides nothing that a filter could decide.
package http

import (
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/filter"
	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
)

// serve reads one request and answers it. It returns whether the connection may carry another one.
func (s *server) serve() (keep bool) {
	s.reset(time.Now())
	if reason, err := s.readHead(); err != nil {
		return s.unreadable(reason, err)
	}
	spec, gone := s.Chain()
	if spec == nil && !gone {
		return false
	}
	if spec != nil {
		s.spec = spec
	}
	s.body.Reset(s.r, s.req.Body)
	s.edge()
	s.describe()

	switch refusal := s.admit(gone); {
	case refusal != nil:
		s.refuse(refusal)
	case !s.normalise():
		s.refuse(&reasonPath)
	default:
		s.route = s.spec.Routes.Match(s.req.Path)
		judged := filter.RunHTTP(s.spec.Filters, s.Info, &s.req.Request)
		s.note(judged)
		switch final := judged.Final; {
		case final != nil && final.Answer:
			s.verdict(final)
			return s.keep // a question about health is no traffic: telemetry does not count it
		case final != nil:
			s.verdict(final)
		case s.route == nil:
			s.refuse(&reasonNoRoute)
		default:
			s.forward()
		}
	}
	s.record()
	return s.keep
}

// admit tells why no request may be served on this connection at all, whatever it asks for.
func (s *server) admit(gone bool) *Reason {
	if gone {
		s.keep = false
		return &reasonDrain
	}
	// The peer proved its identity when it connected; the proof ends with its leaf. Its proxy dials anew.
	if s.spec.Direction == telemetry.Inbound && !s.Info.PeerExpires.IsZero() && s.rec.Start.After(s.Info.PeerExpires) {
		s.keep = false
		return &reasonExpired
	}
	return nil
}

// normalise makes the path the one on which everything is decided.
func (s *server) normalise() bool {
	path, err := Normalise(s.req.Path, s.spec.NormalizePath, s.spec.MergeSlashes, s.spec.EscapedSlashes)
	if err != nil {
		s.rec.Details = "path_normalization_failed{" + err.Error() + "}"
		return false
	}
	if path != s.req.Path {
		s.rec.OriginalPath = s.req.Original
		s.req.Path = path
	}
	s.rec.Path = s.fullPath()
	return true
}

// edge takes out what only a proven proxy of the mesh may say, and gives the request what it must have.
func (s *server) edge() {
	h := &s.req.Header
	if s.spec.Direction == telemetry.Outbound || s.Info.PeerID == "" {
		stripOwn(h)
	}
	s.rec.RequestID = requestID(h)
	if !h.Has(headerProto) {
		proto := "http"
		if s.Info.TLSVersion != 0 {
			proto = "https"
		}
		h.Add(headerProto, proto)
	}
}
