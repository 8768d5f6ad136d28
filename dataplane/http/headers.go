package http

import (
	"math/rand/v2"
	"net/netip"

	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
)

// The mesh's own fields. They are believed only from a proxy that proved its identity and are taken out at every edge, so
// that neither an application nor a stranger can speak for the mesh.
const (
	headerUnprocessed = "hauberk-unprocessed"
	headerReason      = "x-hauberk-reason"
	headerRequestID   = "x-request-id"
	headerProto       = "x-forwarded-proto"

	headerForwardedFor = "x-forwarded-for"
)

// stripOwn takes out all fields that begin with hauberk- or x-hauberk-.
func stripOwn(h *message.Header) {
	for i := range h.Fields {
		if ours(h.Fields[i].Name) {
			stripFrom(h, i)
			return
		}
	}
}

func stripFrom(h *message.Header, first int) {
	kept := h.Fields[:first]
	for _, f := range h.Fields[first:] {
		if !ours(f.Name) {
			kept = append(kept, f)
		}
	}
	h.Fields = kept
}

func ours(name string) bool {
	return message.HasPrefix(name, "hauberk-") || message.HasPrefix(name, "x-hauberk-")
}

// maxRequestID bounds an ID that is taken over from the caller.
const maxRequestID = 128

// requestID returns the request's ID. An outsider's own is kept if the chain says so, or if the chain is the mesh's, which
// passes IDs on so that both sides of a hop can be joined; one that is nonsense is replaced.
func (x *exchange) requestID(h *message.Header, outsider bool) string {
	id := h.Get(headerRequestID)
	if sane(id) && (!outsider || x.spec.PreserveRequestID) {
		return id
	}
	if !x.spec.GenerateRequestID {
		return id
	}
	id = newID()
	h.Set(headerRequestID, id)
	return id
}

// appendForwardedFor adds the caller's address to x-forwarded-for.
func appendForwardedFor(h *message.Header, from netip.Addr) {
	if !from.IsValid() {
		return
	}
	text := from.String()
	if before := h.Get(headerForwardedFor); before != "" {
		text = before + "," + text
	}
	h.Set(headerForwardedFor, text)
}

func sane(id string) bool {
	if id == "" || len(id) > maxRequestID {
		return false
	}
	for i := 0; i < len(id); i++ {
		if id[i] <= ' ' || id[i] >= 0x7f {
			return false
		}
	}
	return true
}

// newID is a random UUID (RFC 9562 version 4). It names requests and keeps no secret: the fast generator will do.
func newID() string {
	const hex = "0123456789abcdef"
	a, b := rand.Uint64(), rand.Uint64()
	a = a&^(0xf<<12) | 4<<12
	b = b&^(3<<62) | 2<<62
	var s [36]byte
	at := 0
	for i := range 32 {
		if i == 8 || i == 12 || i == 16 || i == 20 {
			s[at] = '-'
			at++
		}
		v := a
		if i >= 16 {
			v = b
		}
		s[at] = hex[v>>(60-4*(i%16))&15]
		at++
	}
	return string(s[:])
}
