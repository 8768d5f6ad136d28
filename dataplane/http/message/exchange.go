package message

import (
	"errors"
	"net"
	"time"
)

// Content is the content of a message that arrives, in whatever framing. It is used by one goroutine at a time; deadlines
// may be set from others.
type Content interface {
	// Await blocks until a Read would not: something is Available, the content has ended, or it failed, which it then
	// returns. It holds no buffer meanwhile where the connection allows that. It observes the read deadline.
	Await() error
	// Read blocks for data. The end is io.EOF, on its own; a message that was cut off is io.ErrUnexpectedEOF. After a timeout
	// (os.ErrDeadlineExceeded) it can be called again, and nothing was lost.
	Read(p []byte) (int, error)
	// Available is how many bytes can be had without blocking; Take consumes n of them. They are valid until the next call
	// of Await or Read.
	Available() int
	Take(n int) []byte
	// Done tells whether all was read. It never blocks.
	Done() bool
	// Err is what is wrong with the content as far as it was looked at.
	Err() error
	// Count is how many bytes of data were taken so far.
	Count() int64
	// Trailer are the fields after the content, once Done.
	Trailer() *Header
	SetReadDeadline(t time.Time) error
}

// Outlet is where the content of a message leaves. It is used by one goroutine at a time; deadlines may be set from others.
// Small pieces are held until Flush or End, so that a head and a short content leave together. All calls but SetWriteDeadline
// may block for the peer's flow control, and observe the write deadline.
type Outlet interface {
	// Room lends memory of the outlet for the next piece: what is read into it leaves without another copy. It is never
	// empty and at most what the peer takes now. Send gives it back, and sends its first n bytes; nothing for 0.
	Room() ([]byte, error)
	Send(n int) error
	// Write takes all of p, which stays the caller's.
	Write(p []byte) error
	// Flush lets leave what is held.
	Flush() error
	// End ends the message, with trailers if there are any (nil: none), and flushes.
	End(trailer *Header) error
	SetWriteDeadline(t time.Time) error
}

// Scattered is Content that lies in pieces of memory.
type Scattered interface {
	// TakePieces consumes what can be had without blocking, about most bytes of it. As with Take, the pieces are valid until
	// the next call of Await or Read.
	TakePieces(most int) [][]byte
}

// Gatherer is an Outlet that can write pieces without copying them together.
type Gatherer interface {
	WritePieces(pieces [][]byte) error
}

// Server is the server's end of one exchange: a request that has arrived, and the way back.
type Server interface {
	Content // of the request
	Outlet  // of the response

	// Respond takes a response head. An interim one (1xx but 101) leaves at once; the final one is held until something
	// follows. end: it has no content, and the message is over; Flush lets it leave.
	Respond(m *Response, end bool) error
	// Gone tells whether nobody waits for the response any more, as far as can be told without reading.
	Gone() bool
	// Abort ends the exchange so that the client sees that the response is not whole: RST_STREAM, or a TCP reset.
	Abort()
	// Tunnel turns the exchange into opaque bytes, after a 101 or a 2xx to CONNECT. The caller closes it.
	Tunnel() net.Conn
}

// Client is the client's end of one exchange.
type Client interface {
	Outlet  // of the request
	Content // of the response, after its final head

	// Request takes the request head, which is held until something follows; end: it has no content, and the message
	// is over; Flush lets it leave.
	Request(m *Request, end bool) error
	// Response blocks for the next response head: interim ones as they come, then the final one.
	Response(m *Response) error
	// Begun tells whether any byte of a response has come.
	Begun() bool
	// Abort ends the exchange early: RST_STREAM(CANCEL), or the connection is closed.
	Abort()
	// Tunnel turns the exchange into opaque bytes, after a 101 or a 2xx to CONNECT. The caller closes it.
	Tunnel() net.Conn
}

// ErrUnprocessed is in the chain of an error that proves that the server has not processed the request, and that it may be
// sent elsewhere: REFUSED_STREAM, or a GOAWAY that does not cover the stream (RFC 9113 section 8.7).
var ErrUnprocessed = errors.New("the server has not processed the request")

// ErrCanceled is in the chain of an error that says that the peer ended the exchange on purpose: RST_STREAM(CANCEL) and its
// kin.
var ErrCanceled = errors.New("the peer has ended the exchange")

// Malformed is a message that can not be accepted, of either version. Status is what a server answers to it.
type Malformed struct {
	Status int
	Text   string
}

func (e *Malformed) Error() string { return "malformed message: " + e.Text }
