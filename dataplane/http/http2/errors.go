package http2

import (
	"errors"
	"fmt"
	"io"

	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
)

// Code is an error code of RFC 9113 section 7.
type Code uint32

// The codes of RFC 9113.
const (
	NoError Code = iota
	ProtocolError
	InternalError
	FlowControlError
	SettingsTimeout
	StreamClosed
	FrameSizeError
	RefusedStream
	Cancel
	CompressionError
	ConnectError
	EnhanceYourCalm
	InadequateSecurity
	HTTP11Required
)

var codeNames = [...]string{"NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT",
	"STREAM_CLOSED", "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR",
	"ENHANCE_YOUR_CALM", "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED"}

func (c Code) String() string {
	if int(c) < len(codeNames) {
		return codeNames[c]
	}
	return fmt.Sprintf("error code %#x", uint32(c))
}

// ConnError ended a whole connection: we found the peer at fault (Remote false), or it told us in a GOAWAY.
type ConnError struct {
	Code   Code
	Text   string
	Remote bool
}

func (e *ConnError) Error() string {
	if e.Remote {
		return fmt.Sprintf("http/2: the peer closed the connection: %v: %s", e.Code, e.Text)
	}
	return fmt.Sprintf("http/2: %v: %s", e.Code, e.Text)
}

// StreamError ended one stream: the peer reset it (Remote), or we did.
type StreamError struct {
	Code   Code
	Remote bool
	Text   string
}

func (e *StreamError) Error() string {
	who := "stream was reset"
	if e.Remote {
		who = "the peer reset the stream"
	}
	if e.Text == "" {
		return fmt.Sprintf("http/2: %s: %v", who, e.Code)
	}
	return fmt.Sprintf("http/2: %s: %v: %s", who, e.Code, e.Text)
}

// Is places the error in the terms of package message, and makes every reset a message that was cut off.
func (e *StreamError) Is(target error) bool {
	switch target {
	case message.ErrUnprocessed:
		return e.Remote && e.Code == RefusedStream
	case message.ErrCanceled:
		return e.Remote && (e.Code == Cancel || e.Code == NoError)
	case io.ErrUnexpectedEOF:
		return true
	}
	return false
}

// lostError is what streams see of a connection that died under them.
type lostError struct{ cause error }

func (e *lostError) Error() string   { return "http/2: connection lost: " + e.cause.Error() }
func (e *lostError) Unwrap() []error { return []error{e.cause, io.ErrUnexpectedEOF} }

// unsentError is a connection that died before a request was put on it.
type unsentError struct{ cause error }

func (e *unsentError) Error() string   { return e.cause.Error() }
func (e *unsentError) Unwrap() []error { return []error{e.cause, message.ErrUnprocessed} }

// Why a stream can not be opened, or was not processed. A request that got one of them may be sent on another connection.
var (
	ErrBusy    = fmt.Errorf("http/2: as many streams are open as the peer allows: %w", message.ErrUnprocessed)
	ErrClosing = fmt.Errorf("http/2: the connection takes no new stream: %w", message.ErrUnprocessed)

	errUncovered = fmt.Errorf("http/2: the peer closes the connection and has not looked at this stream: %w",
		message.ErrUnprocessed)
	errNoConnect = fmt.Errorf("http/2: the request is an upgrade, and the peer has not announced extended CONNECT: %w",
		message.ErrUnprocessed)
)

// Ends of a connection that are nobody's fault.
var (
	errClosed  = errors.New("http/2: the connection was closed here")
	errDrained = errors.New("http/2: the connection was drained")
	errIdle    = errors.New("http/2: the connection was idle for too long")
	errNoPong  = errors.New("http/2: the peer has not answered a PING in time")
	errSlow    = errors.New("http/2: a frame or header block that has begun did not end in time")
	errStalled = errors.New("http/2: the peer has not taken what was sent for too long")
)

var (
	errEnded = errors.New("http/2: write after the end of the message")
	errTwice = errors.New("http/2: head sent twice")
)

func connErr(code Code, text string) error { return &ConnError{Code: code, Text: text} }

func calm(text string) error { return connErr(EnhanceYourCalm, text) }
