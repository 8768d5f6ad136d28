package http

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/filter"
	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
)

// Conn is a downstream connection whose TLS handshake, if any, is done. The functions are the listener's.
type Conn struct {
	net.Conn
	Info     *filter.Conn
	Listener func() string // its present name
	Recorder telemetry.Recorder

	// Chain gives the chain that serves this connection at this moment; it is asked for each request, so that a new
	// permission holds at once. Nil with gone: the listener is no longer configured. Nil without: the connection would not be
	// accepted today (plaintext that has been closed meanwhile), and ends without an answer.
	Chain func() (spec *Spec, gone bool)
	// Draining tells whether connections are to end as soon as they can without losing a request.
	Draining func() bool
	// OnDrain is given what is to be done when a drain begins, from another goroutine; it is done at once if one has begun.
	OnDrain func(func())
	// Watch registers what is called from other goroutines after a change of configuration: open exchanges are judged again.
	// Nil ends that.
	Watch func(judge func())
	// OnPanic is told of a bug that ended one stream of HTTP/2; one of HTTP/1 ends its connection, and is the listener's. Nil:
	// the panic is not caught.
	OnPanic func(v any, stack []byte)

	// Park is offered an HTTP/1 connection that has been idle for a moment, to wait elsewhere, without a goroutine, until it has
	// something to read or until has come. If it takes it, Serve returns true, and is to be called again then, by whom does
	// not matter. Nil: never.
	Park func(until time.Time) (parked bool)

	opened time.Time
	idle   time.Time // since when; kept while it is parked
	served int       // requests, of HTTP/1
	open   openExchanges
}

// DrainIdle is how long a connection without a request is kept open while draining: a client may have sent one already.
const DrainIdle = time.Second

// parkAfter is how long an HTTP/1 connection is idle before it is parked: one that carries requests again and again is not
// to pay for it.
const parkAfter = 500 * time.Millisecond

// Serve serves requests on c until one side ends it, and closes it; or until it is parked, and then c is not the caller's.
func Serve(ctx context.Context, c *Conn) (parked bool) {
	if c.opened.IsZero() {
		c.opened = time.Now()
	}
	spec, _ := c.Chain()
	if spec == nil {
		_ = c.Close()
		return false
	}
	if c.speaksHTTP2(spec) {
		c.serveHTTP2(ctx, spec, nil)
		return false
	}
	return c.serveHTTP1(ctx, spec)
}

// speaksHTTP2 tells whether it is agreed that the connection speaks HTTP/2: by the chain or by ALPN. A client that has prior
// knowledge is found out by what it begins with (http1.go).
func (c *Conn) speaksHTTP2(spec *Spec) bool {
	t, ok := c.Conn.(interface{ ConnectionState() tls.ConnectionState })
	return spec.Codec == HTTP2 || spec.Codec == Auto && ok && t.ConnectionState().NegotiatedProtocol == "h2"
}

// ending tells whether a response is to be the connection's last.
func (c *Conn) ending(spec *Spec) bool {
	return c.Draining() || spec.MaxConnection > 0 && time.Since(c.opened) >= spec.MaxConnection ||
		spec.MaxRequests > 0 && c.served >= spec.MaxRequests || spec.OverloadClose != nil && spec.OverloadClose()
}

func timeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
