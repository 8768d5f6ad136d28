// Package http serves HTTP on a downstream connection: it is the spine that a request goes along, in whatever version.
//
// # The path of a request
//
//  1. listener accepts, sniffs, chooses a chain and shakes hands; Serve (conn.go) finds out the version.
//  2. http1.go reads one head after the other (http1.Server), http2.go is given streams side by side (http2.Server). Both
//     make an exchange of it (exchange.go): hop-by-hop fields have ended there.
//  3. serve (this file) loads the chain once, normalises the path once (normalise.go), matches the route and asks the filters.
//  4. forward (forward.go) drives resilience.Run: each attempt picks an endpoint (upstream/lb), opens an exchange with it
//     (upstream.Stream) and sends head and content (upload.go).
//  5. relay (relay.go) sends the response's head and copies its content as it comes; upgrade.go takes over after a 101.
//  6. whatever the mesh answers by itself goes through answer (answer.go), with a Reason (reason.go).
//  7. record (record.go) hands what is known to telemetry.
//
// Waiting is bounded in one place, watch.go; open exchanges are judged again after a change of configuration in judge.go. The
// package knows no wire format (http1, http2), makes no connection (upstream) and decides nothing that a filter could decide.
package http

import (
	"github.com/hauberk-mesh/hauberk/dataplane/filter"
	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
)

// serve answers one request whose head was read.
func (x *exchange) serve() {
	spec, gone := x.Chain()
	if spec == nil && !gone {
		x.down.Abort()
		return
	}
	if spec != nil {
		x.spec = spec
	}
	clean := x.spec.Intake(x.req, x.Info)
	x.edge()
	x.describe()

	switch refusal := x.admit(gone); {
	case refusal != nil:
		x.refuse(refusal)
	case !clean:
		x.refuse(&reasonUnderscore)
	case !x.normalise():
		x.refuse(&reasonPath)
	case x.redirected:
		x.redirect()
	default:
		x.route = x.spec.Routes.Match(x.req)
		judged := filter.RunHTTP(x.spec.Filters, x.Info, x.req)
		x.note(judged)
		switch final := judged.Final; {
		case final != nil && final.Answer:
			x.verdict(final)
			return // a question about health is no traffic: telemetry does not count it
		case final != nil:
			x.verdict(final)
		case x.route == nil:
			x.refuse(&reasonNoRoute)
		default:
			x.act()
		}
	}
	x.record()
}

// act does what the route says.
func (x *exchange) act() {
	if local := x.route.Local(x.req, x.Info); local != nil {
		if local.Refused {
			x.rec.Details = local.Details
			x.refuse(&reasonPath)
			return
		}
		x.local(local)
		return
	}
	if refusal := x.mayChange(); refusal != nil {
		x.refuse(refusal)
		return
	}
	if x.cluster = x.route.Choose(); x.cluster == nil {
		x.refuse(&reasonNoCluster)
		return
	}
	if !x.cluster.AcquireRequest() {
		x.refuse(&reasonOverflow)
		return
	}
	defer x.cluster.ReleaseRequest()
	x.remember()
	x.watch.maxStream = x.route.Limit(x.req)
	x.route.Rewrite(x.req, x.Info)
	x.offerKey()
	x.forward()
}

// admit tells why no request may be served at all, whatever it asks for.
func (x *exchange) admit(gone bool) *Reason {
	if gone {
		x.final = true
		return &reasonDrain
	}
	// The peer proved its identity when it connected; the proof ends with its leaf. Its proxy dials anew.
	if x.spec.Direction == telemetry.Inbound && !x.Info.PeerExpires.IsZero() && x.rec.Start.After(x.Info.PeerExpires) {
		x.final = true
		return &reasonExpired
	}
	if x.spec.OverloadShed != nil && x.spec.OverloadShed() {
		return &reasonOverload
	}
	return nil
}

// mayChange tells why a request may not change the protocol, if it wants to.
func (x *exchange) mayChange() *Reason {
	switch {
	case x.req.Upgrade != "" && !x.route.WebSocket.Or(x.spec.Upgrades.WebSocket),
		x.req.Method == "CONNECT" && !x.route.Connect.Or(x.spec.Upgrades.Connect):
		return &reasonUpgrade
	}
	return nil
}

// normalise makes the path the one on which everything is decided.
func (x *exchange) normalise() bool {
	if x.req.Method == "CONNECT" { // it has none
		return true
	}
	x.redirected = x.spec.EscapedSlashes == UnescapeAndRedirect && EscapedSlash(x.req.Path)
	path, err := Normalise(x.req.Path, x.spec.NormalizePath, x.spec.MergeSlashes, x.spec.EscapedSlashes)
	if err != nil {
		x.rec.Details = "path_normalization_failed{" + err.Error() + "}"
		return false
	}
	if path != x.req.Path {
		x.rec.OriginalPath = x.req.Original
		x.req.Path = path
	}
	x.rec.Path = x.fullPath()
	return true
}

// edge takes out what only a proven proxy of the mesh may say, and gives the request what it must have.
func (x *exchange) edge() {
	h := &x.req.Header
	outsider := x.spec.Direction == telemetry.Outbound || x.Info.PeerID == ""
	if outsider {
		stripOwn(h)
	}
	x.rec.RequestID = x.requestID(h, outsider)
	if x.spec.AppendForwardedFor {
		appendForwardedFor(h, x.Info.Remote.Addr())
	}
	if !h.Has(headerProto) {
		proto := "http"
		if x.Info.TLSVersion != 0 {
			proto = "https"
		}
		h.Add(headerProto, proto)
	}
}
