// Package http1 is the wire format of HTTP/1.1 (RFC 9112), both sides: it reads and writes heads and bodies.
//
// It knows nothing of connections' lives, routing or time: a Reader reads from whatever it was given, deadlines are the
// caller's. It is strict where two parsers could disagree on where a message ends (request smuggling): a doubtful message
// is refused, never repaired. Hop-by-hop fields end here: they are understood, taken out, and written anew by the writer.
//
// Start at Reader.ReadRequest and AppendRequest.
package http1

import (
	"fmt"

	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
)

// MaxHead bounds a message's head in bytes, MaxFields its number of fields (Envoy's defaults are 60 KiB and 100).
const (
	MaxHead   = 64 << 10
	MaxFields = 100
)

// Kind is how a body is delimited.
type Kind uint8

// None has no body, Length a number of bytes, Chunked is RFC 9112 section 7.1, and UntilClose ends with the connection
// (responses only).
const (
	None Kind = iota
	Length
	Chunked
	UntilClose
)

// Framing is a body's delimitation; Length is in bytes and holds for that kind only.
type Framing struct {
	Kind   Kind
	Length int64
}

// Request is a request head and what its hop-by-hop fields said.
type Request struct {
	message.Request
	Body Framing
	// Close: the connection carries no further request.
	Close bool
	// Upgrade is "websocket" where the client asks for it. Other protocols are not offered to servers: RFC 9110 section 7.8
	// lets a server ignore them, and h2c would be a tunnel around every filter.
	Upgrade string
	// ExpectContinue: the client may hold its body back until it sees a 100.
	ExpectContinue bool
}

// Response is a response head and what its hop-by-hop fields said.
type Response struct {
	message.Response
	Body Framing
	// Declared is the Content-Length of a message that has no body all the same (HEAD, 304); -1 if there was none.
	Declared int64
	Close    bool
	Upgrade  string // of a 101
}

// Error is a message that can not be accepted. Status is what a server answers to it.
type Error struct {
	Status int
	Text   string
}

func (e *Error) Error() string { return "http/1: " + e.Text }

func bad(format string, args ...any) error { return &Error{400, fmt.Sprintf(format, args...)} }

// Refusals of size, and of what is well-formed but not spoken here.
var (
	errHeadTooLarge  error = &Error{431, fmt.Sprintf("head is longer than %d bytes", MaxHead)}
	errTooManyFields error = &Error{431, fmt.Sprintf("more than %d header fields", MaxFields)}
)
