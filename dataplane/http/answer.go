package http

import (
	"strconv"
	"strings"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/filter"
	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
	"github.com/hauberk-mesh/hauberk/dataplane/route"
	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
)

// Every response that the mesh makes up is made here.

// refuse answers with a reason.
func (x *exchange) refuse(r *Reason) {
	if x.rec.Details == "" {
		x.rec.Details = r.Details
	}
	x.rec.Flags, x.rec.Reason = r.Flag, r.Code
	x.answer(r.Status, r.Code, r.Sentence, r.Unprocessed)
}

// verdict answers as a filter has decided.
func (x *exchange) verdict(v *filter.Verdict) {
	x.rec.Flags, x.rec.Details, x.rec.Reason = v.Flags, v.Details, v.Reason
	x.rec.Policy, x.rec.Rule = v.Policy, v.Rule
	sentence := ""
	if v.Refuse {
		sentence = "refused"
		if r := find(v.Reason); r != nil {
			sentence = r.Sentence
		}
	}
	x.answer(v.Status, v.Reason, sentence, v.Unprocessed)
}

// answer sends a response of the proxy's own: one line, the reason and the request's ID. An empty sentence has no content. A
// gRPC client gets it as the status of its call.
func (x *exchange) answer(status int, reason, sentence string, unprocessed bool) {
	x.rec.Unprocessed = unprocessed
	m := &x.resp
	*m = message.Response{Header: m.Header, Status: status, Length: message.Absent}
	h := &m.Header
	h.Reset()
	if reason != "" {
		h.Add(headerReason, reason)
	}
	if x.rec.RequestID != "" {
		h.Add(headerRequestID, x.rec.RequestID)
	}
	if unprocessed && x.spec.Direction == telemetry.Inbound && x.Info.PeerID != "" { // for the caller's proxy, and nobody else
		h.Add(headerUnprocessed, "1")
	}
	line := ""
	if sentence != "" {
		line = sentence
		if x.rec.RequestID != "" {
			line += ", request id " + x.rec.RequestID
		}
	}
	if x.rec.GRPC && line != "" {
		code := grpcStatus(status)
		m.Status, x.rec.GRPCStatus = 200, code
		h.Add("content-type", "application/grpc")
		h.Add("grpc-status", strconv.Itoa(code))
		h.Add("grpc-message", line)
		line = ""
	} else if line != "" {
		h.Add("content-type", "text/plain")
		line += "\n"
	}
	x.reply(line)
}

// local answers as a route says.
func (x *exchange) local(l *route.Local) {
	x.rec.Details = l.Details
	m := &x.resp
	*m = message.Response{Header: m.Header, Status: l.Status}
	m.Header.Fields = append(m.Header.Fields[:0], l.Header.Fields...)
	x.reply(l.Body)
}

// redirect tells the client to ask for the path in its normal form: UNESCAPE_AND_REDIRECT.
func (x *exchange) redirect() {
	m := &x.resp
	*m = message.Response{Header: m.Header, Status: 307}
	m.Header.Reset()
	m.Header.Add("location", x.fullPath())
	x.rec.Details = "path_normalization_failed"
	x.reply("")
}

// answerTime bounds the writing of an answer of the proxy's own.
const answerTime = 30 * time.Second

// reply sends x.resp with its content.
func (x *exchange) reply(content string) {
	x.settle()
	m := &x.resp
	x.rec.Status = m.Status
	m.Length = int64(len(content))
	end := content == "" || x.req.Method == "HEAD" || m.Status == 204 || m.Status == 304
	if x.req.Method == "CONNECT" && m.Status < 300 || m.Status == 204 {
		m.Length = message.Absent
	}
	// Not by the request's limits: they may be what has just passed.
	_ = x.down.SetWriteDeadline(time.Now().Add(answerTime))
	x.watch.writeArmed = time.Time{}
	err := x.down.Respond(m, end)
	switch {
	case err != nil:
	case end:
		err = x.down.Flush()
	default:
		x.rec.BytesOut = m.Length
		if err = x.down.Write([]byte(content)); err == nil {
			err = x.down.End(nil)
		}
	}
	if err != nil {
		x.disconnected()
	}
}

// settle takes what of the request's unread content is here already, so that the connection can go on; for more nobody waits.
func (x *exchange) settle() {
	if x.tunnels() {
		return
	}
	for x.down.Available() > 0 {
		x.down.Take(x.down.Available())
	}
}

// disconnected notes that the client is gone: nothing more can be sent.
func (x *exchange) disconnected() {
	x.down.Abort()
	if x.rec.Flags == "" {
		x.rec.Flags, x.rec.Details = "DC", "downstream_remote_disconnect"
	}
}

// isGRPC tells whether a content type is gRPC's: application/grpc, application/grpc+proto, but not application/grpc-web.
func isGRPC(contentType string) bool {
	rest, ok := strings.CutPrefix(contentType, "application/grpc")
	return ok && (rest == "" || rest[0] == '+' || rest[0] == ';')
}

// grpcStatus is the code of an HTTP status, as gRPC's "HTTP to gRPC Status Code Mapping" has it.
func grpcStatus(status int) int {
	switch status {
	case 400:
		return 13 // INTERNAL
	case 401:
		return 16 // UNAUTHENTICATED
	case 403:
		return 7 // PERMISSION_DENIED
	case 404:
		return 12 // UNIMPLEMENTED
	case 429, 502, 503, 504:
		return 14 // UNAVAILABLE
	}
	return 2 // UNKNOWN
}
