// Package http1 is the wire format of HTTP/1.1 (RFC 9112), both sides: it reads and writes heads and bodies.
//
// It knows nothing of routing or time: deadlines are the caller's. It is strict where two parsers could disagree on what a
// message says or where it ends (request smuggling): a doubtful message is refused, never repaired. smuggling_test.go has the
// known forms by name, differential_test.go holds it against net/http. Hop-by-hop fields end here: they are understood, taken
// out, and written anew by the writer. The strings of a message are views of memory that the next one uses again (text.go).
//
// Start at Server (the end that a client's requests come to) and Client; below them are Reader, Body and the writers.
package http1

import (
	"fmt"

	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
)

// Kind is how a body is delimited.
type Kind uint8

// None has no body, Length a number of bytes, Chunked is RFC 9112 section 7.1, and UntilClose ends with the connection
// (responses, and tunnels in both directions).
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

// Request is a request head and what its hop-by-hop fields said of the connection.
type Request struct {
	message.Request
	Body Framing
	// Close: the connection carries no further request.
	Close bool
}

// Response is a response head and what its hop-by-hop fields said of the connection.
type Response struct {
	message.Response
	Body  Framing
	Close bool
}

// Error is a message that can not be accepted.
type Error = message.Malformed

func bad(format string, args ...any) error {
	return &Error{Status: 400, Text: fmt.Sprintf(format, args...)}
}
